"""The state machine, row by row: RFC 9568 section 6.4, RFC 3768 and keepalived's extensions."""

from __future__ import annotations

import pytest

from fastvrrp._fsm import TABLE, Machine

S = 1_000_000_000
OURS = bytes((10, 0, 0, 5))
LOWER_ADDRESS = bytes((10, 0, 0, 4))
HIGHER_ADDRESS = bytes((10, 0, 0, 6))


def backup(now: int = 0, **options: object) -> Machine:
    machine = Machine(source=OURS, **options)  # type: ignore[arg-type]
    machine.step("START", now)
    assert machine.state == "BACKUP"
    return machine


def master(now: int = 0, **options: object) -> Machine:
    machine = backup(now, **options)
    machine.step("TIMER", now)
    assert machine.state == "MASTER"
    return machine


def hear(
    machine: Machine,
    now: int,
    priority: int,
    source: bytes = HIGHER_ADDRESS,
    interval: int = S,
) -> tuple[str, ...]:
    return machine.step("ADVERT", now, priority=priority, source=source, interval=interval)


def test_every_state_and_event_either_has_rows_that_end_unguarded_or_none() -> None:
    """No event can fall through a list of guards by accident."""
    seen: dict[tuple[str, str], tuple[str, ...]] = {}
    for state, event, guards, *_ in TABLE:
        assert seen.get((state, event)) != (), f"a row of {state} {event} can never be reached"
        seen[state, event] = guards
    assert {key for key, guards in seen.items() if guards} == set()


def test_an_owner_is_master_at_once() -> None:
    machine = Machine(priority=255)
    assert machine.step("START", 0) == ("SEND_ADVERT", "SET_TIMER", "CHANGE", "ACQUIRE")
    assert (machine.state, machine.deadline) == ("MASTER", S)


@pytest.mark.keywords("vrrp_instance/state")
def test_an_owner_that_is_told_to_start_as_backup_waits() -> None:
    machine = Machine(priority=255, starts_backup=True)
    machine.step("START", 0)
    assert (machine.state, machine.deadline) == ("BACKUP", 3 * S + S // 256)


@pytest.mark.parametrize(
    ("version", "interval", "priority", "skew"),
    [
        (3, S, 100, 156 * S // 256),
        (3, S, 254, 2 * S // 256),
        (3, S // 100, 100, 156 * S // 100 // 256),
        (3, 4 * S, 1, 255 * 4 * S // 256),
        # RFC 3768 section 6.1: the skew is of a second, whatever the interval.
        (2, S, 100, 156 * S // 256),
        (2, 5 * S, 100, 156 * S // 256),
    ],
)
def test_master_down_interval(version: int, interval: int, priority: int, skew: int) -> None:
    machine = backup(version=version, advert_interval=interval, priority=priority)
    assert machine.skew_time == skew
    assert machine.deadline == 3 * interval + skew


def test_a_backup_takes_over_when_the_master_is_silent() -> None:
    machine = backup()
    assert machine.step("TIMER", 4 * S) == ("SEND_ADVERT", "SET_TIMER", "CHANGE", "ACQUIRE")
    assert (machine.state, machine.deadline) == ("MASTER", 5 * S)


def test_a_resignation_is_followed_within_the_skew_time() -> None:
    machine = backup()
    hear(machine, S, 200)
    hear(machine, 2 * S, 0)
    assert machine.state == "BACKUP"
    assert machine.deadline == 2 * S + machine.skew_time


def test_a_backup_learns_the_interval_of_a_version_3_master() -> None:
    machine = backup(version=3)
    hear(machine, S, 200, interval=4 * S)
    assert machine.master_interval == 4 * S
    assert machine.deadline == S + 12 * S + 156 * 4 * S // 256


def test_a_new_master_goes_back_to_its_own_interval() -> None:
    machine = backup(version=3)
    hear(machine, S, 200, interval=4 * S)
    machine.step("TIMER", 20 * S)
    assert machine.master_interval == S
    assert machine.deadline == 21 * S


@pytest.mark.parametrize(
    ("preempt", "priority", "is_followed"),
    [(True, 101, True), (True, 100, True), (True, 99, False), (False, 99, True), (False, 1, True)],
)
def test_whose_adverts_a_backup_follows(preempt: bool, priority: int, is_followed: bool) -> None:
    machine = backup(preempt=preempt)
    before = machine.deadline
    actions = hear(machine, S, priority)
    assert ("DISCARD" in actions) is not is_followed
    assert (machine.deadline != before) is is_followed


@pytest.mark.keywords("vrrp_instance/preempt_delay")
def test_a_preempt_delay_starts_with_the_first_lower_advert() -> None:
    """From there the lower master is let be for the delay; its last advert still counts."""
    machine = backup(preempt_delay=5 * S)
    for second in (1, 2, 3, 4, 5):
        assert "DISCARD" not in hear(machine, second * S, 50)
    assert "DISCARD" in hear(machine, 6 * S, 50)
    assert machine.deadline == 5 * S + machine.master_down_interval


def test_a_higher_advert_ends_a_preempt_delay() -> None:
    machine = backup(preempt_delay=5 * S)
    hear(machine, S, 50)
    hear(machine, 5 * S, 150)
    assert "DISCARD" not in hear(machine, 7 * S, 50)


def test_a_master_answers_a_resignation_at_once() -> None:
    machine = master()
    assert hear(machine, S // 2, 0) == ("SEND_ADVERT", "SET_TIMER")
    assert machine.deadline == S // 2 + S


@pytest.mark.parametrize(
    ("priority", "source", "yields"),
    [
        (101, LOWER_ADDRESS, True),
        (100, HIGHER_ADDRESS, True),
        (100, LOWER_ADDRESS, False),
        (100, OURS, False),
        (99, HIGHER_ADDRESS, False),
    ],
)
def test_to_whom_a_master_yields(priority: int, source: bytes, yields: bool) -> None:
    machine = master(priority=100)
    actions = hear(machine, S, priority, source)
    if yields:
        assert actions == ("SET_TIMER", "CHANGE", "RELEASE")
        assert machine.state == "BACKUP"
        assert machine.deadline == S + machine.master_down_interval
    else:
        assert actions == ("SEND_ADVERT", "REANNOUNCE")
        assert machine.state == "MASTER"


def test_ipv6_addresses_settle_a_tie_too() -> None:
    ours, theirs = (
        bytes.fromhex("fe80" + "00" * 13 + "05"),
        bytes.fromhex("fe80" + "00" * 13 + "06"),
    )
    machine = Machine(source=ours)
    machine.step("START", 0)
    machine.step("TIMER", 4 * S)
    machine.step("ADVERT", 5 * S, priority=100, source=theirs, interval=S)
    assert machine.state == "BACKUP"


def test_nopreempt_does_not_hold_back_a_master() -> None:
    machine = master(preempt=False)
    assert "DISCARD" not in hear(machine, S, 50)
    assert machine.state == "MASTER"


@pytest.mark.keywords("vrrp_instance/lower_prio_no_advert")
def test_lower_adverts_are_not_answered_when_told_so() -> None:
    assert hear(master(lower_prio_no_advert=True), S, 50) == ("DISCARD",)


@pytest.mark.keywords("vrrp_instance/higher_prio_send_advert")
def test_a_yielding_master_speaks_once_more_when_told_so() -> None:
    actions = hear(master(higher_prio_send_advert=True), S, 200)
    assert actions == ("SEND_ADVERT", "SET_TIMER", "CHANGE", "RELEASE")


def test_adverts_do_not_drift() -> None:
    machine = master()
    for second in range(1, 6):
        machine.step("TIMER", second * S - S // 200)  # a little early, to share a wake
        assert machine.deadline == (second + 1) * S


def test_a_master_that_slept_sends_one_advert_not_a_burst() -> None:
    machine = master()
    machine.step("TIMER", 100 * S)
    assert machine.deadline == 101 * S


@pytest.mark.parametrize(("event", "state"), [("STOP", "INIT"), ("FAIL", "FAULT")])
def test_a_master_that_ends_resigns(event: str, state: str) -> None:
    machine = master()
    actions = machine.step(event, S)  # type: ignore[arg-type]
    assert actions == ("SEND_RESIGN", "SET_TIMER", "CHANGE", "RELEASE")
    assert (machine.state, machine.deadline) == (state, None)


@pytest.mark.parametrize(("event", "state"), [("STOP", "INIT"), ("FAIL", "FAULT")])
def test_a_backup_that_ends_is_silent(event: str, state: str) -> None:
    machine = backup()
    assert machine.step(event, S) == ("SET_TIMER", "CHANGE")  # type: ignore[arg-type]
    assert (machine.state, machine.deadline) == (state, None)


def test_a_master_that_resigns_waits_for_another_one() -> None:
    machine = master()
    assert machine.step("RESIGN", S) == ("SEND_RESIGN", "SET_TIMER", "CHANGE", "RELEASE")
    assert (machine.state, machine.deadline) == ("BACKUP", S + machine.master_down_interval)
    assert machine.step("RESIGN", 2 * S) == ("DISCARD",)


def test_a_fault_is_left_as_a_start() -> None:
    machine = backup()
    machine.step("FAIL", S)
    assert hear(machine, 2 * S, 200) == ("DISCARD",)
    machine.step("START", 3 * S)
    assert (machine.state, machine.deadline) == ("BACKUP", 3 * S + machine.master_down_interval)


def test_a_member_of_a_sync_group_waits_for_the_others() -> None:
    machine = backup(membership="MEMBER")
    silence = machine.master_down_interval
    assert machine.step("TIMER", silence) == ("SET_TIMER", "WANT")
    assert (machine.state, machine.wants_master) == ("BACKUP", True)
    assert machine.deadline == 2 * silence
    assert machine.step("PROMOTE", silence) == ("SEND_ADVERT", "SET_TIMER", "CHANGE", "ACQUIRE")
    assert (machine.state, machine.wants_master) == ("MASTER", False)


@pytest.mark.parametrize(
    ("priority", "still_waits"),
    # A lower priority is no master to follow, and one that resigns is one less.
    [(200, False), (100, False), (50, True), (0, True)],
)
def test_a_member_waits_until_it_follows_a_master(priority: int, still_waits: bool) -> None:
    machine = backup(membership="MEMBER")
    machine.step("TIMER", 4 * S)
    hear(machine, 5 * S, priority)
    assert machine.wants_master is still_waits


def test_a_member_is_demoted_silently() -> None:
    machine = backup(membership="MEMBER")
    machine.step("PROMOTE", 4 * S)
    assert machine.step("DEMOTE", 5 * S) == ("SET_TIMER", "CHANGE", "RELEASE")
    assert (machine.state, machine.deadline) == ("BACKUP", 5 * S + machine.master_down_interval)
    assert machine.step("DEMOTE", 6 * S) == ("DISCARD",)


@pytest.mark.parametrize("state", ["INIT", "FAULT"])
def test_only_a_backup_can_be_promoted(state: str) -> None:
    machine = Machine(membership="MEMBER")
    if state == "FAULT":
        machine.step("FAIL", 0)
    assert machine.step("PROMOTE", S) == ("DISCARD",)
    assert machine.state == state


@pytest.mark.parametrize(
    ("membership", "state"),
    [("ALONE", "MASTER"), ("MEMBER", "BACKUP"), ("OWNING_MEMBER", "MASTER")],
)
def test_an_owner_in_a_group_starts_as_master_only_among_owners(
    membership: str, state: str
) -> None:
    machine = Machine(priority=255, membership=membership)  # type: ignore[arg-type]
    machine.step("START", 0)
    assert machine.state == state


def test_nobody_becomes_master_by_silence_before_the_startup_delay_is_over() -> None:
    machine = Machine()
    machine.step("START", S, opens_at=10 * S)
    assert machine.deadline == 10 * S + machine.master_down_interval
    machine.step("ADVERT", 2 * S, priority=200, source=HIGHER_ADDRESS, interval=S, opens_at=10 * S)
    assert machine.deadline == 10 * S + machine.master_down_interval
    machine.step("ADVERT", 3 * S, priority=0, source=HIGHER_ADDRESS, opens_at=10 * S)
    assert machine.deadline == 10 * S + machine.skew_time


def test_an_owner_is_master_when_the_startup_delay_is_over() -> None:
    machine = Machine(priority=255)
    assert machine.step("START", S, opens_at=10 * S) == ("SET_TIMER", "CHANGE")
    assert (machine.state, machine.deadline) == ("BACKUP", 10 * S)
    machine.step("TIMER", 10 * S, opens_at=10 * S)
    assert machine.state == "MASTER"


@pytest.mark.parametrize(
    ("late", "preempt", "expired_priority", "goes_on"),
    [
        # The last advert was sent at 0; another router of priority 254 takes over after 3.008 s.
        (3 * S, False, 254, True),
        (4 * S, False, 254, False),
        # One of priority 128 needs half a second more.
        (int(3.4 * S), False, 128, True),
        (int(3.6 * S), False, 128, False),
        (10 * S, True, 254, True),
        (10 * S, False, 0, True),
    ],
)
def test_a_master_that_stood_still_may_have_been_replaced(
    late: int, preempt: bool, expired_priority: int, goes_on: bool
) -> None:
    machine = master(preempt=preempt, expired_priority=expired_priority)
    actions = machine.step("TIMER", late)
    if goes_on:
        assert actions == ("SEND_ADVERT", "SET_TIMER")
    else:
        assert actions == ("SET_TIMER", "CHANGE", "RELEASE")
        assert machine.deadline == late + machine.master_down_interval


def test_a_master_that_stood_still_may_hear_its_successor_before_its_own_time_comes() -> None:
    machine = master(preempt=False, expired_priority=254)
    assert hear(machine, 4 * S, 50) == ("SET_TIMER", "CHANGE", "RELEASE")
    assert (machine.state, machine.master_priority) == ("BACKUP", 50)


def test_a_strict_owner_hears_nobody() -> None:
    machine = Machine(priority=255, ignores_adverts=True, source=OURS)
    machine.step("START", 0)
    for priority in (0, 100, 255):
        assert hear(machine, S, priority) == ("DISCARD",)
    assert machine.state == "MASTER"


def test_a_source_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="5 bytes"):
        Machine(source=b"12345")
