"""`fastvrrp run` as its user sees it, in namespaces of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fastvrrp._table import Segment
from lab import Capture, Fastvrrp, Keepalived, Laboratory, wait_until

FASTVRRP = str(Path(sys.executable).with_name("fastvrrp"))
MASTER, FAULT = 2, 3


def instance(name: str, *lines: str, vrid: int = 51, addresses: str = "10.0.0.100/24") -> str:
    body = "\n    ".join((f"virtual_router_id {vrid}", *lines))
    return (
        f"vrrp_instance {name} {{\n    {body}\n    virtual_ipaddress {{\n{addresses}\n    }}\n}}\n"
    )


def quick(*lines: str, interface: str = "eth0", priority: int = 200, **options: object) -> str:
    """A virtual router that is master after 0.3 s."""
    return instance(
        "VI_1",
        f"interface {interface}",
        "version 3",
        "advert_int 0.1",
        f"priority {priority}",
        *lines,
        **options,  # type: ignore[arg-type]
    )


def states(daemon: Fastvrrp) -> dict[str, int]:
    """The state of each virtual router, as another process reads it from the segment."""
    path = daemon.folder / "fastvrrp.state"
    return {router["name"]: router["state"] for router in Segment(path)} if path.exists() else {}


def wait_state(daemon: Fastvrrp, state: int, name: str = "VI_1", timeout: float = 10.0) -> None:
    wait_until(
        lambda: states(daemon).get(name) == state,
        timeout,
        what=lambda: f"state {state} of {name}:\n{daemon.log()}",
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(lab: Laboratory, number: signal.Signals) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    before = a.addresses()
    daemon = Fastvrrp(a, quick()).start()
    wait_until(lambda: a.holds("10.0.0.100"), what="the address")
    with Capture(b) as capture:
        daemon.signal(number)
        assert daemon.wait() == 0
        capture.wait_for_advert(51, priority=0)
    assert a.addresses() == before
    assert not (daemon.folder / "fastvrrp.pid").exists()
    assert not (daemon.folder / "fastvrrp.state").exists()
    assert "Traceback" not in daemon.log()


def test_an_interface_that_goes_down_faults_its_instances_until_it_returns(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    link = lab.connect(a, b)[0]
    daemon = Fastvrrp(a, quick()).start()
    wait_state(daemon, MASTER)
    b.ip(f"link set {link.interface} down")
    wait_state(daemon, FAULT)
    wait_until(lambda: not a.holds("10.0.0.100"), what="the address gone")
    b.ip(f"link set {link.interface} up")
    wait_state(daemon, MASTER)
    wait_until(lambda: a.holds("10.0.0.100"), what="the address back")
    daemon.wait_log("Netlink reports eth0 down").wait_log("(VI_1) Entering FAULT STATE")
    assert daemon.stop() == 0


@pytest.mark.parametrize("vmac", [False, True])
def test_an_interface_that_disappears_faults_its_instances_until_it_returns(
    lab: Laboratory, vmac: bool
) -> None:
    a, b = lab.router("a"), lab.router("b")
    link = lab.connect(a, b)[0]
    daemon = Fastvrrp(a, quick("use_vmac" if vmac else "")).start()
    wait_state(daemon, MASTER)
    a.ip(f"link del {link.interface}")
    wait_state(daemon, FAULT)
    a.ip(f"link add {link.interface} type veth peer name other")
    a.ip("link set other up", f"link set {link.interface} up")
    daemon.wait_log("has no IPv4 address to send from")
    a.ip(f"address add 10.0.0.1/24 dev {link.interface}")
    wait_state(daemon, MASTER)
    wait_until(lambda: a.holds("10.0.0.100"), what="the address back")
    assert daemon.stop() == 0
    assert a.links() == {"lo", "other", link.interface}


def test_a_vmac_that_somebody_deletes_is_made_again(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    daemon = Fastvrrp(a, quick("use_vmac")).start()
    wait_state(daemon, MASTER)
    a.ip("link del vrrp.51")
    wait_until(lambda: "vrrp.51" in a.links(), what="the VMAC back")
    wait_state(daemon, MASTER)
    wait_until(lambda: "vrrp.51 10.0.0.100/24" in a.addresses(), what="its address back")
    assert daemon.stop() == 0


@pytest.mark.keywords("vrrp_instance/interface")
def test_an_interface_may_come_after_the_daemon(lab: Laboratory) -> None:
    a = lab.router("a")
    daemon = Fastvrrp(a, quick(interface="later")).start()
    daemon.wait_log("(VI_1) interface later does not exist")
    a.ip("link add later type veth peer name other", "link set other up", "link set later up")
    a.ip("address add 10.0.0.1/24 dev later")
    wait_state(daemon, MASTER)
    assert daemon.stop() == 0


def test_a_vmac_that_somebody_sets_down_faults_its_instance(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    daemon = Fastvrrp(a, quick("use_vmac")).start()
    wait_state(daemon, MASTER)
    a.ip("link set vrrp.51 down")
    wait_state(daemon, FAULT)
    a.ip("link set vrrp.51 up")
    wait_state(daemon, MASTER)
    wait_until(lambda: "vrrp.51 10.0.0.100/24" in a.addresses(), what="its address back")
    assert daemon.stop() == 0


def test_nothing_stays_on_an_interface_that_is_renamed(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b, count=2)
    addresses = "10.0.0.100/24\n10.0.1.100/24 dev eth1 no_track"
    daemon = Fastvrrp(a, quick(addresses=addresses)).start()
    wait_until(lambda: a.holds("10.0.1.100"), what="the addresses")
    a.ip("link set eth1 down", "link set eth1 name other", "link set other up")
    wait_until(lambda: not a.holds("10.0.1.100"), what="the address on eth1 gone")
    assert a.holds("10.0.0.100")
    a.ip("link set other down", "link set other name eth1", "link set eth1 up")
    wait_until(lambda: "eth1 10.0.1.100/24" in a.addresses(), what="the address on eth1 back")
    a.ip("link set eth0 down", "link set eth0 name other", "link set other up")
    wait_state(daemon, FAULT)
    wait_until(lambda: not a.holds("10.0.0.100"), what="the address on eth0 gone")
    assert daemon.stop() == 0


@pytest.mark.keywords("vrrp_instance/priority")
def test_an_owner_keeps_the_address_that_is_its_own(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    link = lab.connect(a, b)[0]
    before = a.addresses()
    daemon = Fastvrrp(a, quick(priority=255, addresses="10.0.0.1/24")).start()
    wait_state(daemon, MASTER)
    b.ip(f"link set {link.interface} down")
    wait_state(daemon, FAULT)
    b.ip(f"link set {link.interface} up")
    wait_state(daemon, MASTER)
    assert daemon.stop() == 0
    assert a.addresses() == before


def test_a_second_daemon_in_the_namespace_is_refused(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    daemon = Fastvrrp(a, quick("use_vmac")).start()
    wait_until(lambda: a.holds("10.0.0.100"), what="the address")
    second = Fastvrrp(a, quick(vrid=52)).start()
    assert second.wait() == 1
    assert "another fastvrrp runs in this network namespace" in second.log()
    assert a.holds("10.0.0.100")
    assert daemon.stop() == 0


def test_kernel_parameters_are_put_back_also_after_a_crash(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    daemon = Fastvrrp(a, quick("use_vmac")).start()
    wait_state(daemon, MASTER)
    assert a.sysctl("net/ipv4/conf/eth0/arp_ignore") == "1"
    daemon.kill()
    daemon.start().wait_log("(VI_1) Entering MASTER STATE")
    assert daemon.stop() == 0
    for name in ("arp_ignore", "arp_filter"):
        assert a.sysctl(f"net/ipv4/conf/eth0/{name}") == "0"


def test_a_backup_that_was_kept_from_running_hears_before_it_takes_over(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    Keepalived(b, quick(priority=200)).start().wait_log("Entering MASTER STATE")
    daemon = Fastvrrp(a, quick(priority=100)).start()
    daemon.wait_log("Entering BACKUP STATE")
    with Capture(b) as capture:
        for _ in range(5):
            capture.wait_for_advert(51, source="10.0.0.2", after=len(capture.frames))
        daemon.signal(signal.SIGSTOP)
        for _ in range(12):
            capture.wait_for_advert(51, source="10.0.0.2", after=len(capture.frames))
        daemon.signal(signal.SIGCONT)
        for _ in range(12):
            capture.wait_for_advert(51, source="10.0.0.2", after=len(capture.frames))
    assert {advert.source for advert in capture.adverts()} == {"10.0.0.2"}
    assert daemon.stop() == 0


@pytest.mark.keywords("vrrp_instance/dont_track_primary")
def test_dont_track_primary_ignores_the_link(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    link = lab.connect(a, b)[0]
    daemon = Fastvrrp(a, quick("dont_track_primary")).start()
    wait_state(daemon, MASTER)
    b.ip(f"link set {link.interface} down")
    daemon.wait_log("Netlink reports eth0 down")
    assert states(daemon) == {"VI_1": MASTER}


def test_what_a_killed_daemon_left_is_removed_by_the_next(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    before, links = a.addresses(), a.links()
    daemon = Fastvrrp(a, quick("use_vmac")).start()
    wait_state(daemon, MASTER)
    wait_until(lambda: a.holds("10.0.0.100"), what="the address")
    daemon.kill()
    assert a.holds("10.0.0.100")
    daemon.configure(quick("use_vmac", priority=100))
    Keepalived(b, quick(priority=200)).start().wait_log("Entering MASTER STATE")
    daemon.start().wait_log("Startup complete")
    assert not a.holds("10.0.0.100")
    assert daemon.stop() == 0
    assert (a.addresses(), a.links()) == (before, links)


@pytest.mark.keywords(
    "vrrp_instance/virtual_ipaddress",
    "vrrp_instance/virtual_ipaddress_excluded",
    "virtual_ipaddress/brd",
    "virtual_ipaddress/label",
    "virtual_ipaddress/scope",
    "virtual_ipaddress/dev",
)
def test_addresses_have_what_the_configuration_gives_them(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b, count=2)
    addresses = """
        10.0.0.100/24 brd 10.0.0.255 label eth0:vip
        10.0.0.101/32 scope link
        10.0.1.102/24 dev eth1
    """
    excluded = "virtual_ipaddress_excluded {\n 10.0.0.110/24\n fd00::110/64\n }"
    daemon = Fastvrrp(a, quick(excluded, addresses=addresses)).start()
    wait_until(lambda: a.holds("10.0.0.110"), what="the last address")
    found = {
        info["local"]: info
        for link in a.show("address", "show")
        for info in link["addr_info"]
        if info["local"].startswith(("10.", "fd00::110"))
    }
    assert found["10.0.0.100"]["broadcast"] == "10.0.0.255"
    assert found["10.0.0.100"]["label"] == "eth0:vip"
    assert found["10.0.0.101"]["scope"] == "link"
    assert "broadcast" not in found["10.0.0.110"]
    assert {"eth1 10.0.1.102/24", "eth0 10.0.0.110/24", "eth0 fd00::110/64"} <= a.addresses()
    with Capture(b) as capture:
        capture.wait_for_advert(51)
    assert capture.adverts()[0].addresses == ("10.0.0.100", "10.0.0.101", "10.0.1.102")
    assert daemon.stop() == 0


@pytest.mark.keywords("vrrp_instance/garp_master_delay", "vrrp_instance/garp_master_repeat")
def test_a_master_announces_its_addresses_twice_five_times(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    conf = quick("garp_master_delay 1") + instance(
        "VI_6",
        "interface eth0",
        "version 3",
        "advert_int 0.1",
        "priority 200",
        "use_vmac",
        "garp_master_delay 1",
        vrid=52,
        addresses="fe80::100/64\nfd00::100/64",
    )
    with Capture(b) as capture:
        daemon = Fastvrrp(a, conf).start()

        def announcements(expression: str) -> list[str]:
            return capture.dissect(expression, ("eth.src",))

        own = "arp.isgratuitous && arp.src.proto_ipv4 == 10.0.0.100"
        neighbour = "icmpv6.type == 136 && icmpv6.nd.na.target_address == fd00::100"
        wait_until(lambda: len(announcements(neighbour)) == 10, interval=0.2, what="ten NAs")
        wait_until(lambda: len(announcements(own)) == 10, interval=0.2, what="ten gratuitous ARPs")
        assert set(announcements(own)) == {"02:00:00:00:00:01"}
        assert set(announcements(neighbour)) == {"00:00:5e:00:02:34"}
        flags = capture.dissect(
            neighbour,
            ("icmpv6.nd.na.flag.r", "icmpv6.nd.na.flag.s", "icmpv6.nd.na.flag.o"),
        )
        assert set(flags) == {"1\t0\t1"}, "the laboratory's routers forward"
    capture.assert_clean()
    assert daemon.stop() == 0


@pytest.mark.keywords("vrrp_instance/use_vmac", "vrrp_instance/vmac_xmit_base")
@pytest.mark.parametrize(
    ("lines", "mac"),
    [("use_vmac", "00:00:5e:00:01:33"), ("use_vmac\nvmac_xmit_base", "02:00:00:00:00:01")],
)
def test_adverts_leave_with_the_virtual_mac_unless_told_otherwise(
    lab: Laboratory, lines: str, mac: str
) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    with Capture(b) as capture:
        Fastvrrp(a, quick(lines, "garp_master_delay 0")).start()
        capture.wait_for_advert(51)
        own = "arp.isgratuitous && arp.src.proto_ipv4 == 10.0.0.100"
        wait_until(
            lambda: capture.dissect(own, ("eth.src", "arp.src.hw_mac")), what="gratuitous ARP"
        )
    assert {advert.source_mac for advert in capture.adverts()} == {mac}
    virtual = "00:00:5e:00:01:33"
    assert set(capture.dissect(own, ("eth.src", "arp.src.hw_mac"))) == {f"{virtual}\t{virtual}"}
    assert "vrrp.51 10.0.0.100/24" in a.addresses()


def test_a_backups_vmac_answers_nothing(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    Keepalived(b, quick(priority=200)).start().wait_log("Entering MASTER STATE")
    Fastvrrp(a, quick("use_vmac", priority=100)).start().wait_log("Entering BACKUP STATE")
    with Capture(b) as capture:
        # Somebody asks for the virtual address, and for the backup's own.
        b.run(["ip", "neighbour", "flush", "dev", "eth0"])
        b.run(["bash", "-c", "echo > /dev/udp/10.0.0.1/9; echo > /dev/udp/10.0.0.3/9"])
        question = "arp.opcode == 1 && arp.dst.proto_ipv4 == 10.0.0.3"
        # Three times in three seconds the kernel asks for an address that nobody has.
        wait_until(lambda: len(capture.dissect(question)) == 3, interval=0.3, what="three asked")
        answers = capture.dissect("arp.opcode == 2", ("arp.src.hw_mac", "arp.src.proto_ipv4"))
    assert "02:00:00:00:00:01\t10.0.0.1" in answers
    assert not [answer for answer in answers if answer.startswith("00:00:5e")]


@pytest.mark.keywords("vrrp_instance/nopreempt")
def test_nopreempt_leaves_the_lower_master_alone(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    keepalived = Keepalived(b, quick(priority=100)).start().wait_log("Entering MASTER STATE")
    daemon = Fastvrrp(a, quick("nopreempt")).start()
    with Capture(b) as capture:
        daemon.wait_log("(VI_1) Entering BACKUP STATE")
        for _ in range(10):
            capture.wait_for_advert(51, source="10.0.0.2", after=len(capture.frames))
        keepalived.kill()
        wait_state(daemon, MASTER)
    assert {advert.source for advert in capture.adverts()} == {"10.0.0.1", "10.0.0.2"}


@pytest.mark.keywords("vrrp_instance/preempt_delay")
def test_a_preempt_delay_is_waited_for(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    Keepalived(b, quick(priority=100)).start().wait_log("Entering MASTER STATE")
    with Capture(b) as capture:
        daemon = Fastvrrp(a, quick("preempt_delay 2")).start()
        daemon.wait_log("(VI_1) Entering BACKUP STATE")
        begin = len(capture.frames)
        first = capture.wait_for_advert(51, source="10.0.0.1")
        assert first.time - capture.frames[begin].time > 1_900_000_000
    daemon.wait_log("Entering MASTER STATE")


@pytest.mark.keywords("vrrp_instance/mcast_src_ip")
def test_adverts_leave_from_the_address_that_is_configured(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    a.ip("address add 10.0.0.77/24 dev eth0")
    with Capture(b) as capture:
        Fastvrrp(a, quick("mcast_src_ip 10.0.0.77")).start()
        capture.wait_for_advert(51, source="10.0.0.77")


def test_a_new_primary_address_is_the_source_of_the_next_advert(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    with Capture(b) as capture:
        Fastvrrp(a, quick()).start()
        capture.wait_for_advert(51, source="10.0.0.1")
        a.ip("address add 10.0.0.78/25 dev eth0", "address del 10.0.0.1/24 dev eth0")
        capture.wait_for_advert(51, source="10.0.0.78")
    capture.assert_clean()


def test_a_second_daemon_with_the_same_pid_file_is_refused(lab: Laboratory) -> None:
    a = lab.router("a")
    daemon = Fastvrrp(a, quick()).start().wait_log("Startup complete")
    second = a.run(next(iter(daemon.commands())), check=False)
    assert second.returncode == 1
    assert "is running already" in second.stdout
    assert daemon.is_running()
    assert daemon.stop() == 0


def test_it_goes_to_the_background_and_says_where(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    daemon = Fastvrrp(a, quick())
    pid_file = daemon.folder / "fastvrrp.pid"
    begun = a.run(
        [FASTVRRP, "run", "-f", str(daemon.configuration_file), "-p", str(pid_file)], check=False
    )
    assert (begun.returncode, begun.stdout) == (0, "")
    wait_until(pid_file.exists, what="the pid file")
    wait_until(lambda: a.holds("10.0.0.100"), what="the address")
    os.kill(int(pid_file.read_text()), signal.SIGTERM)
    wait_until(lambda: not pid_file.exists(), what="the end")
    assert not a.holds("10.0.0.100")


def test_what_is_right_in_a_configuration_runs_and_the_rest_is_said(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    broken = instance("VI_2", "interface eth0", vrid=256)
    daemon = Fastvrrp(a, quick() + broken).start()
    wait_state(daemon, MASTER)
    assert "error: virtual_router_id 256 is outside 1-255" in daemon.log()
    assert list(states(daemon)) == ["VI_1"]


@pytest.mark.parametrize(
    ("text", "options", "status", "said"),
    [
        ("vrrp_instance VI {\n virtual_router_id 256\n}\n", [], 2, "256 is outside 1-255"),
        ("vrrp_instance VI {\n virtual_router_id 256\n}\n", ["-t"], 5, "256 is outside 1-255"),
        ("vrrp_instance VI {\n", [], 2, "error"),
        ("frobnicate yes\n", ["-t"], 5, "warning: "),
        ("include missing.conf\n", ["-t"], 0, "warning: "),
        ("@one frobnicate yes\n", ["-t", "-i", "one"], 5, "frobnicate"),
        ("", ["-v"], 0, "fastvrrp 0."),
    ],
)
def test_a_configuration_that_cannot_run_is_said_and_the_exit_status_tells(
    tmp_path: Path, text: str, options: list[str], status: int, said: str
) -> None:
    conf = tmp_path / "vrrp.conf"
    conf.write_text(text)
    finished = subprocess.run(
        [FASTVRRP, "run", "-n", "-f", str(conf), "-p", str(tmp_path / "pid"), *options],
        check=False,
        capture_output=True,
        text=True,
    )
    output = finished.stdout + finished.stderr
    assert (finished.returncode, said in output) == (status, True), output
    assert "Traceback" not in output


def test_the_demonstration_shows_what_it_says() -> None:
    finished = subprocess.run([FASTVRRP, "demo"], check=False, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert "Nothing is left behind." in finished.stdout
    namespaces = subprocess.run(
        ["ip", "-j", "netns", "list"], check=True, capture_output=True, text=True
    ).stdout
    assert not [
        each for each in json.loads(namespaces or "[]") if each["name"].startswith("fastvrrp-")
    ]
