"""The process of health checkers beside the daemon: what it is told, and how it comes and goes.

Whether the kernel has IPVS does not matter here: see tests/kernel/guest/test_pools.py for that.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import threading
from collections.abc import Container
from contextlib import suppress
from functools import partial
from ipaddress import ip_address
from pathlib import Path

import pytest

from fastvrrp.daemon.assignment import (
    PART_FILES,
    PART_RANGES,
    PART_SIZE,
    Assignment,
    Begin,
    Done,
    Files,
    Group,
    Part,
    Servers,
    parts,
)
from fastvrrp.daemon.logs import Destination
from fastvrrp.daemon.reader import MANY_SERVERS
from fastvrrp.daemon.sealing import Sealed, seal
from fastvrrp.model import (
    AddressRange,
    CheckTarget,
    CheckTiming,
    Configuration,
    Mark,
    RealServer,
    TcpCheck,
    TlsClient,
    TrackFile,
    VirtualServer,
    VirtualServerGroup,
)
from fastvrrp.track.interpreter import start_interpreter
from lab import Capture, Fastvrrp, Laboratory, wait_until
from lab.daemons import descendants
from lab.mailbox import Mailbox
from lab.network import Router
from test_cli_control import tell
from test_cli_run import CONFIGURATION as INSTANCE

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces")


class Listener:
    """A real server on loopback of a router."""

    def __init__(self, router: Router, port: int = 8001) -> None:
        self._open = router.call(lambda: socket.create_server(("127.0.0.1", port)))
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._open.shutdown(socket.SHUT_RDWR)
        self._open.close()

    def _serve(self) -> None:
        while True:
            try:
                self._open.accept()[0].close()
            except OSError:
                return


def virtual(port: int = 80, *, definitions: str = "", more: str = "", weight: int = 1) -> str:
    return f"""
global_defs {{
    script_user root
    {definitions}
}}
virtual_server 10.0.0.100 {port} {{
    delay_loop 1
    retry 1
    delay_before_retry 0.1
    warmup 0
    lvs_sched rr
    lvs_method NAT
    protocol TCP
    {more}
    real_server 127.0.0.1 8001 {{
        weight {weight}
        TCP_CHECK {{
            connect_timeout 1
        }}
    }}
}}
"""


def checkers_of(daemon: Fastvrrp) -> list[int]:
    """Processes of health checkers that a daemon has."""
    found = []
    for pid in descendants([process.pid for process in daemon.processes]):
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            if Path(f"/proc/{pid}/comm").read_text() == "fastvrrp_checkd\n":
                found.append(pid)
    return found


@pytest.fixture
def router(lab: Laboratory) -> Router:
    found = lab.router("a")
    lab.connect(found, lab.router("b"))
    return found


def test_it_ends_on_a_signal_that_is_blocked_by_whoever_starts_it() -> None:
    """The daemon blocks them until its loop runs."""
    ours, theirs = socket.socketpair()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM,))
    try:
        with theirs:
            number = theirs.fileno()
            process = start_interpreter("fastvrrp.daemon.checkd", str(number), pass_fds=[number])
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    with ours:
        process.terminate()
        try:
            process.wait(30)
        finally:
            process.kill()
            process.wait()


def several(addresses: range) -> tuple[RealServer, ...]:
    return tuple(
        RealServer(
            ip_address(number).packed,
            80,
            checkers=(TcpCheck(CheckTarget(ip_address(number).packed, 80), CheckTiming()),),
        )
        for number in addresses
    )


def told_by(
    configuration: Configuration, known: Container[bytes] = (), servers: list[Sealed] | None = None
) -> list[Part]:
    """What the process that checks is told, as it arrives there."""
    sealed = list(seal(configuration.virtual_servers)) if servers is None else servers
    return [
        pickle.loads(pickle.dumps(part))
        for part in parts(configuration, sealed, known, Destination(), adopts=True)
    ]


def taken(told: list[Part], known: dict[bytes, VirtualServer]) -> Assignment:
    begin, *rest = told
    assert isinstance(begin, Begin)
    assignment = Assignment(begin, known)
    for part in rest:
        assert not isinstance(part, Begin)
        assignment.take(part)
    return assignment


def test_a_configuration_is_told_in_parts_and_put_together_again() -> None:
    ranges = tuple(
        AddressRange(ip_address(number).packed, ip_address(number).packed, 80)
        for number in range(1, 2 * PART_RANGES + 2)
    )
    configuration = Configuration(
        track_files=tuple(TrackFile(f"load{n}", "/run/load") for n in range(2 * PART_FILES + 1)),
        virtual_server_groups=(
            VirtualServerGroup("one", ranges, (Mark(7),)),
            VirtualServerGroup("two", (), tuple(map(Mark, range(8, 2 * PART_RANGES + 10)))),
        ),
        virtual_servers=(
            VirtualServer(group="one", real_servers=several(range(1, 3000))),
            VirtualServer(mark=3),
            *(VirtualServer(mark=n, real_servers=several(range(n, n + 8))) for n in range(4, 400)),
        ),
        tls_client=TlsClient("/etc/ca.pem"),
    )
    told = told_by(configuration)
    assignment = taken(told, {})
    sizes = [
        [len(each.pickled) for each in part.servers] for part in told if isinstance(part, Servers)
    ]
    assert len(sizes) > 2
    assert all(len(each) == 1 or sum(each) <= PART_SIZE for each in sizes)
    assert max(len(part.track_files) for part in told if isinstance(part, Files)) <= PART_FILES
    assert max(len(part.group.marks) for part in told if isinstance(part, Group)) <= PART_RANGES
    assert assignment.begin.adopts
    assert assignment.configuration == configuration


def test_what_is_known_already_is_not_told_again() -> None:
    first = Configuration(virtual_servers=tuple(VirtualServer(mark=n) for n in range(1, 5)))
    one, _, _, four = first.virtual_servers
    other = VirtualServer(mark=3, quorum=2)
    second = Configuration(virtual_servers=(four, other, one))
    known: dict[bytes, VirtualServer] = {}
    before = taken(told_by(first), known).configuration.virtual_servers
    assert before == first.virtual_servers
    told = told_by(second, set(known))
    servers = [part.servers for part in told if isinstance(part, Servers)]
    assert servers == [tuple(seal([other]))]
    after = taken(told, known).configuration.virtual_servers
    assert after == second.virtual_servers
    assert after[0] is before[3]  # by which who compares them knows that nothing is different
    assert after[2] is before[0]
    assert known == {each.digest: model for each, model in zip(seal(after), after, strict=True)}


def test_a_telling_that_begins_anew_goes_on_with_what_was_told() -> None:
    """A reload may come while another one is being told."""
    models = tuple(VirtualServer(mark=n) for n in range(1, 4))
    sealed = list(seal(models))
    known: dict[bytes, VirtualServer] = {}
    begin, *rest = told_by(Configuration(), servers=sealed)
    assert isinstance(begin, Begin)
    cut_short = Assignment(begin, known)
    for part in rest[:-1]:
        assert not isinstance(part, Begin | Done)
        cut_short.take(part)
    told = told_by(Configuration(), {each.digest for each in sealed}, sealed[1:])
    assert not [part for part in told if isinstance(part, Servers)]
    assert taken(told, known).configuration.virtual_servers == models[1:]
    assert list(known.values()) == list(models[1:])


def test_what_was_told_to_a_predecessor_is_missed() -> None:
    """It has died, and whoever tells does not know yet."""
    models = tuple(VirtualServer(mark=n) for n in range(1, 4))
    sealed = list(seal(models))
    told = told_by(Configuration(), {sealed[0].digest}, sealed)
    assert not taken(told, {}).is_whole
    assert taken(told, {sealed[0].digest: models[0]}).is_whole


@needs_root
def test_there_is_no_process_without_virtual_servers(router: Router) -> None:
    daemon = Fastvrrp(router, INSTANCE).start()
    daemon.wait_log("Startup complete")
    assert not checkers_of(daemon)
    daemon.configure(INSTANCE + virtual())
    daemon.signal(signal.SIGHUP)
    daemon.wait_log("Health checks have begun: 1 virtual servers")
    assert len(checkers_of(daemon)) == 1
    assert daemon.stop() == 0


@needs_root
def test_a_configuration_without_virtual_routers_is_run(router: Router) -> None:
    daemon = Fastvrrp(router, virtual()).start()
    daemon.wait_log("Lost quorum 1-0=1 > 0 for VS [10.0.0.100]:tcp:80")
    listener = Listener(router)
    daemon.wait_log("Adding service [127.0.0.1]:tcp:8001 to VS [10.0.0.100]:tcp:80")
    listener.close()
    checkers = checkers_of(daemon)
    assert len(checkers) == 1
    assert daemon.stop() == 0
    assert "Shutting down service [127.0.0.1]:tcp:8001 from VS [10.0.0.100]:tcp:80" in daemon.log()
    assert not Path(f"/proc/{checkers[0]}").exists()
    assert "Traceback" not in daemon.log()


@needs_root
def test_a_reload_leaves_what_does_not_change(router: Router) -> None:
    listener = Listener(router)
    daemon = Fastvrrp(router, virtual()).start()
    daemon.wait_log("TCP connection to [127.0.0.1]:tcp:8001 success.")
    process = checkers_of(daemon)
    daemon.configure(virtual(weight=3) + virtual(81).partition("}")[2])
    daemon.signal(signal.SIGHUP)
    daemon.wait_log("Health checks are reloaded: 2 virtual servers")
    daemon.wait_log("Changing weight from 1 to 3 for active service [127.0.0.1]:tcp:8001")
    log = daemon.log()
    # It was known, and its check was not begun anew.
    assert log.count("TCP connection to [127.0.0.1]:tcp:8001 success.") == 1
    assert checkers_of(daemon) == process
    listener.close()
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.log()


def many(weights: dict[int, int]) -> str:
    return "".join(
        f"virtual_server 10.0.{n >> 8}.{n & 255} 81 {{\n lvs_method NAT\n lvs_sched rr\n"
        f" protocol TCP\n real_server 127.0.0.1 81 {{\n weight {weight}\n }}\n}}\n"
        for n, weight in weights.items()
    )


def reader_of(daemon: Fastvrrp) -> int | None:
    """The process that has read its configuration, where it stays."""
    for pid in descendants([process.pid for process in daemon.processes]):
        if b"fastvrrp.daemon.reader" in Path(f"/proc/{pid}/cmdline").read_bytes():
            return pid
    return None


@needs_root
def test_the_reader_of_many_virtual_servers_stays(router: Router) -> None:
    weights = dict.fromkeys(range(1, MANY_SERVERS + 1), 1)
    daemon = Fastvrrp(router, many(weights)).start()
    daemon.wait_log(f"Health checks have begun: {MANY_SERVERS} virtual servers")
    reader = reader_of(daemon)
    assert reader is not None
    for weight in (2, 3):
        daemon.configure(many(weights | {7: weight}))
        daemon.signal(signal.SIGHUP)
        daemon.wait_log(f"to {weight} for active service [127.0.0.1]:tcp:81 of VS [10.0.0.7]")
        assert daemon.log().count("Changing weight") == weight - 1
    assert reader_of(daemon) == reader
    # One that was killed is replaced by another.
    os.kill(reader, signal.SIGKILL)
    daemon.configure(many(weights | {7: 4}))
    daemon.signal(signal.SIGHUP)
    daemon.wait_log("from 3 to 4 for active service [127.0.0.1]:tcp:81")
    assert reader_of(daemon) not in (None, reader)
    # Where there are few it is not worth its memory.
    daemon.configure(many({7: 4}))
    daemon.signal(signal.SIGHUP)
    daemon.wait_log("Health checks are reloaded: 1 virtual servers")
    assert reader_of(daemon) is None
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.log()


@needs_root
def test_a_successor_knows_all_virtual_servers_that_ran(router: Router) -> None:
    """Those of the last reload that was accepted, of which one alone was said to the predecessor;
    neither those that the file has by now, nor those of which it was asked what they would do."""
    weights = dict.fromkeys(range(1, MANY_SERVERS + 1), 1)
    daemon = Fastvrrp(router, many(weights)).start()
    daemon.wait_log(f"Health checks have begun: {MANY_SERVERS} virtual servers")
    reader = reader_of(daemon)
    daemon.configure(many(weights | {7: 2}))
    daemon.signal(signal.SIGHUP)
    daemon.wait_log("to 2 for active service [127.0.0.1]:tcp:81 of VS [10.0.0.7]")
    daemon.configure(many(weights | {8: 3}))
    asked = tell(daemon, "reload", "--check")
    assert (asked.returncode, asked.stderr) == (0, "")
    assert reader_of(daemon) == reader
    [checker] = checkers_of(daemon)
    os.kill(daemon.vrrpd, signal.SIGKILL)
    daemon.wait_log(f"Health checks are reloaded: {MANY_SERVERS} virtual servers", count=2)
    assert checkers_of(daemon) == [checker]
    assert reader_of(daemon) is None
    assert daemon.log().count("Changing weight") == 1
    daemon.signal(signal.SIGHUP)
    daemon.wait_log("to 3 for active service [127.0.0.1]:tcp:81 of VS [10.0.0.8]")
    daemon.wait_log("from 2 to 1 for active service [127.0.0.1]:tcp:81 of VS [10.0.0.7]")
    assert checkers_of(daemon) == [checker]
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.log()


@needs_root
def test_the_process_ends_with_the_last_virtual_server_and_comes_back(router: Router) -> None:
    daemon = Fastvrrp(router, INSTANCE + virtual()).start()
    daemon.wait_log("Health checks have begun: 1 virtual servers")
    daemon.configure(INSTANCE)
    daemon.signal(signal.SIGHUP)
    wait_until(lambda: not checkers_of(daemon), what=daemon.log)
    log = daemon.log()
    assert "Removing Virtual Server [10.0.0.100]:tcp:80" in log
    assert "Shutting down service" not in log
    assert "died" not in log
    assert not (daemon.folder / "fastvrrp.servers").read_bytes()
    daemon.configure(INSTANCE + virtual(81))
    daemon.signal(signal.SIGHUP)
    daemon.wait_log("Health checks have begun: 1 virtual servers", count=2)
    assert len(checkers_of(daemon)) == 1
    # Gone and back before it has ended.
    for text, count in ((INSTANCE, 2), (INSTANCE + virtual(82), 3)):
        daemon.configure(text)
        daemon.signal(signal.SIGHUP)
        daemon.wait_log(f"Reloaded {daemon.configuration_file}", count=count + 1)
    daemon.wait_log("Health checks have begun: 1 virtual servers", count=3)
    assert daemon.stop() == 0
    assert "Shutting down service [127.0.0.1]:tcp:8001 from VS [10.0.0.100]:tcp:82" in daemon.log()
    assert "Traceback" not in daemon.log()


@needs_root
@pytest.mark.keywords("global_defs/umask")
def test_the_umask_of_a_reload_holds_for_the_process_of_checks(router: Router) -> None:
    daemon = Fastvrrp(router, virtual(definitions="umask 027")).start()
    daemon.wait_log("Health checks have begun: 1 virtual servers")
    [checker] = checkers_of(daemon)

    def mask() -> str:
        status = Path(f"/proc/{checker}/status").read_text()
        return status.partition("Umask:")[2].split()[0]

    assert mask() == "0027"
    daemon.configure(virtual(definitions="umask 022"))
    daemon.signal(signal.SIGHUP)
    wait_until(lambda: mask() == "0022", what=mask)
    assert daemon.stop() == 0


@needs_root
@pytest.mark.keywords("net_namespace_ipvs")
def test_a_reload_moves_virtual_servers_to_another_namespace(
    lab: Laboratory, router: Router
) -> None:
    """As at a stop and a start: the same process, whether or not it was killed in between."""
    other = lab.routers[1].namespace
    daemon = Fastvrrp(router, virtual(more="omega")).start()
    daemon.wait_log("Lost quorum 1-0=1 > 0 for VS [10.0.0.100]:tcp:80")
    daemon.configure(f"net_namespace_ipvs {other}\n{virtual(more='omega')}")
    daemon.signal(signal.SIGHUP)
    daemon.wait_log("net_namespace_ipvs is another one")
    daemon.wait_log("Health checks have begun: 1 virtual servers", count=2)
    log = daemon.log()
    assert log.count("Shutting down service [127.0.0.1]:tcp:8001 from VS [10.0.0.100]:tcp:80") == 1
    assert len(checkers_of(daemon)) == 1
    assert "net_namespace_ipvs cannot" not in log
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.log()


@needs_root
def test_a_process_that_dies_is_started_again_and_costs_no_advert(
    lab: Laboratory, router: Router
) -> None:
    """A backup beside it, which misses three adverts at most, takes nothing over: neither at the
    death nor while the next one is told what there is."""
    beside = Fastvrrp(lab.routers[1], INSTANCE.replace("priority 200", "priority 100")).start()
    beside.wait_log("Startup complete")
    many = "".join(virtual(port).partition("}")[2] for port in range(1000, 1200))
    daemon = Fastvrrp(router, INSTANCE + virtual() + many).start()
    daemon.wait_log("Health checks have begun: 201 virtual servers")
    wait_until(lambda: router.holds("10.0.0.100"), what="the address")
    wait_until(lambda: not lab.routers[1].holds("10.0.0.100"), what="a backup")
    was_master = beside.log().count("Entering MASTER STATE")
    [before] = checkers_of(daemon)
    with Capture(lab.routers[1]) as capture:
        os.kill(before, signal.SIGKILL)
        daemon.wait_log("Health checks have begun", count=2)
        capture.wait_for_advert(51)
    assert beside.log().count("Entering MASTER STATE") == was_master
    assert f"pid {before} exited due to signal 9 (Killed)" in daemon.log()
    assert f"Healthcheck child process({before}) died: Respawning" in daemon.log()
    [after] = checkers_of(daemon)
    assert after != before
    assert daemon.stop() == 0
    assert beside.stop() == 0


@needs_root
def test_what_a_process_that_died_has_left_is_removed_at_the_stop(router: Router) -> None:
    daemon = Fastvrrp(router, virtual()).start()
    daemon.wait_log("Health checks have begun")
    notes = daemon.folder / "fastvrrp.ipvs"
    notes.touch()  # as where there is IPVS
    for count in (1, 2):
        daemon.wait_log("Health checks have begun", count=count)
        [checker] = checkers_of(daemon)
        os.kill(checker, signal.SIGKILL)  # the second pause is one second
    daemon.wait_log("exited due to signal 9", count=2)
    assert daemon.stop() == 0
    assert not notes.exists()
    assert "Shutting down service" in daemon.log()


@needs_root
def test_what_a_process_that_died_has_left_is_removed_with_the_last_virtual_server(
    router: Router,
) -> None:
    daemon = Fastvrrp(router, INSTANCE + virtual()).start()
    daemon.wait_log("Health checks have begun")
    notes = daemon.folder / "fastvrrp.ipvs"
    notes.touch()  # as where there is IPVS
    for count in (1, 2, 3):
        daemon.wait_log("Health checks have begun", count=count)
        [checker] = checkers_of(daemon)
        os.kill(checker, signal.SIGKILL)
        daemon.wait_log("exited due to signal 9", count=count)
    daemon.configure(INSTANCE)  # in the pause, which is two seconds now
    daemon.signal(signal.SIGHUP)
    wait_until(lambda: not notes.exists(), what=daemon.log)
    wait_until(lambda: not checkers_of(daemon), what=daemon.log)
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.log()


@needs_root
@pytest.mark.parametrize(
    ("option", "has_address", "has_checks"),
    [("--vrrp", True, False), ("--check", False, True), ("--dont-release-ipvs", True, True)],
)
def test_one_half_of_a_configuration_can_be_run(
    router: Router, option: str, has_address: bool, has_checks: bool
) -> None:
    daemon = Fastvrrp(router, "")
    daemon.options = [option]
    daemon.start().wait_log("Startup complete")
    daemon.configure(INSTANCE + virtual())  # it holds for a reload too
    daemon.signal(signal.SIGHUP)
    if has_checks:
        daemon.wait_log("Health checks have begun: 1 virtual servers")
    if has_address:
        wait_until(lambda: router.holds("10.0.0.100"), what="the address")
    daemon.wait_log(f"Reloaded {daemon.configuration_file}: {int(has_address)} added")
    assert bool(checkers_of(daemon)) is has_checks
    assert daemon.stop() == 0
    stopped = "Shutting down service" in daemon.log()
    assert stopped is (option == "--check")


@needs_root
def test_it_ends_with_the_daemon(router: Router) -> None:
    daemon = Fastvrrp(router, virtual()).start()
    daemon.wait_log("Health checks have begun")
    [checker] = checkers_of(daemon)
    daemon.signal(signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{checker}").exists(), what="its end")
    assert "Shutting down service" in daemon.log(), "it was not killed itself"


@needs_root
@pytest.mark.keywords("global_defs/lvs_notify_fifo", "global_defs/lvs_notify_fifo_script")
def test_the_whole_fifo_is_told_by_both_processes(router: Router, tmp_path: Path) -> None:
    """notify_fifo is told of virtual routers and of virtual servers, and is there until the end."""
    definitions = f"""
        notify_fifo {tmp_path}/all
        lvs_notify_fifo {tmp_path}/lvs
        lvs_notify_fifo_script {tmp_path}/reads
    """
    script = tmp_path / "reads"
    script.write_text(f"#!/bin/sh\ncat $1 >{tmp_path}/script\n")
    script.chmod(0o755)
    os.mkfifo(tmp_path / "all")
    everything = os.open(tmp_path / "all", os.O_RDWR | os.O_NONBLOCK)
    told = bytearray()

    def has_told(line: bytes) -> bool:
        with suppress(BlockingIOError):
            told.extend(os.read(everything, 4096))
        return line in told

    daemon = Fastvrrp(router, virtual(definitions=definitions, more="omega") + INSTANCE).start()
    for line in (
        b'INSTANCE "VI_1" MASTER 200\n',
        b"RS [127.0.0.1]:tcp:8001 [10.0.0.100]:tcp:80 DOWN\n",
    ):
        wait_until(partial(has_told, line), what=lambda: f"{told!r}\n{daemon.log()}")
    read = tmp_path / "script"
    wait_until(lambda: read.exists() and read.stat().st_size, what="the script")
    assert daemon.stop() == 0
    os.close(everything)
    assert not (tmp_path / "lvs").exists()
    assert read.read_text().splitlines() == [
        "VS [10.0.0.100]:tcp:80 UP",
        "RS [127.0.0.1]:tcp:8001 [10.0.0.100]:tcp:80 DOWN",
        "VS [10.0.0.100]:tcp:80 DOWN",
    ]


@needs_root
@pytest.mark.keywords(
    *("virtual_server/smtp_alert", "real_server/smtp_alert", "global_defs/smtp_alert_checker"),
    "global_defs/no_checker_emails",
)
@pytest.mark.parametrize("definition", ["", "no_checker_emails", "smtp_alert_checker"])
def test_mails_have_keepalived_s_subjects(router: Router, definition: str) -> None:
    box = Mailbox(router, "127.0.0.1", 2525)
    definitions = f"""
        router_id lab
        notification_email {{
            a@example.org
        }}
        notification_email_from b@example.org
        smtp_server 127.0.0.1 2525
        {definition}
    """
    daemon = Fastvrrp(router, virtual(definitions=definitions)).start()
    down = "[lab] Realserver [127.0.0.1]:tcp:8001 of virtual server [10.0.0.100]:tcp:80 - DOWN"
    wanted = [down]
    if definition == "smtp_alert_checker":
        wanted = [f"[lab] Virtualserver [10.0.0.100]:tcp:80 - {what}" for what in ("UP", "DOWN")]
        wanted.insert(1, down)
    wait_until(lambda: len(box.deliveries) == len(wanted), what=lambda: str(box.subjects()))
    assert box.subjects() == wanted
    text = next(each for each in box.deliveries if each.message["Subject"] == down).message
    assert "=> TCP CHECK failed on service <=" in str(text)
    assert daemon.stop() == 0


@needs_root
@pytest.mark.keywords("global_defs/checker_log_all_failures")
def test_every_failure_is_logged_where_that_is_wanted_of_all(router: Router) -> None:
    listener = Listener(router)
    daemon = Fastvrrp(router, virtual(definitions="checker_log_all_failures on")).start()
    daemon.wait_log("TCP connection to [127.0.0.1]:tcp:8001 success.")
    listener.close()
    daemon.wait_log("TCP_CHECK on service [127.0.0.1]:tcp:8001 failed after 1 retries.")
    assert daemon.log().count("TCP connection to [127.0.0.1]:tcp:8001 failed.") == 2
    assert daemon.stop() == 0
