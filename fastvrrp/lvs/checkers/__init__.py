"""Health checkers, one file a kind. What a kind needs is imported when there is one of it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from fastvrrp.lvs.check import Check
from fastvrrp.lvs.checkers.tools import Tools
from fastvrrp.model import (
    Checker,
    DnsCheck,
    FileCheck,
    HttpCheck,
    MiscCheck,
    PingCheck,
    SmtpCheck,
    TcpCheck,
    UdpCheck,
)

MODULES: dict[type[Checker], str] = {
    TcpCheck: "tcp",
    HttpCheck: "http",
    SmtpCheck: "smtp",
    DnsCheck: "dns",
    UdpCheck: "udp",
    PingCheck: "ping",
    MiscCheck: "misc",
    FileCheck: "file",
}
"""Where the `make` of each kind is. That of BFD_CHECK comes with BFD."""


def make(checker: Checker, tools: Tools) -> Sequence[Check]:
    """What is asked for a checker: one Check, or several that are asked one after the other (URLs).
    None for a kind that fastvrrp does not act on: who is watched by that alone is well."""
    module = MODULES.get(type(checker))
    if module is None:
        return ()
    checks: Sequence[Check] = import_module(f"fastvrrp.lvs.checkers.{module}").make(checker, tools)
    return checks
