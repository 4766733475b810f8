"""The daemon's log: who logs never waits, and what is lost is counted."""

from __future__ import annotations

import fcntl
import json
import logging
import logging.handlers
import os
import pty
import re
import socket
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from fastvrrp.daemon import logs
from lab import wait_until

log = logging.getLogger("fastvrrp.test")


class Pipe:
    """A pipe of one page with a reader that may be slow to come."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        fcntl.fcntl(self.writing, fcntl.F_SETPIPE_SZ, 4096)
        self.stuffing = 0

    def stuff(self) -> None:
        """Fills it, so that the next write waits for the reader."""
        os.set_blocking(self.writing, False)
        self.stuffing = os.write(self.writing, bytes(4096))
        os.set_blocking(self.writing, True)

    def read(self) -> str:
        """What is written until `close_writing`, in a line each."""
        with open(self.reading, "rb", closefd=False) as file:
            return file.read()[self.stuffing :].decode()

    def close_writing(self) -> None:
        if self.writing >= 0:
            os.close(self.writing)
            self.writing = -1


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipe]:
    made = Pipe()
    monkeypatch.setattr(logs, "CONSOLE", made.writing)
    yield made
    made.close_writing()
    os.close(made.reading)


def read_to_the_end(pipe: Pipe, set_up: logs.Logs) -> str:
    """Reads while the log is closed."""
    texts: list[str] = []
    reader = threading.Thread(target=lambda: texts.append(pipe.read()))
    reader.start()
    set_up.close()
    pipe.close_writing()
    reader.join()
    return texts[0]


def log_to_console(*, detail: bool = False) -> logs.Logs:
    return logs.set_up(logs.Destination(console=True, syslog=False, detail=detail))


def test_a_line_on_the_console_is_as_keepalived_writes_it(pipe: Pipe) -> None:
    with log_to_console():
        log.info("(%s) Entering %s STATE", "VI_1", "MASTER")
    pipe.close_writing()
    assert re.fullmatch(
        r"\w{3} \w{3} \d\d \d\d:\d\d:\d\d \d{4}: \(VI_1\) Entering MASTER STATE\n", pipe.read()
    )


@pytest.mark.parametrize("detail", [False, True])
def test_what_is_rarely_wanted_is_said_with_detail_only(pipe: Pipe, detail: bool) -> None:
    with log_to_console(detail=detail):
        log.debug("rarely wanted")
    pipe.close_writing()
    assert ("rarely wanted" in pipe.read()) == detail


def test_arguments_are_said_as_they_were_when_it_was_logged(pipe: Pipe) -> None:
    pipe.stuff()
    peers = ["10.0.0.2"]
    set_up = log_to_console()
    log.info("first")
    log.info("peers %s", peers)
    peers.clear()
    assert "peers ['10.0.0.2']" in read_to_the_end(pipe, set_up)


def test_errors_of_the_event_loop_are_said_with_their_traceback(pipe: Pipe) -> None:
    with log_to_console():
        asyncio_log = logging.getLogger("asyncio")
        try:
            raise ValueError("from a callback")
        except ValueError:
            asyncio_log.exception("Exception in callback")
        asyncio_log.info("of no interest")
    pipe.close_writing()
    text = pipe.read()
    assert "Exception in callback\nTraceback" in text
    assert text.endswith("ValueError: from a callback\n")
    assert "of no interest" not in text


def test_who_logs_does_not_wait_and_hears_how_much_was_dropped(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "CAPACITY", 10)
    monkeypatch.setattr(logs, "FLUSH_TIMEOUT", 60.0)
    pipe.stuff()
    set_up = log_to_console()
    for number in range(1000):
        log.info("message %d", number)
    text = read_to_the_end(pipe, set_up)
    said = [int(number) for number in re.findall(r"message (\d+)\n", text)]
    dropped = re.findall(r"(\d+) log messages were dropped", text)
    # The queue is full of the first ones, and of others when the thread has taken some.
    assert said[:10] == list(range(10))
    assert said == sorted(said)
    assert len(said) <= 10 + logs.TOGETHER
    assert sum(map(int, dropped)) == 1000 - len(said)
    assert len(dropped) <= 2
    assert "dropped" in text.splitlines()[-1]


def test_drops_are_said_while_the_daemon_runs_when_the_reader_is_back(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "CAPACITY", 5)
    pipe.stuff()
    set_up = log_to_console()
    for number in range(100):
        log.info("message %d", number)
    heard = b""
    while b"were dropped" not in heard:
        heard += os.read(pipe.reading, 4096)
    pipe.stuffing = 0
    log.info("one more")
    text = read_to_the_end(pipe, set_up)
    assert "one more" in text
    assert "were dropped" not in text.partition("one more")[2]


def test_the_end_does_not_wait_for_a_reader_that_never_comes(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "FLUSH_TIMEOUT", 0.05)
    pipe.stuff()
    set_up = log_to_console()
    log.info("never read")
    set_up.close()
    threads = {thread.name: thread for thread in threading.enumerate()}
    assert threads["log-end"].is_alive()
    os.read(pipe.reading, 4096)
    threads["log-end"].join()


def test_a_console_that_does_not_block_is_waited_for_all_the_same(pipe: Pipe) -> None:
    os.set_blocking(pipe.writing, False)
    set_up = log_to_console()
    for number in range(200):
        log.info("%03d %s", number, "x" * 80)
    lines = read_to_the_end(pipe, set_up).splitlines()
    assert [line.split()[5] for line in lines] == [f"{number:03d}" for number in range(200)]


def test_a_console_that_is_gone_is_no_error(
    pipe: Pipe, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "CONSOLE", pipe.reading)  # cannot be written
    with log_to_console():
        log.info("to nobody")
    assert capfd.readouterr() == ("", "")


def bound_syslog(path: Path, monkeypatch: pytest.MonkeyPatch) -> socket.socket:
    syslogd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    syslogd.bind(str(path))
    syslogd.settimeout(60.0)
    monkeypatch.setattr(logs, "SYSLOG", path)
    return syslogd


def test_a_syslogd_that_hangs_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A datagram socket takes net.unix.max_dgram_qlen and then lets a send wait."""
    monkeypatch.setattr(logs, "FLUSH_TIMEOUT", 60.0)
    count = int(Path("/proc/sys/net/unix/max_dgram_qlen").read_text()) + 100
    with (
        bound_syslog(tmp_path / "log", monkeypatch) as syslogd,
        logs.set_up(logs.Destination(console=False, syslog=True, detail=False)),
    ):
        for number in range(count):
            log.warning("message %d", number)
        received = [syslogd.recv(1000) for _ in range(count)]
    daemon_warning = 3 << 3 | 4  # RFC 5424 section 6.2.1
    assert received == [
        b"<%d>fastvrrp_vrrpd[%d]: message %d\0" % (daemon_warning, os.getpid(), number)
        for number in range(count)
    ]


def test_a_machine_without_syslog_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logs, "SYSLOG", tmp_path / "none")
    with logs.set_up(logs.Destination(console=False, syslog=True, detail=False)):
        log.error("to nobody")
    with bound_syslog(tmp_path / "log", monkeypatch):
        set_up = logs.set_up(logs.Destination(console=False, syslog=True, detail=False))
    with set_up:
        log.error("to a syslogd that has ended")
    assert capfd.readouterr() == ("", "")


def test_a_closed_log_leaves_no_thread(pipe: Pipe) -> None:
    before = set(threading.enumerate())
    with log_to_console():
        assert set(threading.enumerate()) > before
    wait_until(lambda: set(threading.enumerate()) <= before, what="the end of the threads")


def test_lines_can_be_json(pipe: Pipe) -> None:
    with logs.set_up(logs.Destination(console=True, syslog=False, is_json=True)):
        log.warning("(%s) says\ntwo lines", "VI_1")
    pipe.close_writing()
    (line,) = pipe.read().splitlines()
    said = json.loads(line)
    assert said["message"] == "(VI_1) says\ntwo lines"
    assert (said["level"], said["pid"]) == ("warning", os.getpid())
    assert datetime.fromisoformat(said["time"]).utcoffset() == timedelta(0)


def test_a_syslogd_is_told_the_facility_and_who_speaks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local3 = logging.handlers.SysLogHandler.LOG_LOCAL3
    idents = logs.Idents.of_keepalived("far", "one")
    with bound_syslog(tmp_path / "log", monkeypatch) as syslogd:
        for process in logs.Process:
            with logs.set_up(logs.Destination(facility=local3, idents=idents), process):
                log.info("here")
        said = [syslogd.recv(1000) for _ in logs.Process]
    assert said == [
        b"<%d>%s_far_one[%d]: here\0" % (local3 << 3 | 6, ident, os.getpid())
        for ident in (b"Keepalived", b"Keepalived_vrrp", b"Keepalived_healthcheckers")
    ]


@pytest.mark.parametrize("flushes", [False, True])
def test_a_file_takes_the_log_and_may_be_moved_away(tmp_path: Path, flushes: bool) -> None:
    whole = logs.Destination(syslog=False, file=str(tmp_path / "my.log"), flushes=flushes)
    file = tmp_path / "my_vrrp.log"
    with logs.set_up(whole):
        log.info("first")
        wait_until(lambda: file.exists() and "first" in file.read_text(), what="the line")
        file.rename(tmp_path / "old.log")
        log.info("second")
        wait_until(lambda: file.exists() and "second" in file.read_text(), what="a new file")
    with logs.set_up(whole, logs.Process.CHECKERS):
        log.info("third")
    assert "third" in (tmp_path / "my_healthcheckers.log").read_text()
    assert "second" not in (tmp_path / "old.log").read_text()


def test_a_name_that_is_no_text_ends_no_log(
    tmp_path: Path, pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = logs.Destination(console=True, file=str(tmp_path / "my.log"), flushes=True)
    with bound_syslog(tmp_path / "log", monkeypatch) as syslogd:
        set_up = logs.set_up(wanted)
        log.info("/tmp/\udcff is not there")
        log.info("another")
        said = read_to_the_end(pipe, set_up)
        to_syslog = [syslogd.recv(1000) for _ in range(2)]
    for text in (said, (tmp_path / "my_vrrp.log").read_text()):
        first, second = text.splitlines()
        assert first.endswith("/tmp/\\udcff is not there")
        assert second.endswith("another")
    assert b"/tmp/\\udcff is not there" in to_syslog[0]


def test_a_terminal_sees_what_is_wrong_in_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    master, terminal = pty.openpty()
    monkeypatch.setattr(logs, "CONSOLE", terminal)
    for number, is_plain in enumerate((False, True)):
        monkeypatch.setenv("NO_COLOR", "1" if is_plain else "")
        with logs.set_up(logs.Destination(console=True, syslog=False)):
            log.info("ordinary %d", number)
            log.error("wrong %d", number)
        text = os.read(master, 4096).decode()
        assert ("\033[31m" in text) is not is_plain
        assert text.index("ordinary") < (text.find("\033") if not is_plain else len(text))
    os.close(master)
    os.close(terminal)
