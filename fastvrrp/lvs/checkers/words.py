"""What checks say in the log, by kind, in keepalived's words: people grep for them.

`{service}` is the real server (`[192.0.2.1]:tcp:80`), `{virtual}` its virtual server, `{after}` how
often it was tried again, `{why}` what was wrong the last time, `{what}` what was run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fastvrrp.lvs.check import Verdict
from fastvrrp.model import (
    BfdCheck,
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


@dataclass(frozen=True, slots=True)
class Words:
    """The lines of one kind of check; an empty one is not written."""

    good: str = ""
    """It has become good."""
    bad: str = ""
    """It has become bad."""


MISC = "Misc check for [{service} VS {virtual}] by [{what}]"
WORDS: dict[type[Checker], Words] = {
    TcpCheck: Words(
        "TCP connection to {service} success.", "TCP_CHECK on service {service} failed{after}."
    ),
    HttpCheck: Words(
        "Remote Web server {service} succeed on service.",
        "HTTP_CHECK on service {service} failed{after}.",
    ),
    SmtpCheck: Words("Remote SMTP server {service} succeed on service.", "{line}"),
    DnsCheck: Words("", "{line}{after}"),
    UdpCheck: Words(
        "UDP connection to {service} success.", "UDP_CHECK on service {service} failed{after}."
    ),
    PingCheck: Words(
        "ICMP connection to {service} success.", "ICMP CHECK on service {service} failed{after}."
    ),
    MiscCheck: Words(f"{MISC} succeeded.", f"{MISC} {{why}}."),
    FileCheck: Words(
        "({service}): tracked file {what} leaving FAULT state",
        "({service}): tracked file {what} now FAULT state",
    ),
    BfdCheck: Words(),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check has found, and what is made of it."""

    checker: Checker
    verdict: Verdict
    was_good: bool
    has_changed: bool
    """It has become good or bad by it, or was found to be for the first time."""
    tried: int
    """Failures before this one, of one that was good."""
    logs_all: bool
    """`log_all_failures`."""
    what: str = ""
    """What was asked: a URL, a command, a file."""

    def lines(self, service: str, virtual: str) -> Iterator[str]:
        """What the log says of it."""
        verdict = self.verdict
        line = verdict.line.format(service=service, what=self.what, why=verdict.why)
        fields = {
            "service": service,
            "virtual": virtual,
            "after": f" after {self.tried} retries" if self.tried else "",
            "why": self._why(),
            "what": self.what,
            "line": line,
        }
        for words in self._words():
            said = words.format(**fields)
            if said:
                yield said

    def _words(self) -> Iterator[str]:
        words = WORDS[type(self.checker)]
        if self.verdict.is_good:
            if not self.was_good:
                yield "{line}"
            if self.has_changed and not (self.was_good and isinstance(self.checker, FileCheck)):
                yield words.good
            return
        ends_with_it = self.has_changed and "{line}" in words.bad
        if self.was_good and self.logs_all and self.verdict.line and not ends_with_it:
            yield "{line}"
        if self.has_changed:
            yield words.bad

    def _why(self) -> str:
        """How a MISC_CHECK failed at last: why it failed has its cause in brackets."""
        how, bracket, cause = self.verdict.why.partition(" (")
        after = f"after {self.tried} retr{'y' if self.tried == 1 else 'ies'}"
        return f"{how} {after if self.tried else 'with retry disabled'}{bracket}{cause}"
