"""Syntaxes made of named options: `lvs_sync_daemon eth0 id 3 ttl 4`, routes and rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from fastvrrp.config.arguments import Adjusted, Argument, ArgumentError
from fastvrrp.config.complaints import Complaints
from fastvrrp.config.spelling import nearest
from fastvrrp.config.statement import Statement
from fastvrrp.config.syntax import joined, read_word


class Options(NamedTuple):
    """Options as they were written: name and value, True for one without, in order."""

    written: tuple[tuple[str, object], ...]

    def get(self, name: str) -> object:
        """The last value of an option, or None."""
        for written, value in reversed(self.written):
            if written == name:
                return value
        return None


class OptionLine:
    """Options from word `start` on; a word that is none goes to the first `bare` option left that
    can read it.

    `options` has the argument of each name, or None where it has none.
    """

    def __init__(
        self,
        options: Mapping[str, Argument | None],
        bare: Mapping[str, Argument] | None = None,
        *,
        start: int = 1,
        least: int = 0,
        modifiers: frozenset[str] = frozenset(),
        needs_an_option: bool = False,
        left_out: str = "",
    ) -> None:
        self._options = options
        self._bare = dict(bare or {})
        self._start = start
        self._least = least
        self._modifiers = modifiers
        """Words that may stand before a value, as `lock` in `mtu lock 1400`."""
        self._needs_an_option = needs_an_option
        self._left_out = left_out
        """What is said where a fault in one option leaves the line without a value; empty where
        only that option is ignored."""

    @property
    def shape(self) -> str:
        bare = [argument.shape for argument in self._bare.values()]
        bare = [shape if i < self._least else f"[{shape}]" for i, shape in enumerate(bare)]
        named = [
            f"[{name} {argument.shape}]" if argument else f"[{name}]"
            for name, argument in self._options.items()
        ]
        return " ".join(bare + named)

    def read(self, statement: Statement, complaints: Complaints) -> Options | None:
        words = statement.words
        waiting = list(self._bare.items())
        written: list[tuple[str, object]] = []
        is_faulty = False
        index = self._start
        while index < len(words):
            word = words[index]
            index += 1
            if word in self._options:
                argument = self._options[word]
                if argument is None:
                    written.append((word, True))
                    continue
                if index + 1 < len(words) and words[index] in self._modifiers:
                    written.append((words[index], word))
                    index += 1
                if index == len(words):
                    text = f"{word} needs a value: {argument.shape}"
                    complaints.error(statement, index, joined(text, self._left_out))
                    is_faulty = True
                    break
                value = read_word(statement, index, argument, complaints, word, self._left_out)
                index += 1
                is_faulty |= value is None
                if value is not None:
                    written.append((word, value))
            elif waiting:
                name, argument = waiting.pop(_fitting(word, waiting))
                value = read_word(
                    statement, index - 1, argument, complaints, consequence=self._left_out
                )
                is_faulty |= value is None
                if value is not None:
                    written.append((name, value))
            else:
                suggestion = nearest(word, self._options) if complaints.may_suggest() else None
                remedy = f"did you mean {suggestion}?" if suggestion else ""
                text = joined(f"{word} is no option here", remedy, self._left_out)
                is_alone = not (remedy or self._left_out)
                complaints.error(
                    statement, index - 1, joined(text, "it is ignored") if is_alone else text
                )
                is_faulty = True
        if self._needs_an_option and len(words) == self._start:
            complaints.error(
                statement, len(words), f"{words[0]} needs {' or '.join(self._options)}"
            )
            return None
        if len(self._bare) - len(waiting) < self._least:
            missing = waiting[0][1].shape
            complaints.error(statement, len(words), f"{words[0]} needs {missing}")
            return None
        if is_faulty and self._left_out:
            return None
        return Options(tuple(written))


def _fitting(word: str, waiting: list[tuple[str, Argument]]) -> int:
    """The first option that can read a word; the very first where none can, to complain."""
    for index, (_, argument) in enumerate(waiting):
        try:
            argument.read(word)
        except ArgumentError:
            continue
        except Adjusted:
            pass
        return index
    return 0
