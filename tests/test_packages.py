"""The Debian package and the image: built by their recipes, and used as somebody would.

What was compiled for these tests is lent to the builds, so that nothing is compiled again.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterable, Sequence
from fnmatch import fnmatch
from pathlib import Path

import pytest

from fastvrrp import __version__
from lab import Fastvrrp, Laboratory, wait_until
from lab.sources import TREE, build_wheel, copy_tree, lend_built, run
from tracking_pair import instance

DOCKERFILE = TREE / "deploy" / "docker" / "Dockerfile"
NOBODY = 65534
PYTHON = "/usr/bin/python3"
"""Debian's, which a package runs with."""
IN_A_ROOT = """
mount -t tmpfs none "$1"
mkdir "$1"/changed "$1"/work "$1"/root
mount -t overlay overlay -o lowerdir=/,upperdir="$1"/changed,workdir="$1"/work "$1"/root
mount -t proc proc "$1"/root/proc
mount -t tmpfs none "$1"/root/run
mount --rbind /dev "$1"/root/dev
mkdir -p "$1"/root/packages
cp "$2"/*.deb "$1"/root/packages
cd "$1"/root
shift 2
exec chroot . env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C "$@"
"""
"""In a mount namespace: a copy of this machine's files, which is gone afterwards."""
USED = """
set -eu
printf '#!/bin/sh\\necho "$*" >>/asked\\nexit 101\\n' >/usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
dpkg --force-depends --purge keepalived >/dev/null 2>&1
rm -f /asked
dpkg --install /packages/*.deb
fastvrrp --version
fastvrrp check /etc/example.conf
keepalived --version 2>&1 | head -1
systemd-analyze verify --man=no /lib/systemd/system/fastvrrp.service
dpkg --verify fastvrrp fastvrrp-keepalived
ip link set lo up
ip link add eth0 type veth peer name eth1
ip address add 10.0.0.1/24 dev eth0
ip link set eth0 up
ip link set eth1 up
for program in fastvrrp keepalived; do
    command=run
    [ $program = fastvrrp ] || command=
    $program $command -f /etc/example.conf
    while ! ip address show eth0 | grep -q 10.0.0.100/; do sleep 0.2; done
    fastvrrp status --pid /run/$program.pid | grep '1 MASTER'
    fastvrrp reload --pid /run/$program.pid
    kill $(cat /run/$program.pid)
    while [ -e /run/$program.pid ]; do sleep 0.2; done
    ! ip address show eth0 | grep 10.0.0.100/
    echo $program has run
done
man --warnings fastvrrp >/dev/null
! [ -e /asked ] || { echo a service was asked for: $(cat /asked); exit 1; }
! [ -e /etc/systemd/system/multi-user.target.wants/fastvrrp.service ]
dpkg --purge fastvrrp-keepalived fastvrrp
! find /usr/lib/fastvrrp /usr/bin/fastvrrp /usr/sbin/keepalived /etc/logrotate.d/fastvrrp \\
    /lib/systemd/system/fastvrrp.service 2>/dev/null | grep .
echo everything is gone
"""

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("packages"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
]


def test_the_debian_package_installs_runs_and_goes(tmp_path: Path) -> None:
    wheel = build_wheel(tmp_path)
    tree = tmp_path / "tree"
    (tree / "deploy" / "debian").rename(tree / "debian")
    build = ["dpkg-buildpackage", "--build=binary", "--no-sign", "--no-check-builddeps"]
    run(build, tree, {"FASTVRRP_WHEEL": str(wheel)})
    packages = {path.name.partition("_")[0]: path for path in tmp_path.glob("*.deb")}
    assert set(packages) == {"fastvrrp", "fastvrrp-keepalived"}
    fields = run(["dpkg-deb", "--field", packages["fastvrrp"]], tmp_path)
    assert f"Version: {__version__}\n" in fields
    (tmp_path / "mnt").mkdir()
    (tmp_path / "root").mkdir()
    example = TREE / "deploy" / "examples" / "active-standby" / "first.conf"
    used = f"cat >/etc/example.conf <<'END'\n{example.read_text()}END\n{USED}"
    alone = ["unshare", "--mount", "--net", "sh", "-ec", IN_A_ROOT, "sh", str(tmp_path / "mnt")]
    said = run([*alone, tmp_path, "sh", "-c", used], tmp_path)
    assert f"fastvrrp {__version__}\n" in said
    assert "fastvrrp has run\n" in said
    assert "keepalived has run\n" in said
    assert said.splitlines()[-1] == "everything is gone"


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile, as pairs of an instruction and the rest of its line."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines) if word]


def lets_through(path: str) -> bool:
    """Whether .dockerignore lets a file into the build."""
    parts = path.split("/")
    ahead = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
    is_in = True
    for line in (TREE / ".dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!")
        name = pattern.removeprefix("**/")
        subjects = parts if pattern.startswith("**/") else ahead
        if any(fnmatch(each, name) for each in subjects):
            is_in = line.startswith("!")
    return is_in


def test_hadolint_has_nothing_to_say_about_the_dockerfile() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    # Debian's and PyPI's newest versions are wanted: an image is built anew for that.
    ignored = ["--ignore=DL3008", "--ignore=DL3013"]
    assert run([hadolint, *ignored, DOCKERFILE], TREE) == ""


class AsNobody(Fastvrrp):
    """The daemon as the image starts it: not root, and with what `docker run` leaves."""

    python = ""

    def commands(self) -> Iterable[Sequence[str]]:
        become = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        become += ["--bounding-set=-all,+net_admin,+net_raw", "--inh-caps=-all"]
        for command in super().commands():
            program = [self.python, "-P", "-m", "fastvrrp", *command[1:]]
            yield [*become, "--ambient-caps=-all", *program]


def test_what_the_image_is_made_of_runs_without_root(lab: Laboratory) -> None:
    copied = [rest.split()[:-1] for word, rest in instructions() if word == "COPY"]
    sources = [name for names in copied for name in names if not name.startswith("--from")]
    whole = copy_tree(lab.folder / "whole")
    tree = lab.folder / "tree"
    tree.mkdir()
    for name in (each for each in sources if each != "/opt/fastvrrp"):
        files = [whole / name, *(whole / name).rglob("*")]
        for file in filter(Path.is_file, files):
            path = file.relative_to(whole)
            if lets_through(str(path)):
                (tree / path).parent.mkdir(parents=True, exist_ok=True)
                file.rename(tree / path)
        assert (tree / name).exists(), name
    lend_built(tree)
    commands = [part for word, rest in instructions() if word == "RUN" for part in rest.split("&&")]
    (install,) = [shlex.split(each) for each in commands if "pip install" in each]
    (grant,) = [shlex.split(each) for each in commands if "setcap" in each]
    made = lab.folder / "made"
    run([PYTHON, "-m", "venv", "--without-pip", "--copies", made], tree)
    python = str(made / "bin" / "python")
    pip = [sys.executable, "-m", "pip", "--python", python]
    run([*pip, "install", "-q", *install[2:]], tree)
    run([*grant[:-1], python], tree)

    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    AsNobody.python = python
    daemon = AsNobody(a, instance(1))
    os.chown(daemon.folder, NOBODY, NOBODY)
    daemon.start().wait_log("(V1) Entering MASTER STATE")
    wait_until(lambda: a.holds("10.9.0.1"), what="the address")
    status = Path(f"/proc/{daemon.processes[0].pid}/status").read_text()
    assert f"Uid:\t{NOBODY}\t" in status
    assert daemon.stop() == 0
    assert not a.holds("10.9.0.1")
