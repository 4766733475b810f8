"""What is handed out builds, installs and runs for somebody who has nothing else of the project."""

import sys
import tarfile
from pathlib import Path

import pytest

from lab.sources import TREE, copy_tree, run

MODULES = [f"fastvrrp._{source.stem}" for source in sorted((TREE / "ext").glob("*.pyx"))]

pytestmark = pytest.mark.timeout(900)


def import_all(python: Path | str, folder: Path) -> str:
    """Imports every compiled module, and says from which folder they are."""
    lines = [f"import {module}" for module in MODULES]
    program = "\n".join([*lines, "import fastvrrp", "print(*fastvrrp.__path__)"])
    return run([python, "-c", program], folder).strip()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The tree as a clone has it: nothing built."""
    return copy_tree(tmp_path / "tree")


def test_the_wheel_made_from_the_sdist_runs_in_an_environment_of_its_own(
    copy: Path, tmp_path: Path
) -> None:
    # Without isolation the build requirements are those of this environment, not fetched again.
    run([sys.executable, "-m", "build", "--no-isolation", "--outdir", tmp_path, copy], tmp_path)
    (sdist,) = tmp_path.glob("*.tar.gz")
    (wheel,) = tmp_path.glob("*.whl")

    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"LICENSE", "README.md", "CHANGELOG.md", "Makefile", "tests/lab/network.py"} <= names
    assert {str(source.relative_to(TREE)) for source in (TREE / "ext").glob("*.pyx")} <= names
    assert not [name for name in names if name.endswith((".so", ".c"))]

    run([sys.executable, "-m", "venv", tmp_path / "venv"], tmp_path)
    commands = tmp_path / "venv" / "bin"
    run([commands / "python", "-m", "pip", "install", "--quiet", wheel], tmp_path)
    assert str(tmp_path / "venv") in import_all(commands / "python", tmp_path)
    assert run([commands / "fastvrrp", "--version"], tmp_path).startswith("fastvrrp ")


def test_the_debug_build_passes_the_tests_of_the_protocol_core(copy: Path) -> None:
    environment = {"FASTVRRP_DEBUG": "1"}
    run([sys.executable, "setup.py", "-q", "build_ext", "--inplace"], copy, environment)
    assert import_all(sys.executable, copy) == str(copy / "fastvrrp")
    tests = [f"tests/test_{name}.py" for name in ("checksum", "packet", "fsm", "wheel", "table")]
    run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests], copy)
