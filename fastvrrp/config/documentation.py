"""docs/keywords.md, made from the table, and from the markers of the tests.

`python -m fastvrrp.config.documentation > docs/keywords.md` makes it again, in a checkout.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path as FilePath

from fastvrrp.config.keywords import Keyword
from fastvrrp.config.reasons import reason_of
from fastvrrp.config.shown import AT_TOP, SEPARATOR, markers, paths_of
from fastvrrp.config.syntax import Flag
from fastvrrp.config.table import TOP, Path, rows

HEAD = """\
# Keywords

Everything that a configuration may say, block by block, and what fastvrrp does with it. This page
is made from the table that the reader uses; change the rows in `fastvrrp/config/*_keywords.py`.

`[ ]` may be left out, `|` is a choice, `...` repeats. What is in capitals stands for a value. What
is below `since` is the version of keepalived that brought a keyword, as far as its ChangeLog and
release notes tell. `fastvrrp keyword KEYWORD` says the same of one keyword.
"""

TESTS = FilePath(__file__).parents[2] / "tests"
"""Of a checkout."""
SHOWN = """\
## What shows it

The tests that show what a keyword does, or why fastvrrp does not act on it. Tests say which
keywords they show by `@pytest.mark.keywords("BLOCK/KEYWORD")`; options of a line are here where one
shows them.

| keyword | shown by |
|---|---|"""
MOST_TESTS = 3
"""Named of one keyword; the others are counted."""


def pages(tests: FilePath = TESTS) -> Iterator[str]:
    """Lines of the page; the last part is left out where there is no folder of tests."""
    yield HEAD
    yield from _block(AT_TOP, TOP.rows)
    if tests.is_dir():
        yield from _shown(markers(tests))


def _shown(marked: Mapping[str, list[str]]) -> Iterator[str]:
    """The table of keywords and tests, in the order of the page."""
    known = list(rows())
    by_path: dict[Path, list[str]] = {}
    for word, owners in marked.items():
        for path in paths_of(word, known):
            by_path.setdefault(path, []).extend(owners)
    yield SHOWN
    of_rows = {path for path, _ in known}
    for path, keyword in known:
        yield _row(path, by_path.get(path, ()), keyword)
        for option, owners in by_path.items():
            if option[:-1] == path and option not in of_rows:
                yield _row(option, owners, keyword)


def _row(path: Path, owners: Sequence[str], keyword: Keyword) -> str:
    name = _code(f" {SEPARATOR} ".join(path))
    if owners:
        names = list(dict.fromkeys(owners))
        shown = ", ".join(_code(owner) for owner in names[:MOST_TESTS])
        if len(names) > MOST_TESTS:
            shown += f" and {len(names) - MOST_TESTS} more"
    elif not keyword.is_acted_on:
        shown = f"not acted on: {reason_of(path)}"
    elif keyword.replaced_by:
        shown = f"as {keyword.replaced_by}"
    elif keyword.block is not None:
        shown = "by what is inside"
    else:
        shown = "no test of its own"
    return f"| {name} | {shown} |"


def _block(title: str, rows: Mapping[str, Keyword]) -> Iterator[str]:
    yield f"## {title}"
    yield ""
    yield "| keyword | what it says | default | since | fastvrrp |"
    yield "|---|---|---|---|---|"
    for keyword in rows.values():
        cells = (
            _written(keyword),
            _cell(keyword.documentation),
            _cell(default_of(keyword)),
            keyword.since,
            _cell(use_of(keyword)),
        )
        yield f"| {' | '.join(cells)} |"
    yield ""
    for keyword in rows.values():
        if keyword.items is not None:
            yield f"A line of `{keyword.name}` in {title}: {_code(keyword.items.shape)}"
            yield ""
    for keyword in rows.values():
        if keyword.block is not None:
            inner = keyword.name if title == AT_TOP else f"{title} / {keyword.name}"
            yield from _block(inner, keyword.block)


def _written(keyword: Keyword) -> str:
    """The keyword with its arguments, as a cell."""
    return _code(shape_of(keyword))


def shape_of(keyword: Keyword) -> str:
    """The keyword with its arguments, and with braces where it has a block."""
    brace = " { ... }" if keyword.is_block else ""
    return f"{keyword.name} {keyword.syntax.shape}".rstrip() + brace


def default_of(keyword: Keyword) -> str:
    """What stands when a keyword is not written."""
    default = keyword.default
    if not default and not keyword.fallback and isinstance(keyword.syntax, Flag):
        default = "" if keyword.is_block else "off"
    return "; ".join(part for part in (default, keyword.fallback) if part)


def use_of(keyword: Keyword) -> str:
    """What fastvrrp does with it, and what to write instead of an old one."""
    use = "acts on it" if keyword.is_acted_on else "reads it"
    if keyword.is_ours:
        use += "; keepalived does not know it"
    return f"{use}; old, see {keyword.replaced_by}" if keyword.replaced_by else use


def _code(text: str) -> str:
    return f"`{_cell(text)}`"


def _cell(text: str) -> str:
    """Text that a table of Markdown leaves alone."""
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write("\n".join(pages()).rstrip() + "\n")
