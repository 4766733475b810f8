"""`fastvrrp keyword`: what the table says of a keyword."""

from __future__ import annotations

import argparse

import pytest

from fastvrrp.cli import keyword
from fastvrrp.config.table import rows


def run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    keyword.register(parser.add_subparsers())
    arguments = parser.parse_args(["keyword", *words])
    status: int = arguments.run(arguments)
    return status


def test_keyword_with_range_default_and_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("priority") == 0
    assert capsys.readouterr().out == (
        "priority 1-255\n"
        "    Highest is master; 255 is the owner of the addresses.\n"
        "    in: vrrp_instance\n"
        "    default: 100; 255 with state MASTER\n"
        "    fastvrrp: acts on it\n"
    )


def test_path_names_one_of_several_blocks(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("track_process.weight") == 1
    assert run("vrrp_track_process.weight") == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("weight -254-254 [reverse]\n")
    assert "in: vrrp_track_process\n" in printed.out
    assert printed.err.startswith("fastvrrp: track_process.weight is no keyword")


def test_keyword_of_several_blocks_is_explained_for_each(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("group") == 0
    printed = capsys.readouterr().out
    assert "in: vrrp_sync_group\n" in printed
    assert "in: track_group\n" in printed


def test_old_spelling_names_the_modern_one_and_the_version(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("vrrp_track_file") == 0
    printed = capsys.readouterr().out
    assert "since: keepalived 2.0.0\n" in printed
    assert "old, see track_file\n" in printed


def test_block_lists_what_is_inside(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("authentication") == 0
    assert "inside: auth_type auth_pass\n" in capsys.readouterr().out
    assert run("virtual_routes") == 0
    assert "a line of it: " in capsys.readouterr().out


def test_unknown_keyword_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("vrrp_instance.prioity") == keyword.UNKNOWN
    assert capsys.readouterr().err == (
        "fastvrrp: vrrp_instance.prioity is no keyword; did you mean vrrp_instance.priority?\n"
    )
    assert run("wholly_different_thing") == keyword.UNKNOWN
    assert "'fastvrrp keyword' lists the blocks" in capsys.readouterr().err


def test_without_a_keyword_it_lists_the_blocks(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    listed = [line.split(":")[0] for line in capsys.readouterr().out.splitlines()]
    assert listed == [".".join(path) for path, keyword in rows() if keyword.is_block]


def test_every_keyword_can_be_explained(capsys: pytest.CaptureFixture[str]) -> None:
    for path, row in rows():
        assert run(".".join(path)) == 0
        printed = capsys.readouterr().out
        assert row.documentation in printed
        assert printed.startswith(row.name)
