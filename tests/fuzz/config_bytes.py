"""Fuzzes the reader of configurations over bytes, guided by coverage: `make fuzz`.

Starts from the corpus under tests/configs. The arguments are libFuzzer's, as -max_total_time=300. A
file that breaks the reader is written to the folder of -artifact_prefix; read it with
`fastvrrp check`, and make a test of it.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["fastvrrp.config"]):
    from fastvrrp.config import expansion, read

import config_oracle

CONFIGS = Path(__file__).parent.parent / "configs"
MOST_TEXT = 200_000
"""Instead of millions: a long sequence that was asked for is no reader that hangs."""


def one_input(data: bytes) -> None:
    """Read bytes as a configuration, in a folder with the corpus's parts to include."""
    Path("fuzzed.conf").write_bytes(data)
    config_oracle.check(read("fuzzed.conf", config_id="main"))


def main() -> None:
    expansion.MOST_TEXT = MOST_TEXT
    expansion.MOST_TURNS = 1000
    with tempfile.TemporaryDirectory(prefix="fastvrrp-fuzz-") as folder:
        seeds, parts = Path(folder, "seeds"), Path(folder, "parts")
        seeds.mkdir()
        for path in CONFIGS.glob("*.conf"):
            shutil.copy(path, seeds)
        shutil.copytree(CONFIGS / "parts", parts)
        os.chdir(folder)
        atheris.Setup([*sys.argv, "-max_len=8192", "-timeout=10", str(seeds)], one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
