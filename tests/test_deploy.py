"""deploy/install-needs installs what is missing and nothing else, and no service starts meanwhile.

It runs in a mount namespace where /usr/sbin is empty, with a PATH that has only what the test puts
there: an apt-get and an update-rc.d that write down what they were asked for, among them.
"""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lab import wait_until

TREE = Path(__file__).parents[1]
SCRIPT = TREE / "deploy" / "install-needs"
POLICY = "/usr/sbin/policy-rc.d"
TOOLS = ("bash", "env", "dirname", "grep", "rm", "chmod", "flock", "cat", "cp", "sleep", "touch")
APT_GET = f"""#!/usr/bin/env bash
echo "apt-get $*" >>calls
[[ " $* " == *" install "* ]] || exit 0
cp {POLICY} policy
while [[ -e hold ]]; do sleep 0.01; done
for command in ip tshark keepalived nft linux.uml modprobe zsh fish \\
    nginx dnsmasq ipvsadm curl openssl promtool haproxy systemd-analyze logrotate setcap \
    dpkg-buildpackage dh nc tmux mandoc; do
    touch "bin/$command"
    chmod 755 "bin/$command"
done
"""
UPDATE_RC_D = """#!/usr/bin/env bash
echo "update-rc.d $*" >>calls
"""


class Machine:
    """A folder with the commands that a machine has, and what those that write wrote."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.commands = folder / "bin"
        self.commands.mkdir()
        for tool in TOOLS:
            self.add_link(tool, shutil.which(tool))
        self.add_link("gcc", shutil.which("true"))
        self.add_link("python3", os.path.realpath(sys.executable))
        self.add_script("update-rc.d", UPDATE_RC_D)

    def add_link(self, name: str, target: str | None) -> None:
        assert target is not None, name
        (self.commands / name).symlink_to(target)

    def add_script(self, name: str, text: str) -> None:
        (self.commands / name).write_text(text)
        (self.commands / name).chmod(0o755)

    def start(self, target: str, before: str = "") -> subprocess.Popen[str]:
        """Starts the script for one target of the Makefile, after commands of the shell."""
        program = f"""
mount -t tmpfs none /usr/sbin
{before}
export PATH={self.commands}
bash {SCRIPT} {target}
status=$?
[[ -e {POLICY} ]] && cat {POLICY} >policy-after
exit $status
"""
        # The script goes to the tree, so what writes has to find its own folder again.
        for name in ("apt-get", "update-rc.d"):
            script = self.commands / name
            if script.exists():
                lines = script.read_text().splitlines(keepends=True)
                script.write_text("".join([lines[0], f"cd {self.folder}\n", *lines[1:]]))
        return subprocess.Popen(
            ["unshare", "--mount", "bash", "-c", program],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def written(self, name: str) -> str:
        path = self.folder / name
        return path.read_text() if path.exists() else ""


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_what_is_missing_is_installed_and_no_service_starts(machine: Machine) -> None:
    machine.add_script("apt-get", APT_GET)
    run = machine.start("test")
    output, _ = run.communicate(timeout=60)
    assert run.returncode == 0, output
    packages = ["iproute2", "tshark", "keepalived", "nftables", "user-mode-linux", "kmod"]
    packages += ["nginx", "dnsmasq-base", "ipvsadm", "curl", "openssl", "zsh", "fish", "prometheus"]
    packages += ["netcat-openbsd", "tmux", "mandoc"]
    packages += ["haproxy", "systemd", "logrotate", "libcap2-bin", "dpkg-dev", "debhelper"]
    assert output.split()[: len(packages) + 1] == ["Installing", *packages]
    update, install, *others = machine.written("calls").splitlines()
    assert update.split()[-1] == "update"
    assert install.split()[-len(packages) - 2 :] == ["-y", "--no-install-recommends", *packages]
    assert "exit 101" in machine.written("policy")
    assert not machine.written("policy-after")
    assert set(others) <= {f"update-rc.d {package} disable" for package in packages}

    (machine.folder / "calls").unlink()
    run = machine.start("test")
    assert run.communicate(timeout=60)[0] == ""
    assert not machine.written("calls")


def test_somebody_elses_policy_stays(machine: Machine) -> None:
    machine.add_script("apt-get", APT_GET)
    run = machine.start("test", f"echo 'exit 104' >{POLICY}")
    output, _ = run.communicate(timeout=60)
    assert run.returncode == 0, output
    assert machine.written("policy") == machine.written("policy-after") == "exit 104\n"


def test_an_interrupted_installation_takes_its_policy_away(machine: Machine) -> None:
    machine.add_script("apt-get", APT_GET)
    (machine.folder / "hold").touch()
    run = machine.start("test")
    wait_until(lambda: machine.written("policy"))
    (script,) = (
        int(entry.name) for entry in Path("/proc").glob("[0-9]*") if is_child(entry, run.pid)
    )
    os.kill(script, signal.SIGTERM)
    (machine.folder / "hold").unlink()
    run.communicate(timeout=60)
    assert run.returncode == 128 + signal.SIGTERM
    assert not machine.written("policy-after")


def is_child(entry: Path, parent: int) -> bool:
    try:
        return (entry / "stat").read_text().rpartition(")")[2].split()[1] == str(parent)
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_without_apt_it_says_what_to_install(machine: Machine) -> None:
    run = machine.start("demo")
    output, _ = run.communicate(timeout=60)
    assert run.returncode == 1
    assert output == (
        "make demo: iproute2 missing and there is no apt-get here; install these (named as Debian"
        " names them) and run make demo again\n"
    )


@pytest.mark.parametrize(
    ("target", "answer"),
    [
        ("test", "make test: needs root, because it makes network namespaces; run: sudo make test"),
        ("build", "make build: gcc missing; run: sudo apt-get install gcc"),
    ],
)
def test_without_root_it_says_what_to_run(machine: Machine, target: str, answer: str) -> None:
    machine.add_script("apt-get", APT_GET)
    (machine.commands / "gcc").unlink()
    # Nobody, but one whom closed folders, as those of tests are, do not keep out.
    nobody = f"{shutil.which('setpriv')} --reuid 65534 --inh-caps +dac_override"
    nobody += " --ambient-caps +dac_override"
    run = machine.start(target, f'bash() {{ {nobody} bash "$@"; }}')
    output, _ = run.communicate(timeout=60)
    assert run.returncode == 1
    assert output == answer + "\n"
