"""Scripts whose files and owners no corpus can hold: who may write them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fastvrrp.cli.run import config_test_status
from fastvrrp.config import Reading, read

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to own scripts")
NOBODY = 65534


def reading_with(script: Path, folder: Path, security: str = "enable_script_security") -> Reading:
    path = folder / "keepalived.conf"
    path.write_text(
        f"global_defs {{\n{security}\nscript_user root\n}}\n"
        f"vrrp_script check {{\nscript {script}\n}}\n"
    )
    return read(str(path))


def texts(reading: Reading) -> list[str]:
    return [complaint.text for complaint in reading.complaints if not complaint.is_ours]


@pytest.fixture
def script(tmp_path: Path) -> Path:
    folder = tmp_path / "scripts"
    folder.mkdir(0o755)
    path = folder / "check.sh"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_a_script_of_root_is_run(script: Path, tmp_path: Path) -> None:
    assert texts(reading_with(script, tmp_path)) == []


def test_a_script_that_all_may_write_is_not_run(script: Path, tmp_path: Path) -> None:
    script.chmod(0o757)
    reading = reading_with(script, tmp_path)
    assert texts(reading) == [
        f"{script} of vrrp_script check is not run: root would run it, and others than root may"
        f" write {script}; change its owner or mode"
    ]
    assert config_test_status(reading) == 5


def test_a_script_of_another_is_not_run(script: Path, tmp_path: Path) -> None:
    os.chown(script, NOBODY, 0)
    assert len(texts(reading_with(script, tmp_path))) == 1


def test_a_script_that_a_group_may_write_is_not_run(script: Path, tmp_path: Path) -> None:
    script.chmod(0o775)
    assert texts(reading_with(script, tmp_path)) == []
    os.chown(script, 0, NOBODY)
    assert len(texts(reading_with(script, tmp_path))) == 1


def test_a_folder_that_all_may_write_makes_its_script_unsafe(script: Path, tmp_path: Path) -> None:
    script.parent.chmod(0o777)
    assert texts(reading_with(script, tmp_path)) == [
        f"{script} of vrrp_script check is not run: root would run it, and others than root may"
        f" write {script.parent}; change its owner or mode"
    ]
    script.parent.chmod(0o1777)
    assert texts(reading_with(script, tmp_path)) == []


def test_without_script_security_only_that_is_said(script: Path, tmp_path: Path) -> None:
    script.chmod(0o757)
    reading = reading_with(script, tmp_path, security="")
    assert texts(reading) == ["scripts run without enable_script_security; write it in global_defs"]
    assert config_test_status(reading) == 6
