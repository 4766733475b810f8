"""Files that go with reloads: the one that stands meanwhile, the complaints, and when to reload."""

from __future__ import annotations

import asyncio
import calendar
import logging
import os
import re
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from fastvrrp.daemon.pid_files import keepalived_folder
from fastvrrp.model import Configuration, GlobalDefinitions
from fastvrrp.track.files import Files
from fastvrrp.vrrp.follower import Follower

log = logging.getLogger(__name__)

FILE = "keepalived.reload"
LONGEST_SLEEP = 600.0
"""Seconds until the time of the day is asked again: it may be set."""
LENGTH = 64
"""Bytes of a first line that are read."""
TIME = re.compile(r"(?:(\d{2}|\d{4})-(\d{2})-(\d{2}) )?(\d{2}):(\d{2}):(\d{2})(Z?)")


class ReloadFile:
    """`reload_file`: it stands, empty, for as long as the configuration is read."""

    def __init__(self) -> None:
        self._path: Path | None = None

    def begin(self, definitions: GlobalDefinitions, namespace: str | None) -> None:
        """Makes it, or empties it, where one is wanted."""
        files = definitions.files
        if not files.has_reload_file:
            return
        folder = keepalived_folder(definitions, namespace)
        path = Path(files.reload_file) if files.reload_file else folder / FILE
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644))
        except OSError as error:
            log.error("reload_file %s: %s", path, error.strerror)
        else:
            self._path = path

    def end(self) -> None:
        """Removes it: everything was read."""
        if self._path is not None:
            with suppress(OSError):  # somebody else was faster
                self._path.unlink()
            self._path = None


def write_complaints(path: str | None, lines: Iterable[str]) -> None:
    """The file of `reload_check_config`."""
    if path is not None:
        try:
            Path(path).write_text("".join(f"{line}\n" for line in lines))
        except OSError as error:
            log.error("reload_check_config %s: %s", path, error.strerror)


def reload_time(text: str, now: float) -> float | None:
    """When the first line of a `reload_time_file` says to reload, in seconds since 1970: a time of
    the day is the next one, a date may be over. None where it is no time."""
    found = TIME.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute, second, zone = found.groups()
    is_utc = bool(zone)
    today = time.gmtime(now) if is_utc else time.localtime(now)
    numbers = [int(each) for each in (hour, minute, second)]
    if year is None:
        date = [today.tm_year, today.tm_mon, today.tm_mday]
    else:
        date = [int(year) + (2000 if len(year) == 2 else 0), int(month), int(day)]
    if not _exists(date, numbers):
        return None
    moment = _moment([*date, *numbers], is_utc=is_utc)
    if year is None and moment <= now:
        date[2] += 1  # as mktime(3) takes it
        moment = _moment([*date, *numbers], is_utc=is_utc)
    return moment


def _exists(date: list[int], moment: list[int]) -> bool:
    try:
        time.strptime("{}-{}-{} {}:{}:{}".format(*date, *moment), "%Y-%m-%d %H:%M:%S")
    except ValueError:
        return False
    return True


def _moment(fields: list[int], *, is_utc: bool) -> float:
    year, month, day, hour, minute, second = fields
    if is_utc:
        return float(calendar.timegm((year, month, day, hour, minute, second, 0, 0, 0)))
    return time.mktime((year, month, day, hour, minute, second, 0, 0, -1))


class _TimeFile(Files):
    """The file, whose number is the time that it says; 0 is none."""

    def _number(self, name: str, path: str) -> int:
        try:
            with Path(path).open("rb") as file:
                line = file.read(LENGTH).decode(errors="replace").partition("\n")[0]
        except OSError:
            return 0
        at = reload_time(line, time.time())
        if at is None:
            log.warning("reload_time_file %s: %r is no time to reload at", path, line)
            return 0
        return int(at)


class ReloadTimes(Follower):
    """`reload_time_file`: a file that says when to reload."""

    reload: Callable[[], None]
    """What is done at that time; set by whoever puts the rooms together."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._path: str | None = None
        self._is_kept = False
        self._file: _TimeFile | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._at = 0

    def configure(self, configuration: Configuration) -> None:
        files = configuration.definitions.files
        self._is_kept = files.repeats_reload
        if files.reload_time == self._path:
            return
        self.stop()
        self._path = files.reload_time
        if self._path is not None:
            self._file = _TimeFile(self._on_change)
            self._file.watch(self._path, self._path)
            self._loop.add_reader(self._file.fileno(), self._file.read)
            self._file.look(self._path)

    def stop(self) -> None:
        self._cancel()
        if self._file is not None:
            self._loop.remove_reader(self._file.fileno())
            self._file.close()
            self._file = None

    def _cancel(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _on_change(self, name: str) -> None:
        assert self._file is not None
        had_one = self._alarm is not None
        self._cancel()
        self._at = self._file.numbers[name]
        if self._at > time.time():
            log.info("A reload is scheduled for %s", time.strftime("%c", time.localtime(self._at)))
            self._wait()
        elif had_one:
            log.info("The scheduled reload is cancelled")

    def _wait(self) -> None:
        left = self._at - time.time()
        if left <= 0:
            self._alarm = None
            self._begin()
        else:
            self._alarm = self._loop.call_later(min(left, LONGEST_SLEEP), self._wait)

    def _begin(self) -> None:
        assert self._path is not None
        assert self._file is not None
        if self._is_kept:
            self._file.look(self._path)  # a time of the day is tomorrow's now
        else:
            try:
                Path(self._path).unlink(missing_ok=True)
            except OSError as error:
                log.error("reload_time_file %s: %s", self._path, error.strerror)
        self.reload()
