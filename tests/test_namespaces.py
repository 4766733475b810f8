"""Virtual routers in network namespaces other than the daemon's own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fastvrrp.config import read
from lab import Capture, Fastvrrp, Keepalived, Laboratory, Router, wait_until
from test_daemon import wait_state
from test_reload import reload

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
    reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    assert b'INSTANCE "red" FAULT 200\n' in os.read(reading, 65536)
    os.close(reading)
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


def test_a_namespace_is_replaced_at_once(lab: Laboratory) -> None:
    """With an IPv6 address on a link that is still known when another one is told as gone."""
    home, red, peer = lab.router("home"), lab.router("red"), lab.router("peer")
    links = [lab.connect(red, peer)[0] for _ in range(2)]
    first, second = (link.interface for link in links)
    daemon = Fastvrrp(
        home,
        instance(
            "red",
            red,
            "virtual_ipaddress {\n10.0.0.100/24\n}",
            f"virtual_ipaddress_excluded {{\nfd00::5/64 dev {second}\n}}",
        ),
    ).start()
    wait_state(daemon, MASTER, "red")
    wait_until(lambda: red.holds("fd00::5"), what="the IPv6 address")
    subprocess.run(
        ["ip", "-batch", "-"],
        input=f"netns del {red.namespace}\nnetns add {red.namespace}\n",
        text=True,
        check=True,
    )
    daemon.wait_log(f"(red) interface {first} in network namespace {red.namespace}")
    wait_until(
        lambda: not peer.show("link", "show", "type", "veth"), what="the old namespace let go of"
    )
    lab.join_by_pairs(links, red, peer)
    red.ip(
        *(f"link set {each} up" for each in (first, second)), f"address add 10.0.0.2/24 dev {first}"
    )
    peer.ip(*(f"link set {link.interface} up" for link in links))
    wait_state(daemon, MASTER, "red")
    wait_until(lambda: red.holds("fd00::5"), what="the IPv6 address back")
    assert daemon.stop() == 0
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
    assert not (daemon.folder / "fastvrrp.namespaces").exists()
    assert "Traceback" not in daemon.log()


def test_a_namespace_that_never_comes_leaves_no_note(lab: Laboratory) -> None:
    home = lab.router("home")
    red = lab.router("red")
    lab.connect(red, lab.router("peer"))
    text = instance("red", red)
    daemon = Fastvrrp(home, text.replace(red.namespace, f"{red.namespace}x")).start()
    wait_state(daemon, FAULT, "red")
    assert daemon.stop() == 0
    assert not (daemon.folder / "fastvrrp.namespaces").exists()


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


@pytest.mark.keywords("net_namespace")
def test_the_daemon_runs_in_the_namespace_that_is_written(lab: Laboratory) -> None:
    """Its files have the name, its instances need none; a reload cannot move it."""
    home, red, peer = lab.router("home"), lab.router("red"), lab.router("peer")
    lab.connect(red, peer)
    text = instance("own", red).replace(f"net_namespace {red.namespace}", "")
    also = instance("named", red, vrid=52).replace("10.0.0.100", "10.0.0.101")
    daemon = Fastvrrp(home, f"net_namespace {red.namespace}\n{text}{also}").start()
    wait_state(daemon, MASTER, "own")
    wait_state(daemon, MASTER, "named")
    wait_until(lambda: red.holds("10.0.0.100") and red.holds("10.0.0.101"), what="the addresses")
    daemon.configure(f"net_namespace {peer.namespace}\n{text}{also}")
    daemon.signal(signal.SIGHUP)
    daemon.wait_log("net_namespace cannot be changed by a reload")
    daemon.wait_log("0 added, 0 removed, 0 changed, 2 unchanged")
    assert daemon.stop() == 0
    assert not red.holds("10.0.0.100")
    daemon.configure(f"net_namespace {red.namespace}x\n{text}")
    daemon.start()
    assert daemon.wait() == 1
    assert f"net_namespace {red.namespace}x does not exist: make it with ip netns add" in (
        daemon.log()
    )


@pytest.mark.keywords("vrrp_instance/net_namespace")
def test_a_reload_adds_and_removes_namespaces(lab: Laboratory) -> None:
    home = lab.router("home")
    red, blue, peer = lab.router("red"), lab.router("blue"), lab.router("peer")
    lab.connect(red, peer)
    lab.connect(blue, peer)
    before = [router.addresses() for router in (red, blue)]
    daemon = Fastvrrp(home, instance("red", red, "use_vmac")).start()
    wait_state(daemon, MASTER, "red")
    wait_until(lambda: "vrrp.51 10.0.0.100/24" in red.addresses(), what="the address")

    reload(
        daemon, instance("red", red, "use_vmac") + instance("blue", blue, "use_vmac"), "Reloaded"
    )
    wait_state(daemon, MASTER, "blue")
    wait_until(lambda: "vrrp.51 10.0.0.100/24" in blue.addresses(), what="the other's address")

    reload(daemon, instance("blue", blue, "use_vmac"), "Reloaded")
    wait_until(lambda: red.addresses() == before[0], what="all gone from the first")
    wait_until(lambda: "vrrp.51" not in red.links(), what="its VMAC gone")
    wait_until(
        lambda: red.run(["cat", "/proc/net/raw"]).stdout.count("\n") == 1, what="its socket closed"
    )
    wait_until(
        lambda: (
            {path.name for path in (daemon.folder / "fastvrrp.namespaces").iterdir()}
            == {blue.namespace}
        ),
        what="its note gone",
    )

    # The same name in another namespace is another virtual router.
    reload(daemon, instance("blue", red, "use_vmac"), "Reloaded")
    wait_until(lambda: "vrrp.51 10.0.0.100/24" in red.addresses(), what="the address again")
    wait_until(lambda: blue.addresses() == before[1], what="all gone from the second")
    reload(daemon, instance("blue", red), "Reloaded")
    wait_until(lambda: f"{red.interfaces[0]} 10.0.0.100/24" in red.addresses(), what="no VMAC")
    assert daemon.stop() == 0
    assert [router.addresses() for router in (red, blue)] == before
    assert "Traceback" not in daemon.log()


@pytest.mark.keywords("vrrp_instance/track_interface")
def test_interfaces_of_other_namespaces_are_tracked(lab: Laboratory) -> None:
    """One in another namespace than the instance's: it goes down, and its namespace goes."""
    home, red, blue = lab.router("home"), lab.router("red"), lab.router("blue")
    peer = lab.router("peer")
    uplink = lab.connect(blue, peer)[0]
    lab.connect(red, peer)
    daemon = Fastvrrp(
        home,
        instance(
            "red",
            red,
            f"track_interface {{\n{uplink.interface} weight -50 net_namespace {blue.namespace}\n}}",
        ),
    ).start()
    wait_state(daemon, MASTER, "red")
    peer.ip(f"link set {uplink.interface} down")
    daemon.wait_log(f"{uplink.interface} in network namespace {blue.namespace} down")
    daemon.wait_log("(red) Changing effective priority from 200 to 150")
    peer.ip(f"link set {uplink.interface} up")
    daemon.wait_log("(red) Changing effective priority from 150 to 200")
    subprocess.run(["ip", "netns", "del", blue.namespace], check=True)
    daemon.wait_log("(red) Changing effective priority from 200 to 150", count=2)
    wait_state(daemon, MASTER, "red")
    subprocess.run(["ip", "netns", "add", blue.namespace], check=True)
    daemon.wait_log(f"Network namespace {blue.namespace} has come")
    before = daemon.configuration_file.read_text()
    reload(daemon, instance("red", red), "Reloaded")
    daemon.wait_log("(red) Changing effective priority from 150 to 200", count=2)
    reload(daemon, before, "Reloaded")
    daemon.wait_log("(red) Changing effective priority from 200 to 150", count=3)
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.log()


def test_a_sync_group_moves_together_across_namespaces(lab: Laboratory) -> None:
    home, red, blue = lab.router("home"), lab.router("red"), lab.router("blue")
    peer = lab.router("peer")
    link = lab.connect(red, peer)[0]
    lab.connect(blue, peer)
    daemon = Fastvrrp(
        home,
        "vrrp_sync_group G {\n group {\n red\n blue\n }\n}\n"
        + instance("red", red)
        + instance("blue", blue),
    ).start()
    for name in ("red", "blue"):
        wait_state(daemon, MASTER, name)
    peer.ip(f"link set {link.interface} down")
    for name in ("red", "blue"):
        wait_state(daemon, FAULT, name)
    wait_until(lambda: not blue.holds("10.0.0.100"), what="the other's address gone")
    peer.ip(f"link set {link.interface} up")
    for name in ("red", "blue"):
        wait_state(daemon, MASTER, name)
    subprocess.run(["ip", "netns", "del", red.namespace], check=True)
    wait_state(daemon, FAULT, "blue")
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.log()


def test_a_namespace_has_one_fastvrrp(lab: Laboratory) -> None:
    """The second one's instances there wait until the first has gone."""
    home, other, red = lab.router("home"), lab.router("other"), lab.router("red")
    lab.connect(red, lab.router("peer"))
    first = Fastvrrp(home, instance("red", red)).start()
    wait_state(first, MASTER, "red")
    second = Fastvrrp(other, instance("red", red, priority=100)).start()
    second.wait_log("another fastvrrp runs in this network namespace")
    wait_state(second, FAULT, "red")
    assert first.stop() == 0
    wait_state(second, MASTER, "red")
    assert second.stop() == 0


@pytest.mark.parametrize("is_unicast", [False, True])
def test_ipv6_in_a_namespace(lab: Laboratory, is_unicast: bool) -> None:
    home, red, peer = lab.router("home"), lab.router("red"), lab.router("peer")
    link = lab.connect(red, peer)[0]
    own, others = f"fe80::{red.index}", f"fe80::{peer.index}"
    lines = ["virtual_ipaddress {\nfe80::100/64\nfd00::100/64\n}"]
    if is_unicast:
        lines += [f"unicast_src_ip {own}", f"unicast_peer {{\n{others}\n}}"]
    daemon = Fastvrrp(home, instance("red", red, *lines)).start()
    wait_state(daemon, MASTER, "red")
    wait_until(lambda: red.holds("fd00::100"), what="the address")
    with Capture(peer) as capture:
        capture.wait_for_advert(51, priority=200, source=own)
    assert daemon.stop() == 0
    assert not red.holds("fd00::100")
    assert f"{link.interface} fe80::{red.index}/64" in red.addresses()


def test_split_brain_is_noticed_in_a_namespace(lab: Laboratory) -> None:
    """A host in the namespace's link answers for the virtual address, in another one nobody."""
    home, red, blue = lab.router("home"), lab.router("red"), lab.router("blue")
    rogue = lab.router("rogue")
    link = lab.connect(red, rogue)[0]
    lab.connect(blue, lab.router("quiet"))
    daemon = Fastvrrp(home, instance("red", red) + instance("blue", blue)).start()
    wait_state(daemon, MASTER, "red")
    wait_state(daemon, MASTER, "blue")
    wait_until(lambda: red.holds("10.0.0.100"), what="the address")
    rogue.ip(f"address add 10.0.0.100/24 dev {link.interface}")
    rogue.set_sysctl("net/ipv4/conf/all/arp_notify", "1")
    rogue.ip(f"link set {link.interface} down", f"link set {link.interface} up")
    wait_until(
        lambda: "(red) Split brain" in announce(rogue, link.interface, daemon),
        timeout=20.0,
        what=daemon.log,
        interval=0.3,
    )
    assert "(blue) Split brain" not in daemon.log()
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.log()


def announce(rogue: Router, interface: str, daemon: Fastvrrp) -> str:
    """Has a host say again that it has its addresses; the daemon's log."""
    rogue.ip(f"link set {interface} down", f"link set {interface} up")
    return daemon.log()


def test_explain_and_the_test_of_a_configuration_look_in_the_namespace(
    lab: Laboratory, tmp_path: Path
) -> None:
    red = lab.router("red")
    lab.connect(red, lab.router("peer"))
    text = instance("red", red)
    there, gone = tmp_path / "there.conf", tmp_path / "gone.conf"
    there.write_text(text)
    gone.write_text(text.replace(red.namespace, f"{red.namespace}x"))
    explained = fastvrrp("explain", str(there), "red")
    assert f"on eth0 in network namespace {red.namespace}" in explained.stdout
    assert f"it can take part, and sends from 10.0.0.{red.index}" in explained.stdout
    explained = fastvrrp("explain", str(gone), "red")
    assert f"FAULT: network namespace {red.namespace}x does not exist" in explained.stdout
    tracks = f"unicast_src_ip 10.0.0.{red.index}\ntrack_src_ip"
    there.write_text(
        f"net_namespace {red.namespace}\n" + text.replace(f"net_namespace {red.namespace}", tracks)
    )
    explained = fastvrrp("explain", str(there), "red")
    assert f"it can take part, and sends from 10.0.0.{red.index}" in explained.stdout
    there.write_text(text)
    assert "does not exist on this machine" not in fastvrrp("run", "-t", "-f", str(there)).stderr
    tested = fastvrrp("run", "-t", "-f", str(gone))
    assert "interface eth0 of vrrp_instance red does not exist on this machine" in tested.stderr
    assert tested.returncode == 5


def fastvrrp(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("fastvrrp")
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False)


def test_what_another_namespace_cannot_have_is_said(lab: Laboratory, tmp_path: Path) -> None:
    red = lab.router("red")
    lab.connect(red, lab.router("peer"))
    path = tmp_path / "x.conf"
    path.write_text(
        "track_group T {\n group {\n  red\n }\n}\n"
        "static_routes {\n 192.0.2.0/24 via 10.0.0.9 dev eth0 track_group T\n}\n"
        + instance("red", red)
        + instance("bad", red, vrid=52).replace(red.namespace, "a/b")
    )
    said = fastvrrp("check", str(path)).stderr
    assert "vrrp_instance red of track_group T does not track it" in said
    assert "take it out of the group" in said
    assert "a/b is no name of a network namespace" in said
    configuration = read(str(path)).configuration
    assert [each.name for each in configuration.virtual_routers] == ["red"], "it is nowhere else"


@pytest.mark.keywords("vrrp_instance/use_vmac")
def test_names_of_vmacs_are_those_of_the_namespace(lab: Laboratory, tmp_path: Path) -> None:
    path = tmp_path / "x.conf"
    red, blue = lab.router("red"), lab.router("blue")
    lab.connect(red, blue)
    path.write_text(
        instance("one", red, "use_vmac")
        + instance("two", blue, "use_vmac")
        + instance("three", blue, "use_vmac").replace("interface eth0", "interface eth1")
    )
    names = [each.vmac.name for each in read(str(path)).configuration.virtual_routers if each.vmac]
    assert names == ["vrrp.51", "vrrp.51", "vrrp1.51"]


def test_keepalived_is_a_peer_of_an_instance_in_a_namespace(lab: Laboratory) -> None:
    home, red, peer = lab.router("home"), lab.router("red"), lab.router("peer")
    lab.connect(red, peer)
    text = instance("red", peer, priority=100).replace(f"net_namespace {peer.namespace}", "")
    keepalived = Keepalived(peer, text).start()
    keepalived.wait_log("Entering MASTER STATE")
    daemon = Fastvrrp(home, instance("red", red)).start()
    wait_state(daemon, MASTER, "red")
    wait_holder(red, peer)
    daemon.kill()
    keepalived.wait_log("Entering MASTER STATE", count=2)
    daemon.start()
    wait_state(daemon, MASTER, "red")
    wait_holder(red, peer)
    assert daemon.stop() == 0
    wait_holder(peer, red)
    keepalived.stop()


@pytest.mark.keywords("vrrp_instance/net_namespace")
def test_a_name_of_the_daemon_s_own_namespace_is_no_other_place(lab: Laboratory) -> None:
    """Also one that it is given while the daemon runs: a reload finds out."""
    home, peer = lab.router("home"), lab.router("peer")
    lab.connect(home, peer)
    daemon = Fastvrrp(home, instance("V", home)).start()
    wait_state(daemon, MASTER, "V")
    assert home.holds("10.0.0.100")
    late = f"{home.namespace}-late"
    text = instance("V", home).replace(home.namespace, late)
    reload(daemon, text, "Reloaded")
    daemon.wait_log(f"(V) network namespace {late} does not exist")
    pid = str(daemon.processes[0].pid)
    subprocess.run(["ip", "netns", "attach", late, pid], check=True)
    try:
        daemon.wait_log(f"{late} cannot be used: it is the daemon's own")
        assert not home.holds("10.0.0.100")
        reload(daemon, text, "Reloaded")
        wait_state(daemon, MASTER, "V")
        wait_until(lambda: home.holds("10.0.0.100"), what="the address")
        assert daemon.stop() == 0
        assert "Traceback" not in daemon.log()
    finally:
        subprocess.run(["ip", "netns", "del", late], check=True)
