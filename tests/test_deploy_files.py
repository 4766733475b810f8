"""The files of deploy/ for other programs: each is read by its program, and does its work."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from fastvrrp._table import Segment
from fastvrrp.daemon.privileges import CHECKD, READER, SUPERVISOR, VRRPD
from fastvrrp.kernel.capabilities import Capability
from fastvrrp.track import runner, watcher
from lab import Fastvrrp, Laboratory, wait_until
from lab.pages import DOCS, all_blocks
from tracking_pair import instance

DEPLOY = Path(__file__).parents[1] / "deploy"
UNIT = DEPLOY / "systemd" / "fastvrrp.service"
FASTVRRP = str(Path(sys.executable).with_name("fastvrrp"))
MOST_EXPOSED = 65
"""Of 100, by systemd-analyze security: what the daemon needs, and scripts may, is not little."""


def run(*command: str) -> str:
    """Runs a command; what it prints, which is shown where it fails."""
    finished = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert finished.returncode == 0, finished.stdout
    return finished.stdout


def bounding_set() -> set[str]:
    """The capabilities of the unit, as `cap_...`."""
    return {
        name.lower()
        for line in UNIT.read_text().splitlines()
        if line.startswith("CapabilityBoundingSet=")
        for name in line.partition("=")[2].split()
    }


@pytest.mark.parametrize("drop_in", [None, "auth_hmac.conf"])
def test_systemd_has_nothing_to_say_about_the_unit(tmp_path: Path, drop_in: str | None) -> None:
    unit = tmp_path / "fastvrrp.service"
    unit.write_text(UNIT.read_text().replace("/usr/bin/fastvrrp", FASTVRRP))
    if drop_in is not None:
        (tmp_path / "fastvrrp.service.d").mkdir()
        shutil.copy(DEPLOY / "systemd" / drop_in, tmp_path / "fastvrrp.service.d")
    assert run("systemd-analyze", "verify", "--man=no", str(unit)) == ""
    verdict = ["systemd-analyze", "security", "--offline=true", "--no-pager"]
    run(*verdict, f"--threshold={MOST_EXPOSED}", str(unit))


@pytest.mark.parametrize(
    "drop_in", [block.text for block in all_blocks(DOCS / "deploy.md") if block.language == "ini"]
)
def test_systemd_takes_the_drop_ins_of_the_page(tmp_path: Path, drop_in: str) -> None:
    unit = tmp_path / "fastvrrp.service"
    unit.write_text(UNIT.read_text().replace("/usr/bin/fastvrrp", FASTVRRP))
    (tmp_path / "fastvrrp.service.d").mkdir()
    text = drop_in.replace("/usr/bin/fastvrrp", FASTVRRP)
    (tmp_path / "fastvrrp.service.d" / "more.conf").write_text(text)
    assert run("systemd-analyze", "verify", "--man=no", str(unit)) == ""


def test_the_unit_has_the_capabilities_that_processes_keep() -> None:
    every = (SUPERVISOR, VRRPD, CHECKD, READER, runner.RIGHTS, watcher.RIGHTS)
    kept: set[Capability] = set().union(*(rights.uses | rights.reserve for rights in every))
    assert {f"cap_{each.name.lower()}" for each in kept} <= bounding_set()


SCRIPT = """#!/bin/sh
id -u >"$0.$1"
touch /etc/fastvrrp-was-here 2>/dev/null || echo closed >>"$0.$1"
"""


class Bounded(Fastvrrp):
    """The daemon with the rights and the file system of the unit."""

    def commands(self) -> Iterable[Sequence[str]]:
        bounds = ",".join(["-all", *(f"+{name.removeprefix('cap_')}" for name in bounding_set())])
        read_only = [
            f"mount --bind {folder} {folder} && mount -o remount,bind,ro {folder}"
            for folder in ("/usr", "/etc")
        ]
        alone = ["unshare", "--mount", "sh", "-c", " && ".join([*read_only, 'exec "$@"']), "sh"]
        for command in super().commands():
            yield [*alone, "setpriv", f"--bounding-set={bounds}", *command]


def test_the_daemon_works_with_what_the_unit_leaves_it(lab: Laboratory) -> None:
    a, b, c, d = (lab.router(name) for name in "abcd")
    lab.connect(a, b)
    other = lab.connect(c, d)[0].interface
    a.ip("link set lo up")
    daemon = Bounded(a, "")
    script = daemon.folder / "script"
    script.write_text(SCRIPT)
    script.chmod(0o755)
    daemon.folder.chmod(0o777)
    daemon.configure(
        "global_defs {\n    script_user nobody\n    metrics_listen 127.0.0.1:9165\n}\n"
        + instance(1, f'notify "{script} one"')
        + instance(
            2,
            f"net_namespace {c.namespace}",
            "use_vmac",
            f'notify "{script} two" root',
            interface=other,
        )
    )
    daemon.start()
    daemon.wait_log("(V1) Entering MASTER STATE").wait_log("(V2) Entering MASTER STATE")
    wait_until(lambda: c.holds("10.9.0.2"), what="the address on a VMAC")
    for name, user in (("one", "65534"), ("two", "0")):
        said = daemon.folder / f"script.{name}"
        whole = f"{user}\nclosed\n"
        wait_until(lambda said=said, whole=whole: said.exists() and said.read_text() == whole)  # type: ignore[misc]
    daemon.wait_log("Serving metrics on 127.0.0.1:9165")
    assert "fastvrrp_build_info" in a.run(["curl", "-sS", "http://127.0.0.1:9165/metrics"]).stdout
    assert daemon.stop() == 0


def test_keys_may_be_credentials(lab: Laboratory) -> None:
    """systemd puts them into a folder of the service, whose files its user may read."""
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    folder = lab.folder / "fastvrrp.service"
    folder.mkdir(mode=0o500)
    (line,) = re.findall(r"key 1 file:(\S+)", (DEPLOY / "systemd" / "auth_hmac.conf").read_text())
    assert line == "/run/credentials/fastvrrp.service/vrrp-key-1"
    key = folder / Path(line).name
    key.write_text("k" * 32)
    key.chmod(0o400)
    conf = instance(1, f"auth_hmac {{; key 1 file:{key}; }}")
    daemon = Fastvrrp(a, conf).start().wait_log("(V1) Entering MASTER STATE")
    assert "cannot be used" not in daemon.log()
    assert daemon.stop() == 0


def test_every_kernel_parameter_is_there_and_has_its_reason(lab: Laboratory) -> None:
    file = DEPLOY / "sysctl.d" / "90-fastvrrp.conf"
    lines = file.read_text().splitlines()
    settings = {
        name: value for name, _, value in (line.partition(" = ") for line in lines) if value
    }
    router = lab.router("a")
    # What is of the whole machine is not there in a namespace, which -e passes over.
    assert router.run(["sysctl", "-q", "-e", "-p", str(file)]).stdout == ""
    applied = set()
    for name, value in settings.items():
        path = Path("/proc/sys", name.lstrip("# ").replace(".", "/"))
        assert path.exists(), name
        if not name.startswith("#") and router.call(path.exists):
            assert router.sysctl(str(path)) == value, name
            applied.add(name)
    assert {"net.ipv4.conf.all.arp_ignore", "net.ipv4.ip_nonlocal_bind"} <= applied
    before = ""
    for line in lines:
        assert not re.match(r"[a-z]", line) or before, f"{line} has no reason"
        before = line


def test_logs_that_are_moved_away_go_on(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    folder = lab.folder / "log"
    folder.mkdir()
    rules = lab.folder / "rules"
    text = (DEPLOY / "logrotate.d" / "fastvrrp").read_text()
    rules.write_text(text.replace("/var/log/fastvrrp", str(folder)))
    rules.chmod(0o644)
    conf = lab.folder / "keepalived.conf"
    conf.write_text(instance(1))
    log = folder / "fastvrrp_vrrp.log"
    command = [FASTVRRP, "keepalived", "-n", "-f", str(conf), "-p", str(lab.folder / "pid")]
    command += ["-r", str(lab.folder / "vrrp.pid"), f"--log-file={folder}/fastvrrp.log"]
    with (lab.folder / "stderr").open("wb") as stderr:
        daemon = a.start_daemon([*command, "--flush-log-file", "--no-syslog"], stderr)
    wait_until(lambda: log.exists() and "Entering MASTER" in log.read_text(), what="the log")
    (folder / "keepalived.data").write_text("old\n")
    rotate = ["logrotate", "--force", "--state", str(lab.folder / "state"), str(rules)]
    run(*rotate)
    assert "Entering MASTER" in log.with_suffix(".log.1").read_text()
    assert (folder / "keepalived.data.1.gz").exists()
    daemon.terminate()
    assert daemon.wait(30.0) == 0
    assert "Stopping" in log.read_text()


def test_only_peers_are_heard_behind_the_packet_filter(lab: Laboratory) -> None:
    a, b, stranger = (lab.router(name) for name in ("a", "b", "stranger"))
    (link,) = lab.connect(a, b, stranger)
    rules = DEPLOY / "nftables" / "vrrp.nft"
    a.run(["nft", "-c", "-f", str(rules)])
    for router in (a, b):
        for _ in range(2):  # loaded anew, it replaces itself
            router.run(["nft", "-f", str(rules)])
    daemons = [
        Fastvrrp(router, instance(1, priority=priority))
        for router, priority in ((a, 200), (b, 100), (stranger, 250))
    ]
    daemons[0].start().wait_log("(V1) Entering MASTER STATE")
    daemons[1].start()
    daemons[2].start().wait_log("(V1) Entering MASTER STATE")

    def heard(router_index: int) -> int:
        """Adverts that a daemon has received."""
        segment = Segment(daemons[router_index].folder / "fastvrrp.state")
        return int(next(iter(segment))["adverts_received"])

    def dropped() -> int:
        rules = a.run(["nft", "list", "ruleset"]).stdout
        found = re.search(r"counter packets (\d+) bytes \d+ drop", rules)
        assert found is not None
        return int(found[1])

    wait_until(lambda: dropped() > 3, what="adverts of the stranger, dropped")
    wait_until(lambda: heard(1) > 3, what="adverts of the peer, heard")
    # The stranger's would have made it a backup.
    assert daemons[0].entered("V1") == ["BACKUP", "MASTER"]
    assert daemons[1].entered("V1") == ["BACKUP"]
    # Let in, it is what its priority makes it.
    address = link.address(stranger)
    for router in (a, b):
        element = "{ " + address + " }"
        router.run(["nft", "add", "element", "inet", "vrrp_peers", "peers4", element])
    daemons[0].wait_log("(V1) Entering BACKUP STATE", count=2)
    for daemon in daemons:
        assert daemon.stop() == 0
