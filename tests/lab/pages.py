"""A page of the documentation, run from its first command to its last, on machines of its own.

A block of the page is a fenced one with a language and options:

    ```sh on=r1,r2              commands for a shell, on these machines
    ```sh on=r2 copies=r1:PATH  the same, when the file at PATH has been copied from r1
    ```NAME file=PATH on=r1     the content of a file there
    ```sh on=r1 exits=1         commands that end with another status than 0
    ```text output              what the block before it prints, whatever the order of the lines

A block with output is run again until it prints that. Other fenced blocks are not run, but each has
to say so (`example` in place of the options).
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lab.network import Laboratory, Router
from lab.waiting import wait_until

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```(?P<language>\w+)(?P<options>[^\n]*)\n(?P<text>.*?)^```$", re.M | re.S)
OUTPUT = "output"
EXAMPLE = "example"
OWN_FOLDERS = ("/etc/keepalived", "/etc/nginx", "/var/log", "/var/lib/nginx", "/run")
"""Where a machine's own files are, and no other's."""
BOTH_ENDS = re.compile(r"(?<=@if)\d+")
COMMANDS = ("fastvrrp",)


@dataclass(frozen=True)
class Block:
    """One block of the page."""

    options: dict[str, str]
    text: str
    output: str | None
    """What the page says that it prints."""

    @property
    def status(self) -> int:
        """With which it ends."""
        return int(self.options.get("exits", "0"))


def blocks(page: Path) -> Iterator[Block]:
    all_blocks = BLOCK.finditer(page.read_text())
    found = [block for block in all_blocks if block["options"].strip() != EXAMPLE]
    for block, after in zip(found, [*found[1:], None], strict=True):
        if block["options"].strip() == OUTPUT:
            continue
        options = dict(option.split("=", 1) for option in block["options"].split())
        shows = after is not None and after["options"].strip() == OUTPUT
        yield Block(options, block["text"], after["text"] if shows and after else None)


class Machine:
    """A host of the page: a namespace of the network, and one of its own files."""

    def __init__(self, router: Router, modules: Path | None = None) -> None:
        """`modules` is where the kernel's modules are, if not where a machine has them; it has to
        be in /run."""
        self.router = router
        tools = router.folder / "tools"
        tools.mkdir()
        if modules is not None:
            (tools / "modprobe").write_text(f'#!/bin/sh\nexec /sbin/modprobe -d {modules} "$@"\n')
            (tools / "modprobe").chmod(0o755)
        for command in COMMANDS:
            (tools / command).symlink_to(Path(sys.executable).with_name(command))
        self.path = f"{tools}:/usr/sbin:/usr/bin:/sbin:/bin"
        mounts = "".join(f"mount -t tmpfs none {folder}\n" for folder in OWN_FOLDERS)
        # What is under these folders and needed is mounted there again.
        kept = {"/srv": router.folder} | ({"/mnt": modules} if modules is not None else {})
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

    def run(self, text: str, expected: int = 0) -> str:
        """Runs commands and returns what they print; fails where they end with another status."""
        status, output = self.attempt(text)
        assert status == expected, f"on {self.router.name}: {status}\n{text}\n{output}"
        return output

    def attempt(self, text: str) -> tuple[int, str]:
        """Runs a block and returns its exit status and what it prints."""
        # A file, not a pipe, whose end would not come before that of a daemon that is started.
        with tempfile.TemporaryFile("w+") as said:
            status = subprocess.call(
                [
                    *("nsenter", "-t", str(self.pid), "-m", "-n", "--"),
                    *("env", f"PATH={self.path}", "PYTHONDONTWRITEBYTECODE=1", "COLUMNS=100"),
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
        folder = shlex.quote(str(Path(path).parent))
        self.run(f"mkdir -p {folder}\ncat >{path} <<'END'\n{text}END\n")


def machines_of(
    lab: Laboratory, numbers: Mapping[str, int], modules: Path | None = None
) -> dict[str, Machine]:
    """Machines in one network, 192.0.2.0/24; `numbers` are the ends of their addresses."""
    routers = {name: lab.router(name) for name in numbers}
    lab.connect(*routers.values())
    for name, router in routers.items():
        router.ip("address flush dev eth0 scope global")
        router.ip(f"address add 192.0.2.{numbers[name]}/24 dev eth0")
    return {name: Machine(router, modules) for name, router in routers.items()}


def run_page(page: Path, machines: Mapping[str, Machine], patience: float) -> int:
    """Runs every block; how many commands that were. What is to be printed may take `patience`
    seconds to come."""
    ran = 0
    for block in blocks(page):
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
                machine.run(block.text, block.status)
            else:
                wait_for_output(machine, block, patience)
    return ran


def wait_for_output(machine: Machine, block: Block, patience: float) -> None:
    assert block.output is not None
    wanted = (block.status, sorted(block.output.splitlines()))
    seen: list[tuple[int, list[str]]] = []

    def shows() -> bool:
        # A command may fail until what it asks for is there.
        status, output = machine.attempt(block.text)
        seen[:] = [(status, sorted(line.rstrip() for line in output.splitlines()))]
        return seen[0] == wanted

    wait_until(
        shows,
        patience,
        what=lambda: f"{block.text} on {machine.router.name} gave {seen[0]}, not {wanted}",
        interval=0.5,
    )
