"""The table of keywords: everything that may be written, block by block.

A row says how a keyword is read (its `Syntax`), whether it opens a block, whether fastvrrp acts on
it, and one line about it. The tree is read with this table; the builder takes the values by the
keywords' names. A new keyword is a new row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fastvrrp.config.syntax import Flag, InnerBlock, Syntax


@dataclass(frozen=True, slots=True)
class Keyword:
    """One keyword of one block."""

    name: str
    syntax: Syntax
    """How its words are read; for a block, the words before its brace."""
    documentation: str
    default: str = ""
    """What stands when it is not written, in its own words: its syntax reads them."""
    block: Mapping[str, Keyword] | None = None
    """Keywords of its block, or None."""
    items: Syntax | None = None
    """How the lines of its block are read, where they start with no keyword."""
    is_repeatable: bool = False
    """True where every occurrence counts; otherwise the last one does."""
    is_acted_on: bool = True
    since: str = ""
    """The version of keepalived that brought it, where its ChangeLog or release notes say so."""
    replaced_by: str = ""
    """The modern spelling, where this one is old."""
    is_discouraged: bool = False
    """True where keepalived itself says so at every use of the old one."""
    fallback: str = ""
    """What stands when it is not written and no words of its own say it: another keyword, as a
    rule, or what the default is in some blocks."""
    is_ours: bool = False
    """True where keepalived does not know it, and refuses it."""

    @property
    def is_block(self) -> bool:
        """True where a brace must follow."""
        return self.block is not None or self.items is not None


def later(
    name: str,
    syntax: Syntax,
    documentation: str,
    default: str = "",
    *,
    block: Mapping[str, Keyword] | None = None,
    items: Syntax | None = None,
    is_repeatable: bool = False,
    since: str = "",
    replaced_by: str = "",
    is_discouraged: bool = False,
    fallback: str = "",
    is_ours: bool = False,
) -> Keyword:
    """A row for a keyword that is read and checked, and that fastvrrp does not act on."""
    return Keyword(
        name,
        syntax,
        documentation,
        default,
        block,
        items,
        is_repeatable,
        False,
        since,
        replaced_by,
        is_discouraged,
        fallback,
        is_ours,
    )


FLAG = Flag()
INNER_BLOCK = InnerBlock()


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of one block, and how to add to them."""

    rows: dict[str, Keyword] = field(default_factory=dict)

    def add(self, *keywords: Keyword) -> Table:
        """Enter rows; a name twice is a mistake in the table."""
        for keyword in keywords:
            if keyword.name in self.rows:
                raise ValueError(f"{keyword.name} is in the table twice")
            self.rows[keyword.name] = keyword
        return self
