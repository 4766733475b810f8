"""What moves a priority or lets a virtual router fail, beside keepalived with the same
configuration: the priorities in the adverts of both are compared."""

from __future__ import annotations

import itertools
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fastvrrp._table import Segment
from lab import Capture, Daemon, Fastvrrp, Keepalived, Laboratory, Router, wait_until
from lab.capture import glance

SECOND = 1_000_000_000
INIT, MASTER, FAULT = 0, 2, 3
RECENT = 0.5
"""Seconds in which each master has spoken at least once."""
HEAD = """
global_defs {
    script_user root
    dynamic_interfaces
}
"""
Priorities = dict[int, int]
"""Of the virtual routers that speak, by VRID."""


def instance(
    vrid: int, *lines: str, interface: str = "eth0", priority: int = 100, interval: str = "0.2"
) -> str:
    body = "\n    ".join(line for text in lines for line in text.split("; "))
    return f"""
vrrp_instance V{vrid} {{
    interface {interface}
    virtual_router_id {vrid}
    version 3
    advert_int {interval}
    priority {priority}
    garp_master_delay 0
    garp_master_repeat 1
    {body}
    virtual_ipaddress {{
        10.9.0.{vrid}/24
    }}
}}
"""


def tracks(block: str, what: str) -> str:
    return f"{block} {{; {what}; }}"


def prepare(router: Router) -> None:
    """Two cables whose other ends nobody listens to."""
    for name, number in (("eth0", 1), ("eth1", 2)):
        router.ip(
            f"link add {name} type veth peer name far-{name}",
            f"link set {name} up",
            f"link set far-{name} up",
            f"address add 10.0.{number}.1/24 dev {name}",
        )


class Side:
    """One daemon in a router of its own, which it does not share with anybody."""

    def __init__(self, laboratory: Laboratory, name: str) -> None:
        self.router = laboratory.router(name)
        prepare(self.router)
        self.capture = Capture(self.router, ["eth0", "eth1"])
        self.daemon: Daemon

    def speaking(self) -> Priorities:
        """Who has sent adverts lately, and with which priority the last time."""
        since = time.time_ns() - int(RECENT * SECOND)
        found: Priorities = {}
        with self.capture.arrival:
            for frame in reversed(self.capture.frames):
                if frame.time < since:
                    break
                sight = glance(frame.data)
                if sight is not None and frame.is_outgoing:
                    found.setdefault(sight.vrid, sight.priority)
        return {vrid: priority for vrid, priority in found.items() if priority}


class Both:
    """fastvrrp and keepalived, to whom the same happens."""

    def __init__(self, laboratory: Laboratory, configuration: str) -> None:
        self.sides = [Side(laboratory, "ours"), Side(laboratory, "theirs")]
        for side, kind in zip(self.sides, (Fastvrrp, Keepalived), strict=True):
            side.capture.start()
            side.daemon = kind(side.router, HEAD + configuration)
        for side in self.sides:
            side.daemon.start()

    def ip(self, *commands: str) -> None:
        for side in self.sides:
            side.router.ip(*commands)

    def expect(self, priorities: Priorities, timeout: float = 15.0) -> None:
        """Waits until both speak with these priorities, and nobody else does."""
        expected = dict(sorted(priorities.items()))
        wait_until(
            lambda: all(side.speaking() == expected for side in self.sides),
            timeout,
            what=lambda: (
                f"{expected}, not "
                + "\n".join(f"{side.speaking()} of\n{side.daemon.log()}" for side in self.sides)
            ),
        )


@pytest.fixture
def both(lab: Laboratory) -> Callable[[str], Both]:
    return lambda configuration: Both(lab, configuration)


@pytest.fixture
def ours(lab: Laboratory) -> Iterator[Callable[[str], Side]]:
    def start(configuration: str) -> Side:
        side = Side(lab, "ours")
        side.capture.start()
        side.daemon = Fastvrrp(side.router, HEAD + configuration).start()
        return side

    return start  # type: ignore[return-value]


def states(side: Side) -> dict[str, int]:
    path = side.daemon.folder / "fastvrrp.state"
    return {router["name"]: router["state"] for router in Segment(path)} if path.exists() else {}


def wait_states(side: Side, expected: dict[str, int]) -> None:
    wait_until(
        lambda: states(side).items() >= expected.items(),
        what=lambda: f"{expected}, not {states(side)}:\n{side.daemon.log()}",
    )


def wait_speaking(side: Side, expected: Priorities) -> None:
    wait_until(
        lambda: side.speaking() == expected,
        what=lambda: f"{expected}, not {side.speaking()}:\n{side.daemon.log()}",
    )


# --- interfaces ----------------------------------------------------------------------------------


@pytest.mark.keywords("vrrp_instance/track_interface", "global_defs/dynamic_interfaces")
def test_interfaces(both: Callable[[str], Both]) -> None:
    cases = {
        1: "eth1",
        2: "eth1 weight 20",
        3: "eth1 weight -20",
        4: "eth1 weight 20 reverse",
        5: "eth1 weight -20 reverse",
        6: "eth1 weight 200",
        7: "eth1 weight -200",
        8: "later weight 20",
        9: "later weight -20",
        10: "later",
    }
    pair = both(
        "".join(instance(vrid, tracks("track_interface", case)) for vrid, case in cases.items())
        + instance(11, tracks("track_interface", "eth1 weight -20"), priority=255)
    )
    up = {1: 100, 2: 120, 3: 100, 4: 80, 5: 100, 6: 254, 7: 100, 11: 255}
    down = {2: 100, 3: 80, 4: 100, 5: 120, 6: 100, 7: 1, 11: 255}
    absent, present = {8: 100, 9: 80}, {8: 120, 9: 100, 10: 100}
    pair.expect(up | absent)
    pair.ip("link set far-eth1 down")
    pair.expect(down | absent)
    pair.ip("link set far-eth1 up")
    pair.expect(up | absent)
    pair.ip("link set eth1 down")
    pair.expect(down | absent)
    pair.ip("link set eth1 up")
    pair.expect(up | absent)
    pair.ip("link delete eth1")
    pair.expect(down | absent)
    pair.ip("link add eth1 type veth peer name far-eth1", "link set far-eth1 up")
    pair.ip("link set eth1 up", "link add later type veth peer name far-later")
    pair.expect(up | absent)
    pair.ip("link set later up", "link set far-later up")
    pair.expect(up | present)


@pytest.mark.keywords("vrrp_instance/dont_track_primary")
def test_an_own_interface_that_does_not_count(both: Callable[[str], Both]) -> None:
    pair = both(
        instance(1, "dont_track_primary")
        + instance(2)
        + instance(3, "dont_track_primary", interface="eth1")
    )
    pair.expect({1: 100, 2: 100, 3: 100})
    pair.ip("link set far-eth0 down")
    wait_until(lambda: all("FAULT STATE" in side.daemon.log() for side in pair.sides))
    for side in pair.sides:
        assert "(V1) Entering FAULT STATE" not in side.daemon.log()
    pair.ip("link set far-eth0 up")
    pair.expect({1: 100, 2: 100, 3: 100})


def test_a_fault_and_back(ours: Callable[[str], Side]) -> None:
    side = ours(instance(1, tracks("track_interface", "eth1")) + instance(2))
    wait_until(lambda: side.router.holds("10.9.0.1"), what="the address")
    side.router.ip("link set far-eth1 down")
    wait_states(side, {"V1": FAULT, "V2": MASTER})
    wait_until(lambda: not side.router.holds("10.9.0.1"), what="the address gone")
    side.daemon.wait_log("Netlink reports eth1 down")
    side.daemon.wait_log("(V1) tracked interface eth1 is down")
    side.daemon.wait_log("(V1) Entering FAULT STATE")
    side.router.ip("link set far-eth1 up")
    wait_states(side, {"V1": MASTER})
    wait_until(lambda: side.router.holds("10.9.0.1"), what="the address back")
    assert "(V2) Entering FAULT" not in side.daemon.log()
    assert side.daemon.stop() == 0
    assert "Traceback" not in side.daemon.log()


def test_a_hundred_that_track_one_interface(ours: Callable[[str], Side]) -> None:
    numbers = range(1, 101)
    weighted = {vrid: 120 if vrid % 2 else 100 for vrid in numbers}
    side = ours(
        "".join(
            instance(vrid, tracks("track_interface", "eth1 weight 20" if vrid % 2 else "eth1"))
            for vrid in numbers
        )
    )
    wait_speaking(side, weighted)
    side.router.ip("link set far-eth1 down")
    wait_speaking(side, {vrid: 100 for vrid in numbers if vrid % 2})
    side.router.ip("link set far-eth1 up")
    wait_speaking(side, weighted)
    assert side.daemon.stop() == 0
    assert "Traceback" not in side.daemon.log()


@pytest.mark.keywords("At the top/interface_up_down_delays")
def test_a_bouncing_interface_counts_when_it_stays(both: Callable[[str], Both]) -> None:
    pair = both(
        "interface_up_down_delays {\n eth1 0.6 1.2\n}\n"
        + instance(1, tracks("track_interface", "eth1 weight 20"), interval="1")
        + instance(2, "down_timer_adverts 3", interface="eth1", interval="1")
    )
    wait_until(
        lambda: all(
            {1, 2} <= {sight.vrid for frame in side.capture.frames if (sight := glance(frame.data))}
            for side in pair.sides
        ),
        what="adverts",
    )
    pair.ip("link set far-eth1 down")
    pair.ip("link set far-eth1 up")
    time.sleep(1.0)
    pair.ip("link set far-eth1 down")
    for side in pair.sides:
        side.daemon.wait_log("(V1) Changing effective priority from 120 to 100")
        side.daemon.wait_log("(V2) Entering FAULT STATE")
    pair.ip("link set far-eth1 up")
    for side in pair.sides:
        side.daemon.wait_log("(V1) Changing effective priority from 100 to 120", count=2)
        side.daemon.wait_log("(V2) Entering BACKUP STATE", count=2)
        assert side.daemon.log().count("(V1) Changing effective priority from 120 to 100") == 1
        assert side.daemon.log().count("(V2) Entering FAULT STATE") == 1


def test_a_delay_ends_before_the_backups_lose_their_patience(ours: Callable[[str], Side]) -> None:
    side = ours("interface_up_down_delays {\n eth1 30 30\n}\n" + instance(1, interface="eth1"))
    side.daemon.wait_log("debounce timer(s) not less than 2 * advert_int - resetting to 0.399 s")
    wait_states(side, {"V1": MASTER})
    side.router.ip("link set far-eth1 down")
    wait_states(side, {"V1": FAULT})


@pytest.mark.keywords(
    "At the top/linkbeat_interfaces",
    "At the top/linkbeat_use_polling",
    "vrrp_instance/linkbeat_use_polling",
)
@pytest.mark.parametrize("how", ["line", "instance", "global"])
def test_an_interface_that_is_asked_for_its_link(both: Callable[[str], Both], how: str) -> None:
    top = {"line": "linkbeat_interfaces {\n eth1 MII\n}\n", "global": "linkbeat_use_polling\n"}
    polling = "linkbeat_use_polling" if how == "instance" else ""
    pair = both(top.get(how, "") + instance(1, polling, interface="eth1") + instance(2))
    pair.expect({1: 100, 2: 100})
    pair.ip("link set far-eth1 down")
    pair.expect({2: 100})
    for side in pair.sides:
        side.daemon.wait_log("Linkbeat reports eth1 down")
    pair.ip("link set far-eth1 up")
    pair.expect({1: 100, 2: 100})
    if how == "line":
        for side in pair.sides:
            side.daemon.wait_log(
                "(eth1): Configured linkbeat type MII not supported, using ETHTOOL"
            )


@pytest.mark.keywords("vrrp_instance/track_src_ip")
def test_a_source_address_that_is_not_there(ours: Callable[[str], Side]) -> None:
    # keepalived 2.2.7 takes no notice of a multicast source; what its manual page says is expected.
    side = ours(
        instance(1, "mcast_src_ip 10.0.1.77; track_src_ip")
        + instance(2, "mcast_src_ip 10.0.1.1; track_src_ip")
        + instance(3, "mcast_src_ip 10.0.1.77")
    )
    wait_states(side, {"V1": FAULT, "V2": MASTER, "V3": MASTER})
    side.daemon.wait_log("(V1) src address 10.0.1.77 not configured")
    side.router.ip("address add 10.0.1.77/24 dev eth0")
    wait_states(side, {"V1": MASTER})
    side.router.ip("address delete 10.0.1.77/24 dev eth0")
    wait_states(side, {"V1": FAULT, "V2": MASTER, "V3": MASTER})
    assert side.daemon.stop() == 0


# --- scripts -------------------------------------------------------------------------------------


def script(name: str, command: str, *lines: str) -> str:
    body = "\n    ".join(lines)
    return f'vrrp_script {name} {{\n    script "{command}"\n    interval 1\n    {body}\n}}\n'


def program(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.mark.keywords("vrrp_instance/track_script", "vrrp_script/weight", "At the top/vrrp_script")
def test_scripts(both: Callable[[str], Both], tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    flag.touch()
    asks = program(tmp_path, "asks", f"test -e {flag}")
    killed = program(tmp_path, "killed", "kill -9 $$")
    hangs = program(tmp_path, "hangs", "sleep 1000")
    cases = {
        1: "asks",
        2: "asks weight 20",
        3: "asks weight -20",
        4: "asks weight 20 reverse",
        5: "asks weight -20 reverse",
        6: "asks weight 0 reverse",
        7: "heavy",
        8: "heavy weight 5",
        9: "turned",
        10: "turned weight 7 noreverse",
        11: "killed weight -30",
        12: "hangs weight -40",
        13: "killed",
    }
    pair = both(
        script("asks", str(asks), "fall 2", "rise 2")
        + script("heavy", str(asks), "weight 50")
        + script("turned", str(asks), "weight 10 reverse")
        + script("killed", str(killed))
        + script("hangs", str(hangs), "timeout 1")
        + "".join(instance(vrid, tracks("track_script", case)) for vrid, case in cases.items())
        + instance(14, tracks("track_script", "asks weight -60"), priority=255)
    )
    failing = {11: 70, 12: 60, 14: 255}
    good = {1: 100, 2: 120, 3: 100, 4: 80, 5: 100, 7: 150, 8: 105, 9: 90, 10: 107}
    bad = {2: 100, 3: 80, 4: 100, 5: 120, 6: 100, 8: 100, 9: 100, 10: 100}
    pair.expect(good | failing)
    flag.unlink()
    pair.expect(bad | failing | {7: 100})
    flag.touch()
    pair.expect(good | failing)
    for side in pair.sides:
        log = side.daemon.log()
        assert "VRRP_Script(asks) succeeded" in log
        assert "Script `asks` now returning 1" in log
        assert "VRRP_Script(asks) failed (exited with status 1)" in log
        assert "VRRP_Script(killed) failed (due to signal 9)" in log
        assert "VRRP_Script(hangs) timed_out" in log


def test_nobody_is_master_before_its_scripts_have_run(
    both: Callable[[str], Both], tmp_path: Path
) -> None:
    go = tmp_path / "go"
    waits = program(tmp_path, "waits", f"while ! test -e {go}; do sleep 0.1; done")
    pair = both(
        script("waits", str(waits), "timeout 60")
        + "".join(
            instance(vrid, tracks("track_script", f"waits {weight}"))
            for vrid, weight in enumerate(("", "weight 20", "weight -20", "weight 0 reverse"), 1)
        )
    )
    pair.expect({2: 100, 3: 100})
    for side in pair.sides:
        assert "FAULT" not in side.daemon.log()
    go.touch()
    pair.expect({1: 100, 2: 120, 3: 100})


def test_a_master_goes_on_until_the_first_result_of_a_script_that_a_reload_brings(
    both: Callable[[str], Both], tmp_path: Path
) -> None:
    go = tmp_path / "go"
    waits = program(tmp_path, "waits", f"while ! test -e {go}; do sleep 0.1; done; exit 1")
    pair = both(instance(1) + instance(2))
    pair.expect({1: 100, 2: 100})
    for side in pair.sides:
        side.daemon.configure(
            HEAD
            + script("waits", str(waits), "timeout 60")
            + instance(1, tracks("track_script", "waits"))
            + instance(2, tracks("track_script", "waits weight -20"))
        )
        side.daemon.signal(signal.SIGHUP)
    wait_until(lambda: all("Reload" in side.daemon.log() for side in pair.sides))
    time.sleep(1.5)
    pair.expect({1: 100, 2: 100})
    for side in pair.sides:
        assert "sent 0 priority" not in side.daemon.log()
    go.touch()
    pair.expect({2: 80})


def test_one_that_waits_for_its_script_may_be_changed_and_removed(
    ours: Callable[[str], Side], tmp_path: Path
) -> None:
    waits = script("waits", str(program(tmp_path, "waits", "sleep 1000")), "timeout 1000")
    waiting = waits + "".join(instance(vrid, tracks("track_script", "waits")) for vrid in (1, 2))
    side = ours(waiting + instance(3))
    wait_speaking(side, {3: 100})
    assert states(side) == {"V1": INIT, "V2": INIT, "V3": MASTER}
    side.daemon.wait_log("(V1) tracked script waits has not run yet")
    side.daemon.configure(HEAD + waits + instance(1, priority=90) + instance(3))
    side.daemon.signal(signal.SIGHUP)
    wait_speaking(side, {1: 90, 3: 100})
    side.daemon.configure(HEAD + waiting)
    side.daemon.signal(signal.SIGHUP)
    wait_speaking(side, {1: 100})
    wait_states(side, {"V2": INIT})
    assert side.daemon.stop() == 0
    assert "Traceback" not in side.daemon.log()
    assert "FAULT" not in side.daemon.log()


@pytest.mark.keywords("vrrp_script/init_fail")
def test_a_script_that_is_bad_at_first(ours: Callable[[str], Side], tmp_path: Path) -> None:
    # keepalived 2.2.7 reads the keyword, and does as if it was not there.
    go = tmp_path / "go"
    waits = program(tmp_path, "waits", f"while ! test -e {go}; do sleep 0.1; done")
    side = ours(
        script("waits", str(waits), "timeout 60", "rise 2", "init_fail")
        + "".join(
            instance(vrid, tracks("track_script", f"waits {weight}"))
            for vrid, weight in enumerate(("", "weight 20", "weight -20", "weight 0 reverse"), 1)
        )
    )
    wait_speaking(side, {2: 100, 3: 80, 4: 100})
    go.touch()
    wait_speaking(side, {1: 100, 2: 120, 3: 100})


def test_a_reload_leaves_a_script_what_it_has_counted(
    ours: Callable[[str], Side], tmp_path: Path
) -> None:
    runs, fails = tmp_path / "runs", tmp_path / "fails"
    counts = program(tmp_path, "counts", f"echo >>{runs}; test ! -e {fails}")
    slow = program(tmp_path, "slow", f"echo >>{tmp_path}/slow-runs; exit 0")

    def configuration(*cases: str, fall: int = 1) -> str:
        return (
            script("counts", str(counts), f"fall {fall}")
            + script("slow", str(slow)).replace("interval 1", "interval 3600")
            + "".join(
                instance(vrid, tracks("track_script", case) if case else "")
                for vrid, case in enumerate(cases, 1)
            )
        )

    side = ours(configuration("counts", "counts weight 20", "slow weight 5", ""))
    wait_speaking(side, {1: 100, 2: 120, 3: 105, 4: 100})

    def reload(text: str) -> None:
        before = side.daemon.log().count("Reloaded")
        side.daemon.configure(HEAD + text)
        side.daemon.signal(signal.SIGHUP)
        side.daemon.wait_log("Reloaded", count=before + 1)

    # Another weight, one that tracks no more, and one that does now: at once, without another run.
    begun = states(side)
    reload(configuration("counts", "counts weight 30", "", "slow weight 7", fall=3))
    wait_speaking(side, {1: 100, 2: 130, 3: 100, 4: 107})
    assert states(side) == begun
    assert (
        "FAULT"
        not in side.daemon.log().replace("tracked script counts has not", "")[
            side.daemon.log().index("Reloading") :
        ]
    )
    assert (tmp_path / "slow-runs").read_text() == "\n"
    fails.touch()
    wait_speaking(side, {2: 100, 3: 100, 4: 107})
    # Nobody tracks it any more: it does not run.
    reload(configuration("", "", "", "slow weight 7"))
    wait_speaking(side, {1: 100, 2: 100, 3: 100, 4: 107})
    ran = runs.read_text()
    time.sleep(1.5)
    assert runs.read_text() == ran
    assert side.daemon.stop() == 0
    assert "Traceback" not in side.daemon.log()


# --- files ---------------------------------------------------------------------------------------


@pytest.mark.keywords(
    "vrrp_instance/track_file",
    "track_file/weight",
    "track_file/init_file",
    "At the top/track_file",
    "At the top/vrrp_track_file",
)
def test_files(both: Callable[[str], Both], tmp_path: Path) -> None:
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    second.write_text("9")
    third.write_text("9")
    cases = {
        1: "first",
        2: "first weight 2",
        3: "first weight -1",
        4: "first weight 0",
        5: "first weight 0 reverse",
        6: "first weight 1 reverse",
        7: "second",
        8: "second weight 1",
        9: "third",
    }
    pair = both(
        f"track_file first {{\n file {first}\n}}\n"
        f"vrrp_track_file second {{\n file {second}\n weight 3 reverse\n init_file 4\n}}\n"
        f"track_file third {{\n file {third}\n init_file 6 overwrite\n}}\n"
        + "".join(instance(vrid, tracks("track_file", case)) for vrid, case in cases.items())
        + instance(10, tracks("track_file", "third weight -9"), priority=255)
    )
    others = {7: 73, 8: 91, 9: 106, 10: 255}
    nothing = {1: 100, 2: 100, 3: 100, 4: 100, 6: 100} | others
    pair.expect(nothing)
    assert third.read_text().strip() == "6"
    first.write_text("7")
    pair.expect({1: 107, 2: 114, 3: 93, 5: 100, 6: 93} | others)
    first.write_text("-200")
    pair.expect({1: 1, 3: 254, 5: 100, 6: 254} | others)
    first.write_text("garbage")
    pair.expect(nothing)
    (tmp_path / "new").write_text("300")
    (tmp_path / "new").rename(first)
    pair.expect({1: 254, 2: 254, 5: 100} | others)
    first.unlink()
    pair.expect(nothing)


# --- processes -----------------------------------------------------------------------------------


@pytest.mark.keywords(
    "vrrp_instance/track_process",
    "vrrp_track_process/weight",
    "At the top/vrrp_track_process",
)
def test_processes(ours: Callable[[str], Side], tmp_path: Path) -> None:
    # The kernel tells keepalived nothing in a network namespace, and it counts none of them.
    name = f"fv{tmp_path.name[-8:]}{next(itertools.count())}"
    path = tmp_path / name
    path.write_bytes(Path("/bin/sleep").read_bytes())
    path.chmod(0o755)
    side = ours(
        f"vrrp_track_process one {{\n process {name}\n}}\n"
        f"vrrp_track_process two {{\n process {name}\n quorum 2\n weight 10\n}}\n"
        + instance(1, tracks("track_process", "one"))
        + instance(2, tracks("track_process", "two"))
        + instance(3, tracks("track_process", "two weight -10 reverse"))
        + instance(4, tracks("track_process", "one weight 0 reverse"))
    )
    wait_speaking(side, {2: 100, 3: 110, 4: 100})
    log = (tmp_path / "log").open("wb")
    first = side.router.start_daemon([str(path), "1000"], log)
    wait_speaking(side, {1: 100, 2: 100, 3: 110})
    second = side.router.start_daemon([str(path), "1000"], log)
    wait_speaking(side, {1: 100, 2: 110, 3: 100})
    second.kill()
    wait_speaking(side, {1: 100, 2: 100, 3: 110})
    first.kill()
    wait_speaking(side, {2: 100, 3: 110, 4: 100})
    side.daemon.wait_log("(V1) tracked process one quorum not achieved")
    assert side.daemon.stop() == 0


# --- sync groups ---------------------------------------------------------------------------------


@pytest.mark.keywords(
    "vrrp_sync_group/track_interface",
    "vrrp_sync_group/track_script",
    "vrrp_sync_group/track_file",
)
def test_what_a_group_tracks_counts_for_every_member(
    both: Callable[[str], Both], tmp_path: Path
) -> None:
    flag, file = tmp_path / "flag", tmp_path / "file"
    flag.touch()
    file.write_text("3")
    asks = program(tmp_path, "asks", f"test -e {flag}")
    group = "\n    ".join(
        (
            "group {\n V1\n V2\n }",
            "track_interface {\n eth1 weight 20\n }",
            "track_script {\n asks weight -10\n }",
            "track_file {\n file weight 1\n }",
        )
    )
    pair = both(
        script("asks", str(asks))
        + f"track_file file {{\n file {file}\n}}\n"
        + f"vrrp_sync_group G {{\n    {group}\n}}\n"
        + instance(1)
        + instance(2)
        + instance(3)
    )
    pair.expect({1: 123, 2: 123, 3: 100})
    pair.ip("link set far-eth1 down")
    pair.expect({1: 103, 2: 103, 3: 100})
    flag.unlink()
    pair.expect({1: 93, 2: 93, 3: 100})
    file.write_text("0")
    pair.expect({1: 90, 2: 90, 3: 100})


def test_a_group_waits_together_and_tells_nobody_of_a_fault(
    both: Callable[[str], Both], tmp_path: Path
) -> None:
    go, fails = tmp_path / "go", tmp_path / "fails"
    text = f"while ! test -e {go}; do sleep 0.1; done; test ! -e {fails}"
    waits = script("waits", str(program(tmp_path, "waits", text)), "timeout 60")
    group = "vrrp_sync_group G {\n group {\n V1\n V2\n }\n}\n"
    pair = both(
        waits + group + instance(1, tracks("track_script", "waits")) + instance(2) + instance(3)
    )
    pair.expect({3: 100})
    time.sleep(1.0)
    pair.expect({3: 100})
    for side in pair.sides:
        assert "FAULT" not in side.daemon.log().replace("is in FAULT", "")
    go.touch()
    pair.expect({1: 100, 2: 100, 3: 100})
    fails.touch()
    pair.expect({3: 100})
    fails.unlink()
    pair.expect({1: 100, 2: 100, 3: 100})


def test_a_group_whose_script_fails_at_first_is_in_fault(
    both: Callable[[str], Both], tmp_path: Path
) -> None:
    fails = script("fails", str(program(tmp_path, "fails", "sleep 1; exit 1")), "timeout 9")
    group = "vrrp_sync_group G {\n group {\n V1\n V2\n }\n}\n"
    pair = both(
        fails + group + instance(1, tracks("track_script", "fails")) + instance(2) + instance(3)
    )
    pair.expect({3: 100})
    wait_states(pair.sides[0], {"V1": INIT, "V2": INIT, "V3": MASTER})
    wait_states(pair.sides[0], {"V1": FAULT, "V2": FAULT, "V3": MASTER})
    pair.expect({3: 100})


@pytest.mark.keywords("vrrp_sync_group/global_tracking")
def test_a_group_may_share_what_its_members_track(
    ours: Callable[[str], Side], tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_text("3")

    def configuration(*members: int) -> str:
        names = "\n".join(f"V{vrid}" for vrid in members)
        return (
            f"track_file file {{\n file {file}\n}}\n"
            f"vrrp_sync_group G {{\n group {{\n{names}\n }}\n global_tracking\n"
            " sync_group_tracking_weight\n}\n"
            + instance(1, tracks("track_file", "file weight 1"))
            + instance(2)
            + instance(3)
        )

    side = ours(configuration(1, 2))
    wait_speaking(side, {1: 103, 2: 103, 3: 100})
    file.write_text("5")
    wait_speaking(side, {1: 105, 2: 105, 3: 100})
    side.daemon.configure(HEAD + configuration(1, 3))
    side.daemon.signal(signal.SIGHUP)
    wait_speaking(side, {1: 105, 2: 100, 3: 105})
    assert side.daemon.stop() == 0
    assert "Traceback" not in side.daemon.log()
