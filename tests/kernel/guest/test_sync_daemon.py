"""`lvs_sync_daemon`: its halves follow a virtual router, under fastvrrp as under keepalived, and
what one director sends the other has."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable

import pytest

from lab import Daemon, Fastvrrp, Keepalived, Laboratory, Router
from lab.directors import KeepalivedDirector
from lab.waiting import wait_until

PATIENCE = 30.0
OPTIONS = {
    "IPv4": "eth0 inst V id 7 maxlen 1200 port 9000 ttl 3 group 224.0.0.90",
    "IPv6": "eth0 V group ff02::81",
}
INSTANCE = """
vrrp_instance V {{
    version 3
    interface eth0
    virtual_router_id 51
    priority {priority}
    advert_int 0.2
    track_interface {{
        eth1
    }}
    virtual_ipaddress {{
        10.0.0.100/24
    }}
}}
"""

VIRTUAL_SERVER = """
virtual_server 10.0.0.100 80 {
    lvs_sched rr
    lvs_method DR
    protocol TCP
    real_server 10.0.0.9 80 {
    }
}
"""


def configuration(options: str | None, priority: int = 100) -> str:
    written = "" if options is None else f"    lvs_sync_daemon {options}\n"
    return f"global_defs {{\n{written}}}\n" + INSTANCE.format(priority=priority)


def halves(router: Router) -> list[str]:
    """What runs, in the words of ipvsadm."""
    lines = router.run(["ipvsadm", "-L", "-n", "--daemon"]).stdout.splitlines()
    return sorted(line.strip() for line in lines if "sync daemon" in line)


def connected(lab: Laboratory) -> tuple[Router, Router]:
    """Two routers with eth0 and eth1 between them."""
    first, second = lab.router("first"), lab.router("second")
    lab.connect(first, second, count=2)
    return first, second


def states_of(
    kind: Callable[[Router, str], Daemon], router: Router, options: str
) -> list[list[str]]:
    """What runs while the virtual router fails, is master, fails again, and when it has ended."""
    seen = []
    router.ip("link set eth1 down")
    daemon = kind(router, configuration(options)).start()
    wait_until(lambda: halves(router), PATIENCE, what="a half to run")
    seen.append(halves(router))
    router.ip("link set eth1 up")
    daemon.wait_log("Entering MASTER STATE", PATIENCE)
    seen.append(settled(router))
    router.ip("link set eth1 down")
    daemon.wait_log("Entering FAULT STATE", PATIENCE)
    seen.append(settled(router))
    daemon.stop()
    seen.append(halves(router))
    return seen


def settled(router: Router) -> list[str]:
    """What runs when it has not changed from one look to the next two."""
    looks: list[list[str]] = []

    def is_settled() -> bool:
        looks.append(halves(router))
        return len(looks) > 3 and looks[-1] == looks[-2] == looks[-3]

    wait_until(is_settled, PATIENCE, interval=0.2)
    return looks[-1]


@pytest.mark.keywords("global_defs/lvs_sync_daemon")
@pytest.mark.parametrize("options", OPTIONS)
def test_halves_follow_the_virtual_router_as_under_keepalived(
    lab: Laboratory, options: str
) -> None:
    router, _ = connected(lab)
    theirs = states_of(Keepalived, router, OPTIONS[options])
    assert theirs[-1] == []
    ours = states_of(Fastvrrp, router, OPTIONS[options])
    assert ours == theirs


@pytest.mark.keywords("global_defs/lvs_sync_daemon")
def test_both_halves_run_where_no_virtual_router_is_named(lab: Laboratory) -> None:
    """keepalived has its process of health checkers do that, so there is a virtual server."""
    router, _ = connected(lab)
    seen = []
    for kind in (KeepalivedDirector, Fastvrrp):
        daemon = kind(router, configuration("eth0 id 9") + VIRTUAL_SERVER).start()
        wait_until(lambda: len(halves(router)) == 2, PATIENCE, what=daemon.log)
        running = halves(router)
        daemon.stop()
        seen.append((running, halves(router)))
    assert seen[0] == seen[1]
    assert [line.split()[0] for line in seen[1][0]] == ["backup", "master"]
    assert seen[1][1] == []


def test_a_reload_changes_starts_and_stops_it(lab: Laboratory) -> None:
    router, _ = connected(lab)
    daemon = Fastvrrp(router, configuration(None, 255)).start()
    daemon.wait_log("Entering MASTER STATE", PATIENCE)
    assert halves(router) == []

    def reloaded(options: str | None) -> list[str]:
        count = daemon.log().count("Reloaded ")
        daemon.configure(configuration(options, 255))
        daemon.signal(signal.SIGHUP)
        daemon.wait_log("Reloaded ", PATIENCE, count=count + 1)
        return settled(router)

    assert [line.split()[0] for line in reloaded("eth0 V")] == ["master"]
    (one,) = reloaded("eth0 V id 8")
    assert "syncid=8" in one
    assert [line.split()[0] for line in reloaded("eth0 id 8")] == ["backup", "master"]
    (one,) = reloaded("eth1 V id 8")
    assert "mcast=eth1" in one
    assert reloaded(None) == []
    assert reloaded("eth0 V") != []
    daemon.stop()
    assert halves(router) == []


def connections(router: Router) -> list[str]:
    """Established connections: client, virtual address and server of each."""
    lines = router.run(["ipvsadm", "-L", "-n", "-c"]).stdout.splitlines()
    return sorted(" ".join(line.split()[3:6]) for line in lines if "ESTABLISHED" in line)


def test_a_connection_of_the_master_is_in_the_backups_table(lab: Laboratory) -> None:
    first, second = connected(lab)
    daemons = [
        Fastvrrp(router, configuration("eth0 V", priority)).start()
        for router, priority in ((first, 200), (second, 100))
    ]
    lab.wait_for_holder("10.0.0.100", first, PATIENCE)
    wait_until(lambda: "master" in str(halves(first)), PATIENCE)
    wait_until(lambda: "backup" in str(halves(second)), PATIENCE)
    first.ip("link set lo up", "address add 10.1.0.1/32 dev lo")
    for router in (first, second):
        router.run(["ipvsadm", "-A", "-t", "10.1.0.1:80", "-s", "rr"])
        router.run(["ipvsadm", "-a", "-t", "10.1.0.1:80", "-r", "127.0.0.2:8080", "-m"])

    def talk() -> tuple[socket.socket, socket.socket, socket.socket]:
        server = socket.create_server(("127.0.0.2", 8080))
        client = socket.create_connection(("10.1.0.1", 80), PATIENCE)
        accepted, _ = server.accept()
        # Some packets must have gone: net.ipv4.vs.sync_threshold.
        for _ in range(10):
            client.sendall(b"?")
            accepted.recv(1)
        return server, client, accepted

    sockets = first.call(talk)
    (connection,) = connections(first)
    assert connection.endswith("10.1.0.1:80 127.0.0.2:8080")
    wait_until(lambda: connections(second) == [connection], PATIENCE, what="the connection")
    daemons[0].stop()
    lab.wait_for_holder("10.0.0.100", second, PATIENCE)
    wait_until(lambda: "master" in str(halves(second)), PATIENCE)
    assert connections(second) == [connection]
    for one in sockets:
        one.close()
    daemons[1].stop()
