"""The parent of all processes of the daemon; `supervisor_main` runs it.

It speaks no protocol and holds no model: what it knows of the configuration is `orders.Read`. Its
children do the work:

    vrrpd     always, and first: it reads the configuration (daemon/vrrpd_main)
    wards     whatever vrrpd wants to outlive it: checkd, the exporter

Whoever dies is started again. The parent ends when it is told to by a signal, or when the first
vrrpd ends before it has started.
"""

from __future__ import annotations

import logging
import pickle
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from fastvrrp import __version__
from fastvrrp.daemon.background import AlreadyRunning
from fastvrrp.daemon.beat import LOOK
from fastvrrp.daemon.child import LEAVING, TAKEN, Child, Stderr
from fastvrrp.daemon.failures import MACHINE_FAILED, explain
from fastvrrp.daemon.holdings import Holdings, rename
from fastvrrp.daemon.launch import Launch
from fastvrrp.daemon.logs import Idents
from fastvrrp.daemon.loop import Loop
from fastvrrp.daemon.orders import (
    Answer,
    Beat,
    Begin,
    CloseWard,
    Ended,
    Go,
    HandedOver,
    Left,
    Named,
    Progress,
    Read,
    Started,
    StartWard,
    Stop,
    Stopping,
    ToParent,
    ToVrrpd,
    ToWard,
    unpacked,
)
from fastvrrp.daemon.pending import Pending
from fastvrrp.daemon.renewal import Legacy, become, built
from fastvrrp.daemon.service import Service
from fastvrrp.daemon.service_state import ServiceState
from fastvrrp.daemon.upgrade import Means, OnFailed, Upgrade, reason_of
from fastvrrp.daemon.wards import Wards

if TYPE_CHECKING:
    from fastvrrp.daemon.background import Caller
    from fastvrrp.daemon.renewal import Keep, Successor

log = logging.getLogger(__name__)

ENDING = (signal.SIGTERM, signal.SIGINT)
HALF_DONE = (
    "virtual routers and servers go on in the new version, and the parent of the processes in the"
    " old one: ask for the upgrade again"
)
READ_LIMIT = 900.0
"""Seconds for reading a configuration; that of 65,280 virtual routers takes some ten."""


class Supervisor:
    """One daemon, from its start to its end."""

    def __init__(self, launch: Launch, caller: Caller | None, state: ServiceState) -> None:
        """`caller` waits to hear how the start went."""
        self._launch = launch
        self._caller = caller
        self.loop = Loop()
        self._vrrpd = vrrpd = self._new_vrrpd()
        vrrpd.folder = None
        vrrpd.stderr = Stderr.SHARED if launch.stays else Stderr.KEPT_LATER
        self._retired: list[Child] = []
        """Vrrpds whose place another one has taken, until they have ended."""
        self._upgrade: Upgrade | None = None
        self._signals: list[signal.Signals | int] = []
        """Those that came while a vrrpd may have been about to hand over, or none was there."""
        self._wards = Wards(self.loop, self._say, self._on_ward_death, self._stop_if_alone)
        self._pending = Pending(self._say)
        self._read: Read | None = None
        """What the first vrrpd has said; None until then."""
        self._may_go = False
        """This vrrpd was told to go."""
        self._has_started = False
        """Some vrrpd has, once."""
        self._is_stopping = False
        self._is_over = False
        """There will be no vrrpd any more."""
        self._farewell: Ended | None = None
        """Of this vrrpd."""
        self._status = 0
        self._held = ExitStack()
        self._holdings = Holdings(self.loop, launch, self.request)
        self._service = Service(self.loop, state)

    def run(self) -> int:
        """Runs until everything has ended; the exit status of the daemon."""
        self._service.begin(READ_LIMIT)
        return self._run(self._vrrpd.start)

    def run_on(self, version: str) -> int:
        """The same, where the code of that version has run in this process before (`go_on`)."""
        self._service.go_on()
        return self._run(lambda: self._on_renewed(version))

    def _run(self, begin: Callable[[], object]) -> int:
        """`begin` may raise OSError."""
        with self._held:
            self._held.callback(self.loop.close)
            for number in TAKEN:
                self.loop.add_signal_handler(number, self._on_signal, number)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, TAKEN)
            # The loop is closed before the rest is tidied up: one more signal would kill us.
            self._held.callback(signal.pthread_sigmask, signal.SIG_BLOCK, TAKEN)
            self._held.callback(self._holdings.close)
            try:
                begin()
            except OSError as error:
                print(f"fastvrrp: {explain(error)}", file=sys.stderr)
                return MACHINE_FAILED
            self.loop.call_later(LOOK, self._look)
            self.loop.run_forever()
        if self._caller is not None and self._status:
            self._caller.tell(self._status)
        return self._status

    @property
    def vrrpd_pid(self) -> int | None:
        """None while it does not run."""
        return self._vrrpd.pid

    def ask(
        self,
        kind: str,
        arguments: Mapping[str, Any],
        on_answer: Callable[[Answer], object],
        on_line: Callable[[str], object] = lambda _: None,
    ) -> None:
        """Has vrrpd do something; `on_answer` is called once, also where it cannot or dies,
        `on_line` with each line on how far it is."""
        if not self._may_go:
            on_answer(Answer(0, False, ("the daemon is not ready",)))
        elif self._upgrade is not None and kind != "handover":
            on_answer(Answer(0, False, ("an upgrade is under way",)))
        else:
            self._pending.order(kind, arguments, on_answer, on_line)

    def request(
        self,
        kind: str,
        arguments: Mapping[str, Any],
        on_answer: Callable[[Answer], object],
        on_line: Callable[[str], object] = lambda _: None,
    ) -> None:
        """As `ask`, for somebody outside."""
        python = arguments.get("python")
        if kind in ("handover", "leave"):
            on_answer(Answer(0, False, (f"{kind} is nothing to ask for: ask for upgrade",)))
        elif kind == "version":
            on_answer(Answer(0, True, (), {"version": __version__}))
        elif kind != "upgrade":
            self.ask(kind, arguments, on_answer, on_line)
        elif python is None or isinstance(python, str):
            self.upgrade(python, lambda lines: on_answer(Answer(0, False, tuple(lines))))
        else:
            on_answer(Answer(0, False, ("python is the path of an interpreter",)))

    def upgrade(self, python: str | None, on_failed: OnFailed) -> None:
        """Has all processes run by the files that are there now; `python` is the interpreter that
        has them, None ours. `on_failed` is called once where that is not done; where it is, this
        process goes on by them (`_on_renewed`)."""
        if self._upgrade is not None:
            on_failed(("an upgrade is under way already",))
            return
        if self._read is None or not self._has_started or not self._may_go or self._is_stopping:
            on_failed(("the daemon is starting, or stopping: try again later",))
            return
        means = Means(
            self.loop,
            self._next_begin(self._vrrpd.pid),
            self._read,
            self._launch.stays,
            self.ask,
            self._promote,
            self.plain,
            self._become,
        )

        def failed(lines: Sequence[str]) -> None:
            if self._upgrade is not None and self._upgrade.is_promoted:
                end = HALF_DONE
            else:
                end = "Upgrade refused: the daemon runs on as it was"
            self._upgrade = None
            self._deliver_signals()
            for line in lines:
                log.warning("Upgrade: %s", line)
            log.error("%s", end)
            on_failed((*lines, HALF_DONE) if end is HALF_DONE else lines)

        log.info("Upgrading")
        self._upgrade = Upgrade(means, python, failed)
        try:
            self._upgrade.start()
        except Exception as error:
            failed((reason_of(error),))

    def plain(self, keep: Keep) -> dict[str, Any]:
        """With what `go_on` goes on in another program, in JSON's types; `keep` has descriptors
        stay open."""
        assert self._read is not None
        return {
            "launch": asdict(self._launch),
            "read": asdict(self._read),
            "vrrpd": self._vrrpd.plain(keep),
            "retired": [child.plain(keep) for child in self._retired],
            "wards": self._wards.plain(keep),
            "number": self._pending.number,
            "signals": [int(number) for number in self._signals],
            "service": self._service.plain,
            "holdings": self._holdings.plain(keep),
        }

    @classmethod
    def go_on(cls, plain: Mapping[str, Any]) -> Supervisor:
        """Takes over the daemon of another program in this process. Raises OSError."""
        state = ServiceState.of_plain(plain.get("service", {}))
        supervisor = cls(built(Launch, plain["launch"]), None, state)
        supervisor._take_over(plain)
        return supervisor

    def _take_over(self, plain: Mapping[str, Any]) -> None:
        read = built(Read, plain["read"])
        self._read = replace(read, idents=Idents(*read.idents[: len(Idents._fields)]))
        self._holdings.go_on(self._read, plain["holdings"])
        self._vrrpd.go_on(plain["vrrpd"])
        for of_child in plain.get("retired", ()):
            child = self._new_vrrpd()
            self._retire(child)
            child.go_on(of_child)
        self._wards.go_on(plain.get("wards", {}))
        self._pending.number = plain.get("number", 0)
        self._signals = list(plain.get("signals", ()))
        self._may_go = self._has_started = True

    def _on_renewed(self, version: str) -> None:
        assert self._read is not None
        self._holdings.open_log(self._read)
        log.info("Upgrade done, VRRP child process is now pid=%s", self._vrrpd.pid)
        lines: tuple[str, ...] = ()
        if version != __version__:
            lines = (f"fastvrrp {__version__} runs in the place of {version}",)
            log.info("%s", *lines)
        self._holdings.answer_all(Answer(0, True, lines, {"version": __version__}))
        self._deliver_signals()

    def _become(self, successor: Successor) -> None:
        """Goes on by other code. What is raised has changed nothing."""
        assert self._read is not None
        signal.pthread_sigmask(signal.SIG_BLOCK, TAKEN)
        try:
            # What the interpreter has taken from the kernel nobody else would learn of.
            self.loop.take_signals()
            if self._upgrade is None:
                return  # it was ended by one of them
            if self._is_stopping:
                self._upgrade.fail("the daemon is stopped")
                return
            log.info("Fastvrrp %s goes on as parent", successor.version)
            self._holdings.close_log()
            try:
                become(successor, Legacy(self.plain), self._launch.words)
            except BaseException:
                self._holdings.open_log(self._read)
                raise
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, TAKEN)

    def _new_vrrpd(self) -> Child:
        return Child(
            self.loop,
            "fastvrrp.daemon.vrrpd_main",
            "VRRP",
            self._on_messages,
            self._on_vrrpd_start,
            self._on_vrrpd_end,
        )

    def _retire(self, child: Child) -> None:
        self._retired.append(child)
        child.retarget(
            lambda messages: None, lambda: None, lambda pid, status: self._retired.remove(child)
        )

    def _promote(
        self, successor: Child, said: Sequence[ToParent], farewells: Mapping[str, bytes]
    ) -> None:
        """Has a child be vrrpd from now on; `said` is what it has said to wards and about us,
        `farewells` what the wards are to hear first, which end, and begin anew."""
        retired, self._vrrpd = self._vrrpd, successor
        self._retire(retired)
        successor.retarget(self._on_messages, self._on_vrrpd_start, self._on_vrrpd_end)
        self._pending.give_up("the daemon was upgraded before it could answer")
        self._wards.renew(successor.python, farewells)
        for message in said:
            self._take(message)

    # --- vrrpd ------------------------------------------------------------------------------------

    def _say(self, message: ToVrrpd) -> None:
        self._vrrpd.send(pickle.dumps(message))

    def _on_vrrpd_start(self) -> None:
        self._may_go = False
        self._farewell = None
        self._vrrpd.expect(READ_LIMIT)
        self._say(self._next_begin())
        if self._is_stopping:
            self._tell_to_stop()

    def _next_begin(self, predecessor: int | None = None) -> Begin:
        if self._read is None:
            return Begin(self._launch)
        launch, read, wards = self._launch.from_anywhere(), self._read, self._wards.started
        return Begin(launch, read.idents, read.pid_file, read.namespace, True, wards, predecessor)

    def _on_messages(self, messages: Sequence[bytes]) -> None:
        for message in unpacked(messages):
            self._take(message)

    def _take(self, message: ToParent) -> None:
        match message:
            case Beat(limit):
                self._vrrpd.expect(limit)
            case ToWard(name, words):
                self._wards.tell(name, words)
            case StartWard():
                self._wards.start(message)
            case CloseWard(name, limit):
                self._wards.close(name, limit)
            case Answer() | Progress():
                self._pending.take(message)
            case _:
                self._take_news(message)

    def _take_news(self, message: ToParent) -> None:
        """Of vrrpd's own way from its start to its end."""
        match message:
            case Read():
                self._on_read(message)
            case Started():
                self._has_started = True
                if self._caller is not None:
                    self._caller.tell(0)
                if self._upgrade is not None:
                    self._upgrade.started()
                else:
                    self._deliver_signals()
            case Left(farewells):
                self._begin_to_stop()
                self._farewell = Ended(0)
                for name, words in farewells.items():
                    self._wards.tell(name, words)
            case HandedOver(pid, farewells):
                if self._upgrade is not None and self._upgrade.child.pid == pid:
                    self._upgrade.handed_over(farewells)
            case Stopping(limit):
                self._vrrpd.expect(limit)
            case Named(name):
                rename(name)
            case Ended():
                self._farewell = message
        # A vrrpd that ends alone is started again: the service does not stop.
        if self._is_stopping or not isinstance(message, Stopping):
            self._service.hear(message)

    def _on_read(self, read: Read) -> None:
        if self._read is None:
            if self._is_stopping:
                return
            try:
                self._holdings.take(read)
            except (AlreadyRunning, OSError) as error:
                print(f"fastvrrp: {explain(error)}", file=sys.stderr)
                self._farewell = Ended(MACHINE_FAILED)
                self._stop()
                return
            self._read = read
            # It could not be said when it was so: there was no log.
            log.info("Starting %s child process, pid=%d", self._vrrpd.title, self._vrrpd.pid)
        self._may_go = True
        self._say(Go())

    def _on_vrrpd_end(self, pid: int, status: int) -> None:
        was_going, self._may_go = self._may_go, False
        if self._upgrade is not None:
            self._upgrade.fail("the daemon's process ended meanwhile")
        self._pending.give_up("the daemon ended before it could answer")
        if self._has_started and not self._is_stopping:
            self._say_death(self._vrrpd, pid)
            if self._launch.respawns:
                self._vrrpd.start_later()
            else:
                self._finish(0)
            return
        if self._farewell is not None:
            self._finish(self._farewell.status)
            return
        if not self._is_stopping:
            print("fastvrrp: the daemon ended before it had started", file=sys.stderr)
            self._finish(MACHINE_FAILED)
        else:
            self._finish(MACHINE_FAILED if was_going else 0)

    def _on_ward_death(self, ward: Child, pid: int) -> None:
        self._say_death(ward, pid)
        if self._launch.respawns:
            ward.start_later()
        else:
            self._stop()

    def _say_death(self, child: Child, pid: int) -> None:
        what = "Respawning" if self._launch.respawns else "Exiting"
        log.error("%s child process(%d) died: %s", child.title, pid, what)

    # --- all --------------------------------------------------------------------------------------

    def _on_signal(self, number: signal.Signals | int) -> None:
        if number in ENDING:
            self._stop()
        elif self._upgrade is not None:
            self._keep_signal(number)
        elif number == LEAVING:
            self._leave()
        elif self._vrrpd.pid is None:
            self._keep_signal(number)
        else:
            self._vrrpd.signal(number)

    def _keep_signal(self, number: signal.Signals | int) -> None:
        if number not in self._signals:
            self._signals.append(number)

    def _deliver_signals(self) -> None:
        """In the next turn of the loop: whoever calls may be in the middle of an end."""
        kept, self._signals = self._signals, []
        for number in kept:
            self.loop.call_soon(self._on_signal, number)

    def _leave(self) -> None:
        """Ends, and leaves everything to the daemon that is started next."""
        if self._is_stopping:
            return
        log.info("Leaving everything to the next daemon")
        self.ask("leave", {}, lambda answer: None if answer.is_ok else self._stop())

    def _stop(self) -> None:
        if self._is_stopping:
            return
        self._begin_to_stop()
        if self._upgrade is not None:
            self._upgrade.fail("the daemon is stopped")
        if self._has_started or self._may_go:
            if self._vrrpd.pid is not None:
                self._tell_to_stop()
            else:
                # It has died: what it left in the kernel is for the next one to remove.
                self._vrrpd.start_now()
        else:  # nothing is in the kernel yet
            self._vrrpd.kill()

    def _begin_to_stop(self) -> None:
        self._is_stopping = True
        self._wards.stay_away()

    def _tell_to_stop(self) -> None:
        self._say(Stop())
        self._vrrpd.signal(signal.SIGTERM)

    def _finish(self, status: int) -> None:
        """Ends with all that is left."""
        self._begin_to_stop()
        self._is_over = True
        self._status = status
        self._wards.end()
        self._stop_if_alone()

    def _stop_if_alone(self) -> None:
        if self._is_over and not self._wards.started:
            self.loop.stop()

    def _look(self) -> None:
        coming = () if self._upgrade is None else (self._upgrade.child,)
        for child in {self._vrrpd, *coming, *self._retired, *self._wards}:
            child.look()
        self.loop.call_later(LOOK, self._look)
