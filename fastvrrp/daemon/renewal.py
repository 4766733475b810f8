"""The parent takes up new code: it executes itself anew, as the same process (execve(2)).

    parent, old code                             process of the new code
      | what it would leave (JSON, a memfd) --->    | reads it, takes each descriptor, as it would
      |   <-------------  version, or why not       | if it were the parent; ends
      | executes the new code, with what it leaves and every descriptor in it

So a new version that does not start, or cannot read what is left, never gets the process. Children
stay children, the pid file and systemd's main process stay the same, signals that come meanwhile
wait in the kernel, and who waits for an answer at the control socket gets it from the new code.

What is left is plain, since the two may be of different versions: a mapping of JSON with `layout`,
which is one more with each change that an older reader would get wrong. Fields that a reader does
not know are left out, and every field has a default but for those without which there is nothing to
go on with: who the processes are, and what stands on the command line and was read first.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from fastvrrp import __version__
from fastvrrp.daemon.launch import PARENT
from fastvrrp.track.interpreter import LastWords, environment, home, start_interpreter

if TYPE_CHECKING:
    import subprocess

    from fastvrrp.daemon.loop import Loop, Timer

LAYOUT = 1
TRY, TRY_BARE, GO_ON = "--check-handover", "--check-handover-bare", "--renewed"
"""First arguments of the parent's module: look whether it could go on, in two steps, and go on."""
LIMIT = 60.0
"""Seconds for a look, which takes some tenths."""
LONGEST_REPORT = 65_536
"""Bytes."""

State = dict[str, Any]
"""What is left, in JSON's types."""
Keep = Callable[[int], int]
"""Notes that a descriptor is left too, and returns it."""
T = TypeVar("T")


class CannotGoOnError(Exception):
    """Why new code cannot go on, for a person."""


@dataclass(frozen=True)
class Successor:
    """The new code, as it says itself."""

    version: str
    python: str
    """The interpreter."""
    home: str
    """The folder that has its package."""


class Legacy:
    """What is left by the parent, and with which descriptors."""

    def __init__(self, state: Callable[[Keep], State]) -> None:
        self.descriptors: list[int] = []
        found = {"layout": LAYOUT, "version": __version__, **state(self._keep)}
        self.descriptor = os.memfd_create("left")
        try:
            with os.fdopen(os.dup(self.descriptor), "wb") as file:
                file.write(json.dumps(found).encode())
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        os.close(self.descriptor)

    def _keep(self, descriptor: int) -> int:
        self.descriptors.append(descriptor)
        return descriptor


def read(descriptor: int) -> State:
    """What was left; closes its file. Raises CannotGoOnError."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    with os.fdopen(descriptor, "rb") as file:
        state: State = json.load(file)
    if state["layout"] > LAYOUT:
        raise CannotGoOnError(
            f"what fastvrrp {state['version']} leaves has layout {state['layout']}, and fastvrrp"
            f" {__version__} reads {LAYOUT} and below: stop the daemon and start it again"
        )
    return state


def built(kind: type[T], plain: Mapping[str, Any]) -> T:
    """A dataclass of what asdict() made of one, by any version."""
    known = {each.name for each in fields(kind)}  # type: ignore[arg-type]
    return kind(
        **{
            name: tuple(value) if isinstance(value, list) else value
            for name, value in plain.items()
            if name in known
        }
    )


class Trial:
    """A look whether new code can go on; it ends with a call of `on_over`."""

    def __init__(
        self,
        loop: Loop,
        python: str | None,
        state: Callable[[Keep], State],
        on_over: Callable[[Successor | None, str], object],
    ) -> None:
        """`python` is the interpreter that has the new code; None is ours. `on_over` is called
        with that code, or None and why it cannot."""
        self._loop = loop
        self._python = python
        self._state = state
        self._on_over = on_over
        self._process: subprocess.Popen[bytes] | None = None
        self._descriptor = -1
        """A pidfd."""
        self._report = -1
        self._words: LastWords | None = None
        self._clock: Timer | None = None
        self._why = ""

    def start(self) -> None:
        """Raises OSError."""
        self._words = LastWords()
        try:
            self._report = os.memfd_create("report")
            left = Legacy(self._state)
            try:
                self._process = start_interpreter(
                    PARENT,
                    *(TRY, str(left.descriptor), str(self._report)),
                    pass_fds=(left.descriptor, self._report, *left.descriptors),
                    last_words=self._words,
                    cwd="/",
                    python=self._python,
                )
            finally:
                left.close()
            self._descriptor = os.pidfd_open(self._process.pid)
        except BaseException:
            if self._process is not None:
                self._process.kill()
                self._process.wait()
            self._close()
            raise
        self._loop.add_reader(self._descriptor, self._on_exit)
        self._clock = self._loop.call_later(LIMIT, self.fail, f"no answer for {LIMIT:g} seconds")

    def fail(self, why: str) -> None:
        """Ends it."""
        if self._process is not None:
            self._why = self._why or why
            self._process.kill()

    def _on_exit(self) -> None:
        assert self._process is not None
        assert self._words is not None
        status = self._process.wait()
        said = os.pread(self._report, LONGEST_REPORT, 0)
        why = self._why or self._words.read() or f"it has ended with status {status}"
        self._loop.remove_reader(self._descriptor)
        self._close()
        successor = None
        if status == 0 and not self._why:
            try:
                successor = built(Successor, json.loads(said))
            except (ValueError, TypeError, AttributeError):
                why = "it has said what nobody understands"
        self._on_over(successor, why)

    def _close(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
        for descriptor in (self._descriptor, self._report):
            if descriptor != -1:
                os.close(descriptor)
        if self._words is not None:
            self._words.close()
        self._process = None


def become(successor: Successor, left: Legacy, words: Iterable[str]) -> NoReturn:
    """Executes new code in this process, which goes on with what is left; `words` are for `ps`.
    What is raised has changed nothing."""
    python = successor.python
    arguments = [python, "-P", "-S", "-m", PARENT, GO_ON, str(left.descriptor), *words]
    passed = (left.descriptor, *left.descriptors)
    try:
        for descriptor in passed:
            os.set_inheritable(descriptor, True)
        os.execve(python, arguments, environment(successor.home))
    except BaseException:
        for descriptor in passed:
            os.set_inheritable(descriptor, False)
        left.close()
        raise


def try_with_packages(state: str, report: str) -> NoReturn:
    """The first step of a look, in an interpreter that finds this package by itself: the next one
    finds it as the parent would."""
    command = [sys.executable, "-P", "-S", "-m", PARENT, TRY_BARE, state, report]
    os.execve(sys.executable, command, environment())


def report_to(descriptor: int) -> NoReturn:
    """The end of a look: we could go on. Nothing that was taken is closed or removed."""
    said = {"version": __version__, "python": sys.executable, "home": home()}
    os.pwrite(descriptor, json.dumps(said).encode(), 0)
    os._exit(0)
