"""Real servers for load balancers: nginx, dnsmasq, and aiosmtpd in a process of its own.

Each is a program of its own in a router, which starts, stops and starts again. What a web server
answers says which one it is.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from lab.network import Laboratory, Router
from lab.waiting import wait_until

PATIENCE = 60.0
"""Seconds until a server listens; the guests are slow."""


class Server(ABC):
    """A program that serves from a router; not started yet."""

    def __init__(self, router: Router) -> None:
        self.router = router
        # The folder of a router is there for its daemons, which are counted there.
        self.folder = router.folder / f"{type(self).__name__.lower()}-{len(_entries(router))}"
        self.folder.mkdir(mode=0o755)
        self.process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> Sequence[str]:
        """What is started; it stays in the foreground."""

    @abstractmethod
    def sockets(self) -> set[str]:
        """What listens when it is ready, as `ss` shows it: "tcp 80"."""

    def start(self) -> Self:
        """Starts it and returns when it listens."""
        assert self.process is None, f"{self} runs already"
        with (self.folder / "log").open("ab") as log:
            self.process = self.router.start_daemon(self.command(), log)
        wait_until(
            lambda: self.sockets() <= listening(self.router) or self.has_ended(),
            PATIENCE,
            what=lambda: f"{self.sockets()} of {self.router}, which has {listening(self.router)}",
        )
        assert not self.has_ended(), (self.folder / "log").read_text()
        return self

    def stop(self) -> None:
        """Ends it; its connections are closed, and new ones refused."""
        assert self.process is not None, f"{self} does not run"
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE)
        self.process = None

    def has_ended(self) -> bool:
        return self.process is None or self.process.poll() is not None


class WebServer(Server):
    """nginx. `/` is answered with the server's name; `pages` has other answers by their path.

    `pages` may be written anew by `serve` while it runs.
    """

    def __init__(
        self,
        router: Router,
        *,
        ports: Sequence[int] = (80,),
        tls_ports: Sequence[int] = (),
        certificate: Certificate | None = None,
        pages: Mapping[str, tuple[int, str]] | None = None,
    ) -> None:
        super().__init__(router)
        self.ports, self.tls_ports, self.certificate = ports, tls_ports, certificate
        self._write(pages or {})

    def serve(self, pages: Mapping[str, tuple[int, str]]) -> None:
        """Answers with other pages from now on: a status and a text by path."""
        self._write(pages)
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)

    def command(self) -> Sequence[str]:
        return ["nginx", "-p", str(self.folder), "-c", "nginx.conf", "-e", "stderr"]

    def sockets(self) -> set[str]:
        return {f"tcp {port}" for port in (*self.ports, *self.tls_ports)}

    def _write(self, pages: Mapping[str, tuple[int, str]]) -> None:
        answers = {"/": (200, self.router.name), **pages}
        lines = [f"listen {port}; listen [::]:{port};" for port in self.ports]
        lines += [f"listen {port} ssl; listen [::]:{port} ssl;" for port in self.tls_ports]
        if self.certificate is not None:
            lines += [
                f"ssl_certificate {self.certificate.file};",
                f"ssl_certificate_key {self.certificate.key};",
            ]
        lines += [
            f'location = {path} {{ default_type text/plain; return {status} "{text}\\n"; }}'
            for path, (status, text) in answers.items()
        ]
        server = "\n    ".join(lines)
        (self.folder / "nginx.conf").write_text(
            "daemon off;\nuser root;\nworker_processes 1;\npid nginx.pid;\n"
            "events { worker_connections 512; }\n"
            "http {\n  access_log off;\n  keepalive_timeout 600s;\n  keepalive_requests 100000;\n"
            + "".join(
                f"  {name}_temp_path {self.folder}/temp;\n"
                for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
            )
            + f"  server {{\n    {server}\n  }}\n}}\n"
        )


class NameServer(Server):
    """dnsmasq, which knows the given names: an address each."""

    def __init__(self, router: Router, names: Mapping[str, str], port: int = 53) -> None:
        super().__init__(router)
        self.names, self.port = names, port

    def command(self) -> Sequence[str]:
        return [
            *("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root"),
            *("--no-resolv", "--no-hosts", "--pid-file=", f"--port={self.port}"),
            *(f"--address=/{name}/{address}" for name, address in self.names.items()),
        ]

    def sockets(self) -> set[str]:
        return {f"udp {self.port}", f"tcp {self.port}"}


class MailServer(Server):
    """aiosmtpd, which takes every mail and forgets it."""

    def __init__(self, router: Router, port: int = 25) -> None:
        super().__init__(router)
        self.port = port

    def command(self) -> Sequence[str]:
        program = Path(__file__).with_name("mail_server.py")
        return [sys.executable, "-P", str(program), str(self.port)]

    def sockets(self) -> set[str]:
        return {f"tcp {self.port}"}


class Certificate:
    """A key and a certificate that it has signed itself, for the names given."""

    def __init__(self, laboratory: Laboratory, *names: str) -> None:
        self.file = laboratory.folder / f"{names[0]}.pem"
        self.key = laboratory.folder / f"{names[0]}.key"
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt"),
                *("ec_paramgen_curve:prime256v1", "-nodes", "-days", "30"),
                *("-keyout", str(self.key), "-out", str(self.file)),
                *("-subj", f"/CN={names[0]}"),
                *("-addext", "subjectAltName=" + ",".join(f"DNS:{name}" for name in names)),
            ],
            check=True,
            capture_output=True,
        )


def listening(router: Router) -> set[str]:
    """What listens in a router, as `tcp 80` and `udp 53`."""
    output = router.run(["ss", "-Hlntu"]).stdout
    lines = (line.split() for line in output.splitlines())
    return {f"{words[0]} {words[4].rpartition(':')[2]}" for words in lines}


def _entries(router: Router) -> list[Path]:
    return list(router.folder.iterdir())
