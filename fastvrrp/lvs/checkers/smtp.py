"""SMTP_CHECK: it greets, and takes HELO and QUIT.

The dialogue is keepalived's, and these three lines are all of it, so it stands here: aiosmtplib
opens its sockets itself, says EHLO first, and does not mind a greeting that is none. A reply of
several lines (RFC 5321 section 4.2.1) is taken, at which keepalived 2.2.7 fails.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from fastvrrp.lvs.check import Check, Verdict
from fastvrrp.lvs.checkers.sockets import Route, describe
from fastvrrp.lvs.checkers.streams import NoConnectionError, QuietError, Stream, connected
from fastvrrp.lvs.checkers.tools import Tools
from fastvrrp.model import SmtpCheck

LONGEST_REPLY = 1 << 14
"""Bytes of a reply; RFC 5321 section 4.5.3.1.5 has 512 for each of its lines."""
LINE = re.compile(rb"([0-9]{3})(?:([ -])[^\n]*)?\r?\n")
HELO_NAME = "smtpchecker.keepalived.org"
"""What keepalived says where nothing is written."""


class ReplyError(Exception):
    """What came is no reply."""


def reply_in(heard: bytes) -> tuple[int, bytes] | None:
    """The code of the reply at the beginning, and what comes after it; None where more has to come.
    Raises ReplyError."""
    start = 0
    while end := heard.find(b"\n", start) + 1:
        line = LINE.fullmatch(heard[start:end])
        if line is None:
            raise ReplyError
        if line[2] != b"-":
            return int(line[1]), heard[end:]
        start = end
    if len(heard) > LONGEST_REPLY:
        raise ReplyError
    return None


class SmtpDialogue(Check):
    """Greets and says goodbye."""

    def __init__(self, checker: SmtpCheck) -> None:
        self._route = Route(checker.target)
        self._timing = checker.timing
        name = checker.helo_name or HELO_NAME
        self._helo = f"HELO {name}\r\n".encode("utf-8", "surrogateescape")

    async def check(self) -> Verdict:
        try:
            async with connected(self._route, self._timing) as stream:
                return await self._talk(stream)
        except NoConnectionError as error:
            return self._bad("Could not connect to", f"connection: {error}")

    async def _talk(self, stream: Stream) -> Verdict:
        heard = b""
        steps = (
            (b"", 220, "Bad greeting banner"),
            (self._helo, 250, "Bad HELO response"),
            (b"QUIT\r\n", None, "Bad QUIT response"),
        )
        for said, expected, fault in steps:
            try:
                if said:
                    await stream.write(said)
                code, heard = await self._hear(stream, heard)
            except QuietError:
                return self._bad("Read timeout from", "no reply in time")
            except (ReplyError, EOFError):
                if expected is None:
                    break
                return self._bad(f"{fault} from", fault)
            except OSError as error:
                return self._bad("Read error from", describe(error))
            if expected not in (None, code):
                return self._bad(f"{fault} from", f"{fault}: {code}")
        return Verdict(True)

    async def _hear(self, stream: Stream, heard: bytes) -> tuple[int, bytes]:
        while True:
            reply = reply_in(heard)
            if reply is not None:
                return reply
            more = await stream.read()
            if not more:
                raise EOFError
            heard += more

    def _bad(self, what: str, why: str) -> Verdict:
        line = f"SMTP_CHECK {what} server {self._route.text}"
        return Verdict(False, why, line=line)


def make(checker: SmtpCheck, _: Tools) -> Sequence[Check]:
    return (SmtpDialogue(checker),)
