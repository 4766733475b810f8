"""A page of the documentation, run from its first command to its last, on machines of its own.

A block of the page is a fenced one with a language and options:

    ```sh on=r1,r2              commands for a shell, on these machines
    ```sh on=r2 copies=r1:PATH  the same, when the file at PATH has been copied from r1
    ```NAME file=PATH on=r1     the content of a file there
    ```sh on=r1 exits=1         commands that end with another status than 0
    ```sh on=r1 stays           a command that stays in the foreground, until Ctrl-C after the page
    ```text output              what the block before it prints, whatever the order of the lines
    ```console on=r1            commands behind `# `, each with what it prints (lab.recordings)

A block with output is run again until it prints that. Blocks without options are not run.
"""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from lab.network import Laboratory, Router
from lab.recordings import Said, is_on_screen, recorded, shows
from lab.waiting import wait_until

TREE = Path(__file__).parents[2]
DOCS = TREE / "docs"
BLOCK = re.compile(r"^```(?P<language>\w*)(?P<options>[^\n]*)\n(?P<text>.*?)^```$", re.M | re.S)
OUTPUT = "output"
CONSOLE = "console"
STAYS = "stays"
OWN_FOLDERS = ("/etc/keepalived", "/etc/nginx", "/var/log", "/var/lib/nginx", "/run")
"""Where a machine's own files are, and no other's."""
BOTH_ENDS = re.compile(r"(?<=@if)\d+")
COMMANDS = ("fastvrrp",)


@dataclass(frozen=True)
class Block:
    """One block of the page."""

    language: str
    options: dict[str, str]
    text: str
    output: str | None = None
    """What the page says that it prints."""

    @property
    def is_run(self) -> bool:
        return "on" in self.options

    @property
    def first_line(self) -> str:
        return self.text.partition("\n")[0]

    @property
    def status(self) -> int:
        """With which it ends."""
        return int(self.options.get("exits", "0"))


def all_blocks(page: Path) -> list[Block]:
    """Every fenced block of a page; what it prints is with the one before."""
    found: list[Block] = []
    for each in BLOCK.finditer(page.read_text()):
        words = (word.partition("=") for word in each["options"].split())
        block = Block(each["language"], {name: value for name, _, value in words}, each["text"])
        if OUTPUT in block.options:
            found[-1] = replace(found[-1], output=block.text)
        else:
            found.append(block)
    return found


def blocks(page: Path) -> Iterator[Block]:
    """Those that are run, or are files."""
    return (block for block in all_blocks(page) if block.is_run)


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
        # Where commands are run: as in a checkout, for files of deploy/, and yet its own.
        self.home = router.folder / "home"
        self.home.mkdir()
        (self.home / "deploy").symlink_to(TREE / "deploy")
        self.staying: list[subprocess.Popen[bytes]] = []
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
                self.shell(text),
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            )
            said.seek(0)
            output = said.read()
        return status, BOTH_ENDS.sub("", output)

    def stay(self, text: str) -> None:
        """Starts a block that stays until `interrupt`."""
        with (self.router.folder / f"stays-{len(self.staying)}").open("wb") as said:
            process = subprocess.Popen(
                self.shell(f"exec {text}"),
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        self.router.laboratory.processes.append(process)
        self.staying.append(process)

    def interrupt(self) -> None:
        """Ctrl-C for what has stayed, which ends well."""
        for process in self.staying:
            process.send_signal(signal.SIGINT)
            assert process.wait(30.0) == 0

    def shell(self, text: str, columns: int = 100, rows: int = 50) -> list[str]:
        return [
            *("nsenter", "-t", str(self.pid), "-m", "-n", f"--wdns={self.home}", "--"),
            *("env", f"PATH={self.path}", "PYTHONDONTWRITEBYTECODE=1"),
            *(f"COLUMNS={columns}", f"LINES={rows}", "LC_ALL=C.UTF-8"),
            *("bash", "-e", "-o", "pipefail", "-c", text),
        ]

    def screen(self, command: str, columns: int, rows: int) -> str:
        """What a command that fills a terminal of this size shows now; it is started where it
        does not run yet."""
        socket = self.router.folder / "terminal"
        tmux = ["tmux", "-f", "/dev/null", "-S", str(socket)]
        if not socket.exists():
            size = [f"-x{columns}", f"-y{rows}"]
            shell = shlex.join(self.shell(f"exec {command}", columns, rows))
            subprocess.run([*tmux, "new-session", "-d", *size, shell], check=True)
            kill = [*tmux, "kill-server"]
            self.router.laboratory.closing.callback(subprocess.run, kill, check=False)
        capture = [*tmux, "capture-pane", "-p"]
        return subprocess.run(capture, capture_output=True, text=True, check=False).stdout

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
            if STAYS in block.options:
                machine.stay(block.text)
            elif block.language == CONSOLE:
                wait_for_recording(machine, block, patience)
            elif block.output is None:
                machine.run(block.text, block.status)
            else:
                wait_for_output(machine, block, patience)
    for machine in machines.values():
        machine.interrupt()
    return ran


def wait_for_output(machine: Machine, block: Block, patience: float) -> None:
    assert block.output is not None
    wanted = (block.status, sorted(block.output.splitlines()))
    seen: list[tuple[int, list[str]]] = []

    def is_shown() -> bool:
        # A command may fail until what it asks for is there.
        status, output = machine.attempt(block.text)
        seen[:] = [(status, sorted(line.rstrip() for line in output.splitlines()))]
        return seen[0] == wanted

    wait_until(
        is_shown,
        patience,
        what=lambda: f"{block.text} on {machine.router.name} gave {seen[0]}, not {wanted}",
        interval=0.5,
    )


def wait_for_recording(machine: Machine, block: Block, patience: float) -> None:
    """Runs each command of a block until it prints what is recorded; one that fills the screen
    goes on until then. A command that changes something (`once`) is run once."""
    for said in recorded(block.text):
        seen: list[str] = []

        def is_shown(said: Said = said, seen: list[str] = seen) -> bool:
            free = "numbers" in block.options
            if "screen" in block.options:
                columns, _, rows = block.options["screen"].partition("x")
                seen[:] = [machine.screen(said.command, int(columns), int(rows))]
                return is_on_screen(seen[0], said.output, are_numbers_free=free)
            status, output = machine.attempt(said.command)
            seen[:] = [output if status == block.status else f"{output}\nstatus {status}"]
            return shows(seen[0], said.output, are_numbers_free=free)

        wait_until(
            is_shown,
            0.0 if "once" in block.options else patience,
            what=lambda said=said, seen=seen: (  # type: ignore[misc]
                f"{said.command} on {machine.router.name} printed\n{seen[0]}\nnot\n{said.output}"
            ),
            interval=0.5,
        )
