"""Scripts that are not run, as whom they run, and what is run when the daemon starts and ends, side
by side with keepalived."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path

import pytest

from lab import Fastvrrp, Laboratory, wait_until
from lab.witness import Witness
from notify_pair import NOBODY, both, definitions, instance


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
