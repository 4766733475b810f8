"""What fastvrrp and keepalived leave in IPVS, and take back: at a start, a stop, a crash."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from lab import wait_until
from lab.pool_stories import PATIENCE, SERVICE, Director, Servers, real, same, table, told, virtual

pytestmark = pytest.mark.timeout(180)


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
