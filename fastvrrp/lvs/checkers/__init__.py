"""Health checkers, one file a kind. What a kind needs is imported when there is one of it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from fastvrrp.lvs.check import Check
from fastvrrp.lvs.checkers.tools import Tools
from fastvrrp.model import Checker, TcpCheck

MODULES: dict[type[Checker], str] = {TcpCheck: "tcp"}
"""Where the `make` of each kind is."""


def make(checker: Checker, tools: Tools) -> Sequence[Check]:
    """What is asked for a checker: one Check, or several that are asked one after the other (URLs).
    None for a kind that fastvrrp does not act on."""
    module = MODULES.get(type(checker))
    if module is None:
        return ()
    checks: Sequence[Check] = import_module(f"fastvrrp.lvs.checkers.{module}").make(checker, tools)
    return checks
