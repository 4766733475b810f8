"""Who is told of a change of state, side by side with keepalived: the same configuration, the same
events, and what both told is compared."""

from __future__ import annotations

import grp
import os
import pwd
import signal
import stat
import sys
from pathlib import Path

import pytest

from fastvrrp.config.table import TOP
from lab import Fastvrrp, Keepalived, Laboratory, wait_until
from lab.mailbox import Delivery, Mailbox
from lab.witness import Witness, by_name, lead

NOBODY = 65534


def needs(keyword: str) -> pytest.MarkDecorator:
    """A test that waits until a keyword is acted on."""
    return pytest.mark.skipif(
        not TOP.rows[keyword].is_acted_on, reason=f"{keyword} is not acted on yet"
    )


def definitions(*lines: str) -> str:
    body = "\n  ".join(("router_id lab", "vrrp_notify_fifo {fifo}", *lines))
    return f"global_defs {{\n  {body}\n}}\n"


def instance(name: str, vrid: int, *lines: str, priority: int = 200) -> str:
    body = "\n  ".join(
        (
            "interface {interface}",
            f"virtual_router_id {vrid}",
            "version 3",
            "advert_int 0.2",
            f"priority {priority}",
            "garp_master_delay 0",
            *lines,
        )
    )
    address = f"{{net}}.{100 + vrid}/24"
    return f"vrrp_instance {name} {{\n  {body}\n  virtual_ipaddress {{\n    {address}\n  }}\n}}\n"


def every_script(name: str) -> tuple[str, ...]:
    return tuple(
        f'{keyword} "{{script}} {keyword} {name}"'
        for keyword in (
            "notify_master",
            "notify_backup",
            "notify_fault",
            "notify_stop",
            "notify",
        )
    )


def both(lab: Laboratory) -> list[Witness]:
    return [Witness(lab, Keepalived), Witness(lab, Fastvrrp)]


def stop(witness: Witness) -> None:
    witness.daemon.stop()


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


# --- FIFOs ---------------------------------------------------------------------------------------


@pytest.mark.keywords("global_defs/notify_fifo", "global_defs/vrrp_notify_fifo")
def test_fifos_are_made_and_owned_as_keepalived_does(lab: Laboratory) -> None:
    conf = definitions(
        "script_user nobody daemon", "notify_fifo {folder}/all", "lvs_notify_fifo {folder}/lvs root"
    ).replace("vrrp_notify_fifo {fifo}", "vrrp_notify_fifo {folder}/vrrp root nogroup")
    seen = []
    for witness in both(lab):
        witness.start(conf + instance("A", 1))
        paths = [witness.folder / "all", witness.folder / "vrrp"]
        wait_until(lambda paths=paths: all(path.exists() for path in paths))  # type: ignore[misc]
        wait_until(lambda path=paths[0]: path.stat().st_uid == NOBODY)  # type: ignore[misc]
        wait_until(lambda path=paths[1]: path.stat().st_gid == NOBODY)  # type: ignore[misc]
        seen.append([(s.st_mode, s.st_uid, s.st_gid) for s in map(Path.stat, paths)])
        assert witness.daemon.stop() == 0
        assert not any(path.exists() for path in paths)
        assert witness.fifo.exists()
    theirs, ours = seen
    assert ours == theirs
    assert ours == [(stat.S_IFIFO | 0o600, NOBODY, 1), (stat.S_IFIFO | 0o600, 0, NOBODY)]


@pytest.mark.keywords("global_defs/notify_fifo_script", "global_defs/vrrp_notify_fifo_script")
def test_a_script_reads_the_fifo_to_the_end(lab: Laboratory) -> None:
    witness = Witness(lab, Fastvrrp)
    reader = witness.folder / "reader"
    read = witness.folder / "read"
    reader.write_text(f'#!/bin/sh\necho "$@" >>{read}\nexec cat "$2" >>{read}\n')
    reader.chmod(0o755)
    conf = definitions("script_user root", 'vrrp_notify_fifo_script "{folder}/reader more"')
    conf = conf.replace("{fifo}", "{folder}/made")
    witness.start(conf + instance("A", 1))
    wait_until(lambda: read.exists() and "MASTER 200" in read.read_text())
    assert witness.daemon.stop() == 0
    assert read.read_text().splitlines() == [
        f"more {witness.folder}/made",
        'INSTANCE "A" BACKUP 200',
        'INSTANCE "A" MASTER 200',
        'INSTANCE "A" STOP 200',
    ]


@pytest.mark.keywords("global_defs/fifo_write_vrrp_states_on_reload")
def test_states_are_told_on_a_reload_where_that_is_wanted(lab: Laboratory) -> None:
    witness = Witness(lab, Fastvrrp)
    a, b = instance("A", 1), instance("B", 2)
    wanting = definitions("fifo_write_vrrp_states_on_reload")
    witness.start(wanting + a)
    witness.wait(2, 0)
    witness.reload(wanting + a)
    witness.wait(3, 0)
    # One that is new is told of by itself.
    witness.reload(wanting + a + b)
    witness.wait(6, 0)
    witness.reload(definitions() + a + b)
    witness.daemon.wait_log("Reloaded", count=3)
    witness.daemon.stop()
    assert by_name(witness.told()) == {
        "A": [f'INSTANCE "A" {state} 200' for state in ("BACKUP", *3 * ("MASTER",), "STOP")],
        "B": [f'INSTANCE "B" {state} 200' for state in ("BACKUP", "MASTER", "STOP")],
    }


def test_a_fifo_that_cannot_be_is_refused(lab: Laboratory) -> None:
    witness = Witness(lab, Fastvrrp)
    file = witness.folder / "file"
    file.write_text("mine\n")
    conf = definitions("notify_fifo {folder}/file").replace("{fifo}", "{folder}/no/such/folder")
    witness.start(conf + instance("A", 1))
    witness.daemon.wait_log("Entering MASTER STATE")
    witness.daemon.stop()
    log = witness.daemon.log()
    assert f"notify_fifo {file} cannot be used: it is there, and is no FIFO" in log
    assert "no/such/folder cannot be used: No such file or directory" in log
    assert file.read_text() == "mine\n"


# --- what is not run -----------------------------------------------------------------------------


@pytest.mark.keywords("global_defs/enable_script_security")
@pytest.mark.parametrize(
    ("security", "run"),
    [
        ("enable_script_security", ["good", "of-nobody-by-nobody"]),
        ("", ["good", "in-open-folder", "of-group", "of-nobody", "of-nobody-by-nobody"]),
    ],
)
def test_scripts_that_are_not_safe_are_run_where_keepalived_runs_them(
    lab: Laboratory, security: str, run: list[str]
) -> None:
    theirs, ours = (told_by_unsafe_scripts(witness, security) for witness in both(lab))
    assert ours == theirs == run


def told_by_unsafe_scripts(witness: Witness, security: str) -> list[str]:
    """The first arguments of the scripts that were run when five instances became backup."""
    folder = witness.folder
    (folder / "open").mkdir()
    (folder / "open").chmod(0o777)
    for name in ("open/script", "nobodys", "groups", "weak"):
        (folder / name).write_text(witness.script.read_text())
        (folder / name).chmod(0o755)
    os.chown(folder / "nobodys", NOBODY, 0)
    os.chown(folder / "groups", 0, NOBODY)
    (folder / "groups").chmod(0o775)
    (folder / "weak").chmod(0o644)
    conf = definitions("script_user root", security) + "".join(
        instance(f"I{vrid}", vrid, f'notify_backup "{{folder}}/{script}', f"# {vrid}")
        for vrid, script in enumerate(
            (
                'weak weak"',
                'none none"',
                'open/script in-open-folder"',
                'nobodys of-nobody"',
                'groups of-group"',
                'nobodys of-nobody-by-nobody" nobody',
                'record good"',
            ),
            start=1,
        )
    )
    witness.start(conf)
    witness.wait(7, 1)
    wait_until(lambda: any("<good>" in run for run in witness.runs()))
    witness.daemon.stop()
    if witness.kind is Fastvrrp and security:
        log = witness.daemon.log()
        for fault in (
            "is not on this machine",
            "is not executable for uid:gid 0:0",
            f"others than root may write {folder}/open;",
            f"others than root may write {folder}/nobodys;",
            f"others than root may write {folder}/groups;",
        ):
            assert fault in log
    return sorted(run.split()[0].strip("<>") for run in witness.runs())


@pytest.mark.keywords("global_defs/set_supplementary_groups")
@pytest.mark.parametrize("is_global", [True, False], ids=["global", "colon"])
def test_all_groups_of_a_user_are_taken_along_where_that_is_wanted(
    lab: Laboratory, is_global: bool
) -> None:
    known = {entry.pw_name for entry in pwd.getpwall()}
    user = next((name for entry in grp.getgrall() for name in entry.gr_mem if name in known), None)
    if user is None:
        pytest.skip("no user of this machine is in a second group")
    everywhere = set(os.getgrouplist(user, pwd.getpwnam(user).pw_gid))
    witness = Witness(lab, Fastvrrp)
    colon = "" if is_global else ":"
    conf = definitions(f"script_user {user}", "set_supplementary_groups" if is_global else "")
    conf += instance("A", 1, f'notify_backup "{{script}} b" {user} {colon}')
    witness.start(conf)
    witness.wait(1, 1)
    witness.daemon.stop()
    groups = witness.runs()[0].split("groups=")[1].split()[0].split(",")
    assert set(map(int, groups)) == everywhere
    assert len(everywhere) > 1


# --- the daemon's own scripts --------------------------------------------------------------------


@pytest.mark.keywords("global_defs/startup_script", "global_defs/shutdown_script")
def test_the_daemon_waits_for_its_scripts(lab: Laboratory) -> None:
    for witness in both(lab):
        script = witness.folder / "slow"
        script.write_text(
            "#!/bin/sh\n"
            f"echo begun $1 >>{witness.out}x\nsleep 0.7\nip -br address >>{witness.out}x\n"
            f"echo ended $1 >>{witness.out}x\n"
        )
        script.chmod(0o755)
        conf = definitions(
            "script_user root",
            'startup_script "{folder}/slow startup"',
            'shutdown_script "{folder}/slow shutdown"',
        )
        witness.start(conf + instance("A", 1, 'notify_stop "{script} stop"'))
        witness.wait(2, 0)
        witness.daemon.stop()
        lines = Path(f"{witness.out}x").read_text().splitlines()
        assert [line for line in lines if line.startswith(("begun", "ended"))] == [
            *("begun startup", "ended startup", "begun shutdown", "ended shutdown")
        ]
        # Before the first address and after the last one.
        assert not any(witness.filled("{net}.101/") in line for line in lines)
        assert witness.runs()[0].startswith("<stop>")


@pytest.mark.keywords("global_defs/startup_script_timeout", "global_defs/shutdown_script_timeout")
def test_a_script_that_hangs_is_killed_and_the_daemon_goes_on(lab: Laboratory) -> None:
    witness = Witness(lab, Fastvrrp)
    pids = witness.folder / "pids"
    hangs = witness.folder / "hangs"
    hangs.write_text(f"#!/bin/sh\ntrap '' TERM\necho $$ >>{pids}\nsleep 100 &\nwait\n")
    hangs.chmod(0o755)
    conf = definitions(
        "script_user root",
        "startup_script {folder}/hangs",
        "startup_script_timeout 1",
        "shutdown_script {folder}/hangs",
        "shutdown_script_timeout 1",
    )
    witness.start(conf + instance("A", 1))
    witness.daemon.wait_log(f"startup script {hangs} did not end in time and is killed")
    witness.daemon.wait_log("Entering MASTER STATE")
    witness.daemon.stop()
    assert f"shutdown script {hangs} did not end in time and is killed" in witness.daemon.log()
    assert len(pids.read_text().split()) == 2
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids.read_text().split())


def test_a_daemon_that_is_told_to_end_does_not_wait_for_its_startup(lab: Laboratory) -> None:
    witness = Witness(lab, Fastvrrp)
    hangs = witness.folder / "hangs"
    hangs.write_text(f"#!/bin/sh\ntouch {hangs}.begun\nexec sleep 100\n")
    hangs.chmod(0o755)
    conf = definitions("script_user root", "startup_script {folder}/hangs")
    witness.start(conf + instance("A", 1))
    wait_until(Path(f"{hangs}.begun").exists)
    assert witness.daemon.stop() == 0
    assert "Startup complete" not in witness.daemon.log()


@pytest.mark.keywords("vrrp_instance/notify_stop")
def test_what_tells_of_the_end_is_not_ended_with_it(lab: Laboratory) -> None:
    witness = Witness(lab, Fastvrrp)
    done = witness.folder / "done"
    slow = witness.folder / "slow"
    slow.write_text(f"#!/bin/sh\nsleep 5\ntouch {done}\n")
    slow.chmod(0o755)
    witness.start(definitions("script_user root") + instance("A", 1, "notify_stop {folder}/slow"))
    witness.wait(2, 0)
    assert witness.daemon.stop() == 0
    assert not done.exists()
    wait_until(done.exists)


# --- mail ----------------------------------------------------------------------------------------

MAIL = (
    "smtp_server {peer} 2525",
    "notification_email {\n    root@example.org\n    admin@example.org\n  }",
    "notification_email_from vrrp@example.org",
    "smtp_helo_name router.example.org",
)


def essence(delivery: Delivery) -> tuple[object, ...]:
    message = delivery.message
    headers = [message[name] for name in ("From", "To", "Subject", "X-Mailer")]
    text = message.get_payload()
    assert isinstance(text, str)
    return delivery.helo, delivery.sender, delivery.recipients, headers, text.split()


@pytest.mark.keywords(
    "vrrp_instance/smtp_alert",
    "global_defs/smtp_server",
    "global_defs/notification_email",
    "global_defs/notification_email_from",
    "global_defs/smtp_helo_name",
    "global_defs/smtp_alert_vrrp",
)
def test_mails_are_keepalived_s(lab: Laboratory) -> None:
    witnesses = both(lab)
    boxes = [Mailbox(each.peer, each.filled("{peer}"), 2525) for each in witnesses]
    definition = definitions(*MAIL, "smtp_alert_vrrp yes")
    conf = definition + instance("A", 1) + instance("B", 2, "smtp_alert no")
    for witness, box in zip(witnesses, boxes, strict=True):
        witness.start(conf + instance("C", 3, "notify_deleted"))
        box.wait(4)
        witness.router.ip(f"link set {witness.link.interface} down")
        wait_until(lambda told=witness.told: any("FAULT" in line for line in told()))  # type: ignore[misc]
        witness.router.ip(f"link set {witness.link.interface} up")
        box.wait(8)  # those of FAULT may be lost by either while there is no link
        witness.reload(conf)
        wait_until(lambda box=box: any("Deleted" in s for s in box.subjects()))  # type: ignore[misc]
        witness.daemon.stop()
    theirs, ours = ([essence(each) for each in box.deliveries] for box in boxes)
    assert {str(each) for each in ours if "FAULT" not in str(each)} == {
        str(each) for each in theirs if "FAULT" not in str(each)
    }
    assert {s.split(" - ")[0] for s in boxes[1].subjects()} == {
        "[lab] VRRP Instance A",
        "[lab] VRRP Instance C",
    }
    assert boxes[1].deliveries[0].message["Message-ID"].endswith("@example.org>")


@needs("vrrp_sync_group")
@pytest.mark.keywords("vrrp_sync_group/smtp_alert")
def test_mails_about_groups_are_keepalived_s(lab: Laboratory) -> None:
    witnesses = both(lab)
    boxes = [Mailbox(each.peer, each.filled("{peer}"), 2525) for each in witnesses]
    group = "vrrp_sync_group G {\n  group {\n    A\n  }\n  smtp_alert\n}\n"
    better = instance("A", 1, priority=250)
    for witness, box in zip(witnesses, boxes, strict=True):
        witness.start(definitions(*MAIL) + group + instance("A", 1))
        box.wait(2)
        witness.start_other(better)
        box.wait(3)
        witness.daemon.stop()
    theirs, ours = ([essence(each) for each in box.deliveries] for box in boxes)
    assert ours == theirs


@pytest.mark.keywords("global_defs/no_email_faults", "global_defs/smtp_alert")
def test_no_mail_of_faults_where_nobody_wants_one(lab: Laboratory) -> None:
    witness = Witness(lab, Fastvrrp)
    (spare,) = lab.connect(witness.router, witness.peer)
    box = Mailbox(witness.peer, spare.host(witness.peer.index), 2525)
    mail = [line.replace("{peer}", spare.host(witness.peer.index)) for line in MAIL]
    witness.start(definitions(*mail, "smtp_alert yes", "no_email_faults") + instance("A", 1))
    box.wait(2)
    witness.router.ip(f"link set {witness.link.interface} down")
    witness.wait(3, 0)
    witness.router.ip(f"link set {witness.link.interface} up")
    subjects = [delivery.message["Subject"] for delivery in box.wait(4)]
    witness.daemon.stop()
    states = [subject.removeprefix("[lab] VRRP Instance A - ") for subject in subjects]
    assert states == [f"Entering {state} state" for state in 2 * ("BACKUP", "MASTER")]


def test_a_dead_mail_server_costs_a_line_in_the_log(lab: Laboratory) -> None:
    witness = Witness(lab, Fastvrrp)
    witness.start(definitions(*MAIL, "smtp_alert yes") + instance("A", 1))
    witness.wait(2, 0)
    said = "no mail can be sent by SMTP server"
    witness.daemon.wait_log(said)
    box = Mailbox(witness.peer, witness.filled("{peer}"), 2525)
    assert len(box.wait(2)) == 2
    witness.daemon.stop()
    assert witness.daemon.log().count(said) == 1
    assert "Traceback" not in witness.daemon.log()
    assert "pending" not in witness.daemon.log()


@pytest.mark.keywords("global_defs/smtp_connect_timeout")
def test_a_silent_mail_server_does_not_keep_the_daemon_from_ending(lab: Laboratory) -> None:
    witness = Witness(lab, Fastvrrp)
    box = Mailbox(witness.peer, witness.filled("{peer}"), 2525)
    box.greets = False
    conf = definitions(*MAIL, "smtp_alert yes", "smtp_connect_timeout 1") + instance("A", 1)
    witness.start(conf)
    witness.daemon.wait_log("no mail can be sent by SMTP server")
    wait_until(lambda: box.connections > 1)
    assert witness.daemon.stop(3.0) == 0
    assert "2 mails were not sent: the daemon stops" in witness.daemon.log()
    assert "Traceback" not in witness.daemon.log()
