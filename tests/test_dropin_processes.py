"""The processes that keepalived's options make: pid files, halves, ends, and what they leave."""

from __future__ import annotations

import os
import signal
import subprocess
from functools import partial
from pathlib import Path

import pytest

from dropin_pair import FASTVRRP, ONE_ROUTER, ONE_SERVER, AsKeepalived, Real, has_pid
from lab import Laboratory, wait_until


@pytest.mark.parametrize(
    ("lines", "name"),
    [
        ("", ""),
        ("use_pid_dir\n", ""),
        ("instance one\n", "one"),
    ],
)
@pytest.mark.keywords("use_pid_dir", "instance")
def test_pid_files_are_where_keepalived_has_them(
    lab: Laboratory, tmp_path: Path, lines: str, name: str
) -> None:
    """Each runs with a /run of its own, which another mount namespace gives it."""
    router, other = lab.router("a"), lab.router("b")
    lab.connect(router, other)
    configuration = tmp_path / "keepalived.conf"
    configuration.write_text(lines + ONE_ROUTER)
    found = []
    for program in ((FASTVRRP, "keepalived"), ("keepalived",)):
        script = (
            f"mount --make-rprivate / && mount -t tmpfs none /run &&"
            f" {{ {' '.join(program)} -n -l -f {configuration} & }};"
            " while ! find /run -name '*vrrp*.pid' | grep -q .; do sleep 0.05; done;"
            " find /run -name '*.pid' | sort; kill $!; wait $!; find /run -name '*.pid'"
        )
        done = router.run(["unshare", "-m", "sh", "-c", script], check=False)
        found.append([line for line in done.stdout.splitlines() if line.startswith("/run")])
    assert found[0] == found[1]
    assert len(found[0]) == 2
    assert all(name in path for path in found[0])


@pytest.mark.parametrize("kind", [AsKeepalived, Real])
def test_a_daemon_can_end_with_its_processes(
    lab: Laboratory, kind: type[AsKeepalived | Real]
) -> None:
    router, other = lab.router("a"), lab.router("b")
    lab.connect(router, other)

    class Ending(kind):  # type: ignore[misc, valid-type]
        def commands(self) -> list[list[str]]:
            return [[*super().commands()[0], "-R"]]

    daemon = Ending(router, ONE_ROUTER).start()
    daemon.wait_log("(VI_4) Entering MASTER STATE")
    speaker = int((daemon.folder / "vrrp.pid").read_text())
    os.kill(speaker, signal.SIGKILL)
    assert daemon.wait() == 0
    log = daemon.log_file.read_text()
    assert f"VRRP child process({speaker}) died: Exiting\n" in log
    assert log.count("Starting VRRP child process") == 1
    assert not (daemon.folder / "main.pid").exists()


def test_addresses_and_routes_can_be_left_where_they_are(lab: Laboratory) -> None:
    text = ONE_ROUTER.replace(
        "virtual_ipaddress",
        "virtual_routes { 198.51.100.0/24 via 10.0.0.9 dev eth0 }\n    virtual_ipaddress",
    )
    left = []
    routers = lab.router("a"), lab.router("b")
    lab.connect(*routers)
    for router, kind in zip(routers, (AsKeepalived, Real), strict=True):
        before = router.addresses()

        class Keeping(kind):  # type: ignore[misc, valid-type]
            def commands(self) -> list[list[str]]:
                return [[*super().commands()[0], "-V"]]

        daemon = Keeping(router, text).start()
        daemon.wait_log("(VI_4) Entering MASTER STATE")
        wait_until(partial(router.holds, "10.0.0.106"), what="the address")
        wait_until(
            lambda router=router: any(  # type: ignore[misc]
                each["dst"] == "198.51.100.0/24" for each in router.show("route", "show")
            ),
            what="the route",
        )
        assert daemon.stop() == 0
        routes = {each["dst"] for each in router.show("route", "show")}
        left.append((router.addresses() - before, "198.51.100.0/24" in routes))
    assert left == [({"eth0 10.0.0.106/24"}, True)] * 2


@pytest.mark.keywords("global_defs/checker_priority", "global_defs/checker_process_name")
@pytest.mark.parametrize("option", ["", "-P", "-C"])
def test_one_half_of_a_configuration_can_be_run(lab: Laboratory, option: str) -> None:
    router, other = lab.router("a"), lab.router("b")
    lab.connect(router, other)

    class Half(AsKeepalived):
        def commands(self) -> list[list[str]]:
            checkers = ["-c", str(self.folder / "checkers.pid")]
            return [[*super().commands()[0], *checkers, *filter(None, [option])]]

    settings = "global_defs {\n checker_process_name checks\n checker_priority 7\n}\n"
    daemon = Half(router, settings + ONE_ROUTER + ONE_SERVER).start()
    pid_file = daemon.folder / "checkers.pid"
    daemon.wait_log("Startup complete")
    if option != "-C":
        daemon.wait_log("(VI_4) Entering MASTER STATE")
    if option != "-P":
        wait_until(partial(has_pid, pid_file), what="the pid of the checkers")
        comm = Path(f"/proc/{pid_file.read_text().strip()}/comm")
        wait_until(lambda: comm.read_text() == "checks\n", what="its name")
        assert os.getpriority(os.PRIO_PROCESS, int(pid_file.read_text())) == 7
    assert has_pid(pid_file) == (option != "-P")
    daemon.signal(signal.SIGHUP)
    daemon.wait_log("Reloaded")
    assert has_pid(pid_file) == (option != "-P")
    assert ("VI_4" in daemon.log()) == (option != "-C")
    assert daemon.stop() == 0
    assert not pid_file.exists()


def test_a_network_namespace_has_its_own_pid_files(lab: Laboratory, tmp_path: Path) -> None:
    """As `-s` says, from another namespace; and both have the files in the same place."""
    router, other = lab.router("a"), lab.router("b")
    lab.connect(router, other)
    configuration = tmp_path / "keepalived.conf"
    name = router.namespace
    configuration.write_text(ONE_ROUTER)
    found = []
    for program in ((FASTVRRP, "keepalived"), ("keepalived",)):
        script = (
            "mount --make-rprivate / && mkdir -p /run/keepalived &&"
            " mount -t tmpfs none /run/keepalived &&"
            f" {{ {' '.join(program)} -n -l -s {name} -f {configuration} & }};"
            " while ! find /run/keepalived -name '*vrrp*.pid' | grep -q .; do sleep 0.05; done;"
            " find /run/keepalived -name '*.pid' | sort; kill $!; wait $!"
        )
        done = subprocess.run(
            ["unshare", "-m", "sh", "-c", script],
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        found.append([line for line in done.stdout.splitlines() if line.startswith("/run")])
    assert found[0] == found[1]
    assert [Path(each).parent for each in found[0]] == [Path("/run/keepalived", name)] * 2


def test_whoever_starts_it_goes_on_when_it_runs(lab: Laboratory) -> None:
    router, other = lab.router("a"), lab.router("b")
    lab.connect(router, other)
    configuration = router.folder / "keepalived.conf"
    configuration.write_text(ONE_ROUTER)
    pid_file = router.folder / "main.pid"
    done = router.run(
        [
            *(FASTVRRP, "keepalived", "-G", "-f", str(configuration), "-p", str(pid_file)),
            *("-r", str(router.folder / "vrrp.pid")),
        ]
    )
    assert done.returncode == 0
    pid = int(pid_file.read_text())
    try:
        assert Path(f"/proc/{pid}/comm").read_text() == "keepalived\n"
    finally:
        os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not pid_file.exists(), what="its end")
