"""Lines in the journal, as journald gets them; and lines that are said over and over again."""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastvrrp.daemon import journal, logs, repetition
from fastvrrp.daemon.repetition import Repetition
from fastvrrp.notify.fields import about, about_group

log = logging.getLogger("fastvrrp.test")


class Journald:
    """Plays journald: takes datagrams and reads their fields."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(60.0)

    def entry(self) -> dict[str, str]:
        """The next one. Fails where it is not in the format."""
        data = self.socket.recv(1 << 20)
        fields = {}
        while data:
            head, _, data = data.partition(b"\n")
            name, has_value, value = head.partition(b"=")
            assert re.fullmatch(rb"[A-Z][A-Z0-9_]{0,63}", name)
            if not has_value:
                (size,) = struct.unpack_from("<Q", data)
                value, end, data = data[8 : 8 + size], data[8 + size : 9 + size], data[9 + size :]
                assert end == b"\n"
                assert len(value) == size
            assert name.decode() not in fields
            fields[name.decode()] = value.decode()
        return fields


@pytest.fixture
def journald(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Journald]:
    path = tmp_path / "socket"
    monkeypatch.setattr(journal, "SOCKET", path)
    made = Journald(path)
    yield made
    made.socket.close()


def test_a_line_has_its_fields(journald: Journald) -> None:
    with logs.set_up(logs.Destination(detail=True)):
        log.info("(%s) Entering %s STATE", "VI_1", "MASTER", extra=about("VI_1", "MASTER"))
        log.error("VRRP_Group(%s) says", "G", extra=about_group("G", "FAULT"))
        log.debug("nothing in particular")
    common = {
        "SYSLOG_IDENTIFIER": "fastvrrp_vrrpd",
        "SYSLOG_FACILITY": "3",
        "LOGGER": "fastvrrp.test",
    }
    assert [journald.entry() for _ in range(3)] == [
        common
        | {
            "MESSAGE": "(VI_1) Entering MASTER STATE",
            "PRIORITY": "6",
            "VRRP_INSTANCE": "VI_1",
            "VRRP_STATE": "MASTER",
        },
        common
        | {
            "MESSAGE": "VRRP_Group(G) says",
            "PRIORITY": "3",
            "VRRP_GROUP": "G",
            "VRRP_STATE": "FAULT",
        },
        common | {"MESSAGE": "nothing in particular", "PRIORITY": "7"},
    ]


def test_lines_of_several_lines_are_one_entry(journald: Journald) -> None:
    with logs.set_up(logs.Destination(), logs.Process.CHECKERS):
        try:
            raise ValueError("ü")
        except ValueError:
            log.exception("it failed\nbadly=%s", "=")
    entry = journald.entry()
    assert entry["SYSLOG_IDENTIFIER"] == "fastvrrp_checkd"
    assert entry["MESSAGE"].startswith("it failed\nbadly==\nTraceback (most recent call last):\n")
    assert entry["MESSAGE"].endswith("ValueError: ü")


def test_the_bytes_are_those_of_the_protocol() -> None:
    assert journal.field("MESSAGE", "a=b") == b"MESSAGE=a=b\n"
    assert journal.field("MESSAGE", "a\nb") == b"MESSAGE\n\x03\0\0\0\0\0\0\0a\nb\n"
    assert len(journal.field("MESSAGE", "x" * 10**6)) == len("MESSAGE=\n") + journal.LONGEST


def test_a_longest_line_arrives(journald: Journald) -> None:
    with logs.set_up(logs.Destination()):
        log.info("x" * 10**6)
    assert journald.entry()["MESSAGE"] == "x" * journal.LONGEST


@pytest.mark.parametrize("is_json", [False, True])
def test_a_console_that_is_the_journal_has_no_second_line(
    journald: Journald, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_json: bool
) -> None:
    with (tmp_path / "stream").open("wb") as stream:
        there = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{there.st_dev}:{there.st_ino}")
        monkeypatch.setattr(logs, "CONSOLE", stream.fileno())
        to = logs.Destination(console=True, syslog=False, is_json=is_json)
        with logs.set_up(to):
            log.info("once", extra=about("VI_1"))
    said = (tmp_path / "stream").read_text()
    if is_json:
        assert json.loads(said)["vrrp_instance"] == "VI_1"
    else:
        assert said == ""
        assert journald.entry()["MESSAGE"] == "once"


def test_a_console_that_was_redirected_is_not_the_journal(
    journald: Journald, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "stream").open("wb") as stream:
        monkeypatch.setenv("JOURNAL_STREAM", "1:2")
        monkeypatch.setattr(logs, "CONSOLE", stream.fileno())
        with logs.set_up(logs.Destination(console=True, syslog=False)):
            log.info("here")
    assert "here" in (tmp_path / "stream").read_text()


def test_a_journal_that_has_gone_is_no_error(
    journald: Journald, capfd: pytest.CaptureFixture[str]
) -> None:
    with logs.set_up(logs.Destination()):
        journald.socket.close()
        log.error("to nobody")
    assert capfd.readouterr() == ("", "")


def test_equal_lines_are_counted_after_a_burst() -> None:
    lines = Repetition()
    admitted = [lines.admits(logging.INFO, "again", 5.0 + number / 100) for number in range(100)]
    assert admitted == [True] * repetition.BURST + [False] * (100 - repetition.BURST)
    assert lines.admits(logging.INFO, "another", 6.0)
    assert lines.admits(logging.ERROR, "again", 6.0)
    assert lines.due() == 5.0 + repetition.WINDOW
    assert lines.ended(14.9) == []
    text = f"{100 - repetition.BURST} similar lines suppressed: again"
    assert lines.ended(15.0) == [(logging.INFO, text)]
    assert lines.due() is None
    assert lines.admits(logging.INFO, "again", 15.0)


def test_lines_that_nobody_has_room_to_count_are_written() -> None:
    lines = Repetition()
    assert all(lines.admits(logging.INFO, str(number), 0.0) for number in range(10_000))
    assert all(lines.admits(logging.INFO, "9999", 0.0) for _ in range(100))
    assert lines.ended(repetition.WINDOW) == []
    assert lines.admits(logging.INFO, "9999", repetition.WINDOW)


def test_a_flood_of_one_line_is_summed_up(
    journald: Journald, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repetition, "WINDOW", 0.05)
    with logs.set_up(logs.Destination()):
        for _ in range(1000):
            log.warning("again")
        said: list[str] = []
        counted = 0
        # Said while nobody logs anything.
        while counted + said.count("again") < 1000:
            entry = journald.entry()
            assert entry["PRIORITY"] == "4"
            said.append(entry["MESSAGE"])
            found = re.fullmatch(r"(\d+) similar lines suppressed: again", said[-1])
            counted += int(found[1]) if found else 0
    assert counted
    assert counted + said.count("again") == 1000


def test_the_end_says_what_was_repeated(journald: Journald) -> None:
    with logs.set_up(logs.Destination()):
        for _ in range(repetition.BURST + 5):
            log.warning("again")
    said = [journald.entry()["MESSAGE"] for _ in range(repetition.BURST + 1)]
    assert said[-1] == "5 similar lines suppressed: again"
