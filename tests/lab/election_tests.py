"""What is asked of every story of an election (lab.election), whoever the two daemons are.

A test file inherits from ElectionTests and has two fixtures: `story`, and `virtual_router`, each of
its virtual routers in turn.
"""

from lab.capture import SECOND, Advert
from lab.configuration import VirtualRouter
from lab.daemons import Daemon, Fastvrrp
from lab.election import OTHER, PREFERRED, Story

ALLOWANCE = 0.3
"""Seconds that a daemon may be later than the protocol's own time."""


class ElectionTests:
    """The tests; each failure comes with the timeline of its virtual router."""

    def test_the_preferred_router_is_elected(
        self, story: Story, virtual_router: VirtualRouter
    ) -> None:
        adverts = story.adverts(virtual_router, "start")
        timeline = story.timeline(virtual_router)
        assert adverts, f"{timeline}{story.logs}"
        assert not adverts[-1].is_outgoing, timeline
        assert_holder(story, story.preferred, virtual_router, "start")

    def test_a_backup_takes_over_from_a_killed_master(
        self, story: Story, virtual_router: VirtualRouter
    ) -> None:
        timeline = story.timeline(virtual_router)
        # What left before the kill may have its time just after it.
        before = story.adverts(virtual_router, "start") + story.adverts(virtual_router, "kill")
        last = [advert for advert in before if not advert.is_outgoing]
        first = [a for a in story.adverts(virtual_router, "kill") if a.is_outgoing]
        assert last, timeline
        assert first, timeline
        gap = seconds_between(last[-1], first[0])
        least = 3 * virtual_router.interval
        most = least + virtual_router.skew(OTHER) + allowance(story.other, virtual_router)
        assert least <= gap <= most, f"{gap:.3f} s{timeline}"
        assert_holder(story, story.other, virtual_router, "kill")

    def test_the_preferred_router_preempts_when_it_returns(
        self, story: Story, virtual_router: VirtualRouter
    ) -> None:
        timeline = story.timeline(virtual_router)
        adverts = story.adverts(virtual_router, "restart")
        own = [a for a in adverts if not a.is_outgoing and a.priority == PREFERRED]
        assert own, timeline
        if virtual_router.interval < 1:
            # A backup's patience may end, more than once, while the other sets up its addresses.
            own = own[-5:]
        # One advert of each may cross on the wire.
        late = [a for a in adverts if a.is_outgoing and a.time > own[0].time + SECOND // 20]
        assert not late, timeline
        assert_holder(story, story.preferred, virtual_router, "restart")

    def test_a_master_that_is_stopped_hands_over(
        self, story: Story, virtual_router: VirtualRouter
    ) -> None:
        timeline = story.timeline(virtual_router)
        adverts = story.adverts(virtual_router, "stop")
        farewell = [a for a in adverts if not a.is_outgoing and a.priority == 0]
        first = [a for a in adverts if a.is_outgoing]
        assert len(farewell) == 1, timeline
        assert first, timeline
        gap = seconds_between(farewell[0], first[0])
        skew = virtual_router.skew(OTHER)
        # FRR counts the skew in whole hundredths of a second, as VRRPv3 does its intervals.
        most = skew + allowance(story.other, virtual_router)
        assert skew - 0.01 <= gap <= most, f"{gap:.3f} s{timeline}"
        assert adverts[-1].is_outgoing, timeline
        assert_holder(story, story.other, virtual_router, "stop")

    def test_adverts_say_what_the_configuration_says(
        self, story: Story, virtual_router: VirtualRouter
    ) -> None:
        link, family = virtual_router.link, virtual_router.family
        for sender, receiver in (
            (story.preferred, story.other),
            (story.other, story.preferred),
        ):
            sent = [
                advert
                for advert in story.adverts(virtual_router)
                if advert.is_outgoing is (sender is story.other)
            ]
            if virtual_router.is_unicast:
                destination = link.address(receiver.router, family)
                ttl = sender.ipv6_unicast_hop_limit if family == 6 else 255
            else:
                destination = "224.0.0.18" if family == 4 else "ff02::12"
                ttl = 255
            assert {
                (a.version, a.authentication, a.interval, a.addresses, a.destination, a.ttl)
                for a in sent
            } == {
                (
                    virtual_router.version,
                    {"": 0, "PASS": 1, "AH": 2}[virtual_router.authentication],
                    round(virtual_router.interval * SECOND),
                    virtual_router.addresses,
                    destination,
                    ttl,
                )
            }, sender
            # keepalived.conf(5): with unicast peers, use_vmac implies vmac_xmit_base.
            has_vmac = virtual_router.has_vmac and not virtual_router.is_unicast
            macs = {advert.source_mac for advert in sent}
            if has_vmac or sender.always_has_vmac:
                assert macs == {virtual_router.virtual_mac}, sender
            else:
                assert virtual_router.virtual_mac not in macs, sender

    def test_nothing_is_left_of_fastvrrp(self, story: Story) -> None:
        # keepalived itself forgets a VMAC now and then when it comes back from a SIGKILL.
        is_preferred = isinstance(story.preferred, Fastvrrp)
        daemon = story.preferred if is_preferred else story.other
        chapter = "stop" if is_preferred else "end"
        assert story.statuses[daemon] == 0, story.logs
        assert story.addresses[chapter, daemon] == story.addresses["before", daemon], story.logs
        assert story.links[chapter, daemon] == story.links["before", daemon], story.logs

    def test_every_frame_is_well_formed(self, story: Story) -> None:
        story.capture.assert_clean()


def allowance(daemon: Daemon, virtual_router: VirtualRouter) -> float:
    """Seconds that a daemon's first advert may come after the protocol's own time."""
    if daemon.loses_first_ipv6_advert and virtual_router.family == 6:
        return virtual_router.interval + ALLOWANCE
    return ALLOWANCE


def seconds_between(earlier: Advert, later: Advert) -> float:
    return (later.time - earlier.time) / SECOND


def assert_holder(
    story: Story, daemon: Daemon, virtual_router: VirtualRouter, chapter: str
) -> None:
    """At the chapter's end `daemon` has every virtual address and the other has none, unless it was
    killed: then nobody was left to take them away."""
    for either in (story.preferred, story.other):
        if chapter == "kill" and either is story.preferred:
            continue
        every = story.addresses[chapter, either]
        held = {entry.split()[1].split("/")[0] for entry in every}
        right = set(virtual_router.addresses) if either is daemon else set()
        timeline = story.timeline(virtual_router)
        assert held.intersection(virtual_router.addresses) == right, f"{either}{timeline}"
