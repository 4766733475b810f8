"""Sends mails, one after the other, while the daemon does what matters.

A server that is dead, slow or refuses costs nothing but a line in the log: mails wait for it, no
more than ROOM of them and none longer than LIFETIME, and it is tried again less and less often.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections import deque
from contextlib import suppress
from typing import NamedTuple

from aiosmtplib import (
    SMTP,
    SMTPException,
    SMTPNotSupported,
    SMTPRecipientsRefused,
    SMTPResponseException,
)

from fastvrrp.model import SECOND, Mail
from fastvrrp.notify.events import Event
from fastvrrp.notify.letters import Letter, Words, compose, words_of

log = logging.getLogger(__name__)

ROOM = 1000
"""Mails that wait; of more the oldest are dropped."""
LIFETIME = 3600.0
"""Seconds that a mail is tried for."""
FIRST_PAUSE = 1.0
"""Seconds until a server is tried again; twice as long each time, until LONGEST_PAUSE."""
LONGEST_PAUSE = 300.0
PERMANENT = 500
"""Replies from this code on will not be others the next time (RFC 5321 section 4.2.1)."""
FAREWELL = 1.0
"""Seconds that a server gets to say goodbye, and the mailer to end."""


class _Waiting(NamedTuple):
    words: Words
    since: float
    """When it happened, in seconds since the epoch."""
    expires: float
    """In seconds of the loop's clock."""


class Mailer:
    """Sends mails about events, and whatever else there is to say."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._mail = Mail()
        self._router_id = ""
        self._queue: deque[_Waiting] = deque()
        self._task: asyncio.Task[None] | None = None
        self._trouble = ""
        """What was said last of the server."""
        self._dropped = 0

    def configure(self, mail: Mail, router_id: str) -> None:
        """Where mails go to from now on; those that wait too."""
        self._mail = mail
        self._router_id = router_id or socket.gethostname()

    def tell(self, event: Event) -> None:
        """Sends a mail about an event, if there is anybody to send it to."""
        if event.what != "FAULT" or self._mail.tells_faults:
            self.send(words_of(event))

    def send(self, words: Words) -> None:
        """Sends a mail, if there is anybody to send it to."""
        if self._mail.server is None or not self._mail.recipients:
            return
        if len(self._queue) >= ROOM:
            self._queue.popleft()
            self._dropped += 1
        self._queue.append(_Waiting(words, time.time(), self._loop.time() + LIFETIME))
        if self._task is None:
            self._task = self._loop.create_task(self._work())

    def close(self) -> None:
        """Sends no more. The loop must not be running."""
        if self._task is not None:
            self._task.cancel()
            self._loop.run_until_complete(asyncio.wait([self._task], timeout=FAREWELL))
        if self._queue:
            log.warning("%d mails were not sent: the daemon stops", len(self._queue))

    async def _work(self) -> None:
        """Sends everything that waits, however long it takes."""
        pause = FIRST_PAUSE
        try:
            while self._queue:
                try:
                    await self._deliver()
                    pause = FIRST_PAUSE
                except (SMTPException, OSError) as error:
                    self._say_trouble(error)
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, LONGEST_PAUSE)
                    self._give_up_old()
        finally:
            self._task = None
            self._say_dropped()

    async def _deliver(self) -> None:
        """Sends what waits over one connection. Raises SMTPException or OSError where the server is
        to be tried again."""
        mail = self._mail
        timeout = mail.connect_timeout / SECOND
        server = SMTP(
            hostname=mail.server,
            port=mail.port,
            local_hostname=mail.helo_name or socket.gethostname(),
            timeout=timeout,
            start_tls=False,
        )
        await server.connect()
        try:
            while self._queue:
                waiting = self._queue.popleft()
                try:
                    await self._send(server, waiting)
                except (SMTPException, OSError, asyncio.CancelledError):
                    self._queue.appendleft(waiting)
                    raise
            with suppress(SMTPException, OSError):
                await server.quit(timeout=FAREWELL)
        finally:
            server.close()

    async def _send(self, server: SMTP, waiting: _Waiting) -> None:
        try:
            letter = compose(waiting.words, waiting.since, self._mail, self._router_id)
        except ValueError as error:
            log.error("no mail of the subject %r: %s", waiting.words.subject, error)
            return
        try:
            refused, _ = await server.sendmail(letter.sender, letter.recipients, letter.content)
        except (SMTPException, ValueError) as error:
            if not _is_permanent(error):
                raise
            log.error("%s refuses the mail %r: %s", self._server, letter.subject, _text(error))
            with suppress(SMTPException):
                await server.rset()
            return
        self._say_sent(letter, list(refused))

    def _say_sent(self, letter: Letter, refused: list[str]) -> None:
        self._trouble = ""
        log.debug("SMTP alert successfully sent: %s", letter.subject)
        if refused:
            log.error("%s refuses to deliver mail to %s", self._server, ", ".join(refused))

    def _say_trouble(self, error: Exception) -> None:
        text = _text(error)
        if text != self._trouble:
            self._trouble = text
            log.warning("no mail can be sent by %s: %s; it waits", self._server, text)

    def _give_up_old(self) -> None:
        now = self._loop.time()
        while self._queue and self._queue[0].expires <= now:
            self._queue.popleft()
            self._dropped += 1

    def _say_dropped(self) -> None:
        if self._dropped:
            log.warning("%d mails were dropped: %s did not take them", self._dropped, self._server)
            self._dropped = 0

    @property
    def _server(self) -> str:
        return f"SMTP server {self._mail.server} port {self._mail.port}"


def _is_permanent(error: Exception) -> bool:
    """Whether a mail would be refused the next time too."""
    if isinstance(error, SMTPRecipientsRefused):
        return all(_is_permanent(each) for each in error.recipients)
    if isinstance(error, SMTPResponseException):
        return error.code >= PERMANENT
    return isinstance(error, ValueError | SMTPNotSupported)


def _text(error: Exception) -> str:
    """What a server, or the way to it, has to say."""
    if isinstance(error, SMTPRecipientsRefused):
        return "; ".join(f"{each.recipient}: {_text(each)}" for each in error.recipients)
    if isinstance(error, SMTPResponseException):
        return f"{error.code} {error.message}"
    return str(error) or type(error).__name__
