"""Who is told of a change of state, side by side with keepalived: the same configuration, the same
events, and what both told is compared."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from lab import Fastvrrp, Laboratory, wait_until
from lab.witness import Witness, by_name, lead
from notify_pair import both, definitions, every_script, instance, needs, stop


@pytest.mark.keywords(
    "vrrp_instance/notify_master",
    "vrrp_instance/notify_backup",
    "vrrp_instance/notify_fault",
    "vrrp_instance/notify_stop",
    "vrrp_instance/notify",
    "global_defs/vrrp_notify_fifo",
)
def test_each_state_is_told_as_keepalived_tells_it(lab: Laboratory) -> None:
    witnesses = both(lab)
    conf = definitions("script_user root") + instance("A", 1, *every_script("A"))
    lead(witnesses, lambda each: each.start(conf), 2, 4)
    better = instance("A", 1, priority=250)
    lead(witnesses, lambda each: each.start_other(better), 3, 6)
    lead(witnesses, Witness.stop_other, 4, 8)
    lead(witnesses, lambda each: each.router.ip(f"link set {each.link.interface} down"), 5, 10)
    lead(witnesses, lambda each: each.router.ip(f"link set {each.link.interface} up"), 7, 14)
    lead(witnesses, stop, 8, 16)
    theirs, ours = witnesses
    assert ours.told() == theirs.told()
    states = ["BACKUP", "MASTER", "BACKUP", "MASTER", "FAULT", "BACKUP", "MASTER", "STOP"]
    assert ours.told() == [f'INSTANCE "A" {state} 200' for state in states]
    assert ours.runs() == theirs.runs()
    assert ours.runs()[:2] == [
        "<notify_backup> <A> uid=0 gid=0 groups=0 HOME=/root",
        "<notify> <A> <INSTANCE> <A> <BACKUP> <200> uid=0 gid=0 groups=0 HOME=/root",
    ]


@pytest.mark.keywords(
    "global_defs/script_user", "global_defs/startup_script", "global_defs/shutdown_script"
)
def test_arguments_and_users_are_keepalived_s(lab: Laboratory) -> None:
    witnesses = both(lab)
    conf = definitions(
        "script_user nobody daemon", "startup_script \"{script} 'at the start' x\" root"
    )
    conf += instance(
        '"a name"',
        1,
        "notify_backup \"{script} 'a b'  c\"",
        "notify_master '{script} \"x y\"' root daemon",
        "notify {script} nobody",
        'notify_stop "{script} stop" root',
    )
    lead(witnesses, lambda each: each.start(conf), 2, 5)
    lead(witnesses, stop, 3, 7)
    theirs, ours = witnesses
    assert ours.runs() == theirs.runs()
    assert ours.runs() == [
        "<at the start> <x> uid=0 gid=0 groups=0 HOME=/root",
        "<a b> <c> uid=65534 gid=1 groups=1 HOME=/root",
        "<INSTANCE> <a name> <BACKUP> <200> uid=65534 gid=65534 groups=65534 HOME=/root",
        "<x y> uid=0 gid=1 groups=1 HOME=/root",
        "<INSTANCE> <a name> <MASTER> <200> uid=65534 gid=65534 groups=65534 HOME=/root",
        "<stop> uid=0 gid=0 groups=0 HOME=/root",
        "<INSTANCE> <a name> <STOP> <200> uid=65534 gid=65534 groups=65534 HOME=/root",
    ]
    assert ours.told() == theirs.told()


@pytest.mark.keywords(
    "vrrp_instance/notify_deleted",
    "vrrp_instance/notify",
    "vrrp_sync_group/notify_deleted",
)
def test_what_a_reload_removes_is_told_of(lab: Laboratory) -> None:
    witnesses = both(lab)
    first = definitions("script_user root") + instance("A", 1, *every_script("A"))
    conf = first + instance("B", 2, *every_script("B"))
    conf += instance("C", 3, *every_script("C"), 'notify_deleted "{script} deleted C"')
    conf += instance("D", 4, *every_script("D"), "notify_deleted")
    lead(witnesses, lambda each: each.start(conf), 8, 16)
    lead(witnesses, lambda each: each.reload(first), 11, 20)
    lead(witnesses, lambda each: each.reload(conf), 17, 32)
    lead(witnesses, stop, 21, 40)
    theirs, ours = witnesses
    assert by_name(ours.told()) == by_name(theirs.told())
    assert [line.split()[2] for line in by_name(ours.told())["B"]] == [
        *("BACKUP", "MASTER", "FAULT", "BACKUP", "MASTER", "STOP")
    ]
    assert sorted(ours.runs()) == sorted(theirs.runs())
    assert sum("<deleted> <C>" in run for run in ours.runs()) == 1
    # A removal is no fault: the script of faults is not run, though the word may be FAULT.
    assert not any("<notify_fault>" in run for run in ours.runs())


@pytest.mark.keywords("vrrp_instance/notify_master_rx_lower_pri")
def test_every_advert_of_lower_priority_is_told(lab: Laboratory) -> None:
    witnesses = both(lab)
    script = 'notify_master_rx_lower_pri "{script} lower"'
    conf = definitions("script_user root") + instance("A", 1, script)
    lead(witnesses, lambda each: each.start(conf), 2, 0)
    worse = instance("A", 1, priority=100)
    # It does not hear the master, and speaks as one, five times a second.
    lead(witnesses, lambda each: each.start_other(worse, is_deaf=True), 8, 6)
    for witness in witnesses:
        witness.daemon.stop()
        # That the two are a split brain, which they are, keepalived does not tell.
        told = [line for line in witness.told() if "SPLIT_BRAIN" not in line]
        assert set(told[2:-1]) == {'INSTANCE "A" MASTER_RX_LOWER_PRI 200'}
        assert set(witness.runs()) == {"<lower> uid=0 gid=0 groups=0 HOME=/root"}
        # One each: what was heard is neither told twice nor left out. The last may still run.
        wait_until(lambda: abs(len(told) - 3 - len(witness.runs())) <= 1)  # noqa: B023


def test_an_instance_that_is_renamed_is_told_of_by_both_names(lab: Laboratory) -> None:
    witness = Witness(lab, Fastvrrp)
    start = definitions("script_user root")
    witness.start(start + instance("A", 1, *every_script("A")))
    witness.wait(2, 4)
    witness.reload(start + instance("B", 1, *every_script("B")))
    witness.wait(4, 7)
    witness.daemon.stop()
    assert witness.told() == [
        'INSTANCE "A" BACKUP 200',
        'INSTANCE "A" MASTER 200',
        'INSTANCE "A" FAULT 200',
        'INSTANCE "B" MASTER 200',
        'INSTANCE "B" STOP 200',
    ]
    assert [run.split()[0] for run in witness.runs()[4:7]] == [
        *("<notify>", "<notify_master>", "<notify>")
    ]


def test_settings_that_a_reload_brings_hold_from_then_on(lab: Laboratory) -> None:
    witness = Witness(lab, Fastvrrp)
    witness.start(definitions("script_user root") + instance("A", 1))
    witness.wait(2, 0)
    second = definitions("script_user nobody").replace("{fifo}", "{folder}/other")
    witness.reload(second + instance("A", 1, 'notify "{script} more"'))
    witness.daemon.wait_log("Reloaded")
    assert (witness.folder / "other").exists()
    witness.daemon.stop()
    assert not (witness.folder / "other").exists()
    wait_until(witness.runs)
    assert witness.runs() == [
        "<more> <INSTANCE> <A> <STOP> <200> uid=65534 gid=65534 groups=65534 HOME=/root"
    ]
    assert len(witness.told()) == 2  # the other FIFO is told of nothing any more


def test_whoever_starts_it_does_not_wait_for_what_runs_scripts(lab: Laboratory) -> None:
    witness = Witness(lab, Fastvrrp)
    conf = witness.folder / "conf"
    pid_file = witness.folder / "fastvrrp.pid"
    text = definitions("script_user root") + instance("A", 1, 'notify "{script} x"')
    conf.write_text(witness.filled(text))
    fastvrrp = str(Path(sys.executable).with_name("fastvrrp"))
    begun = witness.router.run([fastvrrp, "run", "-f", str(conf), "-p", str(pid_file)])
    assert begun.returncode == 0
    wait_until(witness.runs)
    os.kill(int(pid_file.read_text()), signal.SIGTERM)
    wait_until(lambda: not pid_file.exists(), what="the end")


@needs("track_file")
@pytest.mark.keywords(
    "vrrp_instance/notify_priority_changes", "global_defs/vrrp_notify_priority_changes"
)
def test_changes_of_priorities_are_told_to_fifos(lab: Laboratory) -> None:
    witnesses = both(lab)
    conf = definitions("vrrp_notify_priority_changes yes")
    conf += "track_file t {\n  file {folder}/number\n  weight 1\n}\n"
    conf += instance("A", 1, "track_file {\n    t\n  }")
    quiet = instance("B", 2, "notify_priority_changes no", "track_file {\n    t\n  }")

    def write(number: int, witness: Witness) -> None:
        (witness.folder / "number").write_text(f"{number}\n")

    for witness in witnesses:
        write(0, witness)
    lead(witnesses, lambda each: each.start(conf + quiet), 4, 0)
    lead(witnesses, lambda each: write(-20, each), 5, 0)
    better = instance("A", 1, priority=250)
    lead(witnesses, lambda each: each.start_other(better), 6, 0)
    lead(witnesses, lambda each: write(10, each), 7, 0)
    lead(witnesses, stop, 9, 0)
    theirs, ours = witnesses
    assert by_name(ours.told()) == by_name(theirs.told())
    assert [line.split(" ", 2)[2] for line in by_name(ours.told())["A"]] == [
        *("BACKUP 200", "MASTER 200", "MASTER_PRIORITY 180", "BACKUP 180", "BACKUP_PRIORITY 210"),
        "STOP 210",
    ]


PRIORITIES = "notify_priority_changes"


@needs("track_file")
@pytest.mark.keywords("vrrp_sync_group/notify_priority_changes")
@pytest.mark.parametrize(
    ("of_all", "of_group", "own", "tells"),
    [
        ("", f"{PRIORITIES} yes", "", True),
        ("", f"{PRIORITIES} yes", f"{PRIORITIES} no", False),
        (f"vrrp_{PRIORITIES} yes", f"{PRIORITIES} no", "", False),
        ("", "", "", False),
    ],
)
def test_changes_of_priorities_of_a_group_are_told_as_under_keepalived(
    lab: Laboratory, of_all: str, of_group: str, own: str, tells: bool
) -> None:
    """A group speaks for those of its members that do not say it themselves."""
    witnesses = both(lab)
    conf = definitions(of_all) + "track_file t {\n  file {folder}/number\n  weight 1\n}\n"
    conf += (
        "vrrp_sync_group G {\n  group {\n    A\n    B\n  }\n  track_file {\n    t\n  }\n"
        f"  {of_group}\n}}\n"
    )
    conf += instance("A", 1, "notify_priority_changes yes")
    conf += instance("B", 2, own)

    def write(number: int, witness: Witness) -> None:
        (witness.folder / "number").write_text(f"{number}\n")

    for witness in witnesses:
        write(0, witness)
    lead(witnesses, lambda each: each.start(conf), 6, 0)
    lead(witnesses, lambda each: write(-20, each), 7 + tells, 0)
    lead(witnesses, stop, 10 + tells, 0)
    theirs, ours = witnesses
    assert by_name(ours.told()) == by_name(theirs.told())
    assert ('INSTANCE "B" MASTER_PRIORITY 180' in ours.told()) == tells


@needs("vrrp_sync_group")
@pytest.mark.keywords(
    "vrrp_sync_group/notify_master",
    "vrrp_sync_group/notify_backup",
    "vrrp_sync_group/notify_fault",
    "vrrp_sync_group/notify_stop",
    "vrrp_sync_group/notify",
)
def test_groups_are_told_of_as_keepalived_tells(lab: Laboratory) -> None:
    witnesses = both(lab)
    group = "vrrp_sync_group G {\n  group {\n    A\n    B\n  }\n  "
    group += "\n  ".join(every_script("G")) + "\n}\n"
    conf = definitions("script_user root") + group
    conf += instance("A", 1, *every_script("A")) + instance("B", 2, *every_script("B"))
    lead(witnesses, lambda each: each.start(conf), 6, 12)
    better = instance("B", 2, priority=250)
    lead(witnesses, lambda each: each.start_other(better), 9, 18)
    lead(witnesses, Witness.stop_other, 12, 24)
    lead(witnesses, lambda each: each.router.ip(f"link set {each.link.interface} down"), 15, 30)
    lead(witnesses, lambda each: each.router.ip(f"link set {each.link.interface} up"), 21, 42)
    lead(witnesses, stop, 24, 48)
    theirs, ours = witnesses
    assert by_name(ours.told()) == by_name(theirs.told())
    assert sorted(ours.runs()) == sorted(theirs.runs())
    # The group comes last, but for its start.
    groups = [position for position, line in enumerate(ours.told()) if line.startswith("GROUP")]
    assert groups == [
        position for position, line in enumerate(theirs.told()) if line.startswith("GROUP")
    ]
    assert groups[0] == 0
