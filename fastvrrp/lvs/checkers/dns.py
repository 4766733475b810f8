"""DNS_CHECK: it answers a question without an error code, over UDP.

dnspython writes the question. Of the answer only the beginning of its header counts, as under
keepalived: its number, that it is an answer, and its code (RFC 1035 section 4.1.1). No answer, a
truncated one, or one in which something is broken is none of a health check's business.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence

import dns.message
import dns.rcode

from fastvrrp.lvs.check import Check, Verdict
from fastvrrp.lvs.checkers.datagrams import Exchange
from fastvrrp.lvs.checkers.sockets import describe
from fastvrrp.lvs.checkers.tools import Tools
from fastvrrp.model import DnsCheck

IS_ANSWER = 0x80
"""QR, in the third octet."""
CODE = 0x0F
"""RCODE, in the fourth."""


class DnsQuestion(Exchange):
    """Asks for a name."""

    def __init__(self, checker: DnsCheck, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(checker.target, checker.timing, loop)
        self._wire = dns.message.make_query(checker.name, checker.type.name).to_wire()[2:]
        self._number = b""

    def question(self) -> bytes:
        self._number = secrets.token_bytes(2)
        return self._number + self._wire

    def judge(self, answer: bytes) -> Verdict | None:
        if len(answer) < 4 or answer[:2] != self._number or not answer[2] & IS_ANSWER:
            return None
        code = answer[3] & CODE
        if code == 0:
            return Verdict(True)
        why = f"{dns.rcode.to_text(dns.rcode.Rcode(code))}"
        return _bad(why, f"read error occurred. (rcode = {code})")

    def silence(self) -> Verdict:
        return _bad("no answer in time", "read timeout from socket")

    def refusal(self, error: OSError) -> Verdict:
        what = f"failed to read socket; errno {error.errno} ({describe(error)})"
        return _bad(describe(error), what)


def _bad(why: str, what: str) -> Verdict:
    return Verdict(False, why, line=f"DNS_CHECK ({{service}}) {what}")


def make(checker: DnsCheck, tools: Tools) -> Sequence[Check]:
    return (DnsQuestion(checker, tools.loop),)
