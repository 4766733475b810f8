"""What systemd is told of the daemon (sd_notify(3)): ready, reloading, stopping, alive, and a line
for `systemctl status`.

Each message is one datagram of NAME=VALUE lines to the socket that systemd names in the
environment. Where it names none nothing is told, and nothing here fails or waits: a systemd that
does not listen must not keep an advert from leaving. It is forty lines of a protocol that is
promised to stay; the libraries for it are one that is no more maintained, and bindings to
libsystemd, which would have to be compiled for everybody.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Mapping, MutableMapping
from typing import Any

log = logging.getLogger(__name__)

NANOSECONDS = 1000
"""Of a microsecond."""
MICROSECONDS = 1_000_000
"""Of a second."""
VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class ServiceState:
    """The end of systemd's service that talks. Only the process that systemd takes for the
    service's main one may (NotifyAccess=main), or any, with NotifyAccess=all."""

    def __init__(
        self, address: str | None = None, watchdog: float | None = None, said: str = ""
    ) -> None:
        """`address` is a path, or an abstract name after `@`; None tells nobody. `watchdog` is the
        time in seconds after which systemd takes the service for dead, if it does. `said` is the
        line for `systemctl status` that it has."""
        self.pause = None if address is None or watchdog is None else watchdog / 2
        """Seconds from one `alive` to the next; None where nobody waits for it."""
        self._address = "\0" + address[1:] if address and address[0] == "@" else address
        self._watchdog = watchdog
        self._socket: socket.socket | None = None
        self._has_complained = False
        self._said = said
        if self._address is not None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)

    @classmethod
    def of_environment(cls, environment: MutableMapping[str, str] = os.environ) -> ServiceState:
        """As systemd has asked for it; takes that from the environment, so that no child and no
        script speaks for the service. Call it after the last fork of this process."""
        address, microseconds, pid = (environment.pop(name, "") for name in VARIABLES)
        # The process that systemd started may be one that has forked us (Type=forking).
        is_for_us = microseconds.isdigit() and pid in ("", str(os.getpid()))
        return cls(address or None, int(microseconds) / MICROSECONDS if is_for_us else None)

    @classmethod
    def of_plain(cls, plain: Mapping[str, Any]) -> ServiceState:
        """That of another program in this process, by its `plain`."""
        return cls(plain.get("address"), plain.get("watchdog"), plain.get("said", ""))

    @property
    def plain(self) -> dict[str, Any]:
        """With what another program goes on in this process, in JSON's types."""
        return {"address": self._address, "watchdog": self._watchdog, "said": self._said}

    def ready(self) -> None:
        """The service works, after a start or a reload. Says as which process, which may not be the
        one that systemd started."""
        self._tell("READY=1", f"MAINPID={os.getpid()}")

    def reloading(self) -> None:
        """A reload has begun; `ready` ends it."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // NANOSECONDS
        self._tell("RELOADING=1", f"MONOTONIC_USEC={now}")

    def stopping(self, limit: float) -> None:
        """The stop has begun, and takes so many seconds at most."""
        self._tell("STOPPING=1", _extension(limit))

    def takes(self, seconds: float) -> None:
        """The start or the stop takes so many seconds more, from now on."""
        self._tell(_extension(seconds))

    def alive(self) -> None:
        """All processes go on. To be said every `pause` seconds."""
        self._tell("WATCHDOG=1")

    def say(self, words: str) -> None:
        """A line for `systemctl status`, where it is another one than before."""
        if words != self._said:
            self._said = words
            self._tell("STATUS=" + words.replace("\n", " "))

    def close(self) -> None:
        """Tells nothing any more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _tell(self, *lines: str) -> None:
        if self._socket is None or self._address is None:
            return
        try:
            self._socket.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            if not self._has_complained:
                self._has_complained = True
                log.warning("systemd cannot be told %s: %s", lines[0], error.strerror)


def _extension(seconds: float) -> str:
    return f"EXTEND_TIMEOUT_USEC={round(seconds * MICROSECONDS)}"
