"""Tells of what happens to virtual servers, in keepalived's words and in its order.

That is the log, FIFOs, scripts, mails and whoever follows events.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from fastvrrp.lvs.naming import real_name, virtual_name
from fastvrrp.lvs.news import (
    CheckerNews,
    News,
    Occasion,
    QuorumNews,
    ServerNews,
    SorryNews,
    WeightNews,
)
from fastvrrp.model import Fifo, GlobalDefinitions, VirtualServer
from fastvrrp.model import Fifos as FifoSettings
from fastvrrp.notify.commands import Commands
from fastvrrp.notify.fifos import Fifos
from fastvrrp.notify.letters import Words
from fastvrrp.track.scripts import Scripts

if TYPE_CHECKING:
    from fastvrrp.lvs.recording import Recording
    from fastvrrp.notify.mailer import Mailer

log = logging.getLogger(__name__)

WORDS = {True: "UP", False: "DOWN"}


class ServerLine(NamedTuple):
    """What a FIFO is told of a real server."""

    real: str
    virtual: str
    is_up: bool

    @property
    def line(self) -> bytes:
        return f"RS {self.real} {self.virtual} {WORDS[self.is_up]}\n".encode()


class QuorumLine(NamedTuple):
    """What a FIFO is told of a virtual server."""

    virtual: str
    is_up: bool

    @property
    def line(self) -> bytes:
        return f"VS {self.virtual} {WORDS[self.is_up]}\n".encode()


class Telling:
    """Whoever is told of virtual servers."""

    def __init__(self, loop: asyncio.AbstractEventLoop, scripts: Scripts) -> None:
        self._loop = loop
        self._commands = Commands(scripts)
        self._fifos = Fifos(loop, scripts, self._commands, told_of_servers)
        self._mailer: Mailer | None = None
        """None until mails are wanted: its libraries take 3 MB."""
        self._tells_checkers = True
        self.recording: Recording | None = None
        """Where events are written down for others to read."""

    def configure(self, definitions: GlobalDefinitions) -> None:
        """Who is told from now on."""
        self._commands.configure(definitions.scripts)
        self._fifos.configure(definitions.fifos)
        self._tells_checkers = definitions.mail.tells_checkers
        if definitions.mail.server is not None and self._mailer is None:
            from fastvrrp.notify.mailer import Mailer  # noqa: PLC0415 - for its libraries

            self._mailer = Mailer(self._loop)
        if self._mailer is not None:
            self._mailer.configure(definitions.mail, definitions.router_id)

    def know(self, model: VirtualServer) -> None:
        """Prepares for the scripts of a virtual server."""
        commands = [model.quorum_up, model.quorum_down]
        for real in model.real_servers:
            commands += real.notify_up, real.notify_down
        for command in commands:
            if command is not None:
                self._commands.know(command)

    def tell(self, model: VirtualServer, news: list[News]) -> None:
        """Tells what has happened to a virtual server, in this order."""
        if self.recording is not None and news:
            self.recording.record(model, news)
        for each in news:
            match each:
                case ServerNews():
                    self._tell_server(model, each)
                case QuorumNews():
                    self._tell_quorum(model, each)
                case SorryNews():
                    _say_sorry(model, each)
                case WeightNews():
                    _say_weight(model, each)
                case CheckerNews():
                    self._mail_checker(model, each)

    def close(self) -> None:
        """Nothing is told any more. The loop must not be running."""
        self._fifos.close()
        if self._mailer is not None:
            self._mailer.close()

    def _tell_server(self, model: VirtualServer, news: ServerNews) -> None:
        _say_server(model, news)
        if news.is_quiet:
            return
        server = news.server
        self._fifos.tell(ServerLine(real_name(model, server), virtual_name(model), news.is_up))
        script = server.notify_up if news.is_up else server.notify_down
        if script is not None:
            self._commands.run(script)

    def _tell_quorum(self, model: VirtualServer, news: QuorumNews) -> None:
        name = virtual_name(model)
        text = _quorum_text(news)
        if news.occasion in (Occasion.START, Occasion.CHECK):
            log.info("%s for VS %s", text, name)
        self._fifos.tell(QuorumLine(name, news.is_up))
        script = model.quorum_up if news.is_up else model.quorum_down
        if script is not None:
            self._commands.run(script)
        if model.sends_mail:
            self._mail(f"Virtualserver {name} - {WORDS[news.is_up]}", f"=> {text} <=")

    def _mail_checker(self, model: VirtualServer, news: CheckerNews) -> None:
        if not news.server.sends_mail or not (news.has_changed or self._tells_checkers):
            return
        what = news.checker.keyword.replace("_", " ")
        result = "succeeded" if news.is_good else "failed"
        self._mail(
            f"Realserver {real_name(model, news.server)} of virtual server {virtual_name(model)}"
            f" - {WORDS[news.is_up]}",
            f"=> {what} {result} on service <=",
        )

    def _mail(self, subject: str, text: str) -> None:
        if self._mailer is not None:
            self._mailer.send(Words(subject, text))


def told_of_servers(settings: FifoSettings) -> Iterator[tuple[str, Fifo]]:
    """FIFOs that are told of virtual servers. The script of `notify_fifo` is run by the process of
    the virtual routers."""
    if settings.all is not None:
        yield "notify_fifo", replace(settings.all, script=None)
    if settings.lvs is not None:
        yield "lvs_notify_fifo", settings.lvs


def _say_server(model: VirtualServer, news: ServerNews) -> None:
    real, virtual = real_name(model, news.server), virtual_name(model)
    inhibits = news.server.inhibits
    match news.occasion:
        case Occasion.REMOVAL:
            log.info("Removing service %s from VS %s", real, virtual)
        case Occasion.END:
            state = "(inhibited) " if inhibits and not news.was_up else ""
            log.info("Shutting down %sservice %s from VS %s", state, real, virtual)
        case Occasion.CHECK if inhibits:
            log.info("%s service %s of VS %s", _enabling(news.is_up), real, virtual)
        case Occasion.CHECK if news.is_up:
            log.info("Adding service %s to VS %s", real, virtual)
        case Occasion.CHECK:
            log.info("Removing service %s from VS %s", real, virtual)


def _say_weight(model: VirtualServer, news: WeightNews) -> None:
    log.info(
        "Changing weight from %d to %d for %s service %s of VS %s",
        news.before,
        news.after,
        "active" if news.is_up else "inactive",
        real_name(model, news.server),
        virtual_name(model),
    )


def _say_sorry(model: VirtualServer, news: SorryNews) -> None:
    real, virtual = real_name(model, news.server), virtual_name(model)
    verb = ("Adding" if news.is_in else "Removing", _enabling(news.is_in))[news.server.inhibits]
    log.info("%s sorry server %s %s VS %s", verb, real, "to" if news.is_in else "from", virtual)
    if news.swaps and news.is_in:
        log.info("Removing alive servers from the pool for VS %s", virtual)
    elif news.swaps:
        log.info("Adding alive servers to the pool for VS %s", virtual)


def _enabling(is_up: bool) -> str:
    return "Enabling" if is_up else "Disabling"


def _quorum_text(news: QuorumNews) -> str:
    quorum, hysteresis, weight = news.quorum, news.hysteresis, news.weight
    if news.is_up:
        return f"Gained quorum {quorum}+{hysteresis}={quorum + hysteresis} <= {weight}"
    if news.occasion is Occasion.START:
        return f"Starting with quorum down {quorum}+{hysteresis}={quorum + hysteresis} > {weight}"
    return f"Lost quorum {quorum}-{hysteresis}={quorum - hysteresis} > {weight}"
