"""The laboratory keeps its promises: what it makes works, is judged rightly, and goes away."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest

from lab import Capture, Frr, Keepalived, Laboratory, Router, VirtualRouter, wait_until
from lab.election import STALL, tell_undisturbed
from lab.ownership import FOLDERS, NAMESPACES, owner_name, processes_inside, remove_abandoned
from lab.stalls import StallWatch

CONFIGURATION = """
vrrp_instance VI_1 {{
    state BACKUP
    interface eth0
    virtual_router_id 51
    priority {priority}
    advert_int 1
    virtual_ipaddress {{ 10.0.0.100/24 }}
}}
"""


def keepalived(router: Router, priority: int) -> Keepalived:
    return Keepalived(router, CONFIGURATION.format(priority=priority))


def remains(beginning: str) -> list[Path]:
    return [path for place in (NAMESPACES, FOLDERS) for path in place.glob(beginning + "*")]


def test_two_keepalived_elect_and_hand_over(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    with Capture(b) as capture:
        preferred = keepalived(a, 200).start()
        other = keepalived(b, 100).start()
        preferred.wait_log("Entering MASTER STATE")
        wait_until(lambda: lab.holders_of("10.0.0.100") == [a])
        preferred.kill()
        capture.wait_for_advert(51, source="10.0.0.2")
        other.wait_log("Entering MASTER STATE")
        assert other.stop() == 0
    assert not b.holds("10.0.0.100")
    capture.assert_clean()
    adverts = capture.adverts()
    assert {(advert.source, advert.priority) for advert in adverts} == {
        ("10.0.0.1", 200),
        ("10.0.0.2", 100),
        ("10.0.0.2", 0),
    }
    assert {advert.addresses for advert in adverts} == {("10.0.0.100",)}
    # A virtual router of the dead has nobody who says farewell: killed means every process at once.
    assert not [a for a in adverts if a.source == "10.0.0.1" and a.priority == 0]


def test_two_frr_elect_and_hand_over(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    (link,) = lab.connect(a, b)
    virtual_router = VirtualRouter(link, 51, version=3)
    preferred = Frr(a, [virtual_router], 200)
    other = Frr(b, [virtual_router], 100)
    before = preferred.held_addresses()
    with Capture(b) as capture:
        preferred.start()
        other.start()
        capture.wait_for_advert(51, priority=200)
        wait_until(lambda: preferred.held_addresses() > before)
        assert preferred.stop() == 0
        capture.wait_for_advert(51, source=link.address(b), priority=100)
    assert preferred.held_addresses() == before
    capture.assert_clean()


def test_three_routers_share_a_switch(lab: Laboratory) -> None:
    routers = [lab.router(name) for name in "abc"]
    first, second = lab.connect(*routers, count=2)
    for router in routers:
        for other in routers:
            for link in (first, second):
                assert reaches(router, link.address(other))
                assert reaches(router, link.address(other, 6))
                assert reaches(router, f"fe80::{other.index}%{link.interface}")


def reaches(router: Router, address: str) -> bool:
    """Whether a host at the address answers, with its refusal of a connection."""

    def connect() -> bool:
        try:
            socket.create_connection((address, 9), timeout=5).close()
        except ConnectionRefusedError:
            return True
        return False

    return router.call(connect)


def test_a_router_has_the_addresses_its_link_says(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    links = lab.connect(a, b, count=2)
    assert b.addresses() - {"lo 127.0.0.1/8", "lo ::1/128"} == {
        f"{link.interface} {address}"
        for link in links
        for address in (f"{link.address(b)}/24", f"{link.address(b, 6)}/64", "fe80::2/64")
    }


def test_a_capture_finds_a_wrong_checksum(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    with Capture(b) as capture:
        send_advert(a, vrid=51, checksum_error=0)
        capture.wait_for_advert(51)
        capture.assert_clean()
        send_advert(a, vrid=52, checksum_error=1)
        capture.wait_for_advert(52)
    with pytest.raises(AssertionError, match="checksum"):
        capture.assert_clean()


def send_advert(router: Router, vrid: int, checksum_error: int) -> None:
    """Sends a VRRPv2 advertisement whose checksum is that much too large."""
    script = f"""
from scapy.all import VRRP, IP, Ether, raw, sendp
packet = VRRP(raw(VRRP(vrid={vrid}, priority=1, addrlist=["10.0.0.100"])))
packet.chksum += {checksum_error}
sendp(Ether(dst="01:00:5e:00:00:12") / IP(dst="224.0.0.18", ttl=255) / packet, iface="eth0",
      verbose=False)
"""
    router.run([sys.executable, "-c", script])


INTERRUPTED = """
import os, pathlib, signal
from test_lab import keepalived

def test_that_does_not_end(lab):
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    keepalived(a, 200).start().wait_log("Entering BACKUP STATE")
    pathlib.Path("ready.part").write_text(lab.name)
    os.rename("ready.part", "ready")
    signal.pause()
"""


@pytest.mark.parametrize("workers", ["0", "1"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_of_a_run_that_is_interrupted(
    number: signal.Signals, workers: str, tmp_path: Path
) -> None:
    (tmp_path / "test_interrupted.py").write_text(INTERRUPTED)
    run = start_pytest(tmp_path, "-n", workers)
    wait_until((tmp_path / "ready").exists, 30, what=f"the test in {tmp_path}")
    laboratory = (tmp_path / "ready").read_text()
    namespace = NAMESPACES / f"{laboratory}-a"
    running = list(processes_inside(namespace))
    assert len(running) == 2, "keepalived and its VRRP process"
    run.send_signal(number)
    run.communicate(timeout=30)
    wait_until(lambda: not remains(laboratory), 30, what=f"end of {laboratory}")
    # A dead one stays in the list until the machine's first process has taken note of it.
    wait_until(lambda: not [pid for pid in running if Path(f"/proc/{pid}").exists()])


def start_pytest(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Starts pytest on the tests of a folder, with the fixtures of this one and nothing else."""
    tests = Path(__file__).parent
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", "-p", "conftest", "-c", os.devnull, *arguments, "."],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(tests)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_nothing_is_left_of_a_test_that_fails(tmp_path: Path) -> None:
    (tmp_path / "test_failing.py").write_text(INTERRUPTED.replace("signal.pause()", "assert 0"))
    run = start_pytest(tmp_path)
    output, _ = run.communicate(timeout=60)
    assert "1 failed" in output
    assert not remains((tmp_path / "ready").read_text())


def test_a_run_removes_what_one_left_whose_janitor_died_too() -> None:
    dead = subprocess.Popen(["sleep", "0"])
    name = owner_name(dead.pid) + "abcdef"
    dead.wait()
    subprocess.run(["ip", "netns", "add", f"{name}-a"], check=True)
    (FOLDERS / name).mkdir()
    sleeper = subprocess.Popen(["ip", "netns", "exec", f"{name}-a", "sleep", "1000"])
    wait_until(lambda: sleeper.pid in processes_inside(NAMESPACES / f"{name}-a"))
    remove_abandoned()
    assert sleeper.wait(5) == -signal.SIGKILL
    assert not remains(name)


def test_a_run_leaves_alone_what_is_in_use(lab: Laboratory) -> None:
    lab.router("a")
    remove_abandoned()
    assert remains(lab.name) == [NAMESPACES / f"{lab.name}-a", lab.folder]


def test_a_watch_measures_how_long_the_kernel_takes(lab: Laboratory) -> None:
    with StallWatch(lab.router("a")) as watch:
        wait_until(lambda: watch.longest > 0)


def test_a_story_is_told_again_until_the_kernel_let_it_be() -> None:
    stories = [Mock(longest_stall=STALL * 2), Mock(longest_stall=0.0), Mock(longest_stall=0.0)]
    told = iter(stories)
    assert tell_undisturbed(lambda _: next(told)) is stories[1]


def test_a_story_is_told_three_times_at_most() -> None:
    stories = [Mock(longest_stall=STALL * 2) for _ in range(3)]
    told = iter(stories)
    assert tell_undisturbed(lambda _: next(told)) is stories[2]
