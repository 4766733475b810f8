"""Scripts as the daemon has them: what is run, and the news of it.

The scripts run in a process of their own (`runner`), which is started when the first one is wanted,
and started again should it end.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from itertools import count

from fastvrrp.track.companion import Companion
from fastvrrp.track.latecomers import Latecomers
from fastvrrp.track.runner import TIMED_OUT
from fastvrrp.track.script import (
    Check,
    Command,
    Inspection,
    Life,
    Mask,
    Moved,
    News,
    Outcome,
    Remark,
    Resident,
    Trial,
    Watched,
)

log = logging.getLogger(__name__)


class Scripts:
    """The scripts of one daemon."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._checks: dict[str, Check] = {}
        self._known: dict[str, bool] = {}
        """What is known of them; it lasts when the other process does not."""
        self._runner = Companion(
            loop, "fastvrrp.track.runner", "runs scripts", self._on_message, self._on_start
        )
        self._errands: list[Command | Inspection] = []
        """What is to be done when the other process has been started."""
        self._residents: dict[str, Resident] = {}
        self._trials: dict[str, tuple[Trial, Callable[[Outcome], None]]] = {}
        """Those whose end is awaited. What is sent has a name of its own for each run: the end of
        one that was given up may be on its way."""
        self._runs = count(1)
        self._lives: dict[str, Life] = {}
        """As which processes they run."""
        self.latecomers = Latecomers(loop)
        """Those whose user is not known yet."""
        self.on_news: Callable[[str, bool], None] = lambda *_: None
        """Called with the name of a check that has become good or bad."""

    @property
    def known(self) -> Mapping[str, bool]:
        """Whether each check is good, as soon as it was run once."""
        return self._known

    @property
    def pid(self) -> int | None:
        """The other process; None where there is none."""
        return self._runner.pid

    def watch(self, check: Check) -> None:
        """Runs a check from now on. One that runs already goes on with what it has counted, and one
        that has changed is as good as it was until its results say otherwise."""
        if self._checks.get(check.name) == check:
            return
        self._checks[check.name] = check
        if self._runner.pid is None:
            self._runner.start()
        else:
            self._say(check)

    def presume(self, name: str, is_good: bool) -> None:
        """Takes a check that is to be run to be as good as it was when another process ran it."""
        self._known[name] = is_good

    def forget(self, name: str) -> None:
        """Runs a check no more."""
        del self._checks[name]
        self._known.pop(name, None)
        self._runner.send(name)

    def run(self, command: Command) -> None:
        """Runs a command once, whatever comes of it; the log says why one is not run."""
        self._send_off(command)

    def try_out(self, trial: Trial, on_end: Callable[[Outcome], None]) -> None:
        """Runs a command once, and tells how it ended. Should the other process die meanwhile, it
        is run again by the next one."""
        self.give_up(trial.name)
        sent = trial._replace(name=f"{next(self._runs)} {trial.name}")
        self._trials[trial.name] = sent, on_end
        if self._runner.pid is None:
            self._runner.start()
        else:
            self._runner.send(sent)

    def give_up(self, name: str) -> None:
        """Ends such a run; nothing is told."""
        sent, _ = self._trials.pop(name, (None, None))
        if sent is not None:
            self._runner.send(Trial(sent.name, None))

    def inspect(self, command: Command) -> None:
        """Has the log say what would keep a command from being run."""
        self._send_off(Inspection(command))

    def mask(self, mask: int) -> None:
        """Gives scripts that are started from now on a umask(2), which must be the daemon's too."""
        self._runner.send(Mask(mask))

    def house(self, wanted: Iterable[Resident]) -> None:
        """Has these scripts run from now on, and no others: one that runs already goes on, one that
        has ended is started again."""
        residents = {resident.name: resident for resident in wanted}
        before, self._residents = self._residents, residents
        if residents and self._runner.pid is None:
            self._runner.start()
            return
        for name in before.keys() - residents.keys():
            self._lives.pop(name, None)
            self._runner.send(Resident(name, None))
        for resident in residents.values():
            self._runner.send(resident)

    def _end_trial(self, outcome: Outcome) -> None:
        name = outcome.name.partition(" ")[2]
        sent, on_end = self._trials.get(name, (None, None))
        if sent is not None and on_end is not None and sent.name == outcome.name:
            del self._trials[name]
            on_end(outcome._replace(name=name))

    def _send_off(self, errand: Command | Inspection) -> None:
        if self._runner.pid is None:
            self._errands.append(errand)
            self._runner.start()
        else:
            self._runner.send(errand)

    def close(self) -> None:
        """Ends every check and resident that runs, and with them the other process. Commands that
        are run once go on."""
        self.latecomers.close()
        self._runner.close()
        self._runner.wait()

    def _on_start(self) -> None:
        for check in self._checks.values():
            self._say(check)
        for name, resident in self._residents.items():
            self._runner.send(resident._replace(before=self._lives.pop(name, None)))
        for trial, _ in self._trials.values():
            self._runner.send(trial)
        errands, self._errands = self._errands, []
        for errand in errands:
            self._runner.send(errand)

    def _say(self, check: Check) -> None:
        self._runner.send(Watched(check, self._known.get(check.name)))

    def _on_message(self, message: bytes) -> None:
        said = json.loads(message)
        if isinstance(said, dict):
            self._end_trial(Outcome(**said))
            return
        if len(said) == 1:
            log.warning("%s", said[0])
            return
        if len(said) == len(Moved._fields):
            moved = Moved(*said)
            self._lives[moved.name] = Life(moved.pid, moved.began)
            return
        if said[0] not in self._checks:
            return
        if len(said) == len(Remark._fields):
            _log_remark(Remark(*said))
            return
        news = News(*said)
        _log_news(news)
        self._known[news.name] = news.is_good
        self.on_news(news.name, news.is_good)


def _log_remark(remark: Remark) -> None:
    if remark.text.startswith("now"):
        log.info("Script `%s` %s", remark.name, remark.text)
    else:
        log.info("Track script %s %s", remark.name, remark.text)


def _log_news(news: News) -> None:
    if news.is_good:
        log.info("VRRP_Script(%s) succeeded", news.name)
    elif news.reason == TIMED_OUT:
        log.info("VRRP_Script(%s) timed_out", news.name)
    else:
        log.info("VRRP_Script(%s) failed (%s)", news.name, news.reason)
