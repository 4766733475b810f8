"""What is tracked, and with which weight."""

from __future__ import annotations

from dataclasses import dataclass

from fastvrrp.config.arguments import Integer
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


class TrackedLine:
    """NAME [weight N [reverse|noreverse]]."""

    def __init__(self, most: int) -> None:
        self._weight = Integer(-most, most)

    @property
    def shape(self) -> str:
        return f"NAME [weight {self._weight.shape}] [reverse|noreverse]"

    def read(self, statement: Statement, complaints: Complaints) -> Reference:
        words = statement.words
        weight: int | None = None
        is_reversed: bool | None = None
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
            else:
                complaints.error(
                    statement, index, f"{word} is unknown after {words[0]}; write weight or reverse"
                )
            index += 1
        return Reference(words[0], weight, is_reversed)


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
