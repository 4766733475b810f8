"""Regular expressions of HTTP_GET: PCRE2, as under keepalived.

`regex_stack` is kept for reading: the stack of PCRE2's compiled code has the library's size here,
and what needs more is matched without it. An expression that backtracks for ever ends at PCRE2's
own limit of steps, and has then not matched.
"""

from __future__ import annotations

from functools import lru_cache

import pcre2

from fastvrrp.model import Expression

OPTIONS = {
    "allow_empty_class": 0x00000001,
    "alt_bsux": 0x00000002,
    "auto_callout": 0x00000004,
    "caseless": 0x00000008,
    "dollar_endonly": 0x00000010,
    "dotall": 0x00000020,
    "dupnames": 0x00000040,
    "extended": 0x00000080,
    "firstline": 0x00000100,
    "match_unset_backref": 0x00000200,
    "multiline": 0x00000400,
    "never_ucp": 0x00000800,
    "never_utf": 0x00001000,
    "no_auto_capture": 0x00002000,
    "no_auto_possess": 0x00004000,
    "no_dotstar_anchor": 0x00008000,
    "no_start_optimize": 0x00010000,
    "ucp": 0x00020000,
    "ungreedy": 0x00040000,
    "utf": 0x00080000,
    "never_backslash_c": 0,  # the binding's library never takes \C
    "alt_circumflex": 0x00200000,
    "alt_verbnames": 0x00400000,
    "use_offset_limit": 0,  # where a match may start is looked at here
}
"""PCRE2_* of pcre2.h."""
STACK = "JIT stack"
"""In what the library says of a match that needs more stack than there is."""


class ExpressionError(ValueError):
    """An expression that is none; says why."""


@lru_cache(maxsize=256)
def _compiled(pattern: str, options: tuple[str, ...], is_fast: bool) -> pcre2.Pattern:
    flags = 0
    for option in options:
        flags |= OPTIONS[option]
    try:
        return pcre2.compile(pattern.encode(), flags, jit=is_fast)
    except pcre2.LibraryError as error:
        raise ExpressionError(str(error)) from error


def check(expression: Expression) -> None:
    """Raises ExpressionError where it does not compile."""
    _compiled(expression.pattern, expression.options, True)


def mismatch(expression: Expression, kept: bytes) -> str:
    """What is wrong with a body, whose bytes from `least_offset` on are given; nothing is wrong
    where it is as it should be."""
    try:
        matches = _matches(expression, kept)
    except pcre2.LibraryError as error:
        return f"regex cannot be matched: {error}"
    if matches == expression.must_match:
        return ""
    return "regex matches" if matches else "regex does not match"


def _matches(expression: Expression, kept: bytes) -> bool:
    try:
        found = _compiled(expression.pattern, expression.options, True).search(kept)
    except pcre2.LibraryError as error:
        if STACK not in str(error):
            raise
        found = _compiled(expression.pattern, expression.options, False).search(kept)
    if found is None:
        return False
    latest = expression.most_offset
    return latest is None or found.start() + expression.least_offset <= latest
