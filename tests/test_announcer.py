"""Gratuitous ARP and neighbour advertisements: how many, when, how far apart, and when no more."""

from __future__ import annotations

from dataclasses import replace
from socket import AF_INET, AF_INET6

import pytest

from fastvrrp.model import Announcements, GarpGroup, VirtualRouter
from fastvrrp.vrrp.announcer import Announcer
from fastvrrp.vrrp.instance import Instance
from fastvrrp.vrrp.place import Place
from simulation import SECOND, Router

MAC = bytes((0, 0, 0x5E, 0, 1, 51))
IPV4 = bytes((10, 0, 0, 100))
IPV6 = bytes.fromhex("fd00" + "00" * 13 + "64")


class Stage:
    """An announcer over a simulated router, with the time in our hand."""

    def __init__(
        self,
        *settings: Announcements,
        garp_interval: int = 0,
        gna_interval: int = 0,
        groups: tuple[GarpGroup, ...] = (),
    ):
        self.now = 0
        self.router = Router("r", 1)
        self.instances: dict[int, Instance] = {}
        for number, chosen in enumerate(settings):
            index = self.router.add(number + 1)
            model = VirtualRouter(
                name=f"VI_{number}",
                interface="eth0",
                vrid=number + 1,
                family=AF_INET,
                announcements=chosen,
            )
            self.instances[index] = Instance(model, index, Place(lambda run, then: None))
            self.aim(index, [(AF_INET, bytes((10, 0, 0, 100 + number)), 7, MAC, False)])
        self.announcer = Announcer(
            self.router.engine,
            self.instances,
            lambda: self.now,
            {7: "eth0", 8: "eth1", 9: "eth2"}.get,
        )
        self.announcer.pace(garp_interval, gna_interval, groups)

    def aim(self, index: int, targets: list[tuple[int, bytes, int, bytes, bool]]) -> None:
        self.router.engine.set_targets(
            index, [(4 if target[0] == AF_INET else 6, *target[1:]) for target in targets]
        )

    def sent_until(self, end: int) -> list[tuple[int, bytes]]:
        """(time, frame) of everything sent until `end`."""
        sent = []
        while True:
            while self.announcer.work(SECOND):
                pass
            sent += [(self.now, frame) for _, frame in self.router.recorder.take_frames()]
            due = self.announcer.next_due()
            if due is None or due > end:
                self.now = end
                return sent
            self.now = due


def times(sent: list[tuple[int, bytes]]) -> list[float]:
    return [at / SECOND for at, _ in sent]


def test_two_sets_of_five_with_five_seconds_between() -> None:
    stage = Stage(Announcements())
    stage.announcer.became_master(stage.instances[0])
    assert times(stage.sent_until(100 * SECOND)) == [0] * 5 + [5] * 5


@pytest.mark.keywords(
    "vrrp_instance/garp_master_repeat",
    "vrrp_instance/garp_master_delay",
    "vrrp_instance/garp_master_refresh",
    "vrrp_instance/garp_master_refresh_repeat",
)
@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (Announcements(master_repeat=1, master_delay=0), [0]),
        (Announcements(master_repeat=2, master_delay=10 * SECOND), [0, 0, 10, 10]),
        (Announcements(master_repeat=0, master_delay=0), []),
        (
            Announcements(
                master_repeat=1,
                master_delay=0,
                master_refresh=30 * SECOND,
                master_refresh_repeat=2,
            ),
            [0, 30, 30, 60, 60, 90, 90],
        ),
    ],
)
def test_repeats_delays_and_refreshes(settings: Announcements, expected: list[float]) -> None:
    stage = Stage(settings)
    stage.announcer.became_master(stage.instances[0])
    assert times(stage.sent_until(100 * SECOND)) == expected


def test_every_new_master_is_heard_once_before_any_is_heard_twice() -> None:
    stage = Stage(*[Announcements(master_delay=0)] * 3)
    for instance in stage.instances.values():
        stage.announcer.became_master(instance)
    last_bytes = [frame[31] for _, frame in stage.sent_until(SECOND)]
    assert last_bytes == [100, 101, 102] * 5


def test_what_waits_for_a_master_ends_with_its_term() -> None:
    stage = Stage(Announcements(master_refresh=10 * SECOND))
    stage.announcer.became_master(stage.instances[0])
    stage.sent_until(2 * SECOND)
    stage.announcer.released(stage.instances[0])
    assert stage.sent_until(50 * SECOND) == []


@pytest.mark.keywords("vrrp_instance/garp_lower_prio_delay", "vrrp_instance/garp_lower_prio_repeat")
def test_a_lower_priority_master_is_answered_with_sets_of_its_own() -> None:
    stage = Stage(
        Announcements(
            master_delay=0, master_repeat=1, lower_prio_repeat=2, lower_prio_delay=3 * SECOND
        )
    )
    stage.announcer.became_master(stage.instances[0])
    stage.sent_until(SECOND)
    stage.announcer.heard_lower_priority(stage.instances[0])
    assert times(stage.sent_until(20 * SECOND)) == [1, 1, 4, 4]


def test_a_strict_instance_does_not_answer_a_lower_priority_master() -> None:
    stage = Stage(
        Announcements(master_delay=0, master_repeat=0, lower_prio_repeat=0, lower_prio_delay=0)
    )
    instance = stage.instances[0]
    assert not stage.announcer.heard_lower_priority(instance)
    assert stage.sent_until(20 * SECOND) == []


def test_however_often_the_other_speaks_it_is_answered_once_until_it_is_quiet() -> None:
    stage = Stage(
        Announcements(
            master_delay=0, master_repeat=0, lower_prio_repeat=1, lower_prio_delay=2 * SECOND
        )
    )
    instance = stage.instances[0]
    stage.announcer.became_master(instance)
    answered = []
    for tenth in range(50):
        stage.sent_until(tenth * SECOND // 10)
        if stage.announcer.heard_lower_priority(instance):
            answered.append(tenth)
    assert answered == [0, 20, 40]


@pytest.mark.keywords("global_defs/vrrp_garp_interval", "global_defs/vrrp_gna_interval")
def test_paced_announcements_keep_their_distance_on_each_interface() -> None:
    stage = Stage(
        Announcements(master_delay=0, master_repeat=2),
        garp_interval=SECOND // 100,
        gna_interval=SECOND // 10,
    )
    stage.aim(
        0,
        [
            (AF_INET, IPV4, 7, MAC, False),
            (AF_INET6, IPV6, 8, MAC, True),
        ],
    )
    stage.announcer.became_master(stage.instances[0])
    sent = stage.sent_until(SECOND)
    assert [at / SECOND for at, frame in sent if len(frame) == 42] == [0, 0.01]
    assert [at / SECOND for at, frame in sent if len(frame) == 86] == [0, 0.1]


ONCE = Announcements(master_delay=0, master_repeat=1)


def test_arp_and_neighbour_advertisements_do_not_wait_for_each_other() -> None:
    stage = Stage(ONCE, garp_interval=SECOND, gna_interval=SECOND)
    stage.aim(
        0,
        [
            (AF_INET, IPV4, 7, MAC, False),
            (AF_INET6, IPV6, 7, MAC, True),
            (AF_INET, bytes(4), 7, MAC, False),
        ],
    )
    stage.announcer.became_master(stage.instances[0])
    sent = stage.sent_until(10 * SECOND)
    assert [(at // SECOND, len(frame)) for at, frame in sent] == [(0, 42), (0, 86), (1, 42)]


def test_the_interfaces_of_a_group_share_its_gap_and_have_no_other() -> None:
    group = GarpGroup(("eth0", "eth1"), garp_interval=3 * SECOND)
    stage = Stage(ONCE, garp_interval=SECOND, gna_interval=SECOND, groups=(group,))
    stage.aim(
        0,
        [
            *((AF_INET, bytes((10, 0, 0, ifindex)), ifindex, MAC, False) for ifindex in (7, 8, 9)),
            *((AF_INET, bytes((10, 0, 1, ifindex)), ifindex, MAC, False) for ifindex in (7, 8, 9)),
            (AF_INET6, IPV6, 7, MAC, False),
            (AF_INET6, IPV6, 8, MAC, False),
        ],
    )
    stage.announcer.became_master(stage.instances[0])
    sent = stage.sent_until(100 * SECOND)
    arp = [(at // SECOND, frame[31]) for at, frame in sent if len(frame) == 42]
    assert arp == [(0, 7), (0, 9), (1, 9), (3, 8), (6, 7), (9, 8)]
    assert [at for at, frame in sent if len(frame) == 86] == [0, 0]


def test_what_a_former_master_has_not_sent_delays_nobody() -> None:
    stage = Stage(Announcements(master_delay=0), ONCE, garp_interval=10 * SECOND)
    first, second = stage.instances.values()
    stage.announcer.became_master(first)
    stage.sent_until(SECOND)
    stage.announcer.released(first)
    stage.announcer.became_master(second)
    assert times(stage.sent_until(100 * SECOND)) == [10]


def test_repeats_that_a_gap_does_not_let_through_do_not_pile_up() -> None:
    stage = Stage(
        Announcements(master_delay=0, master_refresh=SECOND, master_refresh_repeat=5),
        garp_interval=10 * SECOND,
    )
    instance = stage.instances[0]
    stage.announcer.became_master(instance)
    assert times(stage.sent_until(60 * SECOND)) == [0, 10, 20, 30, 40, 50, 60]
    instance.model = replace(instance.model, announcements=ONCE)
    assert len(stage.sent_until(1000 * SECOND)) == 10


def test_other_gaps_hold_for_what_waits() -> None:
    stage = Stage(Announcements(master_delay=0, master_repeat=4), garp_interval=100 * SECOND)
    stage.announcer.became_master(stage.instances[0])
    assert times(stage.sent_until(SECOND)) == [0]
    stage.announcer.pace(garp_interval=5 * SECOND)
    assert times(stage.sent_until(1000 * SECOND)) == [1, 6, 11]


def test_no_gap_sends_what_waits() -> None:
    stage = Stage(Announcements(master_delay=0, master_repeat=4), garp_interval=100 * SECOND)
    stage.announcer.became_master(stage.instances[0])
    assert times(stage.sent_until(SECOND)) == [0]
    stage.announcer.pace()
    assert times(stage.sent_until(1000 * SECOND)) == [1, 1, 1]


@pytest.mark.keywords("vrrp_instance/garp_extra_if")
def test_extra_interfaces_are_repeated_alone() -> None:
    stage = Stage(
        Announcements(master_delay=0, master_repeat=1, extra_interface_interval=20 * SECOND)
    )
    stage.aim(0, [(AF_INET, IPV4, 7, MAC, False), (AF_INET, bytes(4), 8, MAC, False)])
    stage.instances[0].extra_targets = (1,)
    stage.announcer.became_master(stage.instances[0])
    assert times(stage.sent_until(50 * SECOND)) == [0, 0, 20, 40]


def test_what_is_due_is_begun_in_slices() -> None:
    """Three masters repeat on an extra interface together; a slice that is over leaves the rest."""
    stage = Stage(
        *[Announcements(master_repeat=0, master_delay=0, extra_interface_interval=SECOND)] * 3
    )
    for instance in stage.instances.values():
        instance.extra_targets = (0,)
        stage.announcer.became_master(instance)
    stage.now = SECOND
    assert [stage.announcer.work(0) for _ in range(3)] == [True, True, False]
    assert len(stage.router.recorder.take_frames()) == 3


def test_a_reload_that_ends_the_refreshing_ends_it() -> None:
    stage = Stage(Announcements(master_delay=0, master_refresh=10 * SECOND))
    instance = stage.instances[0]
    stage.announcer.became_master(instance)
    assert times(stage.sent_until(15 * SECOND)) == [0] * 5 + [10]
    instance.model = replace(instance.model, announcements=Announcements(master_delay=0))
    assert stage.sent_until(100 * SECOND) == []
    assert stage.announcer.next_due() is None


def test_who_gets_the_index_of_another_does_not_get_what_waited_for_it() -> None:
    stage = Stage(Announcements(master_delay=0, master_refresh=10 * SECOND))
    stage.announcer.became_master(stage.instances[0])
    stage.sent_until(5 * SECOND)
    model = replace(stage.instances[0].model, announcements=Announcements(master_delay=0))
    stage.instances[0] = Instance(model, 0, Place(lambda run, then: None))
    stage.announcer.became_master(stage.instances[0])
    assert times(stage.sent_until(100 * SECOND)) == [5] * 5


def test_who_goes_on_after_a_crash_refreshes_when_it_was_due() -> None:
    stage = Stage(Announcements(master_refresh=30 * SECOND))
    stage.now = 100 * SECOND
    stage.announcer.resumed(stage.instances[0], 23 * SECOND)
    assert times(stage.sent_until(150 * SECOND)) == [113, 143]
