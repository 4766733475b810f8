"""The table of keywords: what holds for every row of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath

import pytest

import config_corpus as corpus
from fastvrrp.config.complaints import Complaints
from fastvrrp.config.documentation import pages
from fastvrrp.config.keywords import Keyword, Table
from fastvrrp.config.lines import Lines
from fastvrrp.config.table import TOP
from fastvrrp.config.tree import Entry, Tree

Path = tuple[str, ...]


def rows(table: Mapping[str, Keyword], path: Path = ()) -> Iterator[tuple[Path, Keyword]]:
    """Every row of the table with the names of the blocks around it."""
    for name, keyword in table.items():
        yield (*path, name), keyword
        if keyword.block is not None:
            yield from rows(keyword.block, (*path, name))


def written(entries: list[Entry], path: Path = ()) -> Iterator[Path]:
    """Every keyword that was written."""
    for entry in entries:
        here = (*path, entry.keyword.name)
        yield here
        yield from written(entry.entries, here)


ROWS = dict(rows(TOP.rows))
BY_LINES = {("global_defs", "include_check")}
"""Keywords that are read before there are statements."""


def test_every_keyword_is_in_the_corpus() -> None:
    seen: set[Path] = set()
    for path in corpus.paths():
        complaints = Complaints()
        lines = Lines(complaints, "main").of_file(str(path))
        seen.update(written(list(Tree(lines, TOP.rows, complaints))))
    in_checkers = {path[3:] for path in seen if _is_in_checker(path)}
    missing = {
        path
        for path in set(ROWS) - seen - BY_LINES
        if not (_is_in_checker(path) and path[3:] in in_checkers)
    }
    assert not missing


def _is_in_checker(path: Path) -> bool:
    """Most options are those of every checker; one of them has to show each."""
    return len(path) > 3 and path[1] == "real_server"


@pytest.mark.parametrize("path", ROWS, ids=".".join)
def test_a_row_is_documented_by_one_line(path: Path) -> None:
    documentation = ROWS[path].documentation
    assert documentation.endswith(".")
    assert "\n" not in documentation
    assert len(documentation) < 100


@pytest.mark.parametrize("path", ROWS, ids=".".join)
def test_a_row_has_a_shape(path: Path) -> None:
    keyword = ROWS[path]
    assert isinstance(keyword.syntax.shape, str)
    if keyword.items is not None:
        assert keyword.items.shape


def test_a_keyword_is_in_a_block_once() -> None:
    row = ROWS["vrrp_instance",]
    with pytest.raises(ValueError, match="vrrp_instance is in the table twice"):
        Table().add(row, row)


def test_the_page_of_keywords_is_made_from_the_table() -> None:
    page = FilePath(__file__).parent.parent / "docs" / "keywords.md"
    assert page.read_text() == "\n".join(pages()).rstrip() + "\n"
