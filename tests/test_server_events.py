"""What happens to virtual servers, as `fastvrrp events` sees it: the ring, and how it is read."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from zlib import crc32

import pytest

from fastvrrp.cli.events import Trails, events, text
from fastvrrp.lvs.pool import Pool, key_of
from fastvrrp.lvs.recording import events_of
from fastvrrp.observe import server_events
from fastvrrp.observe.files import Files
from fastvrrp.observe.server_events import REMEMBERED, SIZE, Event, Kind, Reader, Writer
from fastvrrp.observe.server_facts import names_of
from fastvrrp.observe.view import View
from test_cli_looking import ask, table_at
from test_lvs_pool import BAD, GOOD, SORRY, real, virtual

NAME = "[192.0.2.1]:tcp:80"
REAL = "[10.0.0.9]:tcp:80"
DOWN = Event(Kind.REAL_SERVER_DOWN, NAME, REAL, "HTTP_GET: /health: status 503")
LOST = Event(Kind.QUORUM_LOST, NAME, numbers=(1, 2))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "fastvrrp.server-events"


def test_what_is_written_is_read_also_behind_another_process(path: Path) -> None:
    reader = Reader(path)
    assert (reader.last_event, reader.events_after(0)) == (0, [])
    mask = os.umask(0o077)
    first = Writer(path)
    os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o644
    first.write([DOWN, LOST], 7)
    first.close()
    second = Writer(path)
    second.write([Event(Kind.WEIGHT, NAME, REAL, numbers=(1, -5))], 9)
    found = reader.events_after(0)
    assert [(each["number"], each["at"]) for each in found] == [(1, 7), (2, 7), (3, 9)]
    assert [each["event"] for each in found] == [DOWN, LOST, (Kind.WEIGHT, NAME, REAL, "", (1, -5))]
    assert [each["number"] for each in reader.events_after(1, 1)] == [2]
    reader.close()
    second.close()


def test_only_the_last_are_remembered(path: Path) -> None:
    writer, reader = Writer(path), Reader(path)
    writer.write([LOST] * (REMEMBERED + 3), 1)
    assert reader.events_after(0, 1)[0]["number"] == 4
    assert path.stat().st_size <= SIZE * (REMEMBERED + 1)
    reader.close()
    writer.close()


def test_texts_that_are_too_long_are_cut(path: Path) -> None:
    writer, reader = Writer(path), Reader(path)
    writer.write([DOWN._replace(why="ü" * SIZE)], 1)
    (found,) = reader.events_after(0)
    assert found["event"].server == REAL
    assert found["event"].why.startswith("üüü")
    reader.close()
    writer.close()


def test_what_is_damaged_is_left_out_and_begun_anew(path: Path) -> None:
    writer, reader = Writer(path), Reader(path)
    writer.write([DOWN, LOST], 1)
    writer.close()
    data = bytearray(path.read_bytes())
    data[2 * SIZE + 50] ^= 1  # in the first one
    path.write_bytes(data)
    assert [each["event"] for each in reader.events_after(0)] == [LOST]
    path.write_bytes(b"x" * 100)
    writer = Writer(path)
    writer.write([DOWN], 1)
    assert [each["number"] for each in reader.events_after(0)] == [1]
    writer.close()
    reader.close()


def test_what_is_of_another_boot_is_forgotten(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = Writer(path)
    writer.write([DOWN, LOST], 1)
    writer.close()
    other = path.with_name("boot_id")
    other.write_text("01234567-89ab-cdef-0123-456789abcdef\n")
    monkeypatch.setattr(server_events, "BOOT_ID", other)
    reader = Reader(path)
    assert (reader.last_event, reader.events_after(0)) == (0, [])
    writer = Writer(path)
    writer.write([DOWN], 1)
    assert [each["number"] for each in reader.events_after(0)] == [1]
    reader.close()
    writer.close()


@pytest.mark.parametrize("make", ["link", "fifo"])
def test_it_is_not_written_where_something_else_stands(path: Path, make: str) -> None:
    other = path.with_name("other")
    other.write_text("precious")
    other.chmod(0o600)
    if make == "link":
        path.symlink_to(other)
    else:
        os.mkfifo(path, 0o600)
    with pytest.raises(OSError, match=r"symbolic links|no regular file"):
        Writer(path)
    assert (other.read_text(), other.stat().st_mode & 0o777) == ("precious", 0o600)
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("name", "names"),
    [
        (NAME, [NAME, "192.0.2.1:80", "192.0.2.1"]),
        ("[2001:db8::1]:udp:53", ["[2001:db8::1]:udp:53", "[2001:db8::1]:53", "2001:db8::1"]),
        ("FWM 7", ["FWM 7", "7"]),
        ("[web]:443", ["[web]:443", "web"]),
        ("VI_1", ["VI_1"]),
    ],
)
def test_a_virtual_server_is_called_by_parts_of_its_name(name: str, names: list[str]) -> None:
    assert list(names_of(name)) == names


def test_the_last_events_are_those_of_who_is_asked_for(tmp_path: Path, path: Path) -> None:
    table = table_at(tmp_path, 2)
    table.set_split(1, 1)
    table.set_split(0, 1)
    table.set_split(0, 0)
    writer = Writer(path)
    writer.write([DOWN] * 30, table.events_after(0)[-1]["at"] + 1)
    said = ask(tmp_path, "events", "VI_0", "--last", "1").stdout.splitlines()
    assert [line.partition("  ")[2] for line in said] == ["VI_0  split brain is over, priority 100"]
    assert len(ask(tmp_path, "events", "VI_1").stdout.splitlines()) == 1
    assert len(ask(tmp_path, "events", "192.0.2.1:80").stdout.splitlines()) == 20
    assert len(ask(tmp_path, "events", "192.0.2.1", "--last", "7").stdout.splitlines()) == 7
    assert ask(tmp_path, "events", "192.0.2.2:80").stdout == ""
    writer.close()


def test_an_event_of_a_newer_version_is_passed_over(tmp_path: Path, path: Path) -> None:
    table_at(tmp_path, 1)
    writer = Writer(path)
    writer.write([DOWN, DOWN, LOST], 1)
    writer.close()
    data = bytearray(path.read_bytes())
    at = 3 * SIZE  # of the second one
    (length,) = struct.unpack_from("<H", data, at + server_events.RECORD.size - 2)
    struct.pack_into("<H", data, at + 20, 999)
    end = at + server_events.RECORD.size + length
    struct.pack_into("<I", data, at, crc32(data[at + 4 : end]))
    path.write_bytes(data)
    view = View(Files.beside(tmp_path / "fastvrrp.pid"))
    found = [each["event"] for each in events(view, Trails(10), follows=False)]
    assert found == ["REAL_SERVER_DOWN", "QUORUM_LOST"]
    view.close()


def test_what_was_lost_is_said_wherever_it_was(tmp_path: Path, path: Path) -> None:
    """Also of one who has seen none, and in the middle of those that are read at once."""
    table_at(tmp_path, 1)
    view = View(Files.beside(tmp_path / "fastvrrp.pid"))
    trails = Trails(0)
    assert list(events(view, trails, follows=False)) == []
    writer = Writer(path)
    writer.write([LOST] * (REMEMBERED + 2), 1)
    first, *others = events(view, trails, follows=False)
    assert (first["lost"], len(others)) == (2, REMEMBERED)
    writer.write([DOWN, DOWN, LOST], 1)
    data = bytearray(path.read_bytes())
    number = REMEMBERED + 4  # the second one of these
    data[SIZE * (1 + number % REMEMBERED) + 50] ^= 1
    path.write_bytes(data)
    found = list(events(view, trails, follows=False))
    assert [each.get("lost") or each["event"] for each in found] == [
        *("REAL_SERVER_DOWN", 1, "QUORUM_LOST")
    ]
    assert text(found[1]) == "... 1 event came faster than they could be read"
    writer.write([LOST] * (REMEMBERED + 5), 1)
    first, *others = events(view, trails, follows=False)
    assert (first["lost"], len(others)) == (5, REMEMBERED)
    view.close()
    writer.close()


def test_both_kinds_come_in_the_order_in_which_they_happened(tmp_path: Path, path: Path) -> None:
    table = table_at(tmp_path, 1)
    table.set_split(0, 1)
    after = table.events_after(0)[0]["at"] + 1
    writer = Writer(path)
    writer.write([DOWN, LOST], after)
    table.set_split(0, 0)
    view = View(Files.beside(tmp_path / "fastvrrp.pid"))
    found = [each["event"] for each in events(view, Trails(10), follows=False)]
    assert found == [
        "SPLIT_BRAIN",
        "REAL_SERVER_DOWN",
        "QUORUM_LOST",
        "SPLIT_BRAIN_OVER",
    ]
    last = [each["event"] for each in events(view, Trails(3), follows=False)]
    assert last == found[-3:]
    seen = events(view, Trails(1), follows=True)
    assert next(seen)["event"] == found[-1]
    writer.write([Event(Kind.QUORUM_GAINED, NAME, numbers=(2, 2))], after)
    gained = next(seen)
    assert gained["name"] == NAME
    assert text(gained).endswith(
        f"{NAME}  quorum gained: the servers that are up weigh 2, quorum 2"
    )
    writer.write([DOWN] * (REMEMBERED + 5), after)
    lost, first = next(seen), next(seen)
    assert (lost["lost"], first["event"]) == (5, "REAL_SERVER_DOWN")
    view.close()
    writer.close()


def test_a_line_of_each_kind(tmp_path: Path, path: Path) -> None:
    table_at(tmp_path, 1)
    writer = Writer(path)
    writer.write(
        [
            DOWN,
            Event(Kind.REAL_SERVER_UP, NAME, REAL),
            LOST,
            Event(Kind.SORRY_SERVER_IN, NAME, REAL),
            Event(Kind.SORRY_SERVER_OUT, NAME, REAL),
            Event(Kind.WEIGHT, NAME, REAL, numbers=(3, 5)),
        ],
        1,
    )
    lines = ask(tmp_path, "events", NAME).stdout.splitlines()
    assert [line.partition(f"{NAME}  ")[2] for line in lines] == [
        f"real server {REAL} is down: HTTP_GET: /health: status 503",
        f"real server {REAL} is up",
        "quorum lost: the servers that are up weigh 1, quorum 2",
        f"sorry server {REAL} serves",
        f"sorry server {REAL} is not needed any more",
        f"real server {REAL}: weight 3 -> 5",
    ]
    said = [json.loads(line) for line in ask(tmp_path, "events", "--json").stdout.splitlines()]
    assert [sorted(each) for each in said[::5]] == [
        ["event", "name", "real_server", "time", "why"],
        ["after", "before", "event", "name", "real_server", "time"],
    ]
    assert ask(tmp_path, "events", "VI_*").stdout == ""
    writer.close()


def test_what_a_pool_says_is_told() -> None:
    model = virtual(real(1, 2), real(2), quorum=3, sorry_server=SORRY)
    pool = Pool(model)
    name, first = "[10.0.0.100]:udp:80", "[10.0.0.1]:udp:80"
    assert list(events_of(model, pool.start())) == [
        Event(Kind.QUORUM_GAINED, name, numbers=(3, 3)),
    ]
    (checker,) = model.real_servers[0].checkers
    news = pool.take(key_of(model.real_servers[0]), checker, BAD)
    assert list(events_of(model, news)) == [
        Event(Kind.REAL_SERVER_DOWN, name, first, "TCP_CHECK: connection refused"),
        Event(Kind.QUORUM_LOST, name, numbers=(1, 3)),
        Event(Kind.SORRY_SERVER_IN, name, "[10.0.0.99]:udp:80"),
    ]
    news = pool.take(key_of(model.real_servers[0]), checker, GOOD)
    assert list(events_of(model, news)) == [
        Event(Kind.REAL_SERVER_UP, name, first),
        Event(Kind.QUORUM_GAINED, name, numbers=(3, 3)),
        Event(Kind.SORRY_SERVER_OUT, name, "[10.0.0.99]:udp:80"),
    ]
    heavier = virtual(real(1, 5), real(2), quorum=3, sorry_server=SORRY)
    assert list(events_of(heavier, pool.change(heavier))) == [
        Event(Kind.WEIGHT, name, first, numbers=(2, 5)),
    ]
    ended = [each for each in events_of(heavier, pool.remove()) if each.server]
    assert {each.why for each in ended} == {"it was removed"}
