"""deploy/examples: each configuration is without a complaint, and each pair does what it is for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import pytest

from lab import Daemon, Fastvrrp, Laboratory, Router, wait_until
from lab.daemons import descendants

EXAMPLES = Path(__file__).parents[1] / "deploy" / "examples"
FASTVRRP = str(Path(sys.executable).with_name("fastvrrp"))
FILES = sorted([*EXAMPLES.glob("*/first.conf"), *EXAMPLES.glob("*/second.conf")])
SIDES = ("first", "second")
ONE, TWO = "10.0.0.100", "10.0.0.101"


def read(example: str, name: str, replaced: Mapping[str, object]) -> str:
    """A file of an example, with paths in it that are the test's own."""
    text = (EXAMPLES / example / name).read_text()
    for before, after in replaced.items():
        assert before in text
        text = text.replace(before, str(after))
    return text


class Pair:
    """The two machines of an example."""

    def __init__(self, lab: Laboratory) -> None:
        self.lab = lab
        self.routers = lab.router("first"), lab.router("second")
        lab.connect(*self.routers)

    def start(
        self,
        example: str,
        kind: Callable[[Router, str], Daemon] = Fastvrrp,
        replaced: Mapping[str, object] = MappingProxyType({}),
    ) -> list[Daemon]:
        """Starts the daemons of an example."""
        return [
            kind(router, read(example, f"{side}.conf", replaced)).start()
            for router, side in zip(self.routers, SIDES, strict=True)
        ]

    def wait(self, address: str, holder: int) -> None:
        """Waits until an address is on machine 0 or 1 alone."""
        self.lab.wait_for_holder(address, self.routers[holder], timeout=30.0)


@pytest.fixture
def pair(lab: Laboratory) -> Pair:
    return Pair(lab)


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_there_is_nothing_to_complain_about(file: Path) -> None:
    run = subprocess.run(
        [FASTVRRP, "check", str(file)], capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert (file.parent / "README.md").exists()
    assert f"`{file.parent.name}`" in (EXAMPLES / "README.md").read_text()


def test_every_example_has_two_sides() -> None:
    folders = [folder for folder in EXAMPLES.iterdir() if folder.is_dir()]
    assert len(FILES) == 2 * len(folders) == 12


def test_one_address_follows_the_machine_that_is_there(pair: Pair) -> None:
    first, second = pair.start("active-standby")
    pair.wait(ONE, 0)
    assert first.stop() == 0
    pair.wait(ONE, 1)
    first.start()
    pair.wait(ONE, 0)
    assert first.stop() == second.stop() == 0


def test_two_addresses_are_shared(pair: Pair) -> None:
    first, second = pair.start("dual-master")
    pair.wait(ONE, 0)
    pair.wait(TWO, 1)
    second.kill()
    # What it has left in its kernel it does not answer for: it was killed.
    wait_until(
        lambda: pair.routers[0].holds(TWO), 30.0, what=lambda: f"both on one:\n{first.log()}"
    )
    assert pair.routers[0].holds(ONE)
    assert first.stop() == 0


def test_the_address_is_where_nginx_answers(pair: Pair) -> None:
    servers = []
    for router in pair.routers:
        conf = router.folder / "nginx.conf"
        paths = {"/run/nginx.pid": router.folder / "pid", "/var/log/nginx/error.log": "stderr"}
        conf.write_text(read("nginx", "nginx.conf", paths))
        with (router.folder / "nginx.log").open("wb") as log:
            command = ["nginx", "-c", str(conf), "-g", "daemon off;"]
            servers.append(router.start_daemon(command, log))
    first, second = pair.start("nginx")
    pair.wait(ONE, 0)
    servers[0].terminate()
    pair.wait(ONE, 1)
    said = pair.routers[1].run(["curl", "-sS", f"http://{ONE}/"]).stdout
    assert said.startswith("served by ")
    assert first.stop() == second.stop() == 0


class WithHaproxy(Fastvrrp):
    """A machine with processes of its own, of which HAProxy is one."""

    def commands(self) -> Iterable[Sequence[str]]:
        conf = EXAMPLES / "haproxy" / "haproxy.cfg"
        alone = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child=KILL"]
        both = f'haproxy -db -f {conf} & exec "$@"'
        return [[*alone, "sh", "-c", both, "sh", *command] for command in super().commands()]

    def haproxy(self) -> list[int]:
        """Its HAProxy, all processes of it."""
        found = []
        for pid in descendants([self.processes[0].pid]):
            name = Path(f"/proc/{pid}/comm")
            if name.exists() and name.read_text() == "haproxy\n":
                found.append(pid)
        return found


def test_the_address_is_where_haproxy_runs(pair: Pair) -> None:
    for router in pair.routers:
        router.set_sysctl("net/ipv4/ip_nonlocal_bind", "1")
    first, second = pair.start("haproxy", WithHaproxy)
    assert isinstance(first, WithHaproxy)
    pair.wait(ONE, 0)
    # No server is there, which only HAProxy would say.
    status = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", f"http://{ONE}/"]
    wait_until(lambda: pair.routers[0].run(status, check=False).stdout == "503", what="HAProxy")
    for pid in first.haproxy():
        os.kill(pid, signal.SIGKILL)
    pair.wait(ONE, 1)
    first.kill()
    second.kill()


def test_a_cloud_is_told_where_the_address_is(pair: Pair) -> None:
    """What would ask Amazon is a script that writes down what it is asked for."""
    folder = pair.lab.folder
    key, script, told = folder / "key", folder / "move-address", folder / "told"
    key.write_text("k" * 44)
    key.chmod(0o600)
    (folder / "bin").mkdir()
    cloud = folder / "bin" / "aws"
    cloud.write_text(f'#!/bin/sh\necho "$*" >>{told}\n')
    lines = (EXAMPLES / "unicast-cloud" / "move-address").read_text().splitlines()
    settings = [f"PATH={folder}/bin:$PATH", "INTERFACE_ID=$(hostname)"]
    script.write_text("\n".join([lines[0], *settings, *lines[1:]]) + "\n")
    for program in (cloud, script):
        program.chmod(0o755)
    paths = {"/etc/keepalived/vrrp-key": key, "/etc/keepalived/move-address": script}
    first, second = pair.start("unicast-cloud", replaced=paths)
    wait_until(told.exists, 30.0, what=lambda: f"the cloud told\n{first.log()}")
    holders = pair.lab.holders_of(ONE)
    assert len(holders) == 1
    master = (first, second)[pair.routers.index(holders[0])]
    assert master.stop() == 0
    wait_until(lambda: len(told.read_text().splitlines()) == 2, 30.0, what="told again")
    said = told.read_text().splitlines()
    assert all(f"--private-ip-addresses {ONE}" in line for line in said)
    assert all(line.startswith("ec2 assign-private-ip-addresses --allow-re") for line in said)
    pair.wait(ONE, 1 - pair.routers.index(holders[0]))
    for daemon in (first, second):
        if daemon is not master:
            assert daemon.stop() == 0
