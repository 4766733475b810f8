"""`umask`: what scripts get, and how FIFOs are made, here and under keepalived."""

from __future__ import annotations

import signal
import stat
from pathlib import Path

import pytest

from fastvrrp.cli.run import umask
from lab import Daemon, Fastvrrp, Keepalived, Laboratory, wait_until
from policy_configuration import instance

BOTH = pytest.mark.parametrize("kind", [Keepalived, Fastvrrp])


def configuration(folder: Path, line: str) -> str:
    """A script each second, and one at each change, which write their umask down."""
    return (
        f"global_defs {{\n  script_user root\n  {line}\n"
        f"  vrrp_notify_fifo {folder}/fifo\n}}\n"
        f'vrrp_script check {{\n  script "{folder}/says check"\n  interval 1\n}}\n'
        + instance(
            "VI_1",
            51,
            "10.0.0.100/24",
            more=f'track_script {{\n    check\n  }}\n  notify_master "{folder}/says master" root',
        )
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    program = tmp_path / "says"
    program.write_text(
        f"#!/bin/sh\numask >{tmp_path}/new.$1 && mv {tmp_path}/new.$1 {tmp_path}/$1\n"
    )
    program.chmod(0o755)
    return tmp_path


def said(path: Path) -> str:
    return path.read_text().strip() if path.exists() else ""


@BOTH
@pytest.mark.keywords("global_defs/umask")
@pytest.mark.parametrize(
    ("line", "mask"),
    [
        ("", 0o177),
        ("umask 027", 0o027),
        ("umask 0x3f", 0o077),
        ("umask IWGRP|IROTH", 0o024),
        ("umask 0", 0),
    ],
)
def test_scripts_and_fifos_have_what_the_umask_leaves(
    lab: Laboratory, kind: type[Daemon], folder: Path, line: str, mask: int
) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    daemon = kind(a, configuration(folder, line)).start()
    for name in ("check", "master"):
        wait_until(lambda name=name: said(folder / name), what=f"{name} run")  # type: ignore[misc]
        assert said(folder / name) == f"{mask:04o}"
    assert stat.S_IMODE((folder / "fifo").stat().st_mode) == 0o644 & ~mask
    daemon.stop()


def test_a_reload_changes_it_for_scripts_too(lab: Laboratory, folder: Path) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    daemon = Fastvrrp(a, configuration(folder, "umask 027")).start()
    wait_until(lambda: said(folder / "check") == "0027", what="the script run")
    daemon.configure(configuration(folder, "umask 022"))
    daemon.signal(signal.SIGHUP)
    daemon.wait_log("Reloaded")
    wait_until(lambda: said(folder / "check") == "0022", what="the script run again")
    assert daemon.stop() == 0


@pytest.mark.parametrize(("written", "mask"), [("027", 0o27), ("0x1f", 0x1F), ("22", 22), ("0", 0)])
def test_the_command_line_writes_it_as_c_does(written: str, mask: int) -> None:
    assert umask(written) == mask


@pytest.mark.parametrize("written", ["", "x", "01777", "-1", "0o22x"])
def test_what_is_no_umask_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        umask(written)
