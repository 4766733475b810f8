"""The process that serves metrics: it reads what the daemon shows, and can do nothing else.

It is told what to do by the daemon, over a socket, opens the daemon's files and the port, and then
gives up its rights and its view of the file system (confinement.py). It ends with the daemon.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from fastvrrp.daemon.beat import BEAT, LOOK
from fastvrrp.daemon.confinement import confine
from fastvrrp.daemon.export_task import Task, address_of
from fastvrrp.observe.exposition import pages
from fastvrrp.observe.view import View
from fastvrrp.observe.web import Server
from fastvrrp.observe.web_config import WebConfig, WebConfigError
from fastvrrp.track.frames import Closed, Frames

NICENESS = 10
"""A scrape is not worth a late advert."""
BACKLOG = 64


def listen_at(listen: str) -> socket.socket:
    """A socket that listens there; every address is those of IPv4 where there is no IPv6. Raises
    OSError."""
    family, address = address_of(listen)
    if address[0] == "::" and not socket.has_dualstack_ipv6():
        family, address = socket.AF_INET, ("0.0.0.0", address[1])
    return socket.create_server(
        address,
        family=family,
        backlog=BACKLOG,
        dualstack_ipv6=family == socket.AF_INET6 and address[0] == "::",
    )


class Exporter:
    """Serves the metrics of one daemon."""

    def __init__(self, task: Task) -> None:
        """Opens everything. Raises OSError, ValueError and WebConfigError."""
        self._task = task
        self._view = View(task.files)
        config = WebConfig()
        if task.web_configuration is not None:
            config = WebConfig.read(Path(task.web_configuration))
        self.listening = listen_at(task.listen)
        self._server = Server(self.listening, config, self._pages, self._health)

    def serve(self) -> None:
        """Serves in threads of its own, and returns at once."""
        for _ in self._pages():  # what is imported late is imported now
            pass
        confine()
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _pages(self) -> Any:
        return pages(self._view, self._task.has_keepalived_names)

    def _health(self) -> tuple[bool, dict[str, Any]]:
        is_well = self._view.is_alive
        return is_well, {
            "status": "ok" if is_well else "the daemon has ended",
            "pid": self._view.segment.pid,
            "version": self._view.segment.totals()["version"],
        }


def main() -> None:
    """Does what the first message on the socket (its number is the argument) says, until that
    closes."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # whoever started us may block signals
    os.nice(NICENESS)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # those for the daemon's group; it ends us
    frames = Frames(socket.socket(fileno=int(sys.argv[1])))
    frames.socket.setblocking(True)
    try:
        messages: list[bytes] = []
        while not messages:
            messages = frames.receive()
        task: Task = pickle.loads(messages[0])
        exporter = Exporter(task)
        exporter.serve()
        host, port = exporter.listening.getsockname()[:2]
        frames.send(f"{f'[{host}]' if ':' in host else host}:{port}".encode())
        frames.socket.settimeout(LOOK)
        while True:
            with suppress(TimeoutError):
                frames.receive()
            frames.send(BEAT)
    except Closed:
        os._exit(0)
    except (OSError, ValueError, WebConfigError) as error:
        sys.exit(f"{error}")


if __name__ == "__main__":
    main()
