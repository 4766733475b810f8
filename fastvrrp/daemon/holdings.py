"""What the parent holds while the daemon runs: network namespace, pid file, log, control socket."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastvrrp.daemon.background import PidFile
from fastvrrp.daemon.control import CarryOut, Control
from fastvrrp.daemon.failures import explain
from fastvrrp.daemon.launch import Launch
from fastvrrp.daemon.logs import Logs, Process, destination, set_up
from fastvrrp.daemon.loop import Loop
from fastvrrp.daemon.orders import Answer, Read
from fastvrrp.observe.files import Files

if TYPE_CHECKING:
    from fastvrrp.daemon.renewal import Keep

log = logging.getLogger(__name__)


class Holdings:
    """All of it, from `take` or `go_on` to `close`."""

    def __init__(self, loop: Loop, launch: Launch, request: CarryOut) -> None:
        """`request` carries out what is asked for at the control socket."""
        self._loop = loop
        self._launch = launch
        self._request = request
        self._held = ExitStack()
        self._pid_file: PidFile | None = None
        self._logs: Logs | None = None
        self._control: Control | None = None

    def take(self, read: Read) -> None:
        """Makes of this process what the configuration wants it to be. Raises AlreadyRunning and
        OSError."""
        if read.namespace is not None:
            from fastvrrp.daemon.namespace import enter  # noqa: PLC0415 - only where wanted

            enter(read.namespace)
        self._pid_file = self._held.enter_context(PidFile(Path(read.pid_file)))
        self.open_log(read)
        self._held.callback(self.close_log)
        control = self._new_control(read)
        try:
            control.open()
        except OSError as error:
            log.error("There is no control socket: %s", explain(error))
        else:
            self._hold_control(control)

    def plain(self, keep: Keep) -> dict[str, Any]:
        """With what `go_on` goes on in another program, in JSON's types; `keep` has descriptors
        stay open. Callable behind `take`."""
        assert self._pid_file is not None
        return {
            "pid_file": keep(self._pid_file.descriptor),
            "control": None if self._control is None else self._control.plain(keep),
            "name": own_name(),
        }

    def go_on(self, read: Read, plain: Mapping[str, Any]) -> None:
        """Takes what another program has held in this process, but for the log. Raises OSError."""
        pid_file = PidFile.of_descriptor(Path(read.pid_file), plain["pid_file"])
        self._pid_file = self._held.enter_context(pid_file)
        self._held.callback(self.close_log)
        of_control = plain.get("control")
        if of_control is not None:
            control = self._new_control(read)
            control.go_on(of_control)
            self._hold_control(control)
        rename(plain.get("name", self._launch.name))

    def open_log(self, read: Read) -> None:
        """Begins to log. Raises OSError."""
        self._logs = set_up(destination(self._launch, read.idents), Process.PARENT)

    def close_log(self) -> None:
        """Ends it when all is written."""
        if self._logs is not None:
            self._logs.close()
            self._logs = None

    def answer_all(self, answer: Answer) -> None:
        """Answers everybody who waits at the control socket."""
        if self._control is not None:
            self._control.answer_all(answer)

    def close(self) -> None:
        """Gives everything back."""
        self._held.close()

    def _new_control(self, read: Read) -> Control:
        path = Files.beside(Path(read.pid_file)).control
        return Control(self._loop, path, self._request, LOOKS)

    def _hold_control(self, control: Control) -> None:
        self._control = control
        self._held.callback(control.close)


LOOKS = frozenset({"version"})
"""Requests that change nothing."""


def own_name() -> str:
    """What `ps` calls this process."""
    return Path(f"/proc/{os.getpid()}/comm").read_text().rstrip("\n")


def rename(name: str) -> None:
    """Has `ps` call this process so; the kernel keeps what has room."""
    Path("/proc/self/comm").write_text(name)
