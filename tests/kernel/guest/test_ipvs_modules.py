"""A kernel that has IPVS as modules, none of which is loaded: alone in its guest, since a module
that was used stays in use for a while."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fastvrrp.model import FlushOnStop
from ipvs_table import loaded, saved

SERVER = """
virtual_server 10.1.0.1 80 {
    protocol TCP
    lvs_sched rr
    lvs_method NAT
    real_server 10.0.0.1 80 {
    }
}
"""


@pytest.fixture
def modprobe(tmp_path: Path) -> Iterator[Callable[[str], None]]:
    """Lets the kernel load modules by a script of that text; there is no module of IPVS then."""
    setting = Path("/proc/sys/kernel/modprobe")
    before = setting.read_text()
    modules = [line.split()[0] for line in Path("/proc/modules").read_text().splitlines()]
    ours = [name for name in modules if name.startswith("ip_vs")]
    subprocess.run(["modprobe", "-d", "/run/modules", "-r", *ours], check=True)
    program = tmp_path / "modprobe"

    def write(text: str) -> None:
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(0o755)
        setting.write_text(str(program))

    try:
        yield write
    finally:
        setting.write_text(before)
        subprocess.run(["modprobe", "-d", "/run/modules", "-a", *ours], check=True)


def test_modules_are_loaded_when_they_are_needed(
    modprobe: Callable[[str], None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def missing() -> None:
        services = await loaded(SERVER, tmp_path)
        await services.close(FlushOnStop.EACH)

    async def found() -> None:
        services = await loaded(SERVER, tmp_path)
        assert saved() == ["-A -t 10.1.0.1:80 -s rr", "-a -t 10.1.0.1:80 -r 10.0.0.1:80 -m -w 1"]
        await services.close(FlushOnStop.EACH)

    modprobe("echo no such module >&2; exit 1")
    asyncio.run(missing())
    assert caplog.text.count("load the module ip_vs (no such module)") == 1
    caplog.clear()
    modprobe('exec /sbin/modprobe -d /run/modules "$@"')
    asyncio.run(found())
    assert not caplog.text


def test_a_check_names_the_modules_that_there_are_not(
    modprobe: Callable[[str], None], tmp_path: Path
) -> None:
    file = tmp_path / "lvs.conf"
    file.write_text(
        SERVER
        + SERVER.replace("10.1.0.1", "10.1.0.2").replace("rr", "twos")
        + SERVER.replace("10.1.0.1", "10.1.0.3").replace("rr", "twos")
    )
    check = [sys.executable, "-m", "fastvrrp", "check", str(file)]

    def said() -> str:
        checked = subprocess.run(check, capture_output=True, text=True, check=True)
        return checked.stderr.replace(f"{file}:", "")

    modprobe('exec /sbin/modprobe -d /run/modules "$@"')
    line = (
        "12:15: warning: the kernel of this machine has no lvs_sched twos; install or load the"
        " module ip_vs_twos\n"
    )
    assert said() == line
    # keepalived does not ask: the status of a test is the same.
    for program in (["fastvrrp", "run"], ["keepalived"]):
        command = [*([sys.executable, "-m"] if program[0] == "fastvrrp" else []), *program]
        tested = subprocess.run([*command, "-t", "-f", str(file)], capture_output=True, check=False)
        assert tested.returncode == 0
    # Where no modules can be listed, and none is found, nobody knows.
    modprobe("exit 1")
    assert said() == ""
