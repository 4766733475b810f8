"""Virtual servers under fastvrrp and under keepalived.

With the same configuration and the same failures the same is seen of both: IPVS, FIFO lines,
scripts, and the lines of the log that people grep for.
"""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab import wait_until

pytestmark = pytest.mark.timeout(180)

PORTS = (8001, 8002, 8003)
TCP_CHECK = "TCP_CHECK {\n connect_timeout 1\n}"
PATIENCE = 40.0
"""Seconds: a guest is slow, and its host may be busy."""
QUIET = 0.4
"""Seconds."""
FOUND = re.compile(
    r"(?:Removing|Adding|Enabling|Disabling|Changing weight|Gained quorum|Lost quorum|Shutting down"
    r"|service \S+ no longer|Suspending healthchecker).*|Starting with quorum down"
)
"""Lines of the log that are compared."""


class Listener:
    """A real server: it accepts connections on loopback, and closes them."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None

    def up(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", self._port), reuse_port=True)
        threading.Thread(target=self._serve, args=(self._socket,), daemon=True).start()

    def down(self) -> None:
        if self._socket is not None:
            self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()
            self._socket = None

    def _serve(self, listening: socket.socket) -> None:
        while True:
            try:
                listening.accept()[0].close()
            except OSError:
                return


def table() -> dict[str, dict[int, int]]:
    """Weights by port of the destination, by service."""
    found: dict[str, dict[int, int]] = {}
    of: dict[int, int] = {}
    for line in Path("/proc/net/ip_vs").read_text().splitlines()[3:]:
        words = line.split()
        if words[0] == "->":
            of[int(words[1].rpartition(":")[2], 16)] = int(words[3])
        else:
            of = found.setdefault(f"{words[0]} {words[1]}", {})
    return found


class Director:
    """One daemon, and all that is seen of it."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self._folder = folder
        self._configuration = folder / "director.conf"
        self._log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self._lines = bytearray()
        self._is_sorted = False
        self._said = 0, 0
        self._said_at = 0.0
        self.options: list[str] = []
        """More of the command line."""
        self.definition = ""
        """In global_defs."""
        fifo = folder / "fifo"
        os.mkfifo(fifo)
        self._fifo = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
        script = folder / "note"
        script.write_text(f'#!/bin/sh\necho "$*" >>{folder}/notes\n')
        script.chmod(0o755)

    def write(self, text: str) -> None:
        definitions = (
            f"global_defs {{\n script_user root\n lvs_notify_fifo {self._folder}/fifo\n"
            f" {self.definition}\n}}\n"
        )
        self._configuration.write_text(definitions + text.replace("NOTE", f"{self._folder}/note"))

    def start(self) -> None:
        path = str(self._configuration)
        if self.kind == "keepalived":
            command = ["keepalived", "-n", "-l", "-D", "-f", path]
        else:
            module = [sys.executable, "-P", "-m", "fastvrrp", "run", "-n", "-l", "-D"]
            command = [*module, "-f", path, "-p", str(self._folder / "pid")]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, *self.options], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def reload(self) -> None:
        assert self._process is not None
        done = "Reload complete" if self.kind == "keepalived" else "Health checks are reloaded"
        before = self.log.count(done)
        self._process.send_signal(signal.SIGHUP)
        self.wait(lambda: self.log.count(done) > before)

    def stop(self) -> None:
        assert self._process is not None
        self.wait(self._is_quiet)
        self._process.terminate()
        assert self._process.wait(PATIENCE) == 0
        end = time.monotonic() + PATIENCE
        while not self._is_noted():
            assert time.monotonic() < end, f"{self.lines}\n{self.notes}"
            time.sleep(0.05)

    def _is_quiet(self) -> bool:
        """All is noted, and nothing new was said for a moment: keepalived changes IPVS before it
        tells of that, and kills the scripts that it has not waited for at its end."""
        said = len(self.lines), len(self.log)
        now = time.monotonic()
        if said != self._said:
            self._said, self._said_at = said, now
        return self._is_noted() and now - self._said_at > QUIET

    def _is_noted(self) -> bool:
        """A script was run for every line; they take their time."""
        return len(self.notes) >= len(self.lines)

    def end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._fifo)

    def wait(self, until: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE
        while not until():
            assert self._process is not None
            assert self._process.poll() is None, self.log
            assert time.monotonic() < end, f"{table()}\n{self.log}\n{self.lines}"
            self._hear()
            time.sleep(0.05)

    def until_table(self, wanted: dict[str, dict[int, int]]) -> None:
        self.wait(lambda: table() == wanted)

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def lines(self) -> list[str]:
        """What the FIFO was told."""
        self._hear()
        lines = self._lines.decode().splitlines()
        return sorted(lines) if self._is_sorted else lines

    @property
    def notes(self) -> list[str]:
        """What scripts were run with. Several run at once, in no order."""
        notes = self._folder / "notes"
        return sorted(notes.read_text().splitlines()) if notes.exists() else []

    @property
    def words(self) -> list[str]:
        """Lines of the log that people grep for."""
        found = [match[0] for line in self.log.splitlines() if (match := FOUND.search(line))]
        return sorted(found) if self._is_sorted else found

    def sort(self) -> None:
        """The order of what was seen does not matter."""
        self._is_sorted = True

    def _hear(self) -> None:
        while select.select([self._fifo], [], [], 0)[0]:
            self._lines += os.read(self._fifo, 65536)


@dataclass(frozen=True)
class Seen:
    """What is seen of one daemon."""

    lines: list[str]
    notes: list[str]
    words: list[str]


Servers = dict[int, Listener]
Story = Callable[[Director, Servers], None]


def told(kind: str, story: Story, folder: Path) -> Seen:
    """Plays a story with one daemon."""
    Path("/run/keepalived").mkdir(exist_ok=True)
    folder.mkdir()
    servers = {port: Listener(port) for port in PORTS}
    for each in servers.values():
        each.up()
    director = Director(kind, folder)
    try:
        story(director, servers)
        return Seen(director.lines, director.notes, director.words)
    finally:
        director.end()
        for each in servers.values():
            each.down()
        subprocess.run(["ipvsadm", "-C"], check=True)


def same(story: Story, folder: Path) -> Seen:
    """Plays a story with keepalived, then with fastvrrp: what is seen of both is the same."""
    theirs = told("keepalived", story, folder / "keepalived")
    ours = told("fastvrrp", story, folder / "fastvrrp")
    assert ours.lines == theirs.lines
    assert ours.notes == theirs.notes
    assert ours.words == theirs.words
    return ours


def real(port: int, more: str = "", *, weight: int = 2, checker: str = TCP_CHECK) -> str:
    return f"""
    real_server 127.0.0.1 {port} {{
        weight {weight}
        notify_up "NOTE up {port}"
        notify_down "NOTE down {port}"
        {checker}
        {more}
    }}"""


def virtual(what: str = "10.0.0.1 80", more: str = "protocol TCP", *reals: str) -> str:
    return f"""
virtual_server {what} {{
    delay_loop 1
    retry 1
    delay_before_retry 0.2
    warmup 0
    lvs_sched rr
    lvs_method NAT
    quorum_up "NOTE quorum up"
    quorum_down "NOTE quorum down"
    {more}
    {" ".join(reals)}
}}
"""


SERVICE = "TCP 0A000001:0050"
NAME = "[10.0.0.1]:tcp:80"
QUORUM = """
    protocol TCP
    quorum 3
    hysteresis 1
    sorry_server 127.0.0.9 9
"""


@pytest.mark.keywords(
    "virtual_server/omega quorum hysteresis sorry_server quorum_up quorum_down",
    *("real_server/notify_up", "real_server/notify_down", "real_server/inhibit_on_failure"),
    *("global_defs/lvs_notify_fifo", "virtual_server/sorry_server_inhibit"),
)
@pytest.mark.parametrize("inhibits", [False, True])
@pytest.mark.parametrize("omega", ["", "omega"])
def test_quorum_and_sorry_server(inhibits: bool, omega: str, tmp_path: Path) -> None:
    sorry = {9: 0} if inhibits else {}
    more = f"{QUORUM}\n{omega}\n{'sorry_server_inhibit' if inhibits else ''}"

    def story(director: Director, servers: Servers) -> None:
        reals = real(8001), real(8002, "inhibit_on_failure")
        director.write(virtual("10.0.0.1 80", more, *reals))
        director.start()
        director.until_table({SERVICE: {8001: 2, 8002: 2} | sorry})
        director.wait(lambda: "Startup complete" in director.log)
        servers[8002].down()
        director.until_table({SERVICE: {8001: 2, 8002: 0} | sorry})
        servers[8001].down()
        director.until_table({SERVICE: {8002: 0, 9: 1}})
        servers[8002].up()
        director.wait(lambda: director.words[-1].startswith("Enabling service"))
        assert table() == {SERVICE: {8002: 0, 9: 1}}
        servers[8001].up()
        director.until_table({SERVICE: {8001: 2, 8002: 2} | sorry})
        director.wait(lambda: director.lines[-1] == f"VS {NAME} UP")
        director.stop()
        assert table() == {}

    seen = same(story, tmp_path)
    assert seen.lines.count(f"VS {NAME} DOWN") == (2 if omega else 1)


@pytest.mark.keywords(
    *("virtual_server/alpha", "real_server/alpha", "global_defs/rs_init_notifies"),
)
@pytest.mark.parametrize("definition", ["", "rs_init_notifies"])
def test_alpha_and_notifications_at_the_start(definition: str, tmp_path: Path) -> None:
    def story(director: Director, servers: Servers) -> None:
        servers[8002].down()
        director.definition = definition
        director.write(
            virtual("10.0.0.1 80", "protocol TCP\nalpha", real(8002), real(8001))
            + virtual("fwmark 9", "", real(8001))
        )
        director.start()
        director.until_table({SERVICE: {8001: 2}, "FWM 00000009": {8001: 2}})
        director.wait(lambda: f"RS [127.0.0.1]:tcp:8002 {NAME} DOWN" in director.lines)
        director.stop()
        director.sort()  # two servers are checked in any order

    same(story, tmp_path)


@pytest.mark.keywords("virtual_server/sorry_server_lvs_method")
def test_a_sorry_server_may_be_reached_otherwise(tmp_path: Path) -> None:
    more = "protocol TCP\n sorry_server 127.0.0.9 80\n sorry_server_lvs_method DR"

    def story(director: Director, servers: Servers) -> None:
        director.write(virtual("10.0.0.1 80", more, real(8001)))
        director.start()
        director.until_table({SERVICE: {8001: 2}})
        servers[8001].down()
        director.until_table({SERVICE: {80: 1}})
        assert "-> 7F000009:0050      Route   1" in Path("/proc/net/ip_vs").read_text()
        director.stop()

    same(story, tmp_path)


@pytest.mark.keywords(
    *("At the top/virtual_server", "virtual_server/real_server", "virtual_server/weight"),
)
def test_weights_and_servers_change_at_a_reload(tmp_path: Path) -> None:
    def story(director: Director, servers: Servers) -> None:
        director.write(virtual("10.0.0.1 80", "protocol TCP", real(8001), real(8002)))
        director.start()
        director.until_table({SERVICE: {8001: 2, 8002: 2}})
        servers[8002].down()
        director.until_table({SERVICE: {8001: 2}})
        director.write(
            virtual("10.0.0.1 80", "protocol TCP\nquorum 3", real(8001, weight=5), real(8002))
        )
        director.reload()
        director.until_table({SERVICE: {8001: 5}})
        third = real(8003, weight=3)
        director.write(
            virtual("10.0.0.1 80", "protocol TCP", real(8001, weight=5), real(8002), third)
            + virtual("10.0.0.2 80", "protocol TCP", third)
        )
        director.reload()
        other = "TCP 0A000002:0050"
        director.until_table({SERVICE: {8001: 5, 8003: 3}, other: {8003: 3}})
        servers[8002].up()
        director.until_table({SERVICE: {8001: 5, 8002: 2, 8003: 3}, other: {8003: 3}})
        director.write(virtual("10.0.0.1 80", "protocol TCP", real(8002), third))
        director.reload()
        director.until_table({SERVICE: {8002: 2, 8003: 3}})
        servers[8002].down()
        director.until_table({SERVICE: {8003: 3}})
        director.stop()

    seen = same(story, tmp_path)
    assert "Changing weight from 2 to 5 for active service [127.0.0.1]:tcp:8001" in str(seen.words)


@pytest.mark.keywords("MISC_CHECK/misc_dynamic", "FILE_CHECK/weight")
def test_dynamic_weights_of_several_checkers(tmp_path: Path) -> None:
    one, two, load = (tmp_path / name for name in ("one", "two", "load"))

    def misc(path: Path) -> str:
        return f"""MISC_CHECK {{
            misc_path "{tmp_path}/exit {path}"
            misc_timeout 30
            misc_dynamic
        }}"""

    script = tmp_path / "exit"
    script.write_text("#!/bin/sh\nexit $(cat $1)\n")
    script.chmod(0o755)

    def story(director: Director, servers: Servers) -> None:
        for path in (one, two, load):
            path.write_text("0\n")
        file = "FILE_CHECK {\n track_file load\n weight 2\n }"
        checkers = f"{misc(one)}\n{misc(two)}\n{file}"
        director.write(
            f"track_file load {{\n file {load}\n}}\n"
            + virtual("10.0.0.1 80", QUORUM, real(8001, weight=5, checker=checkers))
        )
        director.start()
        for path, text, weight in (
            (one, "9", 7),
            (two, "7", 7),
            (load, "3", 13),
            (load, "-3", 1),
            (load, "0", 7),
            (one, "1", None),
            (two, "12", None),
            (one, "0", 10),
        ):
            if path is two and weight is None:
                director.wait(lambda: "Lost quorum" in director.words[-3])
            path.write_text(f"{text}\n")
            sorry = weight is None or weight < 2
            director.until_table({SERVICE: {9: 1} if sorry else {8001: weight or 0}})
            if path is two and weight is None:
                director.wait(lambda: "inactive" in director.words[-1])
        director.stop()

    same(story, tmp_path)


@pytest.mark.keywords("virtual_server/ha_suspend")
def test_nothing_is_checked_without_the_address(tmp_path: Path) -> None:
    def address(verb: str) -> None:
        subprocess.run(["ip", "address", verb, "10.0.0.1/32", "dev", "lo"], check=True)

    def story(director: Director, servers: Servers) -> None:
        director.write(
            virtual("10.0.0.1 80", "protocol TCP\nha_suspend", real(8001))
            + virtual("fwmark 9", "ha_suspend", real(8002))
        )
        director.start()
        mark = "FWM 00000009"
        director.until_table({SERVICE: {8001: 2}, mark: {8002: 2}})
        servers[8001].down()
        servers[8002].down()
        director.until_table({SERVICE: {8001: 2}, mark: {}})
        address("add")
        try:
            director.until_table({SERVICE: {}, mark: {}})
        finally:
            address("del")
        director.wait(lambda: "Suspending healthchecker" in director.log)
        servers[8001].up()
        servers[8002].up()
        director.until_table({SERVICE: {}, mark: {8002: 2}})
        address("add")
        try:
            director.until_table({SERVICE: {8001: 2}, mark: {8002: 2}})
        finally:
            address("del")
        director.stop()

    same(story, tmp_path)


@pytest.mark.keywords("At the top/virtual_server_group")
def test_a_group_is_one_pool_of_many_services(tmp_path: Path) -> None:
    group = "virtual_server_group web {\n 10.0.1.1-3 80\n fwmark 7\n}\n"
    services = [*(f"TCP 0A00010{number}:0050" for number in (1, 2, 3)), "FWM 00000007"]

    def story(director: Director, servers: Servers) -> None:
        reals = real(8001), real(8002, "inhibit_on_failure")
        director.write(group + virtual("group web", QUORUM, *reals))
        director.start()
        director.until_table({key: {8001: 2, 8002: 2} for key in services})
        servers[8001].down()
        director.until_table({key: {8002: 2} for key in services})
        servers[8002].down()
        director.until_table({key: {8002: 0, 9: 1} for key in services})
        director.stop()
        assert table() == {}

    seen = same(story, tmp_path)
    assert seen.lines[-1] == "VS [web]:0 DOWN"


def test_dont_release_ipvs_leaves_what_is_there(tmp_path: Path) -> None:
    def story(director: Director, servers: Servers) -> None:
        director.options = ["--dont-release-ipvs"]
        director.write(virtual("10.0.0.1 80", "protocol TCP\nomega", real(8001)))
        director.start()
        director.until_table({SERVICE: {8001: 2}})
        director.stop()
        assert table() == {SERVICE: {8001: 2}}

    same(story, tmp_path)


@pytest.mark.keywords("global_defs/lvs_timeouts")
def test_timeouts_are_as_they_were_where_nothing_is_written(tmp_path: Path) -> None:
    """Over reloads, at the stop, and with us after a crash."""
    seen: list[list[str]] = []

    def story(director: Director, servers: Servers) -> None:
        found = [timeouts()]
        for number, written in enumerate(("tcp 100 udp 30", "udp 40", "", "tcpfin 50")):
            director.definition = f"lvs_timeouts {written}" if written else ""
            director.write(virtual("10.0.0.1 80", "protocol TCP", real(8001)))
            if number:
                director.reload()
            else:
                director.start()
                director.until_table({SERVICE: {8001: 2}})
            wait_until(lambda: timeouts() != found[-1], PATIENCE, what="other timeouts")
            found.append(timeouts())
        if director.kind == "fastvrrp":
            os.kill(pid_of("fastvrrp.daemon.checkd"), signal.SIGKILL)
            director.wait(lambda: director.log.count("Health checks have begun") == 2)
        director.stop()
        found.append(timeouts())
        seen.append(found)

    same(story, tmp_path)
    assert seen[0] == seen[1]
    assert seen[0][0] == seen[0][-1]


def timeouts() -> str:
    command = ["ipvsadm", "-L", "-n", "--timeout"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.keywords("global_defs/lvs_flush", "global_defs/lvs_flush_on_stop")
@pytest.mark.parametrize("releases", [True, False])
@pytest.mark.parametrize(
    "definition", ["", "lvs_flush", "lvs_flush_on_stop", "lvs_flush_on_stop VS"]
)
def test_what_a_start_and_a_stop_leave_of_what_others_have_made(
    definition: str, releases: bool, tmp_path: Path
) -> None:
    others = "10.0.0.9:80"
    seen: list[dict[str, dict[int, int]]] = []

    def story(director: Director, servers: Servers) -> None:
        for service in (others, "10.0.0.1:80"):
            subprocess.run(["ipvsadm", "-A", "-t", service, "-s", "rr"], check=True)
        subprocess.run(["ipvsadm", "-a", "-t", others, "-r", "127.0.0.1:80", "-m"], check=True)
        director.definition = definition
        if not releases:
            director.options = ["--dont-release-ipvs"]
        director.write(virtual("10.0.0.1 80", "protocol TCP\nomega", real(8001)))
        director.start()
        director.wait(lambda: table().get(SERVICE) == {8001: 2})
        seen.append(table())
        director.stop()
        seen.append(table())

    same(story, tmp_path)
    theirs, ours = seen[:2], seen[2:]
    assert ours == theirs


def test_a_process_that_dies_leaves_ipvs_to_its_successor(tmp_path: Path) -> None:
    def story(director: Director, servers: Servers) -> None:
        director.write(
            virtual("10.0.0.1 80", "protocol TCP\nalpha", real(8001), real(8002), real(8003))
        )
        director.start()
        director.until_table({SERVICE: {8001: 2, 8002: 2, 8003: 2}})
        servers[8002].down()
        director.until_table({SERVICE: {8001: 2, 8003: 2}})
        before = director.lines
        os.kill(pid_of("fastvrrp.daemon.checkd"), signal.SIGKILL)
        director.wait(lambda: director.log.count("Health checks have begun") == 2)
        assert table() == {SERVICE: {8001: 2, 8003: 2}}
        assert director.lines == before
        servers[8002].up()
        servers[8001].down()
        director.until_table({SERVICE: {8002: 2, 8003: 2}})
        director.stop()
        assert table() == {}

    told("fastvrrp", story, tmp_path / "fastvrrp")


def test_checks_outlive_the_process_that_speaks_vrrp(tmp_path: Path) -> None:
    """When the parent is killed, too, everything goes, as under keepalived."""

    def story(director: Director, servers: Servers) -> None:
        director.write(virtual("10.0.0.1 80", "protocol TCP", real(8001), real(8002)))
        director.start()
        director.until_table({SERVICE: {8001: 2, 8002: 2}})
        servers[8002].down()
        director.until_table({SERVICE: {8001: 2}})
        before, checker = director.lines, pid_of("fastvrrp.daemon.checkd")
        os.kill(pid_of("fastvrrp.daemon.vrrpd_main"), signal.SIGKILL)
        director.wait(lambda: "Health checks are reloaded: 1 virtual servers" in director.log)
        assert table() == {SERVICE: {8001: 2}}
        assert director.lines == before
        assert pid_of("fastvrrp.daemon.checkd") == checker
        servers[8002].up()
        director.until_table({SERVICE: {8001: 2, 8002: 2}})
        os.kill(pid_of("fastvrrp.daemon.supervisor_main"), signal.SIGKILL)
        wait_until(lambda: table() == {}, PATIENCE, what="an empty table")

    told("fastvrrp", story, tmp_path / "fastvrrp")


def pid_of(module: str) -> int:
    """The one process that runs it."""
    found = subprocess.run(["pgrep", "-f", module], capture_output=True, text=True, check=True)
    return int(found.stdout)


@pytest.mark.parametrize(
    ("kind", "after"), [("keepalived", {8001: 2, 8002: 2}), ("fastvrrp", {8001: 2})]
)
def test_a_server_that_is_down_when_its_checker_changes(
    kind: str, after: dict[int, int], tmp_path: Path
) -> None:
    """Under keepalived it counts as up again until the first check, and clients are sent to it;
    here it stays as it was. The first check sets both right."""

    def story(director: Director, servers: Servers) -> None:
        director.write(virtual("10.0.0.1 80", "protocol TCP", real(8001), real(8002)))
        director.start()
        director.until_table({SERVICE: {8001: 2, 8002: 2}})
        servers[8002].down()
        director.until_table({SERVICE: {8001: 2}})
        changed = real(8002, checker="TCP_CHECK {\n connect_timeout 2\n delay_loop 5\n warmup 5\n}")
        director.write(virtual("10.0.0.1 80", "protocol TCP", real(8001), changed))
        lines = len(director.lines)
        director.reload()
        director.until_table({SERVICE: after})
        director.until_table({SERVICE: {8001: 2}})
        if kind == "fastvrrp":
            assert not [line for line in director.lines[lines:] if ":8002 " in line]
        servers[8002].up()
        director.until_table({SERVICE: {8001: 2, 8002: 2}})
        director.stop()

    told(kind, story, tmp_path / kind)
