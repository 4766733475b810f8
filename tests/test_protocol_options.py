"""Options that change when a state changes, or what an advert is: the same files for both daemons.

A test with `kind` runs under fastvrrp and under keepalived, and expects the same of both.
"""

from __future__ import annotations

import os
import signal
import socket
import stat
import time
from collections.abc import Callable
from contextlib import ExitStack
from ctypes import CDLL
from ipaddress import ip_address

import pytest

from fastvrrp._wire import decode, encode, ethernet, multicast_mac
from fastvrrp.daemon.succession import startup_delay
from fastvrrp.model import SECOND, Vrrp
from lab import Capture, Daemon, Fastvrrp, Keepalived, Laboratory, Link, Router, wait_until
from lab.capture import Frame, glance
from lab.daemons import descendants

BOTH = pytest.mark.parametrize("kind", [Fastvrrp, Keepalived])
GROUP = ip_address("224.0.0.18").packed
INTERVAL = 4
"""Seconds between adverts where it matters whether one comes before its time."""


def instance(
    *lines: str,
    priority: int = 200,
    interval: float = 0.5,
    version: int = 3,
    definitions: tuple[str, ...] = (),
    vrid: int = 51,
) -> str:
    body = "\n    ".join(
        (
            "interface eth0",
            f"virtual_router_id {vrid}",
            f"priority {priority}",
            f"version {version}",
            f"advert_int {interval:g}",
            "virtual_ipaddress {\n        10.9.0.100/24\n    }",
            *lines,
        )
    )
    top = "\n    ".join(definitions)
    return f"global_defs {{\n    {top}\n}}\nvrrp_instance VI_{vrid} {{\n    {body}\n}}\n"


def unicast(ours: str, theirs: str, *lines: str, priority: int = 200) -> str:
    peers = f"unicast_peer {{\n        {theirs}\n    }}"
    return instance(f"unicast_src_ip {ours}", peers, *lines, priority=priority)


def two_routers(lab: Laboratory) -> tuple[Router, Router, Link]:
    """And a third one, so that the link of each stays up when another's goes down."""
    a, b, c = lab.router("a"), lab.router("b"), lab.router("c")
    return a, b, lab.connect(a, b, c)[0]


def send_advert(router: Router, number: int, priority: int, interval: int = 5 * SECOND) -> None:
    """One VRRPv3 advert of the router of that number, for VRID 51."""
    packet = encode(
        family=4,
        version=3,
        vrid=51,
        priority=priority,
        interval=interval,
        source=bytes((10, 0, 0, number)),
        destination=GROUP,
        addresses=[bytes((10, 9, 0, 100))],
    )
    mac = bytes((2, 0, 0, 0, 0, number))

    def send() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as opened:
            opened.bind(("eth0", 0))
            opened.send(ethernet(multicast_mac(GROUP), mac, 0x0800) + packet)

    router.call(send)


def deafen(router: Router) -> Callable[[], None]:
    """Lets a router hear no adverts; the result lets it hear again."""
    for command in (
        "add table ip deaf",
        "add chain ip deaf input { type filter hook input priority 0; }",
        "add rule ip deaf input iif eth0 ip protocol 112 drop",
    ):
        router.run(["nft", command])

    def hear_again() -> None:
        router.run(["nft", "delete table ip deaf"])

    return hear_again


def last_from(capture: Capture, source: str) -> Frame:
    return next(
        frame
        for frame in reversed(capture.frames)
        if (sight := glance(frame.data)) is not None and sight.source == source
    )


# --- the start ----------------------------------------------------------------------------------


@BOTH
@pytest.mark.keywords("global_defs/vrrp_startup_delay")
@pytest.mark.parametrize(
    ("priority", "longer"), [(200, 3 * SECOND // 2), (255, 0)], ids=["ordinary", "owner"]
)
def test_nobody_becomes_master_before_the_startup_delay_is_over(
    lab: Laboratory, kind: type[Daemon], priority: int, longer: int
) -> None:
    a, b, _ = two_routers(lab)
    state = "state MASTER" if priority == 255 else "state BACKUP"
    begin = time.time_ns()
    with Capture(b) as capture:
        daemon = kind(
            a, instance(state, priority=priority, definitions=("vrrp_startup_delay 1.5",))
        ).start()
        first = capture.wait_for_advert(51)
    assert first.time - begin > 3 * SECOND // 2 + longer
    daemon.wait_log("Delaying startup for 1.5 seconds")
    daemon.wait_log("Entering MASTER STATE")


@BOTH
@pytest.mark.keywords("global_defs/vrrp_startup_delay")
def test_the_startup_delay_is_for_the_start_of_the_daemon_only(
    lab: Laboratory, kind: type[Daemon]
) -> None:
    a, _, _ = two_routers(lab)
    daemon = kind(a, instance(definitions=("vrrp_startup_delay 3",))).start()
    daemon.wait_log("(VI_51) Entering MASTER STATE")
    daemon.configure(
        instance(definitions=("vrrp_startup_delay 60",))
        + instance(vrid=52)
        .replace("10.9.0.100", "10.9.0.101")
        .replace("global_defs {\n    \n}", "")
    )
    daemon.signal(signal.SIGHUP)
    daemon.wait_log("(VI_52) Entering MASTER STATE")


@pytest.mark.keywords("global_defs/vrrp_delay_after_boot", "global_defs/vrrp_startup_delay")
@pytest.mark.parametrize(
    ("startup", "after_boot", "since_boot", "delay"),
    [
        (0, 0, 100, 0),
        (5, 0, 100, 5),
        (0, 30, 10, 20),
        (0, 30, 40, 0),
        (5, 30, 10, 20),
        (25, 30, 10, 25),
    ],
)
def test_the_longer_delay_counts(
    startup: int, after_boot: int, since_boot: int, delay: int
) -> None:
    vrrp = Vrrp(startup_delay=startup * SECOND, delay_after_boot=after_boot * SECOND)
    assert startup_delay(vrrp, since_boot * SECOND) == delay * SECOND


# --- preemption ---------------------------------------------------------------------------------


@BOTH
@pytest.mark.keywords("vrrp_instance/preempt_delay")
def test_a_router_that_returns_waits_for_its_preempt_delay(
    lab: Laboratory, kind: type[Daemon]
) -> None:
    a, b, _ = two_routers(lab)
    with Capture(b) as capture:
        preferred = kind(a, instance("preempt_delay 2")).start()
        # Nobody else is there: the delay is none of a takeover.
        preferred.wait_log("Entering MASTER STATE")
        other = Keepalived(b, instance(priority=100)).start()
        other.wait_log("Entering BACKUP STATE")
        a.ip("link set eth0 down")
        other.wait_log("Entering MASTER STATE")
        begin = len(capture.frames)
        a.ip("link set eth0 up")
        preferred.wait_log("Entering MASTER STATE", count=2)
        first = capture.wait_for_advert(51, source="10.0.0.1", after=begin)
    # At most one advert interval passes until the lower master is heard, and the delay begins.
    assert first.time - capture.frames[begin].time > 2 * SECOND


@BOTH
@pytest.mark.keywords("vrrp_instance/nopreempt")
@pytest.mark.parametrize(("state", "preempts"), [("BACKUP", False), ("MASTER", True)])
def test_nopreempt_needs_state_backup(
    lab: Laboratory, kind: type[Daemon], state: str, preempts: bool
) -> None:
    a, b, _ = two_routers(lab)
    other = Keepalived(b, instance(priority=100, interval=0.2)).start()
    other.wait_log("Entering MASTER STATE")
    with Capture(b) as capture:
        daemon = kind(a, instance("nopreempt", f"state {state}", interval=0.2)).start()
        daemon.wait_log("Entering BACKUP STATE")
        if preempts:
            daemon.wait_log("Entering MASTER STATE")
        else:
            for _ in range(8):
                capture.wait_for_advert(51, source="10.0.0.2", after=len(capture.frames))
            assert "Entering MASTER" not in daemon.log()


@pytest.mark.keywords("vrrp_instance/timer_expired_backup")
@pytest.mark.parametrize("option", ["timer_expired_backup", "timer_expired_backup 100", ""])
def test_a_master_that_stood_still_does_not_push_its_successor_aside(
    lab: Laboratory, option: str
) -> None:
    a, b, _ = two_routers(lab)
    daemon = Fastvrrp(a, instance("nopreempt", option, interval=0.2)).start()
    daemon.wait_log("Entering MASTER STATE")
    other = Keepalived(b, instance(priority=100, interval=0.2)).start()
    other.wait_log("Entering BACKUP STATE")
    daemon.signal(signal.SIGSTOP)
    other.wait_log("Entering MASTER STATE")
    # A backup of priority 254 has been waited for; one of 100 needs 0.12 s more at most.
    time.sleep(0.5)
    with Capture(b) as capture:
        daemon.signal(signal.SIGCONT)
        if option:
            daemon.wait_log("(VI_51) Entering BACKUP STATE", count=2)
            for _ in range(5):
                capture.wait_for_advert(51, source="10.0.0.2", after=len(capture.frames))
            assert {each.source for each in capture.adverts()} == {"10.0.0.2"}
        else:
            other.wait_log("Entering BACKUP STATE", count=2)


@BOTH
@pytest.mark.keywords("vrrp_instance/down_timer_adverts", "global_defs/vrrp_down_timer_adverts")
@pytest.mark.parametrize("where", ["instance", "global"])
def test_a_backup_waits_for_as_many_adverts_as_it_is_told(
    lab: Laboratory, kind: type[Daemon], where: str
) -> None:
    a, b, _ = two_routers(lab)
    if where == "instance":
        configuration = instance("down_timer_adverts 8", priority=100, interval=0.2)
    else:
        configuration = instance(
            priority=100, interval=0.2, definitions=("vrrp_down_timer_adverts 8",)
        )
    master = Keepalived(a, instance(interval=0.2)).start()
    master.wait_log("Entering MASTER STATE")
    with Capture(b) as capture:
        backup = kind(b, configuration).start()
        backup.wait_log("Entering BACKUP STATE")
        capture.wait_for_advert(51, source="10.0.0.1", after=len(capture.frames))
        master.kill()
        first = capture.wait_for_advert(51, source="10.0.0.2")
        assert first.time - last_from(capture, "10.0.0.1").time > 8 * SECOND // 5


@BOTH
@pytest.mark.keywords("vrrp_instance/advert_int", "vrrp_instance/version")
def test_a_backup_of_version_3_goes_by_the_interval_of_its_master(
    lab: Laboratory, kind: type[Daemon]
) -> None:
    a, b, _ = two_routers(lab)
    master = Keepalived(a, instance(interval=0.2)).start()
    master.wait_log("Entering MASTER STATE")
    with Capture(b) as capture:
        backup = kind(b, instance(priority=100, interval=30)).start()
        backup.wait_log("Entering BACKUP STATE")
        capture.wait_for_advert(51, source="10.0.0.1", after=len(capture.frames))
        master.kill()
        backup.wait_log("Entering MASTER STATE")  # in 10 s, not in 95


# --- adverts of others --------------------------------------------------------------------------


@BOTH
@pytest.mark.keywords(
    "vrrp_instance/lower_prio_no_advert",
    "global_defs/vrrp_lower_prio_no_advert",
    "global_defs/vrrp_strict",
    "vrrp_instance/strict_mode",
)
@pytest.mark.parametrize(
    ("lines", "definitions", "answers"),
    [
        ((), (), True),
        (("lower_prio_no_advert",), (), False),
        ((), ("vrrp_lower_prio_no_advert",), False),
        (("lower_prio_no_advert off",), ("vrrp_lower_prio_no_advert",), True),
        (("strict_mode",), (), False),
        ((), ("vrrp_strict",), False),
        (("strict_mode off",), ("vrrp_strict",), True),
    ],
)
def test_whether_a_master_answers_a_lower_priority(
    lab: Laboratory,
    kind: type[Daemon],
    lines: tuple[str, ...],
    definitions: tuple[str, ...],
    answers: bool,
) -> None:
    a, b, _ = two_routers(lab)
    # An owner is master at once, so that the test need not wait for long intervals at the start.
    owner = instance(
        "state MASTER", *lines, definitions=definitions, interval=INTERVAL, priority=255
    )
    with Capture(b) as capture:
        kind(a, owner).start()
        capture.wait_for_advert(51)
        before = len(capture.frames)
        send_advert(b, 2, 50)
        capture.wait_for_advert(51, source="10.0.0.2", after=before)
        following = capture.wait_for_advert(51, source="10.0.0.1", after=before)
        gap = following.time - last_before(capture, following).time
    assert (gap < (INTERVAL - 1) * SECOND) is answers


def last_before(capture: Capture, following: Frame) -> Frame:
    """The advert of 10.0.0.1 before that one."""
    ours = [
        frame
        for frame in capture.frames
        if (sight := glance(frame.data)) is not None and sight.source == "10.0.0.1"
    ]
    return ours[ours.index(following) - 1]


@BOTH
@pytest.mark.keywords(
    "vrrp_instance/higher_prio_send_advert", "global_defs/vrrp_higher_prio_send_advert"
)
@pytest.mark.parametrize(
    ("lines", "definitions", "speaks"),
    [
        ((), (), False),
        (("higher_prio_send_advert",), (), True),
        ((), ("vrrp_higher_prio_send_advert",), True),
        (("higher_prio_send_advert off",), ("vrrp_higher_prio_send_advert",), False),
    ],
)
def test_whether_a_master_that_yields_speaks_once_more(
    lab: Laboratory,
    kind: type[Daemon],
    lines: tuple[str, ...],
    definitions: tuple[str, ...],
    speaks: bool,
) -> None:
    a, b, _ = two_routers(lab)
    daemon = kind(a, instance(*lines, definitions=definitions, interval=1)).start()
    daemon.wait_log("Entering MASTER STATE")
    with Capture(b) as capture:
        capture.wait_for_advert(51)
        send_advert(b, 2, 250)
        daemon.wait_log("Entering BACKUP STATE", count=2)
        higher = last_from(capture, "10.0.0.2")
    is_later = last_from(capture, "10.0.0.1").time > higher.time
    assert is_later is speaks


@pytest.mark.keywords("global_defs/vrrp_strict", "vrrp_instance/strict_mode")
@pytest.mark.parametrize(("strict", "stays"), [("strict_mode", True), ("strict_mode off", False)])
def test_a_strict_owner_ignores_other_owners(lab: Laboratory, strict: str, stays: bool) -> None:
    """Since keepalived 2.3; the one with the higher address would be better otherwise."""
    a, b, _ = two_routers(lab)
    daemon = Fastvrrp(a, instance("state MASTER", strict, priority=255, interval=0.2)).start()
    daemon.wait_log("Entering MASTER STATE")
    with Capture(b) as capture:
        send_advert(b, 2, 255)
        if stays:
            for _ in range(5):
                capture.wait_for_advert(51, source="10.0.0.1", after=len(capture.frames))
            assert "Entering BACKUP" not in daemon.log()
        else:
            daemon.wait_log("Entering BACKUP STATE")


@BOTH
@pytest.mark.keywords("global_defs/log_unknown_vrids")
def test_adverts_of_nobody_are_logged_when_asked_for(lab: Laboratory, kind: type[Daemon]) -> None:
    a, b, _ = two_routers(lab)
    daemon = kind(a, instance(vrid=7, definitions=("log_unknown_vrids",))).start()
    daemon.wait_log("Entering BACKUP STATE")
    for _ in range(3):
        send_advert(b, 2, 100)
    daemon.wait_log("Unknown VRID(51) received on interface(eth0)")
    daemon.wait_log("Entering MASTER STATE")
    assert daemon.log().count("Unknown VRID") == (1 if kind is Fastvrrp else 3)
    if kind is Fastvrrp:
        daemon.configure(instance(vrid=7))
        daemon.signal(signal.SIGHUP)
        daemon.wait_log("Reloaded")
        send_advert(b, 2, 100, interval=SECOND)
        assert daemon.log().count("Unknown VRID") == 1


# --- unicast ------------------------------------------------------------------------------------


@BOTH
@pytest.mark.keywords("vrrp_instance/unicast_fault_no_peer")
def test_an_instance_without_a_peer_is_in_fault_until_it_has_one(
    lab: Laboratory, kind: type[Daemon]
) -> None:
    a, b, _ = two_routers(lab)
    daemon = kind(a, instance("unicast_src_ip 10.0.0.1", "unicast_fault_no_peer")).start()
    daemon.wait_log("(VI_51) Cannot use unicast without any peers - going to fault state")
    daemon.configure(unicast("10.0.0.1", "10.0.0.2", "unicast_fault_no_peer"))
    daemon.signal(signal.SIGHUP)
    with Capture(b) as capture:
        capture.wait_for_advert(51)
    daemon.wait_log("Entering MASTER STATE")
    assert {each.destination for each in capture.adverts()} == {"10.0.0.2"}


def has_old_checksum(frame: Frame) -> bool:
    return decode(frame.data[14:]).checksum_for_group


@pytest.mark.keywords("vrrp_instance/old_unicast_checksum")
def test_the_old_checksum_is_learned_from_the_master(lab: Laboratory) -> None:
    """keepalived 2.2.7 hears the old one from then on, and that alone, but speaks the new one."""
    a, b, _ = two_routers(lab)
    old = "old_unicast_checksum"
    with Capture(b) as capture:
        master = Keepalived(a, unicast("10.0.0.1", "10.0.0.2", old)).start()
        master.wait_log("Entering MASTER STATE")
        backup = Fastvrrp(b, unicast("10.0.0.2", "10.0.0.1", priority=100)).start()
        backup.wait_log("Entering BACKUP STATE")
        frame = capture.wait_for_advert(51, source="10.0.0.1", after=len(capture.frames))
        assert has_old_checksum(frame)
        capture.wait_for_advert(51, source="10.0.0.1", after=len(capture.frames))
        master.stop()
        frame = capture.wait_for_advert(51, source="10.0.0.2")
        assert has_old_checksum(frame)
        # A master that speaks the new one again is heard, and followed in this, too.
        master.configure(unicast("10.0.0.1", "10.0.0.2"))
        master.start()
        backup.wait_log("Entering BACKUP STATE", count=2)
        followed = capture.wait_for_advert(51, source="10.0.0.1", after=len(capture.frames))
        capture.wait_for_advert(51, source="10.0.0.1", after=len(capture.frames))
        master.kill()
        frame = capture.wait_for_advert(51, source="10.0.0.2", after=len(capture.frames))
    # It may have learned the old one from us meanwhile, and speak that.
    assert has_old_checksum(frame) is has_old_checksum(followed)


@pytest.mark.keywords("vrrp_instance/old_unicast_checksum")
def test_a_master_that_is_told_so_speaks_the_old_checksum(lab: Laboratory) -> None:
    a, b, _ = two_routers(lab)
    with Capture(b) as capture:
        master = Fastvrrp(a, unicast("10.0.0.1", "10.0.0.2", "old_unicast_checksum")).start()
        master.wait_log("Entering MASTER STATE")
        backup = Keepalived(b, unicast("10.0.0.2", "10.0.0.1", priority=100)).start()
        backup.wait_log("Setting unicast VRRPv3 checksum to old version")
        assert has_old_checksum(capture.wait_for_advert(51, source="10.0.0.1"))
        master.configure(unicast("10.0.0.1", "10.0.0.2"))
        master.signal(signal.SIGHUP)
        master.wait_log("Reloaded")
        frame = capture.wait_for_advert(51, source="10.0.0.1", after=len(capture.frames))
        assert not has_old_checksum(frame)


@BOTH
@pytest.mark.keywords("vrrp_instance/old_unicast_checksum")
def test_the_old_checksum_can_be_refused(lab: Laboratory, kind: type[Daemon]) -> None:
    a, b, _ = two_routers(lab)
    never, old = "old_unicast_checksum never", "old_unicast_checksum"
    Keepalived(a, unicast("10.0.0.1", "10.0.0.2", old)).start().wait_log("Entering MASTER STATE")
    with Capture(b) as capture:
        kind(b, unicast("10.0.0.2", "10.0.0.1", never, priority=100)).start()
        frame = capture.wait_for_advert(51, source="10.0.0.2")
    assert not has_old_checksum(frame)


@BOTH
def test_a_backup_that_is_deaf_for_a_while_yields_when_it_hears_again(
    lab: Laboratory, kind: type[Daemon]
) -> None:
    a, b, _ = two_routers(lab)
    master = Keepalived(a, instance(interval=0.2)).start()
    master.wait_log("Entering MASTER STATE")
    backup = kind(b, instance(priority=100, interval=0.2)).start()
    backup.wait_log("Entering BACKUP STATE")
    hear_again = deafen(b)
    backup.wait_log("Entering MASTER STATE")
    hear_again()
    backup.wait_log("Entering BACKUP STATE", count=2)
    wait_until(lambda: not b.holds("10.9.0.100"), what="the address gone")
    assert "Entering BACKUP" not in master.log().partition("Entering MASTER")[2]


# --- what waits to be read ----------------------------------------------------------------------

PIDFD_GETFD = 438  # asm-generic/unistd.h
SMALLEST_BUFFER = 2304
"""SOCK_MIN_RCVBUF: what keepalived gives the socket that it sends with."""
libc = CDLL(None, use_errno=True)


def receive_buffers(daemon: Daemon) -> set[int]:
    """SO_RCVBUF of each raw VRRP socket of a daemon that is not for sending alone."""
    sizes: set[int] = set()
    for pid in descendants([process.pid for process in daemon.processes]):
        with ExitStack() as opened:
            process = os.pidfd_open(pid)
            opened.callback(os.close, process)
            for entry in os.scandir(f"/proc/{pid}/fd"):
                descriptor = libc.syscall(PIDFD_GETFD, process, int(entry.name), 0)
                if descriptor < 0:
                    continue  # it was closed meanwhile
                opened.callback(os.close, descriptor)
                if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                    found = socket.socket(fileno=os.dup(descriptor))
                    opened.callback(found.close)
                    if found.family == socket.AF_INET and found.proto == 112:
                        sizes.add(found.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF))
    return sizes - {SMALLEST_BUFFER}


@BOTH
@pytest.mark.keywords(
    "global_defs/vrrp_rx_bufs_policy",
    "global_defs/vrrp_rx_bufs_multiplier",
    "vrrp_instance/kernel_rx_buf_size",
)
@pytest.mark.parametrize(
    ("definitions", "lines", "size"),
    [
        (("vrrp_rx_bufs_policy MTU",), (), 2 * 1500 * 3),
        (("vrrp_rx_bufs_policy MTU", "vrrp_rx_bufs_multiplier 7"), (), 2 * 1500 * 7),
        (("vrrp_rx_bufs_policy 40000", "vrrp_rx_bufs_multiplier 7"), (), 2 * 40000),
        (("vrrp_rx_bufs_policy 40000",), ("kernel_rx_buf_size 50000",), 50000 + 40000),
    ],
)
def test_receive_buffers_are_as_large_as_they_are_told_to_be(
    lab: Laboratory,
    kind: type[Daemon],
    definitions: tuple[str, ...],
    lines: tuple[str, ...],
    size: int,
) -> None:
    a, _, _ = two_routers(lab)
    second = instance(vrid=52).partition("}\n")[2].replace("10.9.0.100", "10.9.0.101")
    daemon = kind(a, instance(*lines, definitions=definitions) + second).start()
    daemon.wait_log("Entering BACKUP STATE", count=2)
    wait_until(
        lambda: receive_buffers(daemon) == {2 * size}, what=lambda: str(receive_buffers(daemon))
    )
    if kind is Fastvrrp:
        daemon.configure(instance() + second)
        daemon.signal(signal.SIGHUP)
        daemon.wait_log("Reloaded")
        assert receive_buffers(daemon) == {2 * (16 << 20)}


@pytest.mark.keywords("global_defs/vrrp_rx_bufs_policy")
def test_there_is_room_for_some_adverts_of_each_whatever_is_written(lab: Laboratory) -> None:
    a, _, _ = two_routers(lab)
    daemon = Fastvrrp(a, instance(definitions=("vrrp_rx_bufs_policy ADVERT",))).start()
    daemon.wait_log("Startup complete")
    assert receive_buffers(daemon) == {2 * 2048}
