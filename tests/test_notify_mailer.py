"""Mails to servers that are dead, slow, or refuse."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from email import message_from_bytes
from email.header import decode_header, make_header

import pytest
import uvloop

from fastvrrp.model import SECOND, Mail
from fastvrrp.notify import mailer as module
from fastvrrp.notify.events import Event
from fastvrrp.notify.letters import compose, words_of
from fastvrrp.notify.mailer import Mailer
from lab import Laboratory
from lab.mailbox import Mailbox
from lab.network import Router

MAIL = Mail(("a@example.org", "b@example.org"), "vrrp@example.org", "10.0.0.2", 2525, "helo")
EVENT = Event("INSTANCE", "VI_1", "MASTER", 100)


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = uvloop.new_event_loop()
    yield made
    made.close()


@pytest.fixture
def router(lab: Laboratory, monkeypatch: pytest.MonkeyPatch) -> Router:
    """One that has a mail server's address, and a mailer that does not wait long."""
    made = lab.router("mail")
    made.ip("address add 10.0.0.2/24 dev lo")
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.05)
    monkeypatch.setattr(module, "LONGEST_PAUSE", 0.1)
    return made


def run(
    router: Router, loop: asyncio.AbstractEventLoop, until: Callable[[], bool], patience: float = 10
) -> None:
    """Runs the loop in the router until something is so."""

    async def wait() -> None:
        async with asyncio.timeout(patience):
            while not until():
                await asyncio.sleep(0.01)

    router.call(lambda: loop.run_until_complete(wait()))


def tell(mailer: Mailer, *names: str) -> None:
    for name in names:
        mailer.tell(EVENT._replace(name=name))


def names(box: Mailbox) -> list[str]:
    return [subject.split()[3] for subject in box.subjects()]


def test_many_mails_go_over_one_connection(router: Router, loop: asyncio.AbstractEventLoop) -> None:
    box = Mailbox(router, "10.0.0.2", 2525)
    mailer = Mailer(loop)
    mailer.configure(MAIL, "lab")
    tell(mailer, *"ABC")
    run(router, loop, lambda: len(box.deliveries) == 3)
    assert names(box) == ["A", "B", "C"]
    assert box.connections == 1
    tell(mailer, "D")
    run(router, loop, lambda: len(box.deliveries) == 4)
    assert box.connections == 2
    mailer.close()


def test_a_server_that_comes_back_gets_what_waited(
    router: Router, loop: asyncio.AbstractEventLoop, caplog: pytest.LogCaptureFixture
) -> None:
    mailer = Mailer(loop)
    mailer.configure(MAIL, "lab")
    tell(mailer, "A", "B")
    run(
        router, loop, lambda: "no mail can be sent by SMTP server 10.0.0.2 port 2525" in caplog.text
    )
    box = Mailbox(router, "10.0.0.2", 2525)
    run(router, loop, lambda: len(box.deliveries) == 2)
    assert caplog.text.count("no mail can be sent") == 1
    mailer.close()


def test_a_mail_that_is_refused_for_good_is_not_tried_again(
    router: Router, loop: asyncio.AbstractEventLoop, caplog: pytest.LogCaptureFixture
) -> None:
    box = Mailbox(router, "10.0.0.2", 2525)
    box.replies = ["550 no such user", "550 no such user"]
    mailer = Mailer(loop)
    mailer.configure(MAIL, "lab")
    tell(mailer, "A", "B")
    run(router, loop, lambda: len(box.deliveries) == 1)
    assert names(box) == ["B"]
    assert caplog.text.count("refuses the mail") == 1
    assert "550 no such user" in caplog.text
    mailer.close()


def test_the_others_get_a_mail_that_one_recipient_does_not(
    router: Router, loop: asyncio.AbstractEventLoop, caplog: pytest.LogCaptureFixture
) -> None:
    box = Mailbox(router, "10.0.0.2", 2525)
    box.replies = ["550 no such user"]
    mailer = Mailer(loop)
    mailer.configure(MAIL, "lab")
    tell(mailer, "A")
    run(router, loop, lambda: "refuses to deliver mail to a@example.org" in caplog.text)
    assert box.deliveries[0].recipients == ("b@example.org",)
    mailer.close()


def test_a_mail_that_is_put_off_is_tried_again(
    router: Router, loop: asyncio.AbstractEventLoop, caplog: pytest.LogCaptureFixture
) -> None:
    box = Mailbox(router, "10.0.0.2", 2525)
    box.replies = ["450 later", "450 later", "450 later", "450 later"]
    mailer = Mailer(loop)
    mailer.configure(MAIL, "lab")
    tell(mailer, "A", "B")
    run(router, loop, lambda: len(box.deliveries) == 2)
    assert names(box) == ["A", "B"]
    assert caplog.text.count("450 later") == 2  # one line, of two recipients
    mailer.close()


def test_a_server_that_says_nothing_is_given_up(
    router: Router, loop: asyncio.AbstractEventLoop, caplog: pytest.LogCaptureFixture
) -> None:
    box = Mailbox(router, "10.0.0.2", 2525)
    box.greets = False
    mailer = Mailer(loop)
    mailer.configure(
        Mail(MAIL.recipients, MAIL.sender, MAIL.server, 2525, connect_timeout=SECOND // 5), "lab"
    )
    tell(mailer, "A")
    run(router, loop, lambda: box.connections >= 2)
    box.greets = True
    run(router, loop, lambda: len(box.deliveries) == 1)
    assert "no mail can be sent" in caplog.text
    mailer.close()


def test_mails_that_wait_are_bounded(
    router: Router,
    loop: asyncio.AbstractEventLoop,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "ROOM", 3)
    mailer = Mailer(loop)
    mailer.configure(MAIL, "lab")
    tell(mailer, *"ABCDE")
    box = Mailbox(router, "10.0.0.2", 2525)
    run(router, loop, lambda: len(box.deliveries) == 3)
    assert names(box) == ["C", "D", "E"]
    run(router, loop, lambda: "2 mails were dropped" in caplog.text)
    mailer.close()


def test_a_mail_is_not_tried_for_ever(
    router: Router,
    loop: asyncio.AbstractEventLoop,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "LIFETIME", 0.2)
    mailer = Mailer(loop)
    mailer.configure(MAIL, "lab")
    tell(mailer, "A")
    run(router, loop, lambda: "1 mails were dropped" in caplog.text)
    mailer.close()


def test_the_end_does_not_wait_for_a_server(
    router: Router, loop: asyncio.AbstractEventLoop, caplog: pytest.LogCaptureFixture
) -> None:
    box = Mailbox(router, "10.0.0.2", 2525)
    box.greets = False
    mailer = Mailer(loop)
    mailer.configure(MAIL, "lab")
    tell(mailer, "A", "B")
    run(router, loop, lambda: box.connections == 1)
    mailer.close()
    assert "2 mails were not sent: the daemon stops" in caplog.text


def test_nobody_is_mailed_to_without_a_server(loop: asyncio.AbstractEventLoop) -> None:
    mailer = Mailer(loop)
    mailer.configure(Mail(MAIL.recipients), "lab")
    tell(mailer, "A")
    mailer.configure(Mail((), server="10.0.0.2"), "lab")
    tell(mailer, "A")
    assert not asyncio.all_tasks(loop)


def test_a_name_with_any_letters_is_mailed() -> None:
    mail = Mail(('"Grüße" <a@example.org>', "b@example.org"), "Router <vrrp@example.org>")
    letter = compose(words_of(EVENT._replace(name="Zürich")), time.time(), mail, "lab")
    assert letter.sender == "vrrp@example.org"
    assert letter.recipients == ("a@example.org", "b@example.org")
    message = message_from_bytes(letter.content)
    subject = str(make_header(decode_header(message["Subject"])))
    assert subject == "[lab] VRRP Instance Zürich - Entering MASTER state"
    letter.content.decode("ascii")


def test_a_name_cannot_add_a_header() -> None:
    words = words_of(EVENT._replace(name="A\r\nBcc: c@example.org"))
    with pytest.raises(ValueError, match="linefeed"):
        compose(words, time.time(), MAIL, "lab")


@pytest.mark.keywords("global_defs/router_id")
def test_the_host_s_name_stands_where_no_other_is_written(
    router: Router, loop: asyncio.AbstractEventLoop
) -> None:
    box = Mailbox(router, "10.0.0.2", 2525)
    mailer = Mailer(loop)
    mailer.configure(Mail(("a@example.org",), server="10.0.0.2", port=2525), "")
    tell(mailer, "A")
    run(router, loop, lambda: len(box.deliveries) == 1)
    name = socket.gethostname()
    delivery = box.deliveries[0]
    assert (delivery.helo, delivery.sender) == (name, f"keepalived@{name}")
    assert delivery.message["Subject"] == f"[{name}] VRRP Instance A - Entering MASTER state"
    mailer.close()
