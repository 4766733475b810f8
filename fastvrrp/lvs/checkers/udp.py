"""UDP_CHECK: nobody says that it is unreachable, or it gives the answer that is wanted."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence

from fastvrrp.lvs.check import Check, Verdict
from fastvrrp.lvs.checkers.datagrams import Exchange
from fastvrrp.lvs.checkers.sockets import describe
from fastvrrp.lvs.checkers.tools import Tools
from fastvrrp.model import UdpCheck

PAYLOAD = 32
"""Bytes that are sent where nothing is written, as many as keepalived sends."""
FAILED = "UDP connection to {service} failed."
MISMATCH = "UDP check to {service} reply data mismatch."


class UdpExchange(Exchange):
    """Sends a datagram. Without `require_reply` any answer is good, and none too."""

    def __init__(self, checker: UdpCheck, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(checker.target, checker.timing, loop)
        self._checker = checker

    def question(self) -> bytes:
        payload = self._checker.payload
        return os.urandom(PAYLOAD) if payload is None else payload

    def judge(self, answer: bytes) -> Verdict | None:
        checker = self._checker
        if not checker.requires_reply:
            return Verdict(True)
        if not answer:
            return None  # keepalived takes an empty one for none
        if not checker.min_reply_length <= len(answer) <= checker.max_reply_length:
            why = (
                f"the reply has {len(answer)} bytes, which is outside"
                f" {checker.min_reply_length}-{checker.max_reply_length}"
            )
            return Verdict(False, why, line="UDP check to {service}: " + why + ".")
        pairs = zip(answer, checker.reply, checker.reply_mask, strict=False)
        if any((got ^ wanted) & mask for got, wanted, mask in pairs):
            return Verdict(False, f"the reply is {answer[:16].hex()}...", line=MISMATCH)
        return Verdict(True)

    def silence(self) -> Verdict:
        if self._checker.requires_reply:
            return Verdict(False, "no reply in time", line=FAILED)
        return Verdict(True)

    def refusal(self, error: OSError) -> Verdict:
        return Verdict(False, describe(error), line=FAILED)


def make(checker: UdpCheck, tools: Tools) -> Sequence[Check]:
    return (UdpExchange(checker, tools.loop),)
