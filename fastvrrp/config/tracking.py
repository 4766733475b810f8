"""What is tracked, and with which weight."""

from __future__ import annotations

from dataclasses import dataclass

from fastvrrp.config.arguments import NAMESPACE, Integer
from fastvrrp.config.complaints import Complaints
from fastvrrp.config.statement import Statement
from fastvrrp.config.syntax import ignore_rest, read_word

DIRECTIONS = {"reverse": True, "noreverse": False, "no_reverse": False}


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference to something tracked; None leaves its own weight or direction."""

    name: str
    weight: int | None = None
    is_reversed: bool | None = None
    namespace: str | None = None


class TrackedLine:
    """NAME [weight N [reverse|noreverse]], and of an interface its network namespace."""

    def __init__(self, most: int, *, is_interface: bool = False) -> None:
        self._weight = Integer(-most, most)
        self._is_interface = is_interface

    @property
    def shape(self) -> str:
        place = " [net_namespace NAME]" if self._is_interface else ""
        return f"NAME [weight {self._weight.shape}] [reverse|noreverse]{place}"

    def read(self, statement: Statement, complaints: Complaints) -> Reference:
        words = statement.words
        weight: int | None = None
        is_reversed: bool | None = None
        namespace: str | None = None
        index = 1
        while index < len(words):
            word = words[index]
            if word == "weight":
                index += 1
                if index == len(words):
                    complaints.error(statement, index, f"weight of {words[0]} needs a number")
                    break
                value = read_word(statement, index, self._weight, complaints, word)
                weight = value if isinstance(value, int) else None
            elif word in DIRECTIONS:
                is_reversed = DIRECTIONS[word]
            elif word == "net_namespace" and self._is_interface:
                index += 1
                if index == len(words):
                    complaints.error(statement, index, f"{word} of {words[0]} needs a name")
                    break
                name = read_word(statement, index, NAMESPACE, complaints, word)
                namespace = name if isinstance(name, str) else None
            else:
                complaints.error(
                    statement, index, f"{word} is unknown after {words[0]}; write weight or reverse"
                )
            index += 1
        return Reference(words[0], weight, is_reversed, namespace)


class Weight:
    """N [reverse]; the value is the weight and whether it is reversed."""

    def __init__(self, most: int) -> None:
        self._weight = Integer(-most, most)

    @property
    def shape(self) -> str:
        return f"{self._weight.shape} [reverse]"

    def read(self, statement: Statement, complaints: Complaints) -> tuple[int, bool] | None:
        words = statement.words
        if len(words) == 1:
            complaints.error(statement, 1, f"{words[0]} needs a value: {self.shape}")
            return None
        value = read_word(statement, 1, self._weight, complaints)
        if not isinstance(value, int):
            return None
        is_reversed = len(words) > 2 and words[2] == "reverse"
        if len(words) > 2 and not is_reversed:
            complaints.error(statement, 2, f"{words[2]} is unknown after weight; write reverse")
        ignore_rest(statement, 3, complaints)
        return value, is_reversed
