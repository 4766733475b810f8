"""Matches regular expressions of HTTP_GET, in a process of its own (`matching`).

One that backtracks for ever ends at PCRE2's own limit of steps, mostly after some hundredths of a
second; the answer has then not matched.
"""

from __future__ import annotations

import pcre2

from fastvrrp.config.expressions import compiled
from fastvrrp.model import Expression

STACK = "JIT stack"
"""In what the library says of a match that needs more stack than there is."""


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
        found = compiled(expression.pattern, expression.options).search(kept)
    except pcre2.LibraryError as error:
        if STACK not in str(error):
            raise
        found = compiled(expression.pattern, expression.options, is_fast=False).search(kept)
    if found is None:
        return False
    latest = expression.most_offset
    return latest is None or found.start() + expression.least_offset <= latest
