"""The pools of a real daemon as `status`, `show` and Prometheus see them.

The kernel need not have IPVS for that; tests/kernel/guest/test_pools_counted.py has it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from fastvrrp.cli.pools import heading
from fastvrrp.observe import servers
from lab import Fastvrrp, Laboratory, wait_until
from lab.network import Router
from test_checkd import Listener, checkers_of, virtual
from test_cli_looking import FASTVRRP, ask
from test_cli_run import CONFIGURATION as INSTANCE
from test_metrics_daemon import scrape, value
from test_server_metrics import shown as synthetic

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces")

SECOND = virtual(81, more="quorum 2").partition("}")[2]
POOL = 'virtual_server="[10.0.0.100]:tcp:80"'


@pytest.fixture
def router(lab: Laboratory) -> Router:
    found = lab.router("a")
    lab.connect(found, lab.router("b"))
    found.ip("link set lo up")
    return found


def shown(daemon: Fastvrrp) -> servers.Servers:
    path = daemon.folder / "fastvrrp.servers"
    if not path.exists():
        return servers.Servers()
    with path.open("rb") as file:
        return servers.read(file.fileno())


def pid_file(daemon: Fastvrrp) -> Path:
    return daemon.folder / "fastvrrp.pid"


def opened_by(pid: int) -> set[str]:
    """Names of the files that a process has open."""
    # What is closed meanwhile leads to nothing.
    return {each.resolve().name for each in Path(f"/proc/{pid}/fd").iterdir()}


def seen(daemon: Fastvrrp) -> list[str]:
    """Kinds of the events that were followed."""
    lines = (daemon.folder / "events").read_text().splitlines()
    return [json.loads(line)["event"] for line in lines]


def has_quorum(daemon: Fastvrrp) -> list[bool]:
    return [pool.has_quorum for pool in shown(daemon).virtual_servers]


def test_pools_are_shown_and_told_to_prometheus_as_they_change(router: Router) -> None:
    """Those of a configuration that comes long after the process that serves metrics has given up
    opening files."""
    definitions = "global_defs {\n metrics_listen :9165\n}\n"
    daemon = Fastvrrp(router, definitions + INSTANCE).start()
    daemon.wait_log("Serving metrics")
    assert "fastvrrp_virtual_server" not in scrape(router)
    assert "virtual server" not in ask(daemon, "status").stdout
    listener = Listener(router)
    daemon.configure(virtual(definitions="metrics_listen :9165") + SECOND + INSTANCE)
    daemon.signal(signal.SIGHUP)
    wait_until(lambda: has_quorum(daemon) == [True, True], what=lambda: str(shown(daemon)))
    assert value(scrape(router), "fastvrrp_virtual_server_quorum_up", POOL) == 1
    assert "2 virtual servers; 2 real servers\n" in ask(daemon, "status").stdout

    following = (daemon.folder / "events").open("wb")
    follower = subprocess.Popen(
        [FASTVRRP, "events", "-f", "--json", "10.0.0.100:80", "-p", str(pid_file(daemon))],
        stdout=following,
    )
    try:
        listener.close()
        wait_until(lambda: has_quorum(daemon) == [False, False], what=lambda: str(shown(daemon)))
        wait_until(
            lambda: "QUORUM_LOST" in seen(daemon), what=lambda: f"the events: {seen(daemon)}"
        )
    finally:
        follower.send_signal(signal.SIGINT)
        assert follower.wait(10) == 0
    assert seen(daemon) == ["QUORUM_GAINED", "REAL_SERVER_DOWN", "QUORUM_LOST"]
    text = ask(daemon, "events").stdout
    assert "[10.0.0.100]:tcp:80  quorum lost: the servers that are up weigh 0, quorum 1" in text
    assert "[127.0.0.1]:tcp:8001 is down: TCP_CHECK: " in text
    found = scrape(router)
    assert value(found, "fastvrrp_virtual_server_quorum_up", POOL) == 0
    assert value(found, "fastvrrp_real_server_up", POOL) == 0
    assert value(found, "fastvrrp_real_server_weight", POOL) == 1
    assert value(found, "fastvrrp_real_server_check_failures_total", POOL) >= 2
    text = ask(daemon, "status").stdout
    assert "2 virtual servers, 2 below quorum; 2 real servers, 2 down\n" in text
    assert "[10.0.0.100]:tcp:80   below quorum: the servers that are up weigh 0, quorum 1" in text
    assert "of [10.0.0.100]:tcp:80: TCP_CHECK: TCP connection to [127.0.0.1]:8001: " in text
    said = json.loads(ask(daemon, "status", "--json", "*:80").stdout)
    assert said["pools"]["below_quorum"] == 1
    assert said["routers"] == []
    (pool,) = said["virtual_servers"]
    assert pool["real_servers"][0]["checkers"][0]["good"] is False

    text = " ".join(ask(daemon, "show", "10.0.0.100:80").stdout.split())
    for expected in (
        "[10.0.0.100]:tcp:80: virtual server, rr, NAT",
        "is below its quorum for",
        "Real server [127.0.0.1]:tcp:8001 down for",
        "TCP_CHECK [127.0.0.1]:8001: bad for",
        "the last failure: TCP connection to [127.0.0.1]:8001: ",
    ):
        assert expected in text
    again = json.loads(ask(daemon, "show", "--json", "10.0.0.100:80").stdout)
    assert (again["name"], again.keys()) == (pool["name"], pool.keys())
    assert ask(daemon, "show", "[10.0.0.100]:tcp:82").returncode == 4

    [checker] = checkers_of(daemon)
    os.kill(checker, signal.SIGKILL)
    daemon.wait_log("died: Respawning")
    wait_until(lambda: [checker] != checkers_of(daemon) != [], what="another process")
    wait_until(lambda: shown(daemon).is_alive, what="what that one shows")
    assert value(scrape(router), "fastvrrp_virtual_server_quorum_up", POOL) == 0
    listener = Listener(router)
    wait_until(lambda: "is up\n" in ask(daemon, "events").stdout, what="events of that one")
    listener.close()
    assert daemon.stop() == 0
    assert not list(daemon.folder.glob("fastvrrp.server*"))
    assert "Traceback" not in daemon.log()


def test_one_that_a_reload_brings_is_followed_by_its_address(router: Router) -> None:
    """Also where the daemon has had none when that began, and after it has started again."""
    daemon = Fastvrrp(router, INSTANCE).start()
    daemon.wait_log("Startup complete")
    listener = Listener(router)
    following = (daemon.folder / "events").open("wb")
    follower = subprocess.Popen(
        [FASTVRRP, "events", "-f", "--json", "10.0.0.100:81", "-p", str(pid_file(daemon))],
        stdout=following,
    )
    try:
        wait_until(lambda: "fastvrrp.state" in opened_by(follower.pid), what="it follows")
        daemon.configure(virtual() + SECOND + INSTANCE)
        daemon.signal(signal.SIGHUP)
        wait_until(lambda: seen(daemon) == ["QUORUM_GAINED"], what=lambda: f"{seen(daemon)}")
        assert daemon.stop() == 0
        daemon.start()
        wait_until(lambda: seen(daemon).count("QUORUM_GAINED") == 2, what=lambda: f"{seen(daemon)}")
    finally:
        follower.send_signal(signal.SIGINT)
        assert follower.wait(10) == 0
        following.close()
        listener.close()
    assert daemon.stop() == 0


def test_what_is_not_checked_at_the_moment_is_said_to_be_so(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    for pid, is_said in ((os.getpid(), False), (ended.pid, True)):
        found = synthetic(tmp_path / "servers", pid=pid)
        text = "\n".join(heading(found, found.virtual_servers))
        assert "4 virtual servers, 1 below quorum, 1 suspended; 2 real servers, 1 down" in text
        assert ("Health checks do not run" in text) is is_said
