"""The process that speaks VRRP is killed, and the next one goes on where it was."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from fastvrrp._table import Segment
from fastvrrp.observe import details
from lab import Capture, Fastvrrp, Laboratory, Router, wait_until

BACKUP, MASTER = 1, 2
SECOND = 1_000_000_000
INTERVAL = 2
"""Seconds between adverts: a slow machine starts a process in less than three of these."""
PATIENCE = (3 * INTERVAL + 156 / 256) * SECOND
"""Of the backup, whose priority is 100."""

WATCHED = ("ip", "-o", "monitor", "address", "route", "rule")
DEFINITIONS = """
global_defs {
    script_user root
    vrrp_notify_fifo FOLDER/fifo
}
vrrp_script fails {
    script "/bin/false"
    interval 1
    weight -20
    rise 2
    fall 1
}
"""


def instance(name: str, vrid: int, *lines: str, priority: int = 200, addresses: str = "") -> str:
    body = "\n    ".join(lines)
    addresses = addresses or f"10.0.0.{100 + vrid}/24"
    return f"""
vrrp_instance {name} {{
    interface eth0
    virtual_router_id {vrid}
    priority {priority}
    advert_int {INTERVAL}
    {body}
    virtual_ipaddress {{
        {addresses}
    }}
}}
"""


def everything(folder: Path, here: str, there: str, priority: int) -> str:
    """One virtual router of each kind."""
    records = f'notify "{folder}/record"'
    return DEFINITIONS.replace("FOLDER", str(folder)) + "".join(
        (
            instance("plain", 1, records, priority=priority),
            instance("three", 2, "version 3", "use_vmac", records, priority=priority),
            instance(
                "six",
                3,
                "version 3",
                "use_vmac",
                priority=priority,
                addresses="fe80::103/64\n 2001:db8::3/64",
            ),
            instance(
                "unicast",
                4,
                "version 3",
                f"unicast_src_ip {here}",
                f"unicast_peer {{\n {there}\n}}",
                priority=priority,
            ),
            instance(
                "pass",
                5,
                "authentication {\n auth_type PASS\n auth_pass s3cret\n}",
                priority=priority,
            ),
            instance(
                "ah", 6, "authentication {\n auth_type AH\n auth_pass s3cret\n}", priority=priority
            ),
            instance(
                "signed",
                7,
                "version 3",
                "auth_hmac {\n key 1 0123456789abcdef0123456789ABCDEF\n}",
                priority=priority,
            ),
            instance("left", 8, records, priority=priority),
            instance("right", 9, priority=priority),
            instance("tracks", 10, "track_script {\n fails\n}", priority=priority),
            instance(
                "routes",
                11,
                "virtual_routes {\n 192.0.2.0/24 dev eth0\n}",
                "virtual_rules {\n from 192.0.2.0/24 lookup 200\n}",
                priority=priority,
            ),
            instance("refuses", 12, "version 3", "use_vmac", "no_accept", priority=priority),
            f"vrrp_sync_group both {{\n group {{\n left\n right\n }}\n {records}\n}}\n",
        )
    )


NAMES = {
    *("plain", "three", "six", "unicast", "pass", "ah", "signed", "left", "right", "tracks"),
    *("routes", "refuses"),
}


def records(daemon: Fastvrrp) -> dict[str, dict[str, Any]]:
    path = daemon.folder / "fastvrrp.state"
    return {router["name"]: router for router in Segment(path)} if path.exists() else {}


def are(daemon: Fastvrrp, state: int, names: set[str]) -> bool:
    found = records(daemon)
    return all(name in found and found[name]["state"] == state for name in names)


def wait_all(daemon: Fastvrrp, state: int, names: set[str], timeout: float = 40.0) -> None:
    wait_until(
        lambda: are(daemon, state, names),
        timeout,
        what=lambda: f"state {state} of all:\n{daemon.log()}",
    )


def crash(daemon: Fastvrrp) -> int:
    """Kills the process that speaks VRRP, and waits until its successor has started; its number."""
    before = daemon.vrrpd
    count = daemon.log().count("Startup complete")
    os.kill(before, signal.SIGKILL)
    daemon.wait_log("Startup complete", 60.0, count=count + 1)
    assert daemon.vrrpd != before
    return before


@contextmanager
def crashed_for(daemon: Fastvrrp, seconds: float) -> Iterator[None]:
    """Kills it, and lets the parent start the next one so much later, after the block."""
    parent = daemon.processes[0].pid
    victim = daemon.vrrpd
    count = daemon.log().count("Startup complete")
    os.kill(parent, signal.SIGSTOP)
    try:
        os.kill(victim, signal.SIGKILL)
        until = time.monotonic() + seconds
        yield
        time.sleep(max(0.0, until - time.monotonic()))
    finally:
        os.kill(parent, signal.SIGCONT)
    daemon.wait_log("Startup complete", 60.0, count=count + 1)


@contextmanager
def kernel_changes(router: Router) -> Iterator[Callable[[], str]]:
    """What `ip monitor` says of addresses, routes and rules until it is asked."""
    command = [
        "ip",
        "netns",
        "exec",
        router.namespace,
        *["ip", "-o", "monitor", "address", "route", "rule"],
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        heard = b""
        marks = 0

        def read() -> str:
            nonlocal heard, marks
            marks += 1
            mark = f"203.0.113.{marks}/32"

            def has_mark() -> bool:
                nonlocal heard
                heard += process.stdout.read() or b""  # type: ignore[union-attr]
                return mark.encode() in heard

            def leave_mark() -> bool:
                router.run(["ip", "address", "add", mark, "dev", "lo"])
                router.run(["ip", "address", "delete", mark, "dev", "lo"])
                return has_mark()

            wait_until(leave_mark, what="a mark in what ip monitor says")
            return "\n".join(
                line for line in heard.decode().splitlines() if "203.0.113." not in line
            )

        read()
        yield read
        process.terminate()


def test_everything_goes_on_when_the_process_is_killed(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    (link,) = lab.connect(a, b)
    daemons: list[Fastvrrp] = []
    for router, other, priority in ((a, b, 200), (b, a, 100)):
        (router.folder / "record").write_text(f'#!/bin/sh\necho "$@" >>{router.folder}/told\n')
        (router.folder / "record").chmod(0o755)
        conf = everything(router.folder, link.address(router), link.address(other), priority)
        daemons.append(Fastvrrp(router, conf).start())
        wait_all(daemons[-1], MASTER if router is a else BACKUP, NAMES)
    master, backup = daemons
    tracked = master.folder / "fastvrrp.details"

    def is_known() -> bool:
        with tracked.open("rb") as file:
            return [each.state for each in details.read(file.fileno()).trackers] == [0]

    wait_until(is_known, what="the script's result in the details")
    wait_until(lambda: "192.0.2.0/24" in routes_of(a), what="the route")
    told = (a.folder / "told").read_text()
    fifo = os.open(a.folder / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    heard_fifo(fifo)
    before, addresses = records(master), a.addresses()
    totals = Segment(master.folder / "fastvrrp.state").totals()
    events = Segment(master.folder / "fastvrrp.state").events_after(0)
    with Capture(b) as capture, kernel_changes(a) as changes:
        for vrid in range(1, 13):
            capture.wait_for_advert(vrid)
        # What runs counts, and not what was written since.
        master.configuration_file.write_text("vrrp_instance broken {")
        dead = crash(master)
        master.wait_log(f"Process {dead} has died: 12 virtual routers go on as they were left, 12")
        place = len(capture.frames)
        for vrid in range(1, 13):
            capture.wait_for_advert(vrid, after=place)
        said = changes()
    after = records(master)
    assert said == ""
    assert a.addresses() == addresses
    assert (a.folder / "told").read_text() == told
    assert heard_fifo(fifo) == ""
    os.close(fifo)
    # The backup never became one, and heard nothing that was not of a master who goes on.
    assert {name: backup.entered(name) for name in NAMES} == {name: ["BACKUP"] for name in NAMES}
    adverts = [each for each in capture.adverts() if not each.is_outgoing]
    assert {(each.vrid, each.priority) for each in adverts} == {
        (vrid, 180 if vrid == 10 else 200) for vrid in range(1, 13)
    }
    for vrid in range(1, 13):
        times = [each.time for each in adverts if each.vrid == vrid]
        assert max(later - earlier for earlier, later in pairwise(times)) < PATIENCE
    sequence = [each.ah_sequence for each in adverts if each.vrid == 6]
    assert all(one < next_one for one, next_one in pairwise(sequence) if one and next_one)
    assert sum(sum(each["refused"]) for each in records(backup).values()) == 0
    capture.assert_clean()
    for name in NAMES:
        for same in ("state", "changes", "changed_at", "became_master", "priority"):
            assert after[name][same] == before[name][same], (name, same)
        assert after[name]["adverts_sent"] > before[name]["adverts_sent"]
        assert master.entered(name)[:2] == ["BACKUP", "MASTER"]
        assert len(master.entered(name)) == 2
    segment = Segment(master.folder / "fastvrrp.state")
    assert segment.totals()["changes"] == totals["changes"]
    assert segment.totals()["frames_sent"] > totals["frames_sent"]
    names = segment.names()
    kept = segment.events_after(0)
    assert [(each["at"], each["kind"]) for each in kept] == [
        (each["at"], each["kind"]) for each in events
    ]
    assert {names[each["router"]] for each in kept} == NAMES
    master.configuration_file.write_text(
        everything(a.folder, link.address(a), link.address(b), 200)
    )
    assert [daemon.stop() for daemon in daemons] == [0, 0]
    assert "203" not in str(a.addresses())
    assert a.links() == {"lo", "eth0"}
    assert not list(master.folder.glob("fastvrrp.*[!f]"))


def routes_of(router: Router) -> str:
    return router.run(["ip", "route", "show"]).stdout


def heard_fifo(descriptor: int) -> str:
    try:
        return os.read(descriptor, 1 << 16).decode()
    except BlockingIOError:
        return ""


def test_a_backup_goes_on_and_waits_for_the_master(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    master = Fastvrrp(a, instance("VI", 1)).start()
    wait_all(master, MASTER, {"VI"})
    backup = Fastvrrp(b, instance("VI", 1, priority=100)).start()
    wait_all(backup, BACKUP, {"VI"})
    wait_until(lambda: records(backup)["VI"]["adverts_received"] > 0, what="an advert")
    since = records(backup)["VI"]["changed_at"]
    crash(backup)
    assert records(backup)["VI"]["changed_at"] == since
    assert backup.entered("VI") == ["BACKUP"]
    # And it has not forgotten what it is for.
    master.kill()
    backup.wait_log("(VI) Entering MASTER STATE", 40.0)
    assert backup.entered("VI") == ["BACKUP", "MASTER"]
    assert backup.stop() == 0


def test_who_was_silent_for_too_long_begins_as_a_backup(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    quick = instance("VI", 1, "version 3", "nopreempt", "state BACKUP").replace(
        f"advert_int {INTERVAL}", "advert_int 0.2"
    )
    first = Fastvrrp(a, quick).start()
    wait_all(first, MASTER, {"VI"})
    second = Fastvrrp(b, quick.replace("priority 200", "priority 100")).start()
    wait_all(second, BACKUP, {"VI"})
    with Capture(b) as capture:
        with crashed_for(first, 1.0):
            wait_all(second, MASTER, {"VI"})
            since = time.time_ns()
        first.wait_log("1 were MASTER, and for too long without an advert, and begin anew")
        wait_until(lambda: not a.holds("10.0.0.101"), what="the address gone")
        wait_until(lambda: len(first.entered("VI")) > 2, what="a new start")
        for _ in range(5):
            capture.wait_for_advert(1, after=len(capture.frames))
    assert {each.source for each in capture.adverts() if each.time > since} == {"10.0.0.2"}
    assert first.entered("VI") == ["BACKUP", "MASTER", "BACKUP"]
    record = records(first)["VI"]
    assert (record["became_master"], record["released_master"]) == (1, 1)
    assert [daemon.stop() for daemon in (first, second)] == [0, 0]


def test_a_sync_group_goes_on_as_a_whole_or_not_at_all(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    quick = instance("quick", 1, "version 3").replace(f"advert_int {INTERVAL}", "advert_int 0.2")
    slow = instance("slow", 2, "version 3")
    group = "vrrp_sync_group both {\n group {\n quick\n slow\n }\n}\n"
    daemon = Fastvrrp(a, quick + slow + group).start()
    wait_all(daemon, MASTER, {"quick", "slow"})
    with crashed_for(daemon, 1.0):
        pass
    for name in ("slow", "quick"):
        wait_until(lambda name=name: len(daemon.entered(name)) > 2, what="a new start")  # type: ignore[misc]
        assert daemon.entered(name)[:3] == ["BACKUP", "MASTER", "BACKUP"]
    wait_until(lambda: not a.holds("10.0.0.102"), what="the address gone")
    wait_all(daemon, MASTER, {"quick", "slow"})
    assert daemon.stop() == 0


def test_what_went_while_nobody_was_there_is_found(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b, count=2)
    other = instance("other", 2).replace("interface eth0", "interface eth1")
    daemon = Fastvrrp(a, instance("VI", 1) + other).start()
    wait_all(daemon, MASTER, {"VI", "other"})
    with Capture(b) as capture:
        with crashed_for(daemon, 0.0):
            a.ip("address delete 10.0.0.101/24 dev eth0", "link set eth1 down")
            place = len(capture.frames)
        # An address that is missing is put back, and announced, as it is not known whose it was.
        wait_until(lambda: a.holds("10.0.0.101"), what="the address back")
        assert daemon.entered("VI") == ["BACKUP", "MASTER"]
        wait_until(
            lambda: any(frame.data[12:14] == b"\x08\x06" for frame in capture.frames[place:]),
            what="its announcement",
        )
    # One whose interface is down has failed, and says so.
    daemon.wait_log("(other) interface eth1 is down")
    assert daemon.entered("other") == ["BACKUP", "MASTER", "FAULT"]
    wait_until(lambda: not a.holds("10.0.0.102"), what="the other's address gone")
    assert daemon.stop() == 0


def test_a_start_by_hand_takes_over_what_a_kill_of_all_has_left(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    conf = instance("stays", 1, "version 3") + instance("goes", 2, "version 3")
    daemon = Fastvrrp(a, conf).start()
    wait_all(daemon, MASTER, {"stays", "goes"})
    backup = Fastvrrp(b, conf.replace("priority 200", "priority 100")).start()
    wait_all(backup, BACKUP, {"stays", "goes"})
    with Capture(b) as capture:
        capture.wait_for_advert(1)
        with kernel_changes(a) as changes:
            daemon.kill()
            # It is started anew, so the file counts.
            daemon.configure(instance("renamed", 1, "version 3") + instance("new", 3, "version 3"))
            daemon.start().wait_log("Startup complete", 60.0)
            said = changes()
        daemon.wait_log("1 virtual routers go on as they were left, 1 of them as MASTER")
        capture.wait_for_advert(1, after=len(capture.frames))
    assert daemon.entered("renamed") == []
    assert backup.entered("stays") == ["BACKUP"]
    assert "10.0.0.101" not in said
    assert "Deleted" in said  # what nobody has any more
    assert not a.holds("10.0.0.102")
    wait_all(daemon, MASTER, {"renamed", "new"})
    assert [each.stop() for each in (daemon, backup)] == [0, 0]


@pytest.mark.parametrize("file", ["fastvrrp.state", "fastvrrp.running"])
def test_a_damaged_file_is_said_and_the_daemon_begins_anew(lab: Laboratory, file: str) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    daemon = Fastvrrp(a, instance("VI", 1, "version 3")).start()
    wait_all(daemon, MASTER, {"VI"})
    path = daemon.folder / file
    with crashed_for(daemon, 0.0):
        os.truncate(path, path.stat().st_size // 2)
    if file == "fastvrrp.state":
        daemon.wait_log("is cut short. Nothing is taken over from it")
        assert daemon.entered("VI") == ["BACKUP", "MASTER", "BACKUP"]
    else:
        # The file is read then, and the state is taken over all the same.
        daemon.wait_log("the configuration that ran is not taken from it")
        assert daemon.entered("VI") == ["BACKUP", "MASTER"]
    wait_all(daemon, MASTER, {"VI"})
    assert daemon.stop() == 0


def test_nobody_else_may_read_the_configuration_that_runs(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    daemon = Fastvrrp(a, "global_defs {\n umask 000\n}\n" + instance("VI", 1)).start()
    path = daemon.folder / "fastvrrp.running"
    wait_until(path.exists, what="the file")
    assert path.stat().st_mode & 0o777 == 0o600
    wait_all(daemon, BACKUP, {"VI"})
    # A reload that is accepted changes it, and one that is refused does not.
    content = path.read_bytes()
    daemon.configure("vrrp_instance broken {")
    daemon.signal(signal.SIGHUP)
    daemon.wait_log("The configuration is not reloaded")
    assert path.read_bytes() == content
    daemon.configure(instance("other", 2))
    daemon.signal(signal.SIGHUP)
    daemon.wait_log("Reloaded")
    wait_until(lambda: path.read_bytes() != content, what="the new configuration")
    assert path.stat().st_mode & 0o777 == 0o600
    crash(daemon)
    assert records(daemon).keys() == {"other"}
    assert daemon.stop() == 0
    assert not path.exists()


def test_what_lets_successors_die_is_not_taken_over_for_ever(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    daemon = Fastvrrp(a, instance("VI", 1, "version 3")).start()
    wait_all(daemon, MASTER, {"VI"})
    for attempt in range(1, 4):
        crash(daemon)
        assert daemon.log().count("go on as they were left") == attempt
    crash(daemon)
    daemon.wait_log("others have died of it in 60 seconds. The daemon begins anew")
    assert daemon.log().count("go on as they were left") == 3
    wait_all(daemon, MASTER, {"VI"})
    assert daemon.stop() == 0


def test_many_go_on(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    links = lab.connect(a, b, count=4)
    conf, names = "", set()
    for link in links:
        for vrid in range(1, 65):
            name = f"{link.interface}_{vrid}"
            names.add(name)
            conf += instance(name, vrid, addresses=f"10.9.{link.index}.{vrid}/32").replace(
                "interface eth0", f"interface {link.interface}"
            )
    daemon = Fastvrrp(a, conf).start()
    wait_all(daemon, MASTER, names)
    backup = Fastvrrp(b, conf.replace("priority 200", "priority 100")).start()
    wait_all(backup, BACKUP, names)
    addresses = a.addresses()
    with kernel_changes(a) as changes:
        crash(daemon)
        said = changes()
    assert said == ""
    daemon.wait_log("256 virtual routers go on as they were left, 256 of them as MASTER")
    assert a.addresses() == addresses
    sent = {name: record["adverts_sent"] for name, record in records(daemon).items()}
    wait_until(
        lambda: all(each["adverts_sent"] > sent[n] for n, each in records(daemon).items()),
        what="an advert of each",
    )
    assert len(re.findall(r"Entering MASTER STATE", daemon.log())) == 256
    assert "Entering MASTER STATE" not in backup.log()
    assert [each.stop() for each in (daemon, backup)] == [0, 0]
