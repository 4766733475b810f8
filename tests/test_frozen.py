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


class Fields:
    """Those that are refused, each in a class of its own: slots leave no default there."""

    class Uncompared:
        name: str = dataclasses.field(default="a", compare=False)

    class Unshown:
        name: str = dataclasses.field(default="a", repr=False)

    class Unhashed:
        name: str = dataclasses.field(default="a", hash=False)

    class Ungiven:
        name: str = dataclasses.field(default="a", init=False)

    class Named:
        name: str = dataclasses.field(default="a", kw_only=True)

    class AllNamed:
        _: dataclasses.KW_ONLY
        name: str = "a"

    class Factory:
        name: list[str] = dataclasses.field(default_factory=list)


@pytest.mark.parametrize("name", [name for name in vars(Fields) if name[0] != "_"])
def test_a_field_that_is_more_than_a_name_and_a_default_is_refused(name: str) -> None:
    with pytest.raises(TypeError, match=rf"{name}\.name is no plain field"):
        dataclass(frozen=True, slots=True)(getattr(Fields, name))


def test_what_would_be_called_behind_the_constructor_is_refused() -> None:
    with pytest.raises(TypeError, match="__post_init__ would not be called"):

        @dataclass(frozen=True, slots=True)
        class Checked:
            name: str

            def __post_init__(self) -> None:
                raise ValueError(self.name)


class Child(Ours):
    """Not decorated: with the fields of its base alone."""


def test_a_class_below_compares_and_shows_itself_as_what_it_is() -> None:
    assert Child("a") == Child("a")
    assert Child("a") != Child("b")
    assert Child("a") != Ours("a")
    assert Ours("a") != Child("a")
    assert len({Child("a"), Child("a")}) == 1
    assert repr(Child("a")) == "Child(name='a', number=7)"
    assert type(pickle.loads(pickle.dumps(Child("a")))) is Child


def test_every_model_is_made_so() -> None:
    models = [each for each in vars(fastvrrp.model).values() if dataclasses.is_dataclass(each)]
    assert len(models) > 60
    assert not [each for each in models if "__getstate__" in vars(each)]  # it has one of its own
