"""What vrrpd was asked to do and has not answered yet, in the parent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fastvrrp.daemon.orders import Answer, Order, Progress


class Pending:
    """All of it; each is answered once."""

    def __init__(self, say: Callable[[Order], object]) -> None:
        """`say` tells vrrpd."""
        self._say = say
        self._asked: dict[int, tuple[Callable[[Answer], object], Callable[[str], object]]] = {}
        self.number = 0
        """Of the last one; an answer to an older one is nobody's."""

    def order(
        self,
        kind: str,
        arguments: Mapping[str, Any],
        on_answer: Callable[[Answer], object],
        on_line: Callable[[str], object],
    ) -> None:
        """Asks vrrpd; `on_answer` is called once, `on_line` with each line on how far it is."""
        self.number += 1
        self._asked[self.number] = on_answer, on_line
        self._say(Order(self.number, kind, dict(arguments)))

    def take(self, message: Answer | Progress) -> None:
        """Hears what vrrpd says of it."""
        match message:
            case Answer(number):
                if number in self._asked:
                    self._asked.pop(number)[0](message)
            case Progress(number, line):
                if number in self._asked:
                    self._asked[number][1](line)

    def give_up(self, why: str) -> None:
        """Answers all: there is nobody any more who would."""
        asked, self._asked = self._asked, {}
        for number, (on_answer, _) in asked.items():
            on_answer(Answer(number, False, (why,)))
