"""`fastvrrp check`: complaints on stderr, the model on stdout, the exit status."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from fastvrrp.cli import check

SOUND = """\
vrrp_instance VI_1 {
    interface eth0
    virtual_router_id 51
    priority 150
    advert_int 0.5
    version 3
    use_vmac
    virtual_ipaddress {
        192.0.2.1/24
    }
}
"""


def run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    check.register(parser.add_subparsers())
    arguments = parser.parse_args(["check", *words])
    status: int = arguments.run(arguments)
    return status


@pytest.fixture
def sound(tmp_path: Path) -> str:
    path = tmp_path / "sound.conf"
    path.write_text(SOUND)
    return str(path)


def test_sound_file_is_silent_and_0(sound: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(sound) == 0
    assert capsys.readouterr() == ("", "")


def test_warning_is_said_and_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.conf"
    path.write_text(SOUND + "vrrp_instanze X {\n}\n")
    assert run(str(path)) == 0
    assert capsys.readouterr().err == (
        f"{path}:12:1: warning: block vrrp_instanze is unknown and ignored;"
        " did you mean vrrp_instance?\n"
    )


def test_error_is_said_and_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.conf"
    path.write_text(SOUND.replace("51", "256"))
    assert run(str(path)) == 1
    assert capsys.readouterr().err == (
        f"{path}:3:23: error: virtual_router_id 256 is outside 1-255\n"
    )


@pytest.mark.parametrize("data", [b"\x7fELF\0\1\2", b"\xff\xfe\0"])
def test_what_is_no_configuration_is_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], data: bytes
) -> None:
    path = tmp_path / "x.conf"
    path.write_bytes(data)
    assert run(str(path)) == 1
    assert "Traceback" not in capsys.readouterr().err


def test_json_has_text_and_seconds_and_names(
    sound: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--json", sound) == 0
    (router,) = json.loads(capsys.readouterr().out)["virtual_routers"]
    assert router["advert_interval"] == 0.5
    assert router["preempt_delay"] == 0
    assert router["family"] == "IPv4"
    assert router["state"] == "BACKUP"
    assert router["addresses"][0]["address"] == "192.0.2.1"
    assert router["multicast_group"] == "224.0.0.18"
    assert router["vmac"]["mac"] == "00:00:5e:00:01:33"


def test_json_is_printed_of_what_remains(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.conf"
    path.write_text(SOUND + SOUND.replace("VI_1", "VI_2"))
    assert run("--json", str(path)) == 1
    assert len(json.loads(capsys.readouterr().out)["virtual_routers"]) == 1


def test_config_id_chooses_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.conf"
    path.write_text(SOUND.replace("priority 150", "@left priority 0"))
    assert run(str(path), "-i", "right") == 0
    assert run(str(path), "-i", "left") == 1
    assert "priority 0 is outside 1-255" in capsys.readouterr().err


def test_color_shows_the_line_and_a_caret(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.conf"
    path.write_text(SOUND.replace("    virtual_router_id 51", "\tvirtual_router_id 256"))
    assert run(str(path), "--color", "always") == 1
    first, second, third = capsys.readouterr().err.splitlines()
    assert first.endswith("virtual_router_id 256 is outside 1-255")
    assert "\033[1;31merror:\033[0m" in first
    assert second == "     virtual_router_id 256"
    assert third == " " * second.index("256") + "\033[1;31m^\033[0m"


def test_color_of_a_file_that_cannot_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("/nonexistent", "--color", "always") == 1
    assert "does not exist" in capsys.readouterr().err
