"""docs/keywords.md, made from the table.

`python -m fastvrrp.config.documentation > docs/keywords.md` makes it again.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping

from fastvrrp.config.keywords import Keyword
from fastvrrp.config.table import TOP

HEAD = """\
# Keywords

Everything that a configuration may say, block by block, and what fastvrrp does with it. This page
is made from the table that the reader uses; change the rows in `fastvrrp/config/*_keywords.py`.

`[ ]` may be left out, `|` is a choice, `...` repeats. What is in capitals stands for a value.
"""


def pages() -> Iterator[str]:
    """Lines of the page."""
    yield HEAD
    yield from _block("At the top", TOP.rows)


def _block(title: str, rows: Mapping[str, Keyword]) -> Iterator[str]:
    yield f"## {title}"
    yield ""
    yield "| keyword | what it says | default | fastvrrp |"
    yield "|---|---|---|---|"
    for keyword in rows.values():
        cells = (
            _written(keyword),
            _cell(keyword.documentation),
            _cell(keyword.default),
            _acts(keyword),
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
    brace = " { ... }" if keyword.is_block else ""
    return _code(f"{keyword.name} {keyword.syntax.shape}".rstrip() + brace)


def _acts(keyword: Keyword) -> str:
    """What fastvrrp does with it, and the versions that matter."""
    acts = "acts on it" if keyword.is_acted_on else "reads it"
    if keyword.replaced_by:
        acts += f"; old, see {_cell(keyword.replaced_by)}"
    if keyword.since:
        acts += f"; new in keepalived {keyword.since}"
    return acts


def _code(text: str) -> str:
    return f"`{_cell(text)}`"


def _cell(text: str) -> str:
    """Text that a table of Markdown leaves alone."""
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write("\n".join(pages()).rstrip() + "\n")
