"""Frozen dataclasses of our own making: as those of the standard library in all that is used."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import pytest

import fastvrrp.model
from fastvrrp.model.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Ours:
    name: str
    number: int = 7


@dataclass(frozen=True, slots=True)
class More(Ours):
    more: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Single:
    name: str


@dataclasses.dataclass(frozen=True, slots=True)
class Theirs:
    name: str
    number: int = 7


def test_fields_are_given_by_place_by_name_and_by_default() -> None:
    assert Ours("a") == Ours("a", 7) == Ours(number=7, name="a")
    assert [each.name for each in dataclasses.fields(More)] == ["name", "number", "more"]
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'name'"):
        Ours()  # type: ignore[call-arg]


def test_equal_ones_are_of_one_class_and_have_equal_hashes() -> None:
    assert Ours("a") != Ours("b")
    assert Ours("a") != More("a")
    assert hash(Ours("a")) == hash(Ours("a"))
    assert len({Ours("a"), Ours("a", 7), Ours("a", 8), Single("a")}) == 3


def test_nothing_is_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'name'"):
        Ours("a").name = "b"  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot delete field 'name'"):
        del Ours("a").name
    with pytest.raises(dataclasses.FrozenInstanceError):
        Ours("a").other = 1  # type: ignore[attr-defined]
    assert not hasattr(Ours("a"), "__dict__")


def test_it_shows_itself_as_the_other_does() -> None:
    assert repr(Ours("a", 8)) == repr(Theirs("a", 8)).replace("Theirs", "Ours")
    assert repr(Single("a")) == "Single(name='a')"


@pytest.mark.parametrize("model", [Ours("a"), More("a", 8, (1,)), Single("a")])
def test_it_is_copied_pickled_and_replaced(model: Ours) -> None:
    assert pickle.loads(pickle.dumps(model)) == model == copy.deepcopy(model)
    changed = dataclasses.replace(model, name="b")
    assert (type(changed), changed.name) == (type(model), "b")


def test_a_pattern_takes_it_apart() -> None:
    match Ours("a", 8):
        case Ours(name, number):
            assert (name, number) == ("a", 8)


def test_nothing_else_is_made() -> None:
    with pytest.raises(TypeError, match="has no slots"):
        dataclass(frozen=True, slots=False)


def test_every_model_is_made_so() -> None:
    models = [each for each in vars(fastvrrp.model).values() if dataclasses.is_dataclass(each)]
    assert len(models) > 60
    assert not [each for each in models if "__getstate__" in vars(each)]  # it has one of its own
