"""A backup's VMAC as its neighbours see it: not at all, whatever is done to it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable

from lab import Capture, Fastvrrp, Keepalived, Laboratory, Router, wait_until
from lab.probes import answers
from test_filtering import EVERYTHING, instance, reload, ruleset
from test_reload import BACKUP, records

VIRTUAL = {"4": "00:00:5e:00:01:64", "6": "00:00:5e:00:02:65"}
VMACS = instance("V4", 100, "use_vmac", "garp_master_delay 0") + instance(
    "V6", 101, "use_vmac", "garp_master_delay 0", addresses=("fe80::101", "fd00::101/64")
)


def join_groups(router: Router, *links: str) -> None:
    """Has the kernel report groups from links, as a program that joins everywhere would."""

    def join() -> None:
        for link in links:
            index = socket.if_nametoindex(link)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as joining:
                request = socket.inet_aton("239.1.2.3") + bytes(4) + index.to_bytes(4, "little")
                joining.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)

    router.call(join)


def on_a_switch(lab: Laboratory) -> tuple[Router, Router, Router]:
    """Our router, the one beside it, and a host, all on one switch."""
    routers = lab.router("ours"), lab.router("other"), lab.router("host")
    lab.connect(*routers)
    return routers


def set_each(router: Router, path: str, links: Iterable[str], value: str) -> None:
    for link in links:
        router.set_sysctl(path.format(link), value)


LINKS = ("vrrp.100", "vrrp.101")
DISTURBANCES: dict[str, Callable[[Router], None]] = {
    "nothing": lambda ours: None,
    "its parent bounced": lambda ours: ours.ip(
        "link set eth0 down",
        "link set eth0 up",
        # Going down it has lost them.
        "address add fe80::1/64 dev eth0",
        "address add fd00::1/64 dev eth0",
    ),
    "its parent's MAC changed": lambda ours: ours.ip("link set eth0 address 02:00:00:00:00:77"),
    "somebody set it down and up": lambda ours: ours.ip(
        *(f"link set {link} {to}" for to in ("down", "up") for link in LINKS)
    ),
    "somebody enabled IPv6 on it": lambda ours: set_each(
        ours, "net/ipv6/conf/{}/disable_ipv6", LINKS, "0"
    ),
    "somebody lets it answer for all": lambda ours: set_each(
        ours, "net/ipv4/conf/{}/arp_ignore", ("all", *LINKS), "0"
    ),
    "a program joins groups on it": lambda ours: join_groups(ours, *LINKS),
}


def test_a_backups_vmac_is_silent_whatever_is_done_to_it(lab: Laboratory) -> None:
    """Nobody gets an answer for a virtual address from a backup, and no frame of it carries a
    virtual MAC, which would turn every switch to it."""
    ours, other, host = on_a_switch(lab)
    plain = VMACS.replace("use_vmac", "")
    Keepalived(other, plain).start().wait_log("Entering MASTER STATE", count=2)
    daemon = Fastvrrp(ours, VMACS.replace("priority 200", "priority 100")).start()
    daemon.wait_log("Entering BACKUP STATE", count=2)
    wait_until(lambda: "vrrp.101" in ruleset(ours), what="the table")
    with Capture(host) as capture:
        for what, disturb in DISTURBANCES.items():
            disturb(ours)
            wait_until(
                lambda: {router["state"] for router in records(daemon).values()} == {BACKUP},
                what=lambda what=what: f"backup after {what}:\n{daemon.log()}",  # type: ignore[misc]
            )
            for address in ("10.0.0.100", "fe80::101", "fd00::101"):
                assert "neighbour" in answers(host, address), f"{address} after {what}"
        asked = capture.dissect("arp.opcode == 1 && arp.dst.proto_ipv4 == 10.0.0.100")
        assert len(asked) >= len(DISTURBANCES)
        told = capture.dissect(
            "(arp.opcode == 2 && arp.src.proto_ipv4 == 10.0.0.100)"
            " || (icmpv6.type == 136 && icmpv6.nd.na.target_address in {fe80::101, fd00::101})",
            ("eth.src",),
        )
        assert set(told) == {"02:00:00:00:00:02"}, "the other one is asked and answers"
        for mac in VIRTUAL.values():
            assert capture.dissect(f"eth.src == {mac}", ("_ws.col.Info",)) == []
    assert "Entering MASTER STATE" not in daemon.log()


def test_what_is_flooded_to_a_backups_vmac_is_not_forwarded_a_second_time() -> None:
    """A switch that does not know where the virtual MAC is sends its frames to everybody."""
    with Laboratory() as lab:
        ours, other, host = on_a_switch(lab)
        far = lab.router("far")
        (beyond,) = lab.connect(ours, other, far)
        assert lab.switch_namespace is not None
        lab.switch_namespace.ip("link set br0 type bridge ageing_time 0")  # it learns nothing
        gateway = instance("V4", 100, "use_vmac", "garp_master_delay 0")
        master = Keepalived(other, gateway).start().wait_log("Entering MASTER STATE")
        daemon = Fastvrrp(ours, gateway.replace("priority 200", "priority 100")).start()
        daemon.wait_log("Entering BACKUP STATE")
        wait_until(lambda: "vrrp.100" in ruleset(ours), what="the table")

        host.ip(
            "route add 10.0.1.0/24 via 10.0.0.100",
            f"neighbour add 10.0.0.100 lladdr {VIRTUAL['4']} dev eth0 nud permanent",
        )

        def copies() -> list[int]:
            """How often each of three packets arrives that the host sends to the virtual MAC."""
            with Capture(far) as capture:
                for port in (1001, 1002, 1003):
                    host.run(["bash", "-c", f"echo > /dev/udp/{beyond.host(4)}/{port}"])
                # What ours forwards a second time comes before what it answers itself.
                assert answers(host, "10.0.0.1") == EVERYTHING
                return [
                    len(capture.dissect(f"udp.dstport == {port}")) for port in (1001, 1002, 1003)
                ]

        assert copies() == [1, 1, 1]
        master.stop()
        daemon.wait_log("Entering MASTER STATE")
        wait_until(lambda: copies() == [1, 1, 1], what="our VMAC forwards as master")


def test_a_master_that_gets_a_vmac_by_a_reload_answers_by_it(lab: Laboratory) -> None:
    ours, other, host = on_a_switch(lab)
    plain, virtual = instance("V", 100), instance("V", 100, "use_vmac")
    daemon = Fastvrrp(ours, plain).start()
    wait_until(lambda: ours.holds("10.0.0.100"), what="the address")
    for configuration, where in ((virtual, "vrrp.100"), (plain, "eth0"), (virtual, "vrrp.100")):
        reload(daemon, configuration)
        wait_until(
            lambda where=where: f"{where} 10.0.0.100/24" in ours.addresses(),  # type: ignore[misc]
            what=where,
        )
        wait_until(lambda: answers(host, "10.0.0.100") == EVERYTHING, what=f"answers by {where}")
    reload(daemon, virtual.replace("priority 200", "priority 100"))
    Keepalived(other, plain).start().wait_log("Entering MASTER")
    wait_until(lambda: '"vrrp.100"' in idle(ours), what="the VMAC shut")
    reload(daemon, virtual.replace("priority 200", "priority 99"))
    assert '"vrrp.100"' in idle(ours)


def idle(router: Router) -> str:
    """The set of VMACs that are shut."""
    return ruleset(router, "list", "set", "inet", "fastvrrp", "idle")


def test_a_master_that_becomes_backup_is_silent_again(lab: Laboratory) -> None:
    ours, other, host = on_a_switch(lab)
    daemon = Fastvrrp(ours, VMACS.replace("priority 200", "priority 100")).start()
    wait_until(lambda: ours.holds("10.0.0.100") and ours.holds("fd00::101"), what="the addresses")
    assert answers(host, "10.0.0.100") == EVERYTHING
    assert answers(host, "fd00::101") == EVERYTHING
    Keepalived(other, VMACS.replace("use_vmac", "")).start().wait_log("Entering MASTER", count=2)
    daemon.wait_log("Entering BACKUP STATE", count=4)
    wait_until(lambda: not ours.holds("10.0.0.100"), what="the address gone")
    wait_until(lambda: not ours.holds("fd00::101"), what="the other address gone")
    with Capture(host) as capture:
        join_groups(ours, "vrrp.100", "vrrp.101")
        assert answers(host, "10.0.0.100") == EVERYTHING
        assert answers(host, "fd00::101") == EVERYTHING
        for mac in VIRTUAL.values():
            assert capture.dissect(f"eth.src == {mac}", ("_ws.col.Info",)) == []
