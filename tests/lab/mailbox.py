"""A mail server in a router, and what it was sent."""

import asyncio
import socket
import threading
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message

from aiosmtpd.smtp import SMTP, Envelope, Session

from lab.network import Router
from lab.waiting import wait_until

ACCEPTED = "250 OK"


@dataclass(frozen=True)
class Delivery:
    """One mail, as the server got it."""

    helo: str
    sender: str
    recipients: tuple[str, ...]
    message: Message


class Mailbox:
    """An SMTP server, from the start until its router's laboratory is closed.

    `replies` are what it says to the next recipients, one each, and `greets` whether it ever speaks
    to who connects.
    """

    def __init__(self, router: Router, address: str, port: int = 25) -> None:
        self.deliveries: list[Delivery] = []
        self.replies: list[str] = []
        self.connections = 0
        self.greets = True
        self.router = router
        listening = router.call(lambda: socket.create_server((address, port)))
        self.loop = asyncio.new_event_loop()
        self.server = self.loop.run_until_complete(
            self.loop.create_server(self.session, sock=listening)
        )
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        router.laboratory.closing.callback(self.close)

    def session(self) -> asyncio.BaseProtocol:
        self.connections += 1
        if not self.greets:
            return asyncio.Protocol()
        return SMTP(self, hostname="mail.example.org", loop=self.loop)

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        reply = self.replies.pop(0) if self.replies else ACCEPTED
        if reply == ACCEPTED:
            envelope.rcpt_tos.append(address)
        return reply

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content = envelope.original_content
        assert content is not None
        self.deliveries.append(
            Delivery(
                str(session.host_name),
                str(envelope.mail_from),
                tuple(envelope.rcpt_tos),
                message_from_bytes(content),
            )
        )
        return ACCEPTED

    def wait(self, count: int, timeout: float = 10.0) -> list[Delivery]:
        """All mails until now, when there are `count` or more."""
        wait_until(
            lambda: len(self.deliveries) >= count,
            timeout,
            what=lambda: f"{count} mails, not {self.subjects()}",
        )
        return list(self.deliveries)

    def subjects(self) -> list[str]:
        return [delivery.message["Subject"] for delivery in self.deliveries]

    def close(self) -> None:
        async def end() -> None:
            self.server.close()
            for task in asyncio.all_tasks():
                if task is not asyncio.current_task():
                    task.cancel()

        asyncio.run_coroutine_threadsafe(end(), self.loop).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()
