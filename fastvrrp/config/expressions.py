"""Regular expressions of HTTP_GET: PCRE2, as under keepalived.

`regex_stack` is kept for reading: the stack of PCRE2's compiled code has the library's size here,
and what needs more is matched without such code.
"""

from __future__ import annotations

from functools import lru_cache

import pcre2

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


class ExpressionError(ValueError):
    """An expression that is none; says why."""


@lru_cache(maxsize=256)
def compiled(pattern: str, options: tuple[str, ...], is_fast: bool = True) -> pcre2.Pattern:
    """A pattern of bytes; a fast one is compiled to machine code. Raises ExpressionError."""
    flags = 0
    for option in options:
        flags |= OPTIONS[option]
    try:
        return pcre2.compile(pattern.encode("utf-8", "surrogateescape"), flags, jit=is_fast)
    except pcre2.LibraryError as error:
        raise ExpressionError(str(error)) from error
