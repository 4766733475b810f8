"""Every configuration of the corpus gives its complaints and its model, and keepalived agrees."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import config_corpus as corpus
from fastvrrp.cli.run import config_test_status

LONGEST_CHECK = 20
"""Seconds that keepalived is given for one file."""
CHECKS = f"""
set -e
mount -t tmpfs none /run
ip link set lo up
for interface in eth0 eth1; do
    ip link add $interface type veth peer name peer-$interface
    ip link set $interface up
    ip link set peer-$interface up
done
cd "$1"
shift
for file in "$@"; do
    status=0
    timeout {LONGEST_CHECK} keepalived -t -i main -f "$file" >/dev/null 2>&1 || status=$?
    echo "$status $file"
done
"""


def name_of(path: Path) -> str:
    return path.stem


@pytest.mark.parametrize("path", corpus.paths(), ids=name_of)
def test_complaints_and_model_are_as_recorded(path: Path) -> None:
    assert corpus.outcome(corpus.reading_of(path)) == corpus.expected(path)


@pytest.mark.parametrize("path", corpus.paths(), ids=name_of)
def test_file_says_what_it_shows(path: Path) -> None:
    assert path.read_text(errors="replace").startswith("# ")


def test_nothing_is_expected_of_no_file() -> None:
    names = {path.stem for path in corpus.paths()}
    assert {path.stem for path in corpus.CONFIGS.glob("*.json")} == names


@pytest.fixture(scope="module")
def keepalived_verdicts() -> dict[str, int]:
    """Exit status of `keepalived -t` for every file, in a namespace with its interfaces."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to make a network namespace for keepalived")
    for program in ("keepalived", "unshare", "ip"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}; install Debian's keepalived, util-linux and iproute2")
    names = [path.name for path in corpus.paths()]
    done = subprocess.run(
        ["unshare", "--net", "--mount", "sh", "-c", CHECKS, "sh", str(corpus.CONFIGS), *names],
        capture_output=True,
        text=True,
        check=True,
    )
    verdicts = [line.split(maxsplit=1) for line in done.stdout.splitlines()]
    return {name: int(status) for status, name in verdicts}


def test_run_t_exits_as_keepalived_does(keepalived_verdicts: dict[str, int]) -> None:
    """With 0, 5 or 6, but where the file explains the difference."""
    wrong = []
    for path in corpus.paths():
        ours = config_test_status(corpus.reading_of(path))
        theirs = keepalived_verdicts[path.name]
        if (ours == theirs) == bool(corpus.difference_explained(path)):
            wrong.append(
                f"{path.name}: keepalived exits with {theirs}, we with {ours}, and the file"
                f" {'explains a difference' if ours == theirs else 'does not explain it'}"
            )
    assert not wrong, "\n".join(wrong)
