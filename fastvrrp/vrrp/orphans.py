"""Routes and rules that a daemon has left, and nobody wants any more: the kernel does not say whose
they are, so what is ours there is known from the file that it has left (daemon/routes_file.py)."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple, TypeAlias

from fastvrrp.model import Route, Rule
from fastvrrp.vrrp.wording import Words, in_words, of_words

log = logging.getLogger(__name__)

STRIDE = 64
"""Things that are compared between two looks at whether an advert is due."""

Things: TypeAlias = Iterable[Route | Rule]


class Left(NamedTuple):
    """What somebody had."""

    namespace: str | None
    """None is the daemon's own."""
    router: str | None
    """Whose it is while that is master; None is what is static."""
    words: list[Words]


def orphans(
    left: Iterable[Left],
    own_name: str | None,
    wanted: Iterable[tuple[str | None, Things]],
    breathe: Callable[[], object],
) -> Mapping[str | None, list[Route | Rule]]:
    """What was left and is not `wanted`, by the name of its network namespace; None is the daemon's
    own, which may be called `own_name` as well. `breathe` is called again and again."""
    standing: defaultdict[str | None, dict[str, Words]] = defaultdict(dict)
    for each in left:
        namespace = None if each.namespace == own_name else each.namespace
        standing[namespace].update((_text(words), words) for words in each.words)
    for number, (namespace, thing) in enumerate(_each(wanted)):
        if number % STRIDE == 0:
            breathe()
        found = standing.get(None if namespace == own_name else namespace)
        if found:
            found.pop(_text(in_words(thing)), None)
    return {namespace: _things(found.values()) for namespace, found in standing.items() if found}


def _each(wanted: Iterable[tuple[str | None, Things]]) -> Iterator[tuple[str | None, Route | Rule]]:
    for namespace, things in wanted:
        for thing in things:
            yield namespace, thing


def _text(words: Words) -> str:
    return json.dumps(words, sort_keys=True)


def _things(found: Iterable[Words]) -> list[Route | Rule]:
    things: list[Route | Rule] = []
    for words in found:
        try:
            things.append(of_words(words))
        except ValueError as error:
            log.info("What was left behind stays: %s: %s", words, error)
    return things
