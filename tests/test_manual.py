"""The manual pages: as they are committed, and as man(1) shows them."""

import re
import shlex
import signal
import subprocess
from argparse import ArgumentParser
from pathlib import Path

import pytest

from fastvrrp.cli import COMMANDS, asking, looking, parser_of
from fastvrrp.config import read
from fastvrrp.config.table import rows
from fastvrrp.daemon import snapshot
from fastvrrp.daemon.child import TAKEN
from fastvrrp.daemon.service_state import VARIABLES
from fastvrrp.manual import commands, configuration
from fastvrrp.manual.__main__ import PAGES, main
from fastvrrp.manual.commands import all_commands
from fastvrrp.manual.roff import ManualPage
from fastvrrp.observe.files import ENDINGS

SOURCE = Path(__file__).parents[1] / "fastvrrp"
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


@pytest.mark.parametrize("name", PAGES)
def test_mandoc_has_nothing_to_say_but_that_there_is_no_date(name: str) -> None:
    lint = ["mandoc", "-Tlint", "-Wwarning", str(MANUAL / name)]
    said = subprocess.run(lint, capture_output=True, text=True, check=False).stdout
    assert [line for line in said.splitlines() if "missing date" not in line] == []


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


def examples() -> list[tuple[str, str]]:
    """Each example of a command's help, which the page has too."""
    return [
        (name, text)
        for name, command, _ in all_commands(parser_of(COMMANDS))
        for kind, text in commands._epilog(command.epilog or "")
        if kind == "example"
    ]


@pytest.mark.parametrize(("name", "text"), examples())
def test_an_example_is_taken_by_its_command(name: str, text: str) -> None:
    (line,) = re.findall(r"(?<![./])\bfastvrrp [^;)|>&]+", text)
    _, *arguments = shlex.split(line.rstrip('"'))
    assert arguments[: len(name.split())] == name.split()
    if name != "keepalived":  # which reads its options itself
        parser_of(COMMANDS).parse_args(arguments)


def test_the_example_of_a_configuration_is_one(tmp_path: Path) -> None:
    path = tmp_path / "keepalived.conf"
    path.write_text(configuration.EXAMPLE)
    assert read(str(path)).complaints == ()


def test_every_signal_is_there() -> None:
    named = [word for names, _ in commands.SIGNALS for word in names.split(", ")]
    numbers = {
        getattr(signal, base) + (int(offset) if offset else 0)
        for base, offset in (re.fullmatch(r"([A-Z12]+)([+-]\d+)?", word).groups() for word in named)  # type: ignore[union-attr]
    }
    assert numbers == set(TAKEN)


def test_every_file_beside_the_pid_file_is_there() -> None:
    text = " ".join(commands.BESIDE) + " ".join(commands.BESIDE.values())
    written = set(
        re.findall(r"with_suffix\(\"(\.[a-z_]+)\"\)", "".join(source_of("daemon", "lvs")))
    )
    passing = {".new", ".ipvs_new"}  # until they are whole
    for ending in {*ENDINGS, snapshot.ENDING, *written} - passing:
        assert ending in text, ending


def test_every_variable_of_the_environment_is_there() -> None:
    read = re.compile(r"environ(?:\.get\(|\[)\"([A-Z_]+)\"|\"([A-Z_]+)\" (?:not )?in os\.environ")
    found = {name for text in source_of("") for pair in read.findall(text) for name in pair}
    named = {word for names, _ in commands.ENVIRONMENT for word in names.split(", ")}
    assert {"NO_COLOR", "TMPDIR", "JOURNAL_STREAM"} <= found
    # PYTHONPATH is for processes that the daemon starts.
    assert (found | set(VARIABLES)) - {"", "PYTHONPATH"} <= named


def source_of(*rooms: str) -> list[str]:
    """The text of every module of these rooms, or of all; the bench has its own environment."""
    files = [path for room in rooms for path in (SOURCE / room).rglob("*.py")]
    return [path.read_text() for path in files if "bench" not in path.parts]


def test_every_exit_status_is_there() -> None:
    named = [number for number, _ in commands.STATUSES]
    for statuses in (asking.STATUSES, looking.STATUSES):
        assert set(re.findall(r"(?:: |; )(\d+) ", statuses)) <= set(named)
