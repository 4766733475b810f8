"""The file with the configuration that runs (`fastvrrp.daemon.snapshot`)."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from fastvrrp.daemon import snapshot


def test_one_that_cannot_be_written_leaves_no_older_one(tmp_path: Path) -> None:
    path = tmp_path / "fastvrrp.running"
    with tempfile.TemporaryFile() as written:
        written.write(b"first")
        written.flush()
        snapshot.keep(written.fileno(), path)
        assert path.read_bytes() == b"first"
        (tmp_path / "fastvrrp.running.new").mkdir()  # where it would be written
        with pytest.raises(IsADirectoryError):
            snapshot.keep(written.fileno(), path)
    assert not path.exists()
