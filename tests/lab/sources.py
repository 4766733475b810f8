"""The tree as somebody gets it who builds it, and what was built of it already."""

import os
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterable
from pathlib import Path

TREE = Path(__file__).parents[2]
MADE = (".git", ".venv", "build", "dist", "*.egg-info", "*.so", "__pycache__", ".*_cache")
POLITE = ("nice", "-n", "19")
"""What takes a core for long must not take it from tests that measure time."""


def copy_tree(to: Path) -> Path:
    """A copy as a clone has it: nothing built."""
    shutil.copytree(TREE, to, ignore=shutil.ignore_patterns(*MADE, ".hypothesis"))
    return to


def lend_built(to: Path) -> None:
    """Gives a copy what was compiled for these tests, so that a build of it compiles nothing."""
    platform = f"{sysconfig.get_platform()}-{sys.implementation.cache_tag}"
    folder = to / "build" / f"lib.{platform}" / "fastvrrp"
    folder.mkdir(parents=True)
    shutil.copytree(TREE / "build" / "cython", to / "build" / "cython")
    # A build of its own has a Cython of its own, whose files were written just now, and which would
    # make everything anew that is older.
    later = time.time() + 86_400
    for made in (to / "build" / "cython").rglob("*.c"):
        os.utime(made, (later, later))
    for module in (TREE / "fastvrrp").glob("_*.so"):
        os.utime(shutil.copy(module, folder), (later + 1, later + 1))


def run(
    command: Iterable[str | Path], folder: Path, environment: dict[str, str] | None = None
) -> str:
    """Runs a command politely; its output, which is shown when it fails."""
    process = subprocess.run(
        [*POLITE, *map(str, command)],
        cwd=folder,
        env={**os.environ, **(environment or {})},
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.returncode == 0, process.stdout
    return process.stdout


def build_wheel(folder: Path) -> Path:
    """The wheel of this tree, in a folder, without compiling anything."""
    copied = copy_tree(folder / "tree")
    lend_built(copied)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation"]
    run([*build, "--outdir", folder, copied], folder)
    (wheel,) = folder.glob("*.whl")
    return wheel
