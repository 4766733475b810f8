"""A daemon that tells of what happens to it, and all that it told: by scripts and by a FIFO.

Two witnesses, one with each daemon, are led through the same events, and must have been told the
same.
"""

import os
import signal
from collections.abc import Callable

from lab.daemons import Daemon, Keepalived
from lab.network import Laboratory
from lab.waiting import wait_until

RECORD = """\
#!/bin/sh
started=$(cut -d' ' -f22 /proc/$$/stat)
line="$started $$"
for argument in "$@"; do line="$line <$argument>"; done
echo "$line uid=$(id -u) gid=$(id -g) groups=$(id -G | tr ' ' ,) HOME=$HOME" >> {out}
"""
DROPS_ADVERTS = (
    "add table ip t; add chain ip t i { type filter hook input priority 0; };"
    " add rule ip t i ip protocol 112 drop"
)


class Witness:
    """A router with a daemon, its peer, and what the daemon told."""

    def __init__(self, lab: Laboratory, kind: type[Daemon]) -> None:
        self.kind = kind
        self.router, self.peer = (lab.router(f"{kind.kind}-{side}") for side in "ab")
        (self.link,) = lab.connect(self.router, self.peer)
        self.folder = self.router.folder
        self.script = self.folder / "record"
        self.out = self.folder / "out"
        self.fifo = self.folder / "fifo"
        self.out.touch()
        self.out.chmod(0o666)
        self.script.write_text(RECORD.format(out=self.out))
        self.script.chmod(0o755)
        os.mkfifo(self.fifo)
        self.reading = os.open(self.fifo, os.O_RDONLY | os.O_NONBLOCK)
        lab.closing.callback(os.close, self.reading)
        self.heard = b""
        self.daemon: Daemon
        self.other: Daemon | None = None

    def filled(self, text: str) -> str:
        """A configuration in which {script}, {fifo}, {folder}, {interface}, {net} and {peer} are
        those of this witness."""
        for name, value in {
            "script": self.script,
            "fifo": self.fifo,
            "folder": self.folder,
            "interface": self.link.interface,
            "net": f"10.0.{self.link.index}",
            "peer": self.link.address(self.peer),
        }.items():
            text = text.replace(f"{{{name}}}", str(value))
        return text

    def start(self, configuration: str) -> None:
        self.daemon = self.kind(self.router, self.filled(configuration)).start()

    def reload(self, configuration: str) -> None:
        self.daemon.configure(self.filled(configuration))
        self.daemon.signal(signal.SIGHUP)

    def start_other(self, configuration: str, *, is_deaf: bool = False) -> None:
        """Starts keepalived on the peer; a deaf one hears no adverts."""
        if is_deaf:
            self.peer.run(["nft", DROPS_ADVERTS])
        self.other = Keepalived(self.peer, self.filled(configuration)).start()

    def stop_other(self) -> None:
        assert self.other is not None
        self.other.stop()
        self.other = None

    def told(self) -> list[str]:
        """The lines of the FIFO until now."""
        while True:
            try:
                data = os.read(self.reading, 1 << 16)
            except BlockingIOError:
                break
            if not data:
                break  # nobody writes now
            self.heard += data
        return self.heard.decode().splitlines()

    def runs(self) -> list[str]:
        """The scripts until now, in the order of their starts: arguments and user."""
        lines = [line.split(" ", 2) for line in self.out.read_text().splitlines()]
        lines.sort(key=lambda line: (int(line[0]), int(line[1])))
        return [line[2].replace(str(self.folder), "FOLDER") for line in lines]

    def wait(self, told: int, runs: int, timeout: float = 15.0) -> None:
        """Waits for so many lines of the FIFO and so many scripts, since the beginning."""
        wait_until(
            lambda: len(self.told()) >= told and len(self.runs()) >= runs,
            timeout,
            what=lambda: (
                f"{told} lines and {runs} scripts of {self.daemon}:\n"
                + "\n".join([*self.told(), *self.runs(), self.daemon.log()])
            ),
        )


def by_name(lines: list[str]) -> dict[str, list[str]]:
    """Lines of a FIFO, in their order, by the name that they are about."""
    found: dict[str, list[str]] = {}
    for line in lines:
        found.setdefault(line.split('"')[1], []).append(line)
    return found


def lead(witnesses: list[Witness], step: Callable[[Witness], object], told: int, runs: int) -> None:
    """Lets the same happen to all, and waits until all have told of it."""
    for witness in witnesses:
        step(witness)
    for witness in witnesses:
        witness.wait(told, runs)
