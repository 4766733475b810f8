"""The manual pages: as they are committed, and as man(1) shows them."""

import subprocess
from argparse import ArgumentParser
from pathlib import Path

import pytest

from fastvrrp.cli import COMMANDS, parser_of
from fastvrrp.config.table import rows
from fastvrrp.manual.__main__ import PAGES, main
from fastvrrp.manual.commands import all_commands
from fastvrrp.manual.roff import ManualPage

MANUAL = Path(__file__).parents[1] / "docs" / "man"


def shown(path: Path) -> str:
    """What man shows, without a complaint of groff's."""
    done = subprocess.run(
        ["man", "--warnings", "-E", "UTF-8", "-l", str(path)],
        capture_output=True,
        text=True,
        check=True,
        env={"MANWIDTH": "1000", "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
    )
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("name", PAGES)
def test_the_committed_page_is_what_the_sources_say(name: str, tmp_path: Path) -> None:
    main(tmp_path)
    assert (MANUAL / name).read_text() == (tmp_path / name).read_text(), (
        "run: python -m fastvrrp.manual docs/man"
    )


def test_every_command_and_its_options_are_shown() -> None:
    text = shown(MANUAL / "fastvrrp.8")
    for command in COMMANDS:
        assert f"   fastvrrp {command}" in text
    assert "-f FILE, --use-file FILE" in text
    assert "fastvrrp bench lab --routers 4080 --interfaces 16 --versus keepalived" in text


@pytest.mark.parametrize(
    ("name", "command"),
    [(name, command) for name, command, _ in all_commands(parser_of(COMMANDS))],
)
def test_help_has_an_example(name: str, command: ArgumentParser) -> None:
    if name != "keepalived":  # which has the options of another program
        assert f"fastvrrp {name}" in (command.epilog or "").partition("example")[2]


def test_every_keyword_is_shown() -> None:
    lines = {line.strip() for line in shown(MANUAL / "fastvrrp.conf.5").splitlines()}
    words = {line.split()[0] for line in lines if line}
    assert {path[-1] for path, _ in rows()} <= words
    assert "virtual_server / real_server / HTTP_GET" in lines


def test_what_means_something_to_roff_is_shown_as_it_is(tmp_path: Path) -> None:
    page = ManualPage("x", 1, "y", "z")
    page.paragraph(".a request? 'b\\fB -c `d`")
    page.example(".first\n\n'second")
    path = tmp_path / "x.1"
    path.write_text(page.text())
    text = shown(path)
    for expected in (".a request? 'b\\fB -c `d`", "    .first", "    'second"):
        assert expected in text
