"""New interpreters for the daemon: what they see of it, and what they say last."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

import fastvrrp
from fastvrrp.track.interpreter import CALLERS_PATH, LONGEST_WORDS, LastWords, start_interpreter

SHOWS_ITSELF = (
    "import fastvrrp, json, os; "
    "print(json.dumps([fastvrrp.__file__, os.getcwd(), dict(os.environ)]))"
)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a module `said` that is found by the caller's PYTHONPATH alone."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path / "said.py"


def test_an_interpreter_has_this_version_and_knows_the_callers_path(
    module: Path, tmp_path: Path
) -> None:
    module.write_text(SHOWS_ITSELF)
    with start_interpreter("said", stdout=subprocess.PIPE, cwd="/") as process:
        assert process.stdout is not None
        found, folder, environment = json.loads(process.stdout.read())
    assert found == fastvrrp.__file__
    assert folder == "/"
    assert environment[CALLERS_PATH] == str(tmp_path)
    home = str(Path(fastvrrp.__file__).parent.parent)
    assert environment["PYTHONPATH"] == f"{home}{os.pathsep}{tmp_path}"


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        ("", ""),
        ("first\\nlast\\n", "last"),
        ("the one\\n\\n  \\n", "the one"),
        ("no end of line", "no end of line"),
        ("x" * 5000, "x" * LONGEST_WORDS),
    ],
)
def test_last_words_are_the_last_line_that_says_anything(
    module: Path, said: str, heard: str
) -> None:
    module.write_text(f"import sys; sys.stderr.write('{said}'); sys.exit(3)")
    last_words = LastWords()
    process = start_interpreter("said", last_words=last_words)
    assert process.wait() == 3
    assert last_words.read() == heard
    last_words.close()
