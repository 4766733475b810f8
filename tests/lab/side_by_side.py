"""Two daemons with the same configuration at the same time, in front of the same servers.

Each is a director on a link of its own with the servers (a switch whose ports to the directors are
isolated), so neither hears the other; what one does is compared with what the other does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from lab import ipvsadm
from lab.daemons import Daemon
from lab.fifo import Fifo
from lab.network import Laboratory, Router
from lab.waiting import wait_until

STILL = 1.0
"""Seconds without a change after which nothing is awaited any more."""


class Side:
    """One of the two, and what is to be seen of it."""

    def __init__(self, router: Router, daemon: type[Daemon]) -> None:
        self.router = router
        self.folder = router.folder / "records"
        self.folder.mkdir()
        self.fifo = Fifo(self.folder / "fifo")
        self.scripts = self.folder / "scripts"
        self.scripts.touch()
        script = self.folder / "script"
        # The process's number tells in which order they were started, whichever writes first.
        script.write_text(f'#!/bin/sh\necho "$$ $*" >>{self.scripts}\n')
        script.chmod(0o755)
        self.daemon = daemon(router, "")
        router.laboratory.closing.callback(self.fifo.close)

    def configure(self, text: str) -> None:
        """Writes the configuration; @FOLDER@ in it is this side's own folder."""
        head = "global_defs {\n  script_user root\n  lvs_notify_fifo @FOLDER@/fifo root\n}\n"
        self.daemon.configure((head + text).replace("@FOLDER@", str(self.folder)))

    def called(self) -> list[str]:
        """The arguments of every run of the script, in the order of their starts."""
        runs = (line.partition(" ") for line in self.scripts.read_text().splitlines())
        return [arguments for _number, _space, arguments in sorted(runs, key=lambda r: int(r[0]))]

    def picture(self) -> tuple[str, tuple[str, ...], str]:
        """What changes where anything does, cheaply read."""
        table = self.router.call(Path("/proc/thread-self/net/ip_vs").read_text)
        return table, tuple(self.fifo.lines()), self.scripts.read_text()


class SideBySide:
    """Both sides and the host of all servers, which has any address of the networks given."""

    def __init__(
        self,
        laboratory: Laboratory,
        daemons: tuple[type[Daemon], type[Daemon]],
        networks: Sequence[str],
        patience: float,
    ) -> None:
        self.patience = patience
        self._settled: object = None
        self.networks = networks
        routers = [laboratory.router("referee"), laboratory.router("subject")]
        self.host = laboratory.router("host")
        links = laboratory.connect(*routers, self.host, count=2)
        switch = laboratory.switch_namespace
        assert switch is not None
        for link in links:
            for router in routers:
                port = f"{link.interface}.{router.index}"
                switch.ip(f"link set {port} type bridge_slave isolated on")
        for network in networks:
            via = links[0].address(self.host, 6 if ":" in network else 4)
            for router in routers:
                router.ip(f"route add {network} via {via}")
        self.host.set_sysctl("net/ipv4/icmp_ratelimit", "0")
        self.host.set_sysctl("net/ipv6/icmp/ratelimit", "0")
        self.host.ip(*(f"route add unreachable {network}" for network in networks))
        self.serve()
        self.referee, self.subject = (
            Side(router, daemon) for router, daemon in zip(routers, daemons, strict=True)
        )

    @property
    def sides(self) -> tuple[Side, Side]:
        return self.referee, self.subject

    def serve(self) -> None:
        """The host has all addresses."""
        self.host.ip(
            *(f"route add local {network} dev lo table local" for network in self.networks)
        )

    def refuse(self) -> None:
        """The host says of every address that it is not there."""
        self.host.ip(
            *(f"route del local {network} dev lo table local" for network in self.networks)
        )

    def both(self, act: Callable[[Side], object]) -> None:
        for side in self.sides:
            act(side)

    def settled(self, until: Callable[[list[str]], bool] | None = None) -> list[str]:
        """The rules that both have, when nothing changes any more: the referee's picture is another
        than it was at the last call, and its rules are as `until` wants them.

        Raises TimeoutError with the differences where the two stay different.
        """
        before = self._settled
        wait_until(
            lambda: self.referee.picture() != before,
            self.patience,
            what=lambda: f"a change:\n{self.referee.daemon.log()[-3000:]}",
            interval=0.1,
        )
        seen: list[tuple[float, object]] = []

        def is_still() -> bool:
            now = [side.picture() for side in self.sides]
            if not seen or seen[-1][1] != now:
                seen[:] = [(time.monotonic(), now)]
            return time.monotonic() - seen[-1][0] > STILL

        def wanted() -> bool:
            return until is None or until(ipvsadm.rules(self.referee.router))

        def agree() -> bool:
            return is_still() and wanted() and self.difference() == ""

        try:
            wait_until(agree, self.patience, interval=0.1)
        except TimeoutError as reason:
            raise TimeoutError(self._trouble()) from reason
        self._settled = self.referee.picture()
        return ipvsadm.rules(self.referee.router)

    def _trouble(self) -> str:
        logs = "\n".join(side.daemon.log()[-6000:] for side in self.sides)
        rules = "\n".join(ipvsadm.rules(self.referee.router)[:100])
        return f"{self.difference() or 'they agree'}\n{rules}\n{logs}"

    def difference(self) -> str:
        """What one has, the referee or the subject, and the other has not; nothing if all is
        alike."""
        kinds: list[tuple[str, Callable[[Side], list[str]]]] = [
            ("rules", lambda side: ipvsadm.rules(side.router)),
            ("thresholds", lambda side: ipvsadm.thresholds(side.router)),
        ]
        text = ""
        for kind, look in kinds:
            wanted, found = (look(side) for side in self.sides)
            if wanted != found:
                missing = [line for line in wanted if line not in found]
                extra = [line for line in found if line not in wanted]
                text += f"{kind} missing: {missing}\n{kind} too many: {extra}\n"
        return text
