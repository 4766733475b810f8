"""Statements against the table: a tree of entries, one top-level block at a time.

The tree of one block is read, handed on and forgotten, so that the text of 65,000 instances never
stands in memory as trees. Whatever does not fit is complained of and passed over, and reading goes
on: a person wants all complaints in one run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from fastvrrp.config.commands import IN_BLOCKS
from fastvrrp.config.complaints import Complaints
from fastvrrp.config.keywords import Keyword
from fastvrrp.config.recall import Recalled
from fastvrrp.config.spelling import nearest, slip
from fastvrrp.config.statement import Statement
from fastvrrp.model import Command


class Entry:
    """One keyword as it was written: its value, and for a block what is inside."""

    __slots__ = ("entries", "items", "keyword", "statement", "value")

    def __init__(self, keyword: Keyword, statement: Statement, value: object) -> None:
        self.keyword = keyword
        self.statement = statement
        self.value = value
        """None where it was complained of."""
        self.entries: list[Entry] = []
        self.items: list[tuple[object, Statement]] = []
        """Values of the lines of a block without keywords."""


class Tree:
    """Reads statements; iterate over it for top-level entries."""

    def __init__(
        self,
        statements: Iterator[Statement],
        table: Mapping[str, Keyword],
        complaints: Complaints,
        on_recalled: Callable[[Recalled], None] = lambda _: None,
    ) -> None:
        """`on_recalled` is told of a virtual server that is known, in its place."""
        self._on_recalled = on_recalled
        self._statements = statements
        self._table = table
        self._complaints = complaints
        self._returned: list[Statement] = []
        self._misplaced: Statement | None = None
        self._not_acted_on: set[str] = set()
        """Keywords that were named once as being without effect."""
        self._is_inside_such = False
        """True inside a block without effect: of what is inside, nothing more is said."""
        self.notifying: list[tuple[Statement, Command]] = []
        """Every command that stands in a line with its user."""

    def __iter__(self) -> Iterator[Entry]:
        while (statement := self._next()) is not None:
            if not statement.words:
                if statement.opens:
                    self._complaints.error(statement, 0, "'{' opens a block that has no name")
                    self._skip_block()
                else:
                    self._complaints.error(statement, 0, "'}' closes nothing; remove it")
                continue
            if isinstance(statement, Recalled):
                self._on_recalled(statement)
                continue
            entry = self._entry(statement, self._table)
            if entry is not None:
                yield entry

    def _next(self) -> Statement | None:
        if self._returned:
            return self._returned.pop()
        return next(self._statements, None)

    def _entry(self, statement: Statement, table: Mapping[str, Keyword]) -> Entry | None:
        """One keyword, with its block when it has one; None when it was passed over."""
        keyword = table.get(statement.words[0])
        if keyword is None:
            self._unknown(statement, table)
            return None
        value = self._value(keyword, statement)
        entry = Entry(keyword, statement, value)
        if keyword.block is None and keyword.items is None:
            if statement.opens:
                self._complaints.error(
                    statement,
                    len(statement.words),
                    f"{keyword.name} has no block; what is inside the braces is ignored",
                )
                self._skip_block()
            return entry
        if not statement.opens and not self._brace_follows(entry):
            return entry
        was_inside_such = self._is_inside_such
        self._is_inside_such |= not keyword.is_acted_on
        if keyword.items is not None:
            self._read_items(entry)
        elif keyword.block is not None:
            self._read_entries(entry, keyword.block)
        self._is_inside_such = was_inside_such
        return entry

    def _value(self, keyword: Keyword, statement: Statement) -> object:
        """The value of a keyword; one that fastvrrp does not act on is said once."""
        if (
            not keyword.is_acted_on
            and not self._is_inside_such
            and keyword.name not in self._not_acted_on
        ):
            self._not_acted_on.add(keyword.name)
            self._complaints.warning(
                statement, 0, f"{keyword.name} is read, but has no effect yet", is_ours=True
            )
        if keyword.is_discouraged:
            self._complaints.warning(
                statement, 0, f"{keyword.name} is deprecated; write {keyword.replaced_by}"
            )
        value = keyword.syntax.read(statement, self._complaints)
        if isinstance(value, Command) and keyword.name not in IN_BLOCKS:
            self.notifying.append((statement, value))
        return value

    def _brace_follows(self, entry: Entry) -> bool:
        """True where the block's brace is on the next line, or is missing before its keywords."""
        following = self._next()
        if following is not None and following.opens and not following.words:
            return True
        self._complaints.error(
            entry.statement,
            len(entry.statement.words),
            f"{entry.keyword.name} has no block; write '{{' after it",
        )
        if following is None:
            return False
        self._returned.append(following)
        block = entry.keyword.block
        return block is not None and bool(following.words) and following.words[0] in block

    def _read_entries(self, parent: Entry, block: Mapping[str, Keyword]) -> None:
        entries = parent.entries
        statements = self._statements
        returned = self._returned
        while True:
            statement = returned.pop() if returned else next(statements, None)
            if statement is None:
                self._unclosed(parent)
                return
            words = statement.words
            if not words:
                if not statement.opens:
                    return
                self._complaints.error(statement, 0, "'{' opens a block that has no name")
                self._skip_block()
                continue
            keyword = block.get(words[0])
            if keyword is not None and not keyword.is_block and not statement.opens:
                entries.append(Entry(keyword, statement, self._value(keyword, statement)))
                continue
            if keyword is None and self._starts_top_level(statement):
                self._missing_brace(parent, statement)
                return
            entry = self._entry(statement, block)
            if entry is not None:
                entries.append(entry)

    def _read_items(self, parent: Entry) -> None:
        syntax = parent.keyword.items
        assert syntax is not None
        items = parent.items
        while True:
            statement = self._next()
            if statement is None:
                self._unclosed(parent)
                return
            words = statement.words
            if words and not statement.opens:
                value = syntax.read(statement, self._complaints)
                if value is not None:
                    items.append((value, statement))
                continue
            if not words and not statement.opens:
                return
            if words and self._starts_top_level(statement):
                self._missing_brace(parent, statement)
                return
            self._complaints.error(
                statement, len(words), f"{parent.keyword.name} has no blocks inside; it is ignored"
            )
            self._skip_block()

    def _starts_top_level(self, statement: Statement) -> bool:
        keyword = self._table.get(statement.words[0])
        return keyword is not None and keyword.is_block

    def _missing_brace(self, parent: Entry, statement: Statement) -> None:
        """A block that belongs to the top begins inside another: that one was not closed.

        The statement is given back, and the block ends here; blocks around it end the same way, and
        only the innermost is complained of.
        """
        if statement is not self._misplaced:
            self._misplaced = statement
            self._complaints.error(
                statement,
                0,
                f"{statement.words[0]} stands inside {_named(parent)} of line"
                f" {parent.statement.number}; a '}}' is missing before it",
            )
        self._returned.append(statement)

    def _unclosed(self, parent: Entry) -> None:
        self._complaints.error(
            parent.statement, 0, f"{_named(parent)} is never closed; a '}}' is missing"
        )

    def _unknown(self, statement: Statement, table: Mapping[str, Keyword]) -> None:
        word = statement.words[0]
        following = None if statement.opens else self._next()
        is_block = statement.opens
        if following is not None:
            if following.opens and not following.words:
                is_block = True
            else:
                self._returned.append(following)
        text = f"{'block' if is_block else 'keyword'} {word} is unknown and ignored"
        remedy = slip(word)
        if remedy is not None:
            text += f"; {remedy}"
        elif self._complaints.may_suggest():
            suggestion = nearest(word, table)
            if suggestion is not None:
                text += f"; did you mean {suggestion}?"
        self._complaints.warning(statement, 0, text)
        if is_block:
            self._skip_block()

    def _skip_block(self) -> None:
        """Pass over everything up to the brace that closes what is open."""
        depth = 1
        while depth and (statement := self._next()) is not None:
            if statement.opens:
                depth += 1
            elif not statement.words:
                depth -= 1


def _named(entry: Entry) -> str:
    return " ".join(entry.statement.words[:2])
