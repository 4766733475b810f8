"""docs/load-balancing.md, from its first command to its last, on machines of their own."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab import Laboratory, Router, wait_until

pytestmark = pytest.mark.timeout(330)  # the guest is slow
PATIENCE = 90.0
"""Seconds; the guest is slow."""
PAGE = Path(__file__).parents[3] / "docs" / "load-balancing.md"
BLOCK = re.compile(r"^```(?P<language>\w+)(?P<options>[^\n]*)\n(?P<text>.*?)^```$", re.M | re.S)
NUMBERS = {"lb1": 1, "lb2": 2, "client": 9, "web1": 11, "web2": 12, "sorry": 13}
OWN_FOLDERS = ("/etc/keepalived", "/etc/nginx", "/var/log", "/var/lib/nginx", "/run")
"""Where a machine's own files are, and no other's."""
BOTH_ENDS = re.compile(r"(?<=@if)\d+")


@dataclass(frozen=True)
class Block:
    """One block of the page."""

    options: dict[str, str]
    text: str
    output: str | None
    """What the page says that it prints."""


def blocks() -> Iterator[Block]:
    found = list(BLOCK.finditer(PAGE.read_text()))
    for block, after in zip(found, [*found[1:], None], strict=True):
        if block["options"].strip() == "output":
            continue
        options = dict(option.split("=", 1) for option in block["options"].split())
        shows = after is not None and after["options"].strip() == "output"
        yield Block(options, block["text"], after["text"] if shows and after else None)


class Machine:
    """A host of the page: a namespace of the network, and one of its own files."""

    def __init__(self, router: Router) -> None:
        self.router = router
        tools = router.folder / "tools"
        tools.mkdir()
        # The guest's modules are not where a machine has them.
        (tools / "modprobe").write_text('#!/bin/sh\nexec /sbin/modprobe -d /run/modules "$@"\n')
        (tools / "modprobe").chmod(0o755)
        (tools / "fastvrrp").symlink_to(Path(sys.executable).with_name("fastvrrp"))
        self.path = f"{tools}:/usr/sbin:/usr/bin:/sbin:/bin"
        mounts = "".join(f"mount -t tmpfs none {folder}\n" for folder in OWN_FOLDERS)
        # What /run has of the guest is needed under an empty /run too.
        kept = {"/mnt": "/run/modules", "/srv": str(router.folder)}
        before = "".join(f"mount --bind {path} {aside}\n" for aside, path in kept.items())
        after = "".join(
            f"mkdir -p {path}\nmount --bind {aside} {path}\n" for aside, path in kept.items()
        )
        program = f"set -e\n{before}{mounts}{after}mkdir -p /var/log/nginx\n"
        program += "echo ready\nexec sleep infinity\n"
        holder = subprocess.Popen(
            ["ip", "netns", "exec", router.namespace, "unshare", "-m", "bash", "-c", program],
            stdout=subprocess.PIPE,
            text=True,
        )
        router.laboratory.closing.callback(holder.wait)
        router.laboratory.closing.callback(holder.kill)
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        holder.stdout.close()
        self.pid = holder.pid

    def run(self, text: str) -> str:
        """Runs a block and returns what it prints; fails where it fails."""
        status, output = self.attempt(text)
        assert status == 0, f"on {self.router.name}:\n{text}\n{output}"
        return output

    def attempt(self, text: str) -> tuple[int, str]:
        """Runs a block and returns its exit status and what it prints."""
        # A file, not a pipe, whose end would not come before that of a daemon that is started.
        with tempfile.TemporaryFile("w+") as said:
            status = subprocess.call(
                [
                    *("nsenter", "-t", str(self.pid), "-m", "-n", "--"),
                    *("env", f"PATH={self.path}", "PYTHONDONTWRITEBYTECODE=1"),
                    *("bash", "-e", "-o", "pipefail", "-c", text),
                ],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            )
            said.seek(0)
            output = said.read()
        return status, BOTH_ENDS.sub("", output)

    def write(self, path: str, text: str) -> None:
        self.run(f"cat >{path} <<'END'\n{text}END\n")


def test_the_page(lab: Laboratory) -> None:
    routers = {name: lab.router(name) for name in NUMBERS}
    lab.connect(*routers.values())
    for name, router in routers.items():
        router.ip("address flush dev eth0 scope global")
        router.ip(f"address add 192.0.2.{NUMBERS[name]}/24 dev eth0")
    machines = {name: Machine(router) for name, router in routers.items()}
    ran = 0
    for block in blocks():
        for name in block.options["on"].split(","):
            machine = machines[name]
            if "file" in block.options:
                machine.write(block.options["file"], block.text)
                continue
            if "copies" in block.options:
                source, _, path = block.options["copies"].partition(":")
                machine.write(path, machines[source].run(f"cat {shlex.quote(path)}"))
            ran += 1
            if block.output is None:
                machine.run(block.text)
            else:
                wait_for_output(machine, block.text, block.output)
    assert ran > 20


def wait_for_output(machine: Machine, text: str, wanted: str) -> None:
    seen: list[str] = []

    def shows() -> bool:
        # A command may fail until what it asks for is there.
        status, output = machine.attempt(text)
        seen[:] = sorted(line.rstrip() for line in output.splitlines())
        return status == 0 and seen == sorted(wanted.splitlines())

    wait_until(
        shows,
        PATIENCE,
        what=lambda: f"{text} on {machine.router.name} gave {seen}, not {wanted}",
        interval=0.5,
    )
