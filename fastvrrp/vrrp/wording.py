"""Routes and rules in words that another version understands: names and values of their fields.

A field that has its default is left out, so a version that has one more says the same of what does
not use it. What the kernel does not know of a thing is left out as well: things of the same words
are one there.
"""

from __future__ import annotations

from dataclasses import MISSING, fields, is_dataclass
from typing import Any, TypeAlias, get_args, get_type_hints

from fastvrrp.model import Route, Rule

Words: TypeAlias = dict[str, Any]
"""What JSON has; `is` says what it is."""
_KINDS: dict[str, type[Route] | type[Rule]] = {"route": Route, "rule": Rule}
_OURS = ("is_tracked", "track_group")
"""What the kernel does not know."""


def in_words(thing: Route | Rule) -> Words:
    """The words of a thing."""
    words = _said(thing)
    for name in _OURS:
        words.pop(name, None)
    return {"is": "route" if isinstance(thing, Route) else "rule", **words}


def of_words(words: Words) -> Route | Rule:
    """The thing of some words. Raises ValueError where this version does not know what they say."""
    try:
        rest = dict(words)
        made: Route | Rule = _heard(_KINDS[rest.pop("is")], rest)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"nothing that is known here: {error}") from None
    return made


def _said(value: Any) -> Any:
    if is_dataclass(value):
        return {
            field.name: _said(getattr(value, field.name))
            for field in fields(value)
            if field.default is MISSING or getattr(value, field.name) != field.default
        }
    if isinstance(value, tuple):
        return [_said(each) for each in value]
    if isinstance(value, bytes):
        return value.hex()
    return value


def _heard(kind: Any, value: Any) -> Any:
    """What was said of a value of a type."""
    if value is None:
        return None
    if is_dataclass(kind):
        types = get_type_hints(kind)
        return kind(**{name: _heard(types[name], each) for name, each in value.items()})  # type: ignore[operator]
    inner = [each for each in get_args(kind) if each not in (type(None), ...)]
    if isinstance(value, list):
        if len(inner) == 1 and get_args(inner[0]):  # a tuple or None
            return _heard(inner[0], value)
        types_of_items = inner if len(inner) > 1 else inner * len(value)
        return tuple(map(_heard, types_of_items, value))
    if inner:
        return _heard(inner[0], value)
    return bytes.fromhex(value) if kind is bytes else kind(value)
