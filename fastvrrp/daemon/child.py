"""A child of the parent: started, heard, killed when it hangs, started again when it has died.

Whatever it says is a sign of life. What it may be silent for is counted in the parent's own looks,
not by the clock: a machine that stood still for a minute, or a parent that did, has heard nobody in
that time, and kills nobody for it.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any

from fastvrrp.daemon.beat import BEAT, LIMIT, LOOK
from fastvrrp.track.conversation import Conversation
from fastvrrp.track.deaths import LONG_LIFE, PAUSES
from fastvrrp.track.frames import Frames
from fastvrrp.track.interpreter import LastWords, start_interpreter

if TYPE_CHECKING:
    from fastvrrp.daemon.renewal import Keep
    from fastvrrp.track.conversation import EventLoop, Later

log = logging.getLogger(__name__)

LEAVING = signal.SIGRTMIN + 5
"""Ends the daemon, and leaves everything to the next one (RestartKillSignal of the unit)."""
TAKEN = (
    *(signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2),
    *(signal.SIGRTMIN + 2, signal.SIGRTMAX - 1, LEAVING),
)
"""Signals that the daemon takes. A child begins with them blocked."""


class Stderr(Enum):
    """Where a child's stderr goes."""

    SHARED = "shared"
    """To ours."""
    KEPT = "kept"
    """Into memory: its last line is logged when it has died."""
    KEPT_LATER = "kept later"
    """To ours, until it takes the descriptor that is its second argument instead."""


class Known:
    """A child of this process that the program before has started."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def send_signal(self, number: int) -> None:
        # Nobody else waits for it: the number is its own until `wait`.
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def wait(self) -> int:
        """Its exit status, or the number of a signal below zero."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


class Child:
    """One such process, and its successors."""

    def __init__(
        self,
        loop: EventLoop,
        module: str,
        title: str,
        on_messages: Callable[[Sequence[bytes]], object],
        on_start: Callable[[], object],
        on_end: Callable[[int, int], object],
    ) -> None:
        """`module` is run with the number of its socket as argument; `title` is its name in the
        log. `on_start` is called whenever it was started, `on_end` with its process id and exit
        status (that of `subprocess`) whenever it has ended and all that it has said was heard."""
        self.title = title
        self.stderr = Stderr.SHARED
        self.umask = -1
        """Its umask; -1 is ours."""
        self.limit = LIMIT
        """Seconds that it may be silent for, where it says nothing else."""
        self.python: str | None = None
        """The interpreter that has the code that it runs; None is ours, with our code."""
        self.folder: str | None = "/"
        """Its current directory; None is ours."""
        self._loop = loop
        self._module = module
        self._on_messages = on_messages
        self._on_start = on_start
        self._on_end = on_end
        self._process: subprocess.Popen[bytes] | Known | None = None
        self._conversation: Conversation | None = None
        self._last_words: LastWords | None = None
        self._descriptor: int | None = None
        """A pidfd of the process."""
        self._began = 0.0
        self._deaths = 0
        self._next_start: Later | None = None
        self._next_start_at = 0.0
        """Of the monotonic clock, which all programs of this machine share."""
        self._limit = LIMIT
        self._is_ending = False
        """It has so many seconds, whatever it says."""
        self._silence = 0.0

    @property
    def pid(self) -> int | None:
        """None where it does not run."""
        return None if self._process is None else self._process.pid

    @property
    def is_started(self) -> bool:
        """Whether it runs, or will again by itself."""
        return self._process is not None or self._next_start is not None

    def start(self) -> None:
        """Starts it, where it does not run. Raises OSError."""
        if self.is_started:
            return
        self._spawn()
        log.info("Starting %s child process, pid=%d", self.title, self.pid)
        self._on_start()

    def start_later(self) -> None:
        """Starts it again: at once after one death, later and later after more of them."""
        if time.monotonic() - self._began >= LONG_LIFE:
            self._deaths = 0
        self._deaths += 1
        pause = PAUSES[min(self._deaths, len(PAUSES)) - 1]
        log.info(
            "Restart of %s process delayed %d seconds to limit respawn rate", self.title, pause
        )
        self._start_in(pause)

    def start_now(self) -> None:
        """Starts it without a pause, where it waits for its next start."""
        if self._next_start is not None:
            self._next_start.cancel()
            self._start_again()

    def send(self, message: bytes) -> None:
        """Says something, where it runs."""
        if self._conversation is not None:
            self._conversation.send(message)

    def retarget(
        self,
        on_messages: Callable[[Sequence[bytes]], object],
        on_start: Callable[[], object],
        on_end: Callable[[int, int], object],
    ) -> None:
        """Has others hear of it from now on."""
        self._on_messages = on_messages
        self._on_start = on_start
        self._on_end = on_end

    def signal(self, number: signal.Signals | int) -> None:
        """Sends a signal, where it runs."""
        if self._process is not None:
            self._process.send_signal(number)

    def expect(self, limit: float) -> None:
        """From now on it may be silent for `limit` seconds."""
        self._limit = limit
        self._silence = 0.0

    def look(self) -> None:
        """Kills it where it was silent for too long; to be called every LOOK seconds."""
        if self._process is None:
            return
        self._silence += LOOK
        if self._silence > self._limit:
            log.error(
                "%s child process(%d) has shown no sign of life for %g seconds and is killed",
                self.title,
                self._process.pid,
                self._limit,
            )
            self._silence = 0.0
            self._process.kill()

    def kill(self) -> None:
        """Ends it at once, for good."""
        if self._process is not None:
            self._is_ending = True
            self._process.kill()

    def end(self, limit: float) -> None:
        """Lets it end by itself, when it has heard what was said, and kills it where it has not in
        `limit` seconds. It is not started again by itself."""
        if self._next_start is not None:
            self._next_start.cancel()
            self._next_start = None
        if self._process is not None:
            if self._conversation is not None:
                self._conversation.end()
            self.expect(limit)
            self._is_ending = True

    def plain(self, keep: Keep) -> dict[str, Any]:
        """With what `go_on` goes on in another program, in JSON's types; `keep` has descriptors
        stay open."""
        return {
            "module": self._module,
            "title": self.title,
            "stderr": self.stderr.value,
            "umask": self.umask,
            "folder": self.folder,
            "limit": self.limit,
            "began": self._began,
            "deaths": self._deaths,
            "next_start": None if self._next_start is None else self._next_start_at,
            "patience": self._limit,
            "silence": self._silence,
            "is_ending": self._is_ending,
            "process": None if self._process is None else self._plain_process(keep),
        }

    def go_on(self, plain: Mapping[str, Any]) -> None:
        """Takes over the child that another program had in this process. It has this program's
        code, or will when it is started again. Raises OSError."""
        self.stderr = Stderr(plain.get("stderr", self.stderr.value))
        self.umask = plain.get("umask", self.umask)
        self.folder = plain.get("folder", self.folder)
        self.limit = plain.get("limit", self.limit)
        self._began = plain.get("began", self._began)
        self._deaths = plain.get("deaths", self._deaths)
        process, next_start = plain.get("process"), plain.get("next_start")
        if process is not None:
            self._take_process(process)
        self._limit = plain.get("patience", self.limit)
        self._silence = plain.get("silence", self._silence)
        self._is_ending = plain.get("is_ending", self._is_ending)
        if next_start is not None:
            self._start_in(max(0.0, next_start - time.monotonic()))

    def _plain_process(self, keep: Keep) -> dict[str, Any]:
        assert self._process is not None
        assert self._descriptor is not None
        conversation, words = self._conversation, self._last_words
        said: dict[str, Any] = {
            "pid": self._process.pid,
            "descriptor": keep(self._descriptor),
            "words": None if words is None else keep(words.descriptor),
            "socket": None,
        }
        if conversation is not None and conversation.is_open:
            said["socket"] = keep(conversation.frames.socket.fileno())
            heard, unsent = conversation.frames.rest
            said["heard"], said["unsent"] = heard.hex(), unsent.hex()
            said["ends"] = conversation.is_ending
        return said

    def _take_process(self, plain: Mapping[str, Any]) -> None:
        self._process = Known(plain["pid"])
        self._descriptor = plain["descriptor"]
        os.set_inheritable(self._descriptor, False)
        words, number = plain.get("words"), plain.get("socket")
        if words is not None:
            self._last_words = LastWords(words)
        self._loop.add_reader(self._descriptor, self._on_exit)
        if number is not None:
            end = socket.socket(fileno=number)
            end.set_inheritable(False)
            rest = bytes.fromhex(plain.get("heard", "")), bytes.fromhex(plain.get("unsent", ""))
            self._conversation = Conversation(
                self._loop, Frames(end, *rest), self._on_heard, self._on_conversation_closed
            )
            if plain.get("ends", False):
                self._conversation.end()

    def _start_in(self, pause: float) -> None:
        self._next_start_at = time.monotonic() + pause
        self._next_start = self._loop.call_later(pause, self._start_again)

    def _start_again(self) -> None:
        self._next_start = None
        try:
            self.start()
        except OSError as error:
            log.error("%s child process cannot be started: %s", self.title, error.strerror)
            self.start_later()

    def _spawn(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        words = None if self.stderr is Stderr.SHARED else LastWords()
        # A signal that comes before the child takes it must not kill it, or be lost.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, TAKEN)
        try:
            self._process = self._spawn_with(theirs.fileno(), words)
            self._descriptor = os.pidfd_open(self._process.pid)
        except OSError:
            if self._process is not None:
                # Nobody would learn of its end.
                self._process.kill()
                self._process.wait()
                self._process = None
            ours.close()
            if words is not None:
                words.close()
            raise
        finally:
            theirs.close()
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self._last_words = words
        self._began = time.monotonic()
        self._loop.add_reader(self._descriptor, self._on_exit)
        self._conversation = Conversation(
            self._loop, Frames(ours), self._on_heard, self._on_conversation_closed
        )
        self._is_ending = False
        self.expect(self.limit)

    def _spawn_with(self, descriptor: int, words: LastWords | None) -> subprocess.Popen[bytes]:
        passed = [descriptor]
        if words is not None and self.stderr is Stderr.KEPT_LATER:
            passed.append(words.descriptor)
        return start_interpreter(
            self._module,
            *map(str, passed),
            pass_fds=passed,
            last_words=words if self.stderr is Stderr.KEPT else None,
            cwd=self.folder,
            umask=self.umask,
            python=self.python,
        )

    def _on_heard(self, messages: Sequence[bytes]) -> None:
        if not self._is_ending:
            self._silence = 0.0
        said = [message for message in messages if message != BEAT]
        if said:
            self._on_messages(said)

    def _on_conversation_closed(self) -> None:
        """It ends; what is not over soon is killed as what hangs."""

    def _on_exit(self) -> None:
        assert self._process is not None
        assert self._descriptor is not None
        self._loop.remove_reader(self._descriptor)
        if self._conversation is not None:
            self._hear_the_rest(self._conversation)
            self._conversation.close()
        os.close(self._descriptor)
        status = self._process.wait()
        pid, self._process, self._conversation = self._process.pid, None, None
        words = self._words()
        if self._is_ending:
            pass
        elif status < 0:
            log.error("pid %d exited due to %s%s", pid, _cause(-status), words and f": {words}")
        elif status:
            log.error("pid %d exited with status %d%s", pid, status, words and f": {words}")
        self._on_end(pid, status)

    def _hear_the_rest(self, conversation: Conversation) -> None:
        """Whoever hears it may ask for `plain`: the process and its descriptor are there until all
        is heard."""
        try:
            conversation.drain()
        except Exception:
            # Its end is not to be lost with its last words.
            log.exception("what the %s child process said last went wrong", self.title)

    def _words(self) -> str:
        """What it has said last."""
        if self._last_words is None:
            return ""
        words = self._last_words.read()
        self._last_words.close()
        self._last_words = None
        return words


def _cause(number: int) -> str:
    if number == signal.SIGSEGV:
        return "segmentation fault (SIGSEGV)."
    return f"signal {number} ({signal.strsignal(number)})"
