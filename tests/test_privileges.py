"""What each process of the daemon may do, as the kernel tells, and that it is enough."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from fastvrrp._table import Segment
from fastvrrp.daemon.privileges import CHECKD, READER, SUPERVISOR, VRRPD
from fastvrrp.kernel.capabilities import Capability, Rights, keep_only, mask, own, raised
from fastvrrp.track import runner, watcher
from lab import Fastvrrp, Laboratory, wait_until
from lab.daemons import descendants
from tracking_pair import instance, tracks

NOBODY = 65534
GLOBAL = """
global_defs {
    script_user nobody
    vrrp_notify_fifo FOLDER/fifo
    dynamic_interfaces
}
"""
TRACKED = """
vrrp_script fine {
    script "/bin/true"
    interval 1
}
vrrp_track_process anybody {
    process sleep
}
"""
SERVED = """
virtual_server 10.9.0.1 80 {
    protocol TCP
    real_server 10.9.0.2 80 {
        MISC_CHECK {
            misc_path "/bin/true"
        }
    }
}
"""
ROUTER = instance(
    1,
    tracks("track_script", "fine weight 10"),
    tracks("track_process", "anybody weight -5"),
    'notify "FOLDER/script"',
)
SCRIPT = """#!/bin/sh
grep Cap /proc/self/status >"$0.$(id -u)"
"""


def sets_of(pid: int) -> set[tuple[int, int]]:
    """The effective and permitted sets of a process's threads."""
    found = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        lines = dict(line.split(":\t", 1) for line in (task / "status").read_text().splitlines())
        found.add((int(lines["CapEff"], 16), int(lines["CapPrm"], 16)))
    return found


def wanted(rights: Rights) -> set[tuple[int, int]]:
    return {(mask(rights.uses), mask(rights.uses | rights.reserve))}


def process_of(root: int, module: str) -> int | None:
    """A process below another one that runs a module."""
    for pid in descendants([root]):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        except OSError:
            continue
        if module in words:
            return pid
    return None


def awaited(root: int, module: str) -> int:
    wait_until(lambda: process_of(root, module), what=module)
    found = process_of(root, module)
    assert found is not None
    return found


def prepared(lab: Laboratory, text: str) -> Fastvrrp:
    """A daemon whose script is in a folder that only its owner, who is not root, may enter."""
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    daemon = Fastvrrp(a, "")
    closed = daemon.folder / "closed"
    closed.mkdir()
    script = closed / "script"
    script.write_text(SCRIPT)
    script.chmod(0o755)
    shutil.chown(closed, NOBODY)
    closed.chmod(0o700)
    daemon.configure(text.replace("FOLDER", str(closed)))
    return daemon


def test_no_process_may_do_more_than_it_has_to(lab: Laboratory) -> None:
    daemon = prepared(lab, GLOBAL + TRACKED + SERVED + ROUTER)
    daemon.start().wait_log("(V1) Entering MASTER STATE")
    root = daemon.processes[0].pid
    vrrpd = Segment(daemon.folder / "fastvrrp.state").pid
    checkd = awaited(root, "fastvrrp.daemon.checkd")
    of_vrrpd = awaited(vrrpd, "fastvrrp.track.runner")
    of_processes = awaited(vrrpd, "fastvrrp.track.watcher")
    wait_until(
        lambda: (
            sets_of(root) == wanted(SUPERVISOR)
            and sets_of(vrrpd) == wanted(VRRPD)
            and sets_of(checkd) == wanted(CHECKD)
            and sets_of(of_vrrpd) == wanted(runner.RIGHTS)
            and sets_of(of_processes) == wanted(watcher.RIGHTS)
        ),
        what="the rights of each process",
    )
    status = Path(f"/proc/{of_processes}/status").read_text()
    assert "CapBnd:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status
    # What somebody else's script gets is what that user has, in a folder that is closed to others.
    said = daemon.folder / "closed" / f"script.{NOBODY}"
    wait_until(lambda: said.exists() and "CapBnd" in said.read_text(), what="the script's word")
    assert "CapEff:\t0000000000000000" in said.read_text()
    assert (daemon.folder / "closed" / "fifo").stat().st_uid == NOBODY
    assert daemon.stop() == 0


def test_a_script_of_root_has_what_root_has(lab: Laboratory) -> None:
    conf = GLOBAL.replace("nobody", "root") + instance(1, 'notify "FOLDER/script"')
    daemon = prepared(lab, conf)
    daemon.start().wait_log("(V1) Entering MASTER STATE")
    said = daemon.folder / "closed" / "script.0"
    wait_until(lambda: said.exists() and "CapBnd" in said.read_text(), what="the script's word")
    ours = Path("/proc/self/status").read_text().splitlines()
    bounds = next(line for line in ours if line.startswith("CapBnd"))
    assert bounds.replace("Bnd", "Eff") in said.read_text()
    assert daemon.stop() == 0


def test_a_reload_may_bring_the_first_network_namespace(lab: Laboratory) -> None:
    a, b, c, d = (lab.router(name) for name in "abcd")
    lab.connect(a, b)
    other = lab.connect(c, d)[0].interface
    conf = instance(1)
    daemon = Fastvrrp(a, conf).start().wait_log("(V1) Entering MASTER STATE")
    vrrpd = Segment(daemon.folder / "fastvrrp.state").pid
    daemon.configure(conf + instance(2, f"net_namespace {c.namespace}", interface=other))
    daemon.signal(signal.SIGHUP)
    daemon.wait_log("(V2) Entering MASTER STATE")
    wait_until(lambda: c.holds("10.9.0.2"), what="its address")
    assert sets_of(vrrpd) == wanted(VRRPD)
    assert daemon.stop() == 0
    assert not c.holds("10.9.0.2")


IMPORTING = mask({Capability.DAC_OVERRIDE, Capability.DAC_READ_SEARCH})
"""For the project's own files, where those of tests are in a closed folder."""


class Unprivileged(Fastvrrp):
    """The daemon as a user who has a few capabilities, as in a container."""

    given = mask({Capability.NET_ADMIN, Capability.NET_RAW, Capability.SYS_TIME}) | IMPORTING

    def commands(self) -> Iterable[Sequence[str]]:
        shutil.chown(self.folder, NOBODY)
        names = ",".join(f"+cap_{number}" for number in range(64) if self.given >> number & 1)
        become = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        become += [f"--inh-caps={names}", f"--ambient-caps={names}"]
        return [[*become, *command] for command in super().commands()]


def test_without_root_it_uses_what_it_was_given_and_needs(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    script = "vrrp_script fine {\n    script /bin/true\n    interval 1\n}\n"
    conf = script + instance(1, tracks("track_script", "fine weight 10"))
    daemon = Unprivileged(a, conf).start().wait_log("(V1) Entering MASTER STATE")
    wait_until(lambda: a.holds("10.9.0.1"), what="the address")
    daemon.wait_log("Changing effective priority from 100 to 110")
    vrrpd = Segment(daemon.folder / "fastvrrp.state").pid
    # What it starts may need the rest.
    assert sets_of(vrrpd) == {(daemon.given & mask(VRRPD.uses), daemon.given)}
    of_scripts = sets_of(awaited(vrrpd, "fastvrrp.track.runner"))
    assert of_scripts == {(daemon.given & mask(runner.RIGHTS.uses), daemon.given)}
    assert daemon.stop() == 0
    assert not a.holds("10.9.0.1")


SETS = """
import subprocess
from fastvrrp.daemon.privileges import CHECKD, READER, VRRPD
from fastvrrp.kernel.capabilities import Sets, keep_only, own, set_own
keep_only({name})
had = own()
print(had.effective, had.permitted, had.inheritable)
try:
    set_own(Sets(had.effective | 1 << 25, had.permitted | 1 << 25, 0))
except OSError as error:
    print(error)
subprocess.run(["grep", "CapEff", "/proc/self/status"])
"""


@pytest.mark.parametrize(
    ("name", "rights"), [("READER", READER), ("VRRPD", VRRPD), ("CHECKD", CHECKD)]
)
def test_what_is_given_up_does_not_come_back(name: str, rights: Rights) -> None:
    python = [sys.executable, "-c", SETS.replace("{name}", name)]
    had, refused, regained = subprocess.check_output(python, text=True).splitlines()
    all_of_it = mask(rights.uses | rights.reserve)
    assert had == f"{mask(rights.uses)} {all_of_it} 0"
    assert "cannot be changed: Operation not permitted" in refused
    # Only who runs scripts can have a program that has it again.
    assert (int(regained.split()[1], 16) == 0) is not rights.starts_scripts


def test_what_is_permitted_is_raised_for_a_moment() -> None:
    seen: list[int] = []

    def try_it() -> None:
        keep_only(Rights(frozenset({Capability.NET_RAW}), frozenset({Capability.KILL}), True))
        seen.append(own().effective)
        with raised(Capability.KILL, Capability.SYS_ADMIN):
            seen.append(own().effective)
        seen.append(own().effective)

    thread = threading.Thread(target=try_it)  # the sets are of a thread, and these tests need more
    thread.start()
    thread.join()
    raw, kill = mask({Capability.NET_RAW}), mask({Capability.KILL})
    assert seen == [raw, raw | kill, raw]
