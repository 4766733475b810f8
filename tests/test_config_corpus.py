"""Every configuration of the corpus gives its complaints and its model, and keepalived agrees."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import config_corpus as corpus

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


def test_keepalived_says_the_same(keepalived_verdicts: dict[str, int]) -> None:
    """keepalived accepts a file (0) exactly where no complaint is one that it would make."""
    wrong = []
    for path in corpus.paths():
        complaints = corpus.reading_of(path).complaints
        accepted = all(complaint.is_ours for complaint in complaints)
        agrees = (keepalived_verdicts[path.name] == 0) == accepted
        if agrees == bool(corpus.difference_explained(path)):
            status = keepalived_verdicts[path.name]
            wrong.append(
                f"{path.name}: keepalived exits with {status}, we"
                f" {'accept' if accepted else 'complain'}, and the file"
                f" {'explains a difference' if agrees else 'does not explain it'}"
            )
    assert not wrong, "\n".join(wrong)
