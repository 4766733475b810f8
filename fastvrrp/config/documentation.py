"""docs/keywords.md, made from the table.

`python -m fastvrrp.config.documentation > docs/keywords.md` makes it again.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping

from fastvrrp.config.keywords import Keyword
from fastvrrp.config.syntax import Flag
from fastvrrp.config.table import TOP

HEAD = """\
# Keywords

Everything that a configuration may say, block by block, and what fastvrrp does with it. This page
is made from the table that the reader uses; change the rows in `fastvrrp/config/*_keywords.py`.

`[ ]` may be left out, `|` is a choice, `...` repeats. What is in capitals stands for a value. What
is below `since` is the version of keepalived that brought a keyword, as far as its ChangeLog and
release notes tell. `fastvrrp keyword KEYWORD` says the same of one keyword.
"""


def pages() -> Iterator[str]:
    """Lines of the page."""
    yield HEAD
    yield from _block("At the top", TOP.rows)


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
            inner = keyword.name if title == "At the top" else f"{title} / {keyword.name}"
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
