"""What one block says: the last value of each keyword, or the default of its row in the table.

A row's default is read by the row's own syntax, so that the table is the one place where a default
stands, and its documentation cannot say another. What a default in words stands for ("the host's
name") is no value: the builder that knows says what is inherited, or the model says None.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fastvrrp.config.complaints import Complaints, Located
from fastvrrp.config.keywords import Keyword
from fastvrrp.config.source import Source
from fastvrrp.config.statement import Statement
from fastvrrp.config.tree import Entry
from fastvrrp.model import Command


class _Defaults(dict[str, object]):
    """The defaults of some rows, by keyword; each is read when it is first asked for."""

    def __init__(self, rows: Mapping[str, Keyword]) -> None:
        self._rows = rows

    def __missing__(self, name: str) -> object:
        default = self[name] = default_of(self._rows[name])
        return default


_defaults: dict[int, _Defaults] = {}
"""By the identity of rows: they are as many as they were when they were imported."""


class _Refusals(Complaints):
    """Only remembers that there was one."""

    was_refused = False

    def error(self, where: Located, index: int, text: str, *, is_ours: bool = False) -> None:
        self.was_refused = True

    def warning(self, where: Located, index: int, text: str, *, is_ours: bool = False) -> None:
        self.was_refused = True


def _defaults_of(rows: Mapping[str, Keyword]) -> _Defaults:
    found = _defaults.get(id(rows))
    if found is None:
        found = _defaults[id(rows)] = _Defaults(rows)
    return found


def default_of(keyword: Keyword) -> object:
    """The value that a row's default stands for; None where it has none, or one in words."""
    if not keyword.default:
        return None
    words = [keyword.name, *keyword.default.split()]
    source = Source("", " ".join(words), 0)
    refusals = _Refusals()
    value = keyword.syntax.read(Statement(words, False, source, 1), refusals)
    return None if refusals.was_refused else value


class Block:
    """Values of one block by keyword; an old spelling counts as the modern one."""

    __slots__ = ("_defaults", "_rows", "written")

    def __init__(self, rows: Mapping[str, Keyword], entries: Iterable[Entry]) -> None:
        self._rows = rows
        self._defaults = _defaults_of(rows)
        self.written: dict[str, object] = {}
        """Sound values, of each keyword the last one."""
        for entry in entries:
            self.add(entry)

    @classmethod
    def of(cls, entry: Entry) -> Block:
        """The block of an entry that has one."""
        assert entry.keyword.block is not None
        return cls(entry.keyword.block, entry.entries)

    def add(self, entry: Entry) -> None:
        """Take one more entry; it counts where it is sound."""
        if entry.value is not None:
            modern = entry.keyword.replaced_by
            self.written[modern if modern in self._rows else entry.keyword.name] = entry.value

    def value(self, name: str) -> object:
        """What was written for a keyword, or its default; None where there is neither."""
        value = self.written.get(name)
        return self._defaults[name] if value is None else value

    def default(self, name: str) -> object:
        """The default of a keyword, whatever was written; None where it has none."""
        return self._defaults[name]

    def number(self, name: str, inherited: int | None = None) -> int:
        """A number, or a time in nanoseconds; what is inherited takes the place of the default."""
        value = self.optional_number(name)
        if inherited is not None and (value is None or name not in self.written):
            return inherited
        return value or 0

    def optional_number(self, name: str) -> int | None:
        """The same, or None where there is none, or only the keyword."""
        value = self.value(name)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def text(self, name: str) -> str | None:
        """A word, or None."""
        value = self.value(name)
        return value if isinstance(value, str) else None

    def address(self, name: str) -> bytes | None:
        """A packed address, or None."""
        value = self.value(name)
        return value if isinstance(value, bytes) else None

    def words(self, name: str) -> tuple[str, ...]:
        """Words, of which there may be none."""
        value = self.value(name)
        return value if isinstance(value, tuple) else ()

    def is_on(self, name: str, inherited: bool | None = None) -> bool:
        """A flag or a switch; what is inherited takes the place of the default."""
        if inherited is not None and name not in self.written:
            return inherited
        return self.value(name) is True

    def command(self, name: str) -> Command | None:
        """A command as it was written, or None."""
        value = self.written.get(name)
        return value if isinstance(value, Command) else None
