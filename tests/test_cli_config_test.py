"""`fastvrrp run -t`: complaints on stderr and the exit status of `keepalived -t`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FASTVRRP = str(Path(sys.executable).with_name("fastvrrp"))
INSTANCE = """\
vrrp_instance VI_1 {
    interface lo
    virtual_router_id 51
    virtual_ipaddress {
        192.0.2.1
    }
    %s
}
"""


@pytest.mark.parametrize(
    ("line", "status", "said"),
    [
        ("", 0, ""),
        ("no_accept yes", 0, "'yes' after no_accept is ignored"),
        ("prioritty 5", 5, "did you mean priority?"),
        ("priority 256", 5, "outside 1-255"),
        ("notify_master /bin/true", 6, "write it in global_defs"),
    ],
    ids=["sound", "ours", "warning", "error", "insecure"],
)
def test_exit_status(tmp_path: Path, line: str, status: int, said: str) -> None:
    path = tmp_path / "vrrp.conf"
    path.write_text(INSTANCE % line)
    done = subprocess.run(
        [FASTVRRP, "run", "-t", "-f", str(path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (status, "")
    assert said in done.stderr


def test_a_missing_include_that_matters_is_6(tmp_path: Path) -> None:
    path = tmp_path / "vrrp.conf"
    path.write_text("includem missing.conf\n" + INSTANCE % "")
    done = subprocess.run([FASTVRRP, "run", "-t", "-f", str(path)], check=False)
    assert done.returncode == 6


@pytest.mark.parametrize(
    ("head", "status", "said"),
    [
        ("", 5, "interface nowhere of vrrp_instance VI_1 does not exist on this machine"),
        ("global_defs {\n    dynamic_interfaces\n}\n", 0, ""),
    ],
)
def test_an_interface_that_is_not_there(tmp_path: Path, head: str, status: int, said: str) -> None:
    path = tmp_path / "vrrp.conf"
    path.write_text(head + (INSTANCE % "").replace("interface lo", "interface nowhere"))
    done = subprocess.run(
        [FASTVRRP, "run", "-t", "-f", str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == status
    assert said in done.stderr


@pytest.mark.keywords("global_defs/dynamic_interfaces")
@pytest.mark.parametrize("head", ["", "global_defs {\n    dynamic_interfaces\n}\n"])
def test_a_tracked_interface_that_is_not_there(tmp_path: Path, head: str) -> None:
    path = tmp_path / "vrrp.conf"
    group = "vrrp_sync_group G {\n group {\n VI_1\n }\n track_interface {\n nothere\n }\n}\n"
    path.write_text(head + group + INSTANCE % "track_interface {\n nowhere\n }")
    done = subprocess.run(
        [FASTVRRP, "run", "-t", "-f", str(path)], capture_output=True, text=True, check=False
    )
    assert ("interface nowhere that vrrp_instance VI_1 tracks" in done.stderr) is not bool(head)
    assert ("interface nothere that vrrp_sync_group G tracks" in done.stderr) is not bool(head)
    assert done.returncode == 5  # that a group has one member only is a warning
