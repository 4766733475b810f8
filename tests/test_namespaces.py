"""Virtual routers in network namespaces other than the daemon's own."""

from __future__ import annotations

import subprocess

from lab import Capture, Fastvrrp, Laboratory, Router, wait_until
from test_daemon import wait_state

BACKUP, MASTER, FAULT = 1, 2, 3


def instance(name: str, router: Router, *lines: str, priority: int = 200, vrid: int = 51) -> str:
    """A virtual router in a router's namespace that is master after 0.3 s."""
    addresses = (
        ""
        if any("virtual_ipaddress" in line for line in lines)
        else ("virtual_ipaddress {\n10.0.0.100/24\n}")
    )
    body = "\n    ".join(lines)
    return f"""
vrrp_instance {name} {{
    net_namespace {router.namespace}
    interface {router.interfaces[0]}
    virtual_router_id {vrid}
    version 3
    advert_int 0.1
    priority {priority}
    {body}
    {addresses}
}}
"""


def wait_holder(holder: Router, other: Router) -> None:
    """Waits until one of two has the virtual address, and the other has not."""
    wait_until(
        lambda: holder.holds("10.0.0.100") and not other.holds("10.0.0.100"),
        what=f"the address on {holder} alone",
    )


def test_each_instance_is_in_the_namespace_that_is_written(lab: Laboratory) -> None:
    """Two daemons with an instance in each of two namespaces, of one VRID: election, failover."""
    home = lab.router("home"), lab.router("otherhome")
    reds = lab.router("red"), lab.router("redpeer")
    blues = lab.router("blue"), lab.router("bluepeer")
    lab.connect(*reds)
    lab.connect(*blues)
    high, low = (
        Fastvrrp(
            home[k],
            instance("red", reds[k], priority=200 - k)
            + instance("blue", blues[k], priority=200 - k),
        ).start()
        for k in (0, 1)
    )
    for name in ("red", "blue"):
        wait_state(high, MASTER, name)
        wait_state(low, BACKUP, name)
    for master, backup in (reds, blues):
        wait_holder(master, backup)
    high.kill()
    for name in ("red", "blue"):
        wait_state(low, MASTER, name)
    for _, backup in (reds, blues):
        wait_until(lambda backup=backup: backup.holds("10.0.0.100"), what="the address")  # type: ignore[misc]
    high.start()
    for name in ("red", "blue"):
        wait_state(low, BACKUP, name)
    assert high.stop() == 0
    assert low.stop() == 0
    for router in (*reds, *blues):
        assert not router.holds("10.0.0.100")
    assert "Traceback" not in high.log() + low.log()


def test_a_namespace_that_vanishes_faults_its_instances_until_it_returns(lab: Laboratory) -> None:
    """Another daemon takes over; the namespace that returns is another one, with other links."""
    home, red, peer = lab.router("home"), lab.router("red"), lab.router("peer")
    link = lab.connect(red, peer)[0]
    fifo = home.folder / "fifo"
    daemon = Fastvrrp(
        home, f"global_defs {{\n vrrp_notify_fifo {fifo}\n}}\n" + instance("red", red)
    ).start()
    wait_state(daemon, MASTER, "red")
    wait_until(lambda: red.holds("10.0.0.100"), what="the address")
    with Capture(peer) as capture:
        subprocess.run(["ip", "netns", "del", red.namespace], check=True)
        capture.wait_for_advert(51, priority=0)
    wait_state(daemon, FAULT, "red")
    daemon.wait_log(f"(red) network namespace {red.namespace} does not exist")
    daemon.wait_log("(red) Entering FAULT STATE")
    wait_until(
        lambda: not peer.show("link", "show", "type", "veth"), what="the old namespace let go of"
    )
    subprocess.run(["ip", "netns", "add", red.namespace], check=True)
    daemon.wait_log(f"(red) interface {link.interface} in network namespace {red.namespace}")
    lab.join_by_pairs([link], red, peer)
    red.ip(f"link set {link.interface} up", f"address add 10.0.0.2/24 dev {link.interface}")
    peer.ip(f"link set {link.interface} up")
    wait_state(daemon, MASTER, "red")
    wait_until(lambda: red.holds("10.0.0.100"), what="the address back")
    with Capture(peer) as capture:
        capture.wait_for_advert(51, priority=200)
    assert daemon.stop() == 0
    assert not red.holds("10.0.0.100")
    assert "Traceback" not in daemon.log()


def test_a_namespace_may_come_after_the_daemon(lab: Laboratory) -> None:
    home, peer = lab.router("home"), lab.router("peer")
    red = lab.router("red")
    link = lab.connect(red, peer)[0]
    subprocess.run(["ip", "netns", "del", red.namespace], check=True)
    daemon = Fastvrrp(home, instance("red", red)).start()
    daemon.wait_log(f"(red) network namespace {red.namespace} does not exist")
    wait_state(daemon, FAULT, "red")
    subprocess.run(["ip", "netns", "add", red.namespace], check=True)
    lab.join_by_pairs([link], red, peer)
    red.ip(f"link set {link.interface} up", f"address add 10.0.0.2/24 dev {link.interface}")
    peer.ip(f"link set {link.interface} up")
    wait_state(daemon, MASTER, "red")
    assert daemon.stop() == 0


def test_what_a_crash_leaves_in_a_namespace_is_removed(lab: Laboratory) -> None:
    """Also where the next configuration has no virtual router there."""
    home = lab.router("home")
    pairs = [(lab.router(name), lab.router(f"{name}peer")) for name in ("red", "blue")]
    for pair in pairs:
        lab.connect(*pair)
    (red, _), (blue, _) = pairs
    before = [router.addresses() for router in (red, blue)]
    forwarding = "net/ipv4/conf/{}/arp_ignore"
    routers = [instance(router.name, router, "use_vmac", "no_accept") for router in (red, blue)]
    daemon = Fastvrrp(home, "".join(routers)).start()
    for router in (red, blue):
        wait_until(
            lambda router=router: "vrrp.51 10.0.0.100/24" in router.addresses(),  # type: ignore[misc]
            what="the VMAC's address",
        )
    assert blue.sysctl(forwarding.format(blue.interfaces[0])) == "1"
    daemon.kill()
    assert "vrrp.51" in red.links()
    daemon.configure(routers[0])
    daemon.start()
    wait_until(lambda: "vrrp.51" not in blue.links(), what="what was left gone")
    wait_until(
        lambda: blue.sysctl(forwarding.format(blue.interfaces[0])) == "0",
        what="the kernel parameter of before",
    )
    wait_until(lambda: "fastvrrp" not in ruleset(blue), what="the table of nftables gone")
    wait_state(daemon, MASTER, "red")
    assert daemon.stop() == 0
    assert [router.addresses() for router in (red, blue)] == before
    assert "fastvrrp" not in ruleset(red)
    assert not (daemon.folder / "fastvrrp.namespaces").exists()


def ruleset(router: Router) -> str:
    return router.run(["nft", "list", "ruleset"]).stdout


def test_everything_of_a_master_is_in_its_namespace(lab: Laboratory) -> None:
    """VMAC, IPv4 and IPv6 addresses, routes, rules, refused packets, and all of it goes again."""
    home, red, peer = lab.router("home"), lab.router("red"), lab.router("peer")
    lab.connect(red, peer)
    before = red.addresses()
    daemon = Fastvrrp(
        home,
        instance(
            "red",
            red,
            "use_vmac",
            "no_accept",
            "promote_secondaries",
            "virtual_ipaddress {\n10.0.0.100/24\n}",
            "virtual_ipaddress_excluded {\nfd00:0::100/64\n}",
            "virtual_routes {\n192.0.2.0/24 via 10.0.0.2 dev eth0\n}",
            "virtual_rules {\nfrom 192.0.2.0/24 lookup main priority 500\n}",
        ),
    ).start()
    wait_state(daemon, MASTER, "red")
    wait_until(lambda: "vrrp.51 10.0.0.100/24" in red.addresses(), what="the address on the VMAC")
    wait_until(lambda: red.holds("fd00::100"), what="the IPv6 address")
    wait_until(lambda: red.show("route", "show", "192.0.2.0/24"), what="the route")
    wait_until(lambda: "from 192.0.2.0/24" in red.run(["ip", "rule"]).stdout, what="the rule")
    wait_until(lambda: "10.0.0.100" in ruleset(red), what="the refused address")
    with Capture(peer) as capture:
        capture.wait_for_advert(51)
        assert {advert.source_mac for advert in capture.adverts()} == {"00:00:5e:00:01:33"}
    assert home.links() == {"lo"}
    assert "fastvrrp" not in ruleset(home)
    red.ip("route del 192.0.2.0/24")
    daemon.wait_log("(red) route 192.0.2.0/24 via 10.0.0.2 dev eth0 was removed by somebody else")
    wait_until(lambda: red.show("route", "show", "192.0.2.0/24"), what="the route again")
    red.run(["nft", "flush", "ruleset"])
    wait_until(lambda: "10.0.0.100" in ruleset(red), what="the refused address again")
    red.ip("address del 10.0.0.100/24 dev vrrp.51")
    wait_until(lambda: red.holds("10.0.0.100"), what="the address again")
    assert daemon.stop() == 0
    assert red.addresses() == before
    assert red.links() == {"lo", "eth0"}
    assert not red.show("route", "show", "192.0.2.0/24")
    assert "192.0.2.0/24" not in red.run(["ip", "rule"]).stdout
    assert "fastvrrp" not in ruleset(red)
    assert "Traceback" not in daemon.log()
