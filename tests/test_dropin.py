"""`fastvrrp keepalived` where keepalived was: what a management system does, done with both.

It writes a configuration, starts the daemon, finds its process by the pid file, asks
`keepalived --signum` for signals, waits for the dumps (as VyOS does: for their closing), parses
them (as keepalived-exporter does), reads a FIFO, reloads and stops; and it finds the same.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lab import Fastvrrp, Keepalived, Laboratory, wait_until

FASTVRRP = str(Path(sys.executable).with_name("fastvrrp"))
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
FOURTH = """
vrrp_instance VI_4 {
    version 3
    interface eth0
    virtual_router_id 54
    advert_int 0.1
    virtual_ipaddress { 10.0.0.106/24 }
}
"""


class AsKeepalived(Fastvrrp):
    """This project's daemon with keepalived's command line."""

    program = (FASTVRRP, "keepalived")

    def commands(self) -> list[list[str]]:
        return [managed(self.program, self.folder, self.configuration_file)]


class Real(Keepalived):
    """keepalived with the same command line."""

    program = ("keepalived",)

    def commands(self) -> list[list[str]]:
        return [managed(self.program, self.folder, self.configuration_file)]


def managed(program: tuple[str, ...], folder: Path, configuration: Path) -> list[str]:
    return [
        *("env", f"TMPDIR={folder}", *program, "-n", "-l", "-D", "-f", str(configuration)),
        *("-p", str(folder / "main.pid"), "-r", str(folder / "vrrp.pid")),
    ]


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
    scripts: dict[str, dict[str, str]]
    events: list[str]
    reloaded: list[str] = field(default_factory=list)
    status: int = -1
    left: set[str] = field(default_factory=set)


def has_pid(file: Path) -> bool:
    return file.exists() and file.read_text().strip().isdigit()


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
        parse_scripts(text_of_data),
        os.read(reading, 65536).decode().splitlines(),
    )
    daemon.configure(CONFIGURATION.format(fifo=fifo, folder=router.folder, more=FOURTH))
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
            of = found[line.partition("=")[2].strip()] = {"vips": []}
        elif not line.startswith("   "):
            of = None
        elif of is not None and line.startswith("     "):
            if key.startswith("Virtual IP ("):
                of["vips"].append(line.strip())
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
    assert ours.data["VI_1"]["vips"], "the parser of this test reads nothing"
    assert ours.scripts == theirs.scripts
    assert ours.scripts["bad"]["Status"] == "BAD"


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


# --- the command line -----------------------------------------------------------------------------


def both(*arguments: str) -> list[subprocess.CompletedProcess[str]]:
    return [
        subprocess.run([*program, *arguments], capture_output=True, text=True, check=False)
        for program in ((FASTVRRP, "keepalived"), ("keepalived",))
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        *[(f"--signum={name}",) for name in ("STOP", "RELOAD", "DATA", "STATS", "STATS_CLEAR")],
        ("--signum=JSON",),
        ("--signum", "JSON"),
        ("--sig=DATA",),
        ("--signum=NONE",),
        ("--unknown",),
        ("-Z",),
        ("--log=x",),
        ("-p",),
        ("-A",),
    ],
)
def test_the_command_line_answers_the_same(arguments: tuple[str, ...]) -> None:
    mine, other = both(*arguments)
    assert (mine.returncode, mine.stdout) == (other.returncode, other.stdout)
    assert mine.stderr == other.stderr


@pytest.mark.parametrize("option", ["-v", "--version"])
def test_the_version_stands_where_an_exporter_looks(option: str) -> None:
    mine, other = both(option)
    assert mine.returncode == other.returncode == 0
    assert mine.stderr.split()[:2] == other.stderr.split()[:2] == ["Keepalived", "v2.2.7"]


def test_every_option_of_the_help_is_known() -> None:
    from fastvrrp.cli.as_keepalived import OPTIONS

    said = both("--help")[1].stderr
    known = {option.long: option.short for option in OPTIONS}
    for line in said.splitlines():
        if not line.strip().startswith("-"):
            continue
        names = line.strip()
        short = names[1] if names[1] != "-" else ""
        long = names.partition("--")[2].split()[0].split("=")[0].split("[")[0]
        assert known[long] == short, line


def test_a_test_of_the_configuration_writes_to_a_file(tmp_path: Path) -> None:
    configuration = tmp_path / "keepalived.conf"
    configuration.write_text("global_defs {\n    no_such_keyword\n}\n")
    statuses = []
    for number, program in enumerate(((FASTVRRP, "keepalived"), ("keepalived",))):
        log = tmp_path / f"log{number}"
        done = subprocess.run(
            [*program, f"--config-test={log}", "-f", str(configuration)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert "no_such_keyword" in log.read_text()
        assert done.stderr == ""
        statuses.append(done.returncode)
    assert statuses == [5, 5]


@pytest.mark.parametrize(
    ("lines", "name"),
    [
        ("", ""),
        ("use_pid_dir\n", ""),
        ("instance one\n", "one"),
    ],
)
@pytest.mark.keywords("use_pid_dir", "instance")
def test_pid_files_are_where_keepalived_has_them(
    lab: Laboratory, tmp_path: Path, lines: str, name: str
) -> None:
    """Each runs with a /run of its own, which another mount namespace gives it."""
    router, other = lab.router("a"), lab.router("b")
    lab.connect(router, other)
    configuration = tmp_path / "keepalived.conf"
    configuration.write_text(lines + FOURTH)
    found = []
    for program in ((FASTVRRP, "keepalived"), ("keepalived",)):
        script = (
            f"mount --make-rprivate / && mount -t tmpfs none /run &&"
            f" {{ {' '.join(program)} -n -l -f {configuration} & }};"
            " while ! find /run -name '*vrrp*.pid' | grep -q .; do sleep 0.05; done;"
            " find /run -name '*.pid' | sort; kill $!; wait $!; find /run -name '*.pid'"
        )
        done = router.run(["unshare", "-m", "sh", "-c", script], check=False)
        found.append([line for line in done.stdout.splitlines() if line.startswith("/run")])
    assert found[0] == found[1]
    assert len(found[0]) == 2
    assert all(name in path for path in found[0])


def test_options_without_meaning_are_said_once(lab: Laboratory, tmp_path: Path) -> None:
    router, other = lab.router("a"), lab.router("b")
    lab.connect(router, other)

    class Odd(AsKeepalived):
        def commands(self) -> list[list[str]]:
            return [[*super().commands()[0], "--all", "-x", "-B", "--debug=Dv", "-d"]]

    daemon = Odd(router, FOURTH).start()
    daemon.wait_log("(VI_4) Entering MASTER STATE")
    for option in ("all", "snmp", "no_bfd", "debug"):
        assert daemon.log().count(f"keepalived's option --{option} has no meaning here") == 1
    assert "VRRP Instance = VI_4" in daemon.log(), "-d writes the configuration into the log"
    assert daemon.stop() == 0


@pytest.mark.parametrize("kind", [AsKeepalived, Real])
def test_a_daemon_can_end_with_its_processes(
    lab: Laboratory, kind: type[AsKeepalived | Real]
) -> None:
    router, other = lab.router("a"), lab.router("b")
    lab.connect(router, other)

    class Ending(kind):  # type: ignore[misc, valid-type]
        def commands(self) -> list[list[str]]:
            return [[*super().commands()[0], "-R"]]

    daemon = Ending(router, FOURTH).start()
    daemon.wait_log("(VI_4) Entering MASTER STATE")
    speaker = int((daemon.folder / "vrrp.pid").read_text())
    os.kill(speaker, signal.SIGKILL)
    assert daemon.wait() == 0
    log = daemon.log_file.read_text()
    assert f"VRRP child process({speaker}) died: Exiting\n" in log
    assert log.count("Starting VRRP child process") == 1
    assert not (daemon.folder / "main.pid").exists()


def test_addresses_and_routes_can_be_left_where_they_are(lab: Laboratory) -> None:
    text = FOURTH.replace(
        "virtual_ipaddress",
        "virtual_routes { 198.51.100.0/24 via 10.0.0.9 dev eth0 }\n    virtual_ipaddress",
    )
    left = []
    routers = lab.router("a"), lab.router("b")
    lab.connect(*routers)
    for router, kind in zip(routers, (AsKeepalived, Real), strict=True):
        before = router.addresses()

        class Keeping(kind):  # type: ignore[misc, valid-type]
            def commands(self) -> list[list[str]]:
                return [[*super().commands()[0], "-V"]]

        daemon = Keeping(router, text).start()
        daemon.wait_log("(VI_4) Entering MASTER STATE")
        wait_until(partial(router.holds, "10.0.0.106"), what="the address")
        wait_until(
            lambda router=router: any(  # type: ignore[misc]
                each["dst"] == "198.51.100.0/24" for each in router.show("route", "show")
            ),
            what="the route",
        )
        assert daemon.stop() == 0
        routes = {each["dst"] for each in router.show("route", "show")}
        left.append((router.addresses() - before, "198.51.100.0/24" in routes))
    assert left == [({"eth0 10.0.0.106/24"}, True)] * 2


SERVER = """
virtual_server 10.0.0.200 80 {
    lb_algo rr
    lb_kind NAT
    protocol TCP
    real_server 10.0.0.201 80 {
        TCP_CHECK {
        }
    }
}
"""


@pytest.mark.keywords("global_defs/checker_priority", "global_defs/checker_process_name")
@pytest.mark.parametrize("option", ["", "-P", "-C"])
def test_one_half_of_a_configuration_can_be_run(lab: Laboratory, option: str) -> None:
    router, other = lab.router("a"), lab.router("b")
    lab.connect(router, other)

    class Half(AsKeepalived):
        def commands(self) -> list[list[str]]:
            checkers = ["-c", str(self.folder / "checkers.pid")]
            return [[*super().commands()[0], *checkers, *filter(None, [option])]]

    settings = "global_defs {\n checker_process_name checks\n checker_priority 7\n}\n"
    daemon = Half(router, settings + FOURTH + SERVER).start()
    pid_file = daemon.folder / "checkers.pid"
    daemon.wait_log("Startup complete")
    if option != "-C":
        daemon.wait_log("(VI_4) Entering MASTER STATE")
    if option != "-P":
        wait_until(partial(has_pid, pid_file), what="the pid of the checkers")
        comm = Path(f"/proc/{pid_file.read_text().strip()}/comm")
        wait_until(lambda: comm.read_text() == "checks\n", what="its name")
        assert os.getpriority(os.PRIO_PROCESS, int(pid_file.read_text())) == 7
    assert has_pid(pid_file) == (option != "-P")
    daemon.signal(signal.SIGHUP)
    daemon.wait_log("Reloaded")
    assert has_pid(pid_file) == (option != "-P")
    assert ("VI_4" in daemon.log()) == (option != "-C")
    assert daemon.stop() == 0
    assert not pid_file.exists()


def test_a_link_of_the_name_is_enough(tmp_path: Path) -> None:
    link = tmp_path / "keepalived"
    link.symlink_to(FASTVRRP)
    script = Path(__file__).parent.parent / "deploy" / "keepalived"
    for command in ([str(link)], ["sh", str(script)]):
        done = subprocess.run(
            [*command, "--signum=RELOAD"],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"PATH": f"{Path(FASTVRRP).parent}:{os.environ['PATH']}"},
        )
        assert done.stdout == "1\n"


def test_a_network_namespace_has_its_own_pid_files(lab: Laboratory, tmp_path: Path) -> None:
    """As `-s` says, from another namespace; and both have the files in the same place."""
    router, other = lab.router("a"), lab.router("b")
    lab.connect(router, other)
    configuration = tmp_path / "keepalived.conf"
    name = router.namespace
    configuration.write_text(FOURTH)
    found = []
    for program in ((FASTVRRP, "keepalived"), ("keepalived",)):
        script = (
            "mount --make-rprivate / && mkdir -p /run/keepalived &&"
            " mount -t tmpfs none /run/keepalived &&"
            f" {{ {' '.join(program)} -n -l -s {name} -f {configuration} & }};"
            " while ! find /run/keepalived -name '*vrrp*.pid' | grep -q .; do sleep 0.05; done;"
            " find /run/keepalived -name '*.pid' | sort; kill $!; wait $!"
        )
        done = subprocess.run(
            ["unshare", "-m", "sh", "-c", script],
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        found.append([line for line in done.stdout.splitlines() if line.startswith("/run")])
    assert found[0] == found[1]
    assert [Path(each).parent for each in found[0]] == [Path("/run/keepalived", name)] * 2


def test_whoever_starts_it_goes_on_when_it_runs(lab: Laboratory) -> None:
    router, other = lab.router("a"), lab.router("b")
    lab.connect(router, other)
    configuration = router.folder / "keepalived.conf"
    configuration.write_text(FOURTH)
    pid_file = router.folder / "main.pid"
    done = router.run(
        [
            *(FASTVRRP, "keepalived", "-G", "-f", str(configuration), "-p", str(pid_file)),
            *("-r", str(router.folder / "vrrp.pid")),
        ]
    )
    assert done.returncode == 0
    pid = int(pid_file.read_text())
    try:
        assert Path(f"/proc/{pid}/comm").read_text() == "keepalived\n"
    finally:
        os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not pid_file.exists(), what="its end")
