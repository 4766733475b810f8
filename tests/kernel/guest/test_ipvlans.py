"""Virtual routers that send from an ipvlan of their own (`use_ipvlan`), beside keepalived's."""

from __future__ import annotations

import pytest

from lab import Capture, Daemon, Fastvrrp, Keepalived, Laboratory, Router, wait_until
from test_filtering import instance, reload
from test_reload import MASTER, records

PATIENCE = 30.0
"""Seconds; the guest is slow."""
SLOW = ("advert_int 1",)

TEXT = (
    instance(
        *("A", 51, *SLOW, "use_ipvlan 10.0.0.71/24 ipva"),
        addresses=("10.0.0.100/24", "10.0.1.100/24 dev eth1"),
        excluded=("fd00::100/64",),
    )
    + instance(*("B", 52, *SLOW, "use_ipvlan"), addresses=("fe80::52", "fd00::52/64"))
    + instance(*("C", 53, *SLOW, "use_ipvlan 10.0.0.73"), addresses=("10.0.0.120/24",))
    + instance(
        *("D", 54, *SLOW, "use_ipvlan fe80::99 ipvd vepa"),
        interface="eth1",
        addresses=("fe80::54", "fd00:1::54/64"),
    )
)
PREFERRED = {"10.0.0.100", "10.0.1.100", "fd00::100", "fd00::52", "10.0.0.120", "fd00:1::54"}
Ipvlan = tuple[str, str, str, bool]


def ipvlans(router: Router) -> set[Ipvlan]:
    """Name, link below, mode and whether it is a VEPA, of each."""
    return {
        (
            link["ifname"],
            link["link"],
            link["linkinfo"]["info_data"]["mode"],
            "vepa" in link["linkinfo"]["info_data"],
        )
        for link in router.show("link", "show", "type", "ipvlan")
    }


def sources(capture: Capture) -> set[tuple[str, int, str, str]]:
    """Interface, VRID, source and source MAC of adverts."""
    return {
        (advert.interface, advert.vrid, advert.source, advert.source_mac)
        for advert in capture.adverts()
    }


def placed(router: Router) -> set[str]:
    """Virtual addresses and those of ipvlans. keepalived leaves an ipvlan with an IPv4 address its
    link-local one too."""
    ours = (
        *("10.0.0.7", "10.0.0.1", "10.0.1.10"),
        *("fd00::1", "fd00::5", "fd00:1::5", "fe80::5", "fe80::99", "fe80::200:0:200"),
    )
    own = {"10.0.0.1/24", "10.0.1.1/24", "fd00::1/64"}
    return {
        held
        for held in router.addresses()
        if held.split()[1].startswith(ours) and held.split()[1] not in own
    }


@pytest.mark.keywords("vrrp_instance/use_ipvlan")
def test_ipvlans_addresses_and_sources_are_as_under_keepalived() -> None:
    def seen(kind: type[Daemon]) -> tuple[set[Ipvlan], set[str], set[tuple[str, int, str, str]]]:
        with Laboratory() as lab:
            a, b = lab.router("a"), lab.router("b")
            lab.connect(a, b, count=2)
            with Capture(b) as capture:
                daemon = kind(a, TEXT).start()
                daemon.wait_log("Entering MASTER STATE", PATIENCE, count=4)
                for address in PREFERRED:
                    wait_until(
                        lambda address=address: a.holds(address),  # type: ignore[misc]
                        PATIENCE,
                        what=daemon.log,
                    )
                for vrid in (51, 52, 53, 54):
                    capture.wait_for_advert(vrid, after=len(capture.frames), timeout=PATIENCE)
                found = ipvlans(a), placed(a)
                assert daemon.stop() == 0
                assert ipvlans(a) == set()
            capture.assert_clean()
            return *found, sources(capture)

    ours = seen(Fastvrrp)
    assert ("eth0", 51, "10.0.0.71", "02:00:00:00:00:01") in ours[2]
    assert ours == seen(Keepalived)


def test_an_election_between_an_ipvlan_and_keepalived(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    daemon = Fastvrrp(a, instance("V", 51, *SLOW, "use_ipvlan 10.0.0.71/24")).start()
    lab.wait_for_holder("10.0.0.51", a, PATIENCE)
    Keepalived(
        b, instance("V", 51, *SLOW, "use_ipvlan 10.0.0.72/24", priority=100)
    ).start().wait_log("Entering BACKUP STATE", PATIENCE)
    daemon.stop()
    lab.wait_for_holder("10.0.0.51", b, PATIENCE)
    daemon.start()
    lab.wait_for_holder("10.0.0.51", a, PATIENCE)


def test_a_reload_gives_it_another_address_and_takes_it_away(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    daemon = Fastvrrp(a, instance("V", 51, *SLOW, "use_ipvlan 10.0.0.71/24")).start()
    wait_until(lambda: a.holds("10.0.0.51"), PATIENCE, what=daemon.log)
    begun = records(daemon)["V"]["changed_at"]
    with Capture(b) as capture:
        for line, source in (("use_ipvlan 10.0.0.72/24 group 5", "10.0.0.72"), ("", "10.0.0.1")):
            reload(daemon, instance("V", 51, *SLOW, line))
            capture.wait_for_advert(51, source=source, timeout=PATIENCE)
            wait_until(lambda: not a.holds("10.0.0.71"), PATIENCE, what="the old address gone")
    wait_until(lambda: ipvlans(a) == set(), PATIENCE, what="the ipvlan gone")
    assert (records(daemon)["V"]["state"], records(daemon)["V"]["changed_at"]) == (MASTER, begun)
    assert daemon.stop() == 0


def test_one_that_a_crash_left_is_taken_over_or_removed(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    text = instance("V", 51, *SLOW, "use_ipvlan 10.0.0.71/24")
    daemon = Fastvrrp(a, text).start()
    wait_until(lambda: a.holds("10.0.0.51"), PATIENCE, what=daemon.log)
    [before] = a.show("link", "show", "type", "ipvlan")
    daemon.kill()
    daemon.start()
    wait_until(lambda: a.holds("10.0.0.51"), PATIENCE, what=daemon.log)
    [after] = a.show("link", "show", "type", "ipvlan")
    assert after["ifindex"] == before["ifindex"]
    assert a.holds("10.0.0.71")
    daemon.kill()
    daemon.configure(text.replace("use_ipvlan 10.0.0.71/24", ""))
    daemon.start()
    wait_until(lambda: not ipvlans(a), PATIENCE, what="the ipvlan gone")


def test_what_cannot_be_on_one_link_is_said(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    text = instance("A", 51, *SLOW, "use_ipvlan 10.0.0.71") + instance("B", 52, "use_vmac")
    daemon = Fastvrrp(a, text).start()
    daemon.wait_log("cannot make vrrp.52 on eth0: Device or resource busy", PATIENCE)
    daemon.wait_log("(B) Entering FAULT STATE", PATIENCE)
    wait_until(lambda: a.holds("10.0.0.51"), PATIENCE, what=daemon.log)
    assert daemon.stop() == 0


@pytest.mark.keywords("vrrp_instance/use_ipvlan")
@pytest.mark.parametrize("kind", [Fastvrrp, Keepalived])
def test_without_an_address_it_is_in_fault_as_under_keepalived(
    lab: Laboratory, kind: type[Daemon]
) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    text = instance("A", 51, *SLOW, "use_ipvlan ipva") + instance("B", 52, *SLOW)
    daemon = kind(a, text).start()
    daemon.wait_log(
        "(A) IPv4 ipvlan requires a source ip address to be configured."
        " setting instance to fault state",
        PATIENCE,
    )
    daemon.wait_log("(B) Entering MASTER STATE", PATIENCE)
    assert ipvlans(a) == {("ipva", "eth0", "l2", False)}
    assert not a.holds("10.0.0.51")
    assert daemon.stop() == 0
    assert ipvlans(a) == set()
