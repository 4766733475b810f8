"""Frozen dataclasses with slots, made quickly.

The standard library compiles seven functions for each class, which is most of what starting a
process took: the vocabulary has 72 classes (60 ms, 20 so). Here the constructor alone is compiled,
and the others are closures over the names of the fields. For a type checker it is `dataclass`
(frozen.pyi); `fields`, `replace` and `match` take what is made here as any other dataclass.

What is made here is pickled as a call of its constructor with the fields in their order.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from operator import attrgetter
from typing import Any, NoReturn

PLAIN = (True, True, True, None, False)
"""init, repr, compare, hash and kw_only of a field that is a name and at most a default."""


def dataclass(*, frozen: bool, slots: bool) -> Callable[[type[Any]], type[Any]]:
    """As `dataclasses.dataclass` with just these options, both of which have to be on. Fields are a
    name with or without a default. Raises TypeError for everything else."""
    if not (frozen and slots):
        raise TypeError("what is not frozen, or has no slots, is a dataclass of dataclasses")
    return _made


def _made(plain: type[Any]) -> type[Any]:
    made = dataclasses.dataclass(init=False, repr=False, eq=False, slots=True)(plain)
    _refuse_what_is_not_made(made)
    names = tuple(field.name for field in dataclasses.fields(made))
    values = _values_of(names)

    def __eq__(self: object, other: object) -> bool:
        return (
            values(self) == values(other) if other.__class__ is self.__class__ else NotImplemented
        )

    def __hash__(self: object) -> int:
        return hash(values(self))

    def __repr__(self: object) -> str:
        shown = zip(names, values(self), strict=True)
        words = ", ".join(f"{name}={value!r}" for name, value in shown)
        return f"{self.__class__.__qualname__}({words})"

    def __reduce__(self: object) -> tuple[type[Any], tuple[object, ...]]:
        return self.__class__, values(self)

    for method in (__eq__, __hash__, __repr__, __reduce__, __setattr__, __delattr__):
        setattr(made, method.__name__, method)
    made.__init__ = _constructor(made)
    return made


def _refuse_what_is_not_made(made: type[Any]) -> None:
    if hasattr(made, "__post_init__"):
        raise TypeError(f"{made.__qualname__}: __post_init__ would not be called")
    for field in dataclasses.fields(made):
        options = (field.init, field.repr, field.compare, field.hash, field.kw_only)
        if options != PLAIN or field.default_factory is not dataclasses.MISSING:
            raise TypeError(f"{made.__qualname__}.{field.name} is no plain field")


def _values_of(names: tuple[str, ...]) -> Callable[[object], tuple[object, ...]]:
    """What gives the values of these fields."""
    if len(names) > 1:
        return attrgetter(*names)
    return lambda model: tuple([getattr(model, name) for name in names])


def _constructor(made: type[Any]) -> Callable[..., None]:
    """It fills the slots, which nobody else can."""
    scope: dict[str, Any] = {}
    parameters, body = ["self"], []
    for field in dataclasses.fields(made):
        scope[f"set_{field.name}"] = getattr(made, field.name).__set__
        body.append(f" set_{field.name}(self, {field.name})\n")
        if field.default is dataclasses.MISSING:
            parameters.append(field.name)
        else:
            scope[f"default_{field.name}"] = field.default
            parameters.append(f"{field.name}=default_{field.name}")
    exec(f"def __init__({', '.join(parameters)}):\n{''.join(body) or ' pass'}", scope)
    constructor: Callable[..., None] = scope["__init__"]
    return constructor


def __setattr__(self: object, name: str, value: object) -> NoReturn:
    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")


def __delattr__(self: object, name: str) -> NoReturn:
    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")
