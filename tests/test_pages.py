"""Pages of the documentation, each from its first command to its last."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lab import Laboratory
from lab.pages import BLOCK, CONSOLE, DOCS, TREE, all_blocks, blocks, machines_of, run_page
from lab.recordings import is_on_screen, recorded, shows

PATIENCE = 30.0
"""Seconds until what a page shows is there."""
NUMBERS = {"r1": 1, "r2": 2}
RUN_HERE = {
    "README.md": 5,
    "deploy/examples/unicast-cloud/README.md": 1,
    "docs/control.md": 8,
    "docs/deploy.md": 2,
    "docs/drop-in.md": 3,
    "docs/getting-started.md": 10,
    "docs/looking.md": 8,
    "docs/migrating.md": 14,
    "docs/namespaces.md": 3,
    "docs/operations.md": 14,
}
"""Pages, and how many blocks of commands there are at least."""
RUN_IN_THE_GUEST = ("docs/load-balancing.md",)
"""By tests/kernel/guest/test_load_balancing_guide.py."""
NOT_RUN = {
    "make demo     # two routers": "tests/test_cli_demo.py runs the demonstration",
    "fastvrrp completion bash >": "writes where all shells of the machine look; what is written"
    " is used by bash, zsh and fish in tests/test_cli_completion.py",
    "python3 -m venv /opt/fastvrrp": "tests/test_packaging.py installs a wheel of this tree so",
    "systemctl enable": "needs systemd as the first process; tests/test_deploy_files.py has"
    " systemd-analyze read the unit, and tests/test_packages.py runs what it runs",
    "journalctl -u": "needs systemd's journal; tests/test_journal.py reads what is sent there",
    "make deb": "tests/test_packages.py builds, installs and starts the packages by this recipe",
    "docker build": "needs Docker; tests/test_packages.py takes the steps of the Dockerfile",
    "ip address add 10.0.0.100/32 dev lo": "tests/lab/directors.py does that to the servers of"
    " tests/kernel/guest/test_examples_of_directors.py",
}
"""The beginnings of blocks of commands that no test runs, and why."""
SHELLS = ("sh", CONSOLE)
CHECKED_ELSEWHERE = {"ini": "tests/test_deploy_files.py: systemd-analyze reads them as drop-ins"}
PAGES = sorted(
    str(page.relative_to(TREE))
    for page in (*TREE.glob("*.md"), *DOCS.glob("**/*.md"), *(TREE / "deploy").glob("**/*.md"))
)
INDENTED = re.compile(r"\n\n(?:    |\t)(?P<line>.*\S.*)")


@pytest.mark.parametrize("name", RUN_HERE)
def test_a_page(lab: Laboratory, name: str) -> None:
    assert run_page(TREE / name, machines_of(lab, NUMBERS), PATIENCE) >= RUN_HERE[name]


@pytest.mark.parametrize("name", PAGES)
def test_every_block_is_run_or_has_a_reason(name: str) -> None:
    page = TREE / name
    without_blocks = BLOCK.sub("", page.read_text())
    assert "```" not in without_blocks, "a block does not end, or is indented"
    hidden = INDENTED.search(without_blocks)
    assert hidden is None, f"{hidden['line']}: fence it, and say what it is"
    for block in all_blocks(page):
        if block.language == "text":
            continue  # a drawing, or what a block that is run prints
        if block.language in CHECKED_ELSEWHERE:
            assert not block.is_run
        elif block.language in SHELLS and not block.is_run:
            assert [block for start in NOT_RUN if block.text.startswith(start)], (
                f"{block.text}\nnobody runs it: say on=, or why not (NOT_RUN)"
            )
        else:
            assert block.is_run, f"{block.first_line}: on which machine? (on=)"
    assert (name in (*RUN_HERE, *RUN_IN_THE_GUEST)) == any(blocks(page))


def test_what_is_not_run_is_there() -> None:
    texts = [block.text for name in PAGES for block in all_blocks(TREE / name)]
    for start in NOT_RUN:
        assert any(text.startswith(start) for text in texts), f"{start}: there is none any more"


def test_links_go_somewhere() -> None:
    for name in PAGES:
        page = TREE / name
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{name}: {target}"


SHOWN = """\
fastvrrp 0.1.0, pid 4711, up 1 min 42 s
CUST_7  MASTER  3.2 s   200
...
2 are well
"""


def test_a_recording_is_what_is_printed_but_for_times() -> None:
    lines = "fastvrrp 0.1.0, pid 9, up 2 s\nCUST_7    MASTER  12 h 1 min  {}\na\nb\n2 are well\n"
    assert shows(lines.format(200), SHOWN, are_numbers_free=False)
    assert not shows(lines.format(170), SHOWN, are_numbers_free=False)
    assert shows(lines.format(170), SHOWN, are_numbers_free=True)
    assert not shows(lines.format(200).replace("_7", "_8"), SHOWN, are_numbers_free=True)
    assert not shows(lines.format(200) + "more\n", SHOWN, are_numbers_free=False)
    assert not shows("", SHOWN, are_numbers_free=False)
    assert is_on_screen("b\nx\na 1\n", "a 1\n...\nb\n", are_numbers_free=False)
    assert not is_on_screen("x\na 2\n", "a 1\n", are_numbers_free=False)


def test_a_recording_has_commands_with_what_they_print() -> None:
    said = list(recorded("# one\na\n# two\n# three\nb\nc\n"))
    assert [(each.command, each.output) for each in said] == [
        ("one", "a\n"),
        ("two", ""),
        ("three", "b\nc\n"),
    ]


def test_a_block_without_a_machine_is_not_run(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```sh\nfalse\n```\n\n```sh on=r1\ntrue\n```\n\n```text output\nx\n```\n")
    first, second = all_blocks(page)
    assert not first.is_run
    assert second.is_run
    assert second.output == "x\n"
    assert list(blocks(page)) == [second]
