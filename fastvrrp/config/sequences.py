"""`~SEQ(...)`, `~SEQx(...)` and `~LST(...)`: which values their variables take, one after another.

    ~SEQ(VARIABLE, [START, [STEP,]] END)
    ~LST(VARIABLE, VALUE, ...)        ~LST({VARIABLE, ...}, {VALUE, ...}, ...)

Without a step, a sequence goes towards its end by one; without a start, from 1 or -1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

HEAD = re.compile(r"~(SEQx?|LST)\(([^()]*)\)\s*")
STARTS = ("~SEQ(", "~SEQx(", "~LST(")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
NUMBER = re.compile(r"[+-]?(?:0[xX][0-9A-Fa-f]{1,8}|[0-9]{1,10})")
GROUP = re.compile(r"\{([^{}]*)\}|([^{},\s]+)")


class SequenceError(Exception):
    """The sequence cannot be understood; the text says what is wrong with it."""


class Sequence(NamedTuple):
    """Names, and for each turn their values."""

    names: tuple[str, ...]
    length: int
    turns: Iterable[tuple[str, ...]]


def sequence_of(kind: str, inside: str) -> Sequence:
    """What stands in the parentheses of a SEQ, SEQx or LST. Raises SequenceError."""
    return _list_of(inside) if kind == "LST" else _numbers_of(inside, kind == "SEQx")


def _numbers_of(inside: str, is_hexadecimal: bool) -> Sequence:
    name, *words = [word.strip() for word in inside.split(",")]
    if NAME.fullmatch(name) is None:
        raise SequenceError(f"{name!r} cannot name a parameter")
    if not 1 <= len(words) <= 3:
        raise SequenceError("it needs a name and one to three numbers: start, step, end")
    for word in words:
        if NUMBER.fullmatch(word) is None:
            raise SequenceError(f"{word!r} is no number")
    numbers = [int(word, 16) if "x" in word.lower() else int(word) for word in words]
    end = numbers[-1]
    start = numbers[0] if len(numbers) > 1 else (1 if end > 0 else -1)
    step = numbers[1] if len(numbers) == 3 else (1 if end >= start else -1)
    if step == 0:
        raise SequenceError("a step of 0 never ends")
    if (end - start) * step < 0:
        raise SequenceError(f"steps of {step} never lead from {start} to {end}")
    values = range(start, end + (1 if step > 0 else -1), step)
    shape = "%x" if is_hexadecimal else "%d"
    return Sequence((name,), len(values), ((shape % value,) for value in values))


def _list_of(inside: str) -> Sequence:
    groups: list[tuple[str, ...]] = []
    rest = inside.strip()
    while rest:
        match = GROUP.match(rest)
        if match is None:
            raise SequenceError(f"{rest!r} is neither a value nor {{VALUE, ...}}")
        group, single = match.groups()
        groups.append((single,) if group is None else tuple(v.strip() for v in group.split(",")))
        rest = rest[match.end() :].lstrip()
        if rest and not rest.startswith(","):
            raise SequenceError(f"a comma is missing before {rest!r}")
        rest = rest[1:].lstrip()
    if len(groups) < 2:
        raise SequenceError("it needs a name and at least one value")
    names, *values = groups
    for name in names:
        if NAME.fullmatch(name) is None:
            raise SequenceError(f"{name!r} cannot name a parameter")
    for turn in values:
        if len(turn) > len(names):
            raise SequenceError(f"{', '.join(turn)} are more values than names")
    return Sequence(
        names, len(values), [turn + ("",) * (len(names) - len(turn)) for turn in values]
    )
