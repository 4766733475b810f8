"""What mails say, in keepalived's words: people filter their mail for them."""

from __future__ import annotations

import socket
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import make_msgid, parseaddr
from typing import NamedTuple

from fastvrrp.model import Mail
from fastvrrp.notify.events import (
    DELETED,
    GROUP,
    INSTANCE,
    SPLIT_BRAIN,
    SPLIT_BRAIN_OVER,
    Event,
)

TITLES = {INSTANCE: "VRRP Instance", GROUP: "VRRP Group"}
OWNING = "=> VRRP Instance is now owning VRRP VIPs <="
NOT_OWNING = "=> VRRP Instance is no longer owning VRRP VIPs <="
REMOVED = "=> VRRP Deleted at reload <="
OF_GROUP = "=> All VRRP group instances are now in {} state <="
SPLIT_BRAINS = {
    SPLIT_BRAIN: ("Split brain", "=> Another VRRP router is master too, and does not yield <="),
    SPLIT_BRAIN_OVER: ("Split brain is over", "=> No other VRRP router is master any more <="),
}
"""What is changed, and the text: fastvrrp's own."""


LONGEST_LINE = 998
"""Octets of a line (RFC 5322 section 2.1.1): keepalived folds no header, which filters may need."""


class Letter(NamedTuple):
    """A mail as it goes to the server."""

    sender: str
    recipients: tuple[str, ...]
    """Addresses without names."""
    subject: str
    """For the log."""
    content: bytes


class Words(NamedTuple):
    """What a mail says, whoever gets it."""

    subject: str
    """Without the router's ID."""
    text: str


def words_of(event: Event) -> Words:
    """What the mail about an event says."""
    change = "Deleted" if event.what == DELETED else f"Entering {event.what} state"
    if event.what in SPLIT_BRAINS:
        change = SPLIT_BRAINS[event.what][0]
    if event.kind == GROUP:
        text = OF_GROUP.format(event.what)
    elif event.what == DELETED:
        text = REMOVED
    elif event.what in SPLIT_BRAINS:
        text = SPLIT_BRAINS[event.what][1]
    else:
        text = OWNING if event.what == "MASTER" else NOT_OWNING
    return Words(f"{TITLES[event.kind]} {event.name} - {change}", text)


def compose(words: Words, since: float, mail: Mail, router_id: str) -> Letter:
    """The mail about something at a time, in seconds since the epoch. Raises ValueError where a
    header would not be one: a line's end in a name."""
    sender = mail.sender or f"keepalived@{socket.gethostname()}"
    subject = f"[{router_id}] {words.subject}"
    message = EmailMessage(SMTP.clone(max_line_length=LONGEST_LINE))
    message["Date"] = datetime.fromtimestamp(since).astimezone()
    message["From"] = sender
    message["Subject"] = subject
    message["X-Mailer"] = "Keepalived"
    message["To"] = ", ".join(mail.recipients)
    message["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2].strip("> ") or None)
    message.set_content(f"{words.text}\n")
    recipients = tuple(parseaddr(recipient)[1] for recipient in mail.recipients)
    return Letter(parseaddr(sender)[1], recipients, subject, message.as_bytes())
