"""`fastvrrp keepalived` where keepalived was: what a management system does, done with both.

It writes a configuration, starts the daemon, finds its process by the pid file, asks
`keepalived --signum` for signals, waits for the dumps (as VyOS does: for their closing), parses
them (as keepalived-exporter does), reads a FIFO, reloads and stops; and it finds the same.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import select
import signal
import struct
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from dropin_pair import ONE_ROUTER, AsKeepalived, Real, has_pid
from lab import Fastvrrp, Laboratory, wait_until

IN_CLOSE_WRITE = 0x8  # linux/inotify.h
IN_MOVED_TO = 0x80
CONFIGURATION = """
global_defs {{
    router_id LVS_1
    script_user root
    enable_script_security
    vrrp_notify_fifo {fifo}
}}
vrrp_script good {{
    script "/usr/bin/true"
    interval 1
    weight 5
}}
vrrp_script bad {{
    script "/usr/bin/false word"
    interval 1
}}
track_file numbers {{
    file {folder}/numbers
    weight 2
}}
vrrp_instance VI_1 {{
    version 3
    interface eth0
    virtual_router_id 51
    priority 150
    advert_int 0.2
    track_script {{ good }}
    track_file {{ numbers }}
    virtual_ipaddress {{
        10.0.0.101/24 dev eth0 label eth0:1
        10.0.0.102
        10.0.0.103/32 brd 10.0.0.255 dev eth0 scope link
    }}
    virtual_ipaddress_excluded {{ 10.0.0.104/24 }}
    virtual_routes {{ src 10.0.0.101 198.51.100.0/24 via 10.0.0.9 dev eth0 metric 5 }}
    virtual_rules {{ from 198.51.100.0/24 table 10 priority 16000 }}
    notify /usr/bin/true
    notify_master "/usr/bin/true a b"
    smtp_alert
    garp_master_refresh 60
}}
vrrp_instance VI_2 {{
    version 3
    interface eth0
    virtual_router_id 52
    priority 100
    advert_int 0.2
    nopreempt
    virtual_ipaddress {{
        fe80::52
        2001:db8::52/64
    }}
}}
vrrp_instance VI_3 {{
    version 2
    interface eth0
    virtual_router_id 53
    priority 77
    preempt_delay 7
    lower_prio_no_advert
    higher_prio_send_advert
    garp_master_delay 2
    garp_master_repeat 3
    track_interface {{ eth0 }}
    track_script {{ bad }}
    dont_track_primary
    authentication {{
        auth_type PASS
        auth_pass secret
    }}
    virtual_ipaddress {{ 10.0.0.105/24 }}
}}
{more}
"""
PEER = """
vrrp_instance VI_2 {
    version 3
    interface eth0
    virtual_router_id 52
    priority 200
    advert_int 0.3
    virtual_ipaddress {
        fe80::52
        2001:db8::52/64
    }
}
"""


class Closings:
    """Waits, as VyOS does, for a file of a name to be closed after writing."""

    def __init__(self, folder: Path) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = self._libc.inotify_init1(os.O_CLOEXEC)
        self._libc.inotify_add_watch(
            self._descriptor, str(folder).encode(), IN_CLOSE_WRITE | IN_MOVED_TO
        )

    def wait(self, name: str, timeout: float = 10.0) -> None:
        while select.select([self._descriptor], [], [], timeout)[0]:
            data = os.read(self._descriptor, 65536)
            while data:
                _, mask, _, length = struct.unpack_from("iIII", data)
                told = data[16 : 16 + length].rstrip(b"\0").decode()
                data = data[16 + length :]
                if told == name and mask & IN_CLOSE_WRITE:
                    return
        raise TimeoutError(f"{name} was not closed")

    def close(self) -> None:
        os.close(self._descriptor)


@dataclass
class Seen:
    """What the management system has seen of one daemon."""

    json: list[dict[str, Any]]
    stats: dict[str, dict[str, int]]
    data: dict[str, dict[str, Any]]
    lines: dict[str, list[str]]
    scripts: dict[str, dict[str, str]]
    events: list[str]
    reloaded: list[str] = field(default_factory=list)
    status: int = -1
    left: set[str] = field(default_factory=set)


def watched(lab: Laboratory, kind: type[AsKeepalived | Real]) -> Seen:
    """One life of a daemon under the management system."""
    router, other = lab.router("a"), lab.router("b")
    lab.connect(router, other)
    before = router.addresses()
    fifo = router.folder / "events"
    os.mkfifo(fifo)
    (router.folder / "numbers").write_text("3\n")
    reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    text = CONFIGURATION.format(fifo=fifo, folder=router.folder, more="")
    peer = Fastvrrp(other, PEER).start()
    peer.wait_log("(VI_2) Entering MASTER STATE")
    daemon = kind(router, text).start()
    pid_file = daemon.folder / "main.pid"
    for name in ("main.pid", "vrrp.pid"):
        wait_until(partial(has_pid, daemon.folder / name), what=name)

    def ask(what: str, name: str) -> str:
        number = subprocess.run(
            [*daemon.program, f"--signum={what}"], capture_output=True, text=True, check=True
        )
        closings = Closings(daemon.folder)
        try:
            os.kill(int(pid_file.read_text()), int(number.stdout))
            closings.wait(name)
        finally:
            closings.close()
        found = (daemon.folder / name).read_text()
        (daemon.folder / name).unlink()
        return found

    def routers() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(ask("JSON", "keepalived.json"))
        return found

    def is_settled() -> bool:
        by_name = {each["data"]["iname"]: each["data"] for each in routers()}
        states = {
            name: (each["state"], each["effective_priority"]) for name, each in by_name.items()
        }
        return (
            states == {"VI_1": (2, 161), "VI_2": (1, 100), "VI_3": (3, 77)}
            and by_name["VI_2"]["master_priority"] == 200
        )

    wait_until(is_settled, 20.0, what=lambda: f"the states: {routers()}")
    found = routers()
    stats = parse_stats(ask("STATS", "keepalived.stats"))
    text_of_data = ask("DATA", "keepalived.data")
    seen = Seen(
        found,
        stats,
        parse_data(text_of_data),
        sections(text_of_data),
        parse_scripts(text_of_data),
        os.read(reading, 65536).decode().splitlines(),
    )
    daemon.configure(CONFIGURATION.format(fifo=fifo, folder=router.folder, more=ONE_ROUTER))
    os.kill(int(pid_file.read_text()), signal.SIGHUP)
    wait_until(
        lambda: (
            {each["data"]["iname"]: each["data"]["state"] for each in routers()}.get("VI_4") == 2
        ),
        20.0,
        what="the new one's state",
    )
    seen.reloaded = [each["data"]["iname"] for each in routers()]
    os.kill(int(pid_file.read_text()), signal.SIGTERM)
    seen.status = daemon.wait()
    assert not pid_file.exists()
    assert not (daemon.folder / "vrrp.pid").exists()
    seen.left = router.addresses() - before
    os.close(reading)
    return seen


def parse_stats(text: str) -> dict[str, dict[str, int]]:
    """As keepalived-exporter reads keepalived.stats."""
    found: dict[str, dict[str, int]] = {}
    counts: dict[str, int] = {}
    section = ""
    for line in text.splitlines():
        key, _, value = line.strip().partition(":")
        if line.startswith("VRRP Instance"):
            counts = found[value.strip()] = {}
        elif line.startswith("    "):
            counts[f"{section}/{key}"] = int(value)
        elif line.endswith(":"):
            section = key
        else:
            counts[key] = int(value)
    return found


def parse_data(text: str) -> dict[str, dict[str, Any]]:
    """As keepalived-exporter reads the virtual routers of keepalived.data."""
    found: dict[str, dict[str, Any]] = {}
    of: dict[str, Any] | None = None
    key = ""
    for line in text.splitlines():
        if line.startswith(" VRRP Instance ="):
            of = found[line.partition("=")[2].strip()] = {"vips": [], "evips": []}
        elif not line.startswith("   "):
            of = None
        elif of is not None and line.startswith("     "):
            if key.startswith("Virtual IP"):
                kind = "evips" if key.startswith("Virtual IP Excluded") else "vips"
                of[kind].append(line.strip())
        elif of is not None:
            for separator in ("=", ":"):
                key, found_one, value = line.strip().partition(separator)
                if found_one:
                    break
            key = key.strip()
            if key in ("State", "Wantstate", "Interface", "Gratuitous ARP delay"):
                of[key] = value.strip()
            elif key in ("Virtual Router ID", "Priority", "Effective priority", "VRRP Version"):
                of[key] = int(value)
    return found


def sections(text: str) -> dict[str, list[str]]:
    """The lines about each virtual router in keepalived.data."""
    found: dict[str, list[str]] = {}
    of: list[str] | None = None
    for line in text.splitlines():
        if line.startswith(" VRRP Instance ="):
            of = found[line.partition("=")[2].strip()] = []
        elif not line.startswith("   "):
            of = None
        elif of is not None:
            of.append(line)
    return found


def parse_scripts(text: str) -> dict[str, dict[str, str]]:
    """As keepalived-exporter reads the scripts of keepalived.data."""
    found: dict[str, dict[str, str]] = {}
    of: dict[str, str] | None = None
    for line in text.splitlines():
        key, _, value = line.strip().partition(" = ")
        if line.startswith(" VRRP Script ="):
            of = found[value] = {}
        elif not line.startswith("   "):
            of = None
        elif of is not None and key in ("Status", "State"):
            of[key] = value
    return found


@pytest.fixture(scope="module")
def ours() -> Iterator[Seen]:
    with Laboratory() as lab:
        yield watched(lab, AsKeepalived)


@pytest.fixture(scope="module")
def theirs() -> Iterator[Seen]:
    with Laboratory() as lab:
        yield watched(lab, Real)


pytestmark = pytest.mark.xdist_group("dropin")


def without(data: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in data.items() if key not in keys}


@pytest.mark.parametrize("number", range(3))
def test_json_has_the_same_keys_and_values(ours: Seen, theirs: Seen, number: int) -> None:
    mine, other = ours.json[number], theirs.json[number]
    assert list(mine) == list(other) == ["data", "stats"]
    assert without(mine["data"], "last_transition") == without(other["data"], "last_transition")
    assert type(mine["data"]["last_transition"]) is type(other["data"]["last_transition"])
    assert mine["stats"].keys() == other["stats"].keys()
    times = ("advert_rcvd", "advert_sent")
    assert without(mine["stats"], *times) == without(other["stats"], *times)


def test_statistics_have_the_same_counters(ours: Seen, theirs: Seen) -> None:
    assert {name: list(counts) for name, counts in ours.stats.items()} == {
        name: list(counts) for name, counts in theirs.stats.items()
    }
    assert ours.stats["VI_1"]["Became master"] == theirs.stats["VI_1"]["Became master"] == 1
    assert ours.stats["VI_1"]["Advertisements/Sent"] > 0
    assert ours.stats["VI_2"]["Advertisements/Received"] > 0


def test_an_exporter_reads_the_same_from_the_data(ours: Seen, theirs: Seen) -> None:
    assert ours.data == theirs.data
    assert len(ours.data["VI_1"]["vips"]) == 3, "the parser of this test reads nothing"
    assert len(ours.data["VI_1"]["evips"]) == 1
    assert ours.scripts == theirs.scripts
    assert ours.scripts["bad"]["Status"] == "BAD"


DIFFERENT = re.compile(
    # Times.
    r" +(Last transition|Read timeout) = |"
    # There is no socket for an interface, and users are looked up where scripts are run.
    r" +fd_in \d+, fd_out \d+$|.* script = |"
    # keepalived has options in its flags that it does not name.
    r" +Flags:|"
    # An instance that has never begun has not chosen an address to speak from.
    r" +Using src_ip = 10.0.0.1$"
)
"""Lines of keepalived.data that need not be the same."""


@pytest.mark.parametrize("name", ["VI_1", "VI_2", "VI_3"])
def test_the_data_have_the_same_lines_in_the_same_order(
    ours: Seen, theirs: Seen, name: str
) -> None:
    def same(seen: Seen) -> list[str]:
        return [line for line in seen.lines[name] if not DIFFERENT.match(line)]

    assert same(ours) == same(theirs)
    assert len(same(ours)) > 25


VYOS_DETAIL = """
    accept adver_int auth_type base_priority dont_track_primary effective_priority garp_delay
    garp_lower_prio_delay garp_lower_prio_rep garp_refresh garp_refresh_rep garp_rep
    higher_prio_send_advert ifp_ifname iname last_transition lower_prio_no_advert master_adver_int
    master_priority nopreempt notify_deleted preempt_delay promote_secondaries skip_check_adv_addr
    smtp_alert state strict_mode track_script version vips vrid wantstate
"""
VYOS_STATISTICS = """
    addr_list_err advert_interval_err advert_rcvd advert_sent auth_failure authtype_mismatch
    become_master invalid_authtype invalid_type_rcvd ip_ttl_err packet_len_err pri_zero_rcvd
    pri_zero_sent release_master
"""


def test_vyos_finds_what_its_commands_show(ours: Seen, theirs: Seen) -> None:
    """`show vrrp`, `show vrrp detail` and `show vrrp statistics` read these (its op_mode)."""
    for mine, other in zip(ours.json, theirs.json, strict=True):
        for part, fields in (("data", VYOS_DETAIL), ("stats", VYOS_STATISTICS)):
            wanted = set(fields.split())
            assert wanted & mine[part].keys() == wanted & other[part].keys()
        assert set(VYOS_STATISTICS.split()) <= mine["stats"].keys()
        assert float(mine["data"]["last_transition"]) <= time.time()
    everything = {key for each in ours.json for key in each["data"]}
    assert set(VYOS_DETAIL.split()) <= everything


def test_a_fifo_tells_the_same(ours: Seen, theirs: Seen) -> None:
    def by_instance(events: list[str]) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for event in events:
            found.setdefault(event.split()[1], []).append(event)
        return found

    assert by_instance(ours.events) == by_instance(theirs.events)
    assert 'INSTANCE "VI_1" MASTER 161' in ours.events


def test_reload_and_stop_leave_the_same(ours: Seen, theirs: Seen) -> None:
    assert ours.reloaded == theirs.reloaded == ["VI_1", "VI_2", "VI_3", "VI_4"]
    assert (ours.status, ours.left) == (theirs.status, theirs.left) == (0, set())
