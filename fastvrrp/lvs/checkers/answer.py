"""An answer of HTTP as keepalived takes it: the status, and then bytes.

h11 reads the head, and finds where the answer ends: keepalived waits until the server closes, so a
server that does not, but says how long its answer is, is well here and times out there. What the
digest and the expression are about is what came on the wire behind the head, as with keepalived and
its genhash: with the frames of chunks, compressed where it is. Such a body may be as broken as it
likes; that keepalived does not mind either. The expression is looked for in the head, too.

Nothing of any length is kept: the digest goes along, and of the answer no more than `WINDOW` bytes.
"""

from __future__ import annotations

import hashlib
import re

import h11

MOST_HEAD = 1 << 16
"""Bytes of a head, with all before it (1xx); a longer one is no answer."""
WINDOW = 1 << 20
"""Bytes of an answer in which an expression is looked for."""
END_OF_HEAD = re.compile(rb"\r?\n\r?\n")


class Answer:
    """One answer; it knows nothing of sockets."""

    def __init__(self, skipped: int = 0, window: int = 0) -> None:
        """`window` bytes of the answer behind the first `skipped` ones are kept."""
        self.status: int | None = None
        self.is_complete = False
        self.failure = ""
        """Why it is no answer of HTTP."""
        self.length = 0
        """Of the body so far."""
        self.declared: int | None = None
        """Length of the body as the head has it."""
        self.kept = bytearray()
        self.head = b""
        self._digest = hashlib.md5(usedforsecurity=False)
        self._skipped = skipped
        self._window = window
        self._passed = 0
        """Bytes of the answer that were looked at for what is kept."""
        self._protocol: h11.Connection | None = h11.Connection(
            h11.CLIENT, max_incomplete_event_size=MOST_HEAD
        )
        # It has to be asked something before it takes an answer.
        self._protocol.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
        self._protocol.send(h11.EndOfMessage())
        self._unread = b""
        self._informed = 0
        """Bytes of heads so far."""

    @property
    def digest(self) -> bytes:
        """MD5 of the body so far."""
        return self._digest.digest()

    @property
    def is_cut(self) -> bool:
        """The answer goes on behind what was kept."""
        return self._passed > self._skipped + self._window

    def feed(self, data: bytes) -> None:
        """Takes what came; nothing is the end. Look at `is_complete` and `failure` afterwards."""
        if self.is_complete or self.failure:
            return
        if self.status is not None:
            self._take_body(data)
        elif data:
            self._take_head(data)
        else:
            self.failure = "it closed before the head of its answer was whole"

    def _take_head(self, data: bytes) -> None:
        self._unread += data
        while self.status is None and not self.failure:
            end = END_OF_HEAD.search(self._unread)
            length = len(self._unread) if end is None else end.end()
            if self._informed + length > MOST_HEAD:
                self.failure = f"the head of its answer has more than {MOST_HEAD} bytes"
            if end is None or self.failure:
                return
            head, self._unread = self._unread[: end.end()], self._unread[end.end() :]
            self._informed += len(head)
            self._parse(head)
        if self.status is not None:
            data, self._unread = self._unread, b""
            self._take_body(data, is_first=True)

    def _parse(self, head: bytes) -> None:
        assert self._protocol is not None
        try:
            self._protocol.receive_data(head)
            event = self._protocol.next_event()
        except h11.RemoteProtocolError as error:
            self.failure = f"it is no answer of HTTP: {error}"
            return
        if isinstance(event, h11.Response):
            self.head = head
            self._keep(head)
            self.status = event.status_code
            for name, value in event.headers:
                if name == b"content-length":
                    self.declared = int(value)
        elif not isinstance(event, h11.InformationalResponse):
            self.failure = "it is no answer of HTTP"

    def _take_body(self, data: bytes, *, is_first: bool = False) -> None:
        self._digest.update(data)
        self._keep(data)
        self.length += len(data)
        if not data and not is_first:
            self.is_complete = True
        elif self._protocol is not None:
            self._find_end(data)

    def _keep(self, data: bytes) -> None:
        start = max(0, self._skipped - self._passed)
        self.kept += data[start : start + self._window - len(self.kept)]
        self._passed += len(data)

    def _find_end(self, data: bytes) -> None:
        assert self._protocol is not None
        try:
            if data:
                self._protocol.receive_data(data)
            while True:
                event = self._protocol.next_event()
                if isinstance(event, h11.EndOfMessage):
                    self.is_complete = True
                    return
                if not isinstance(event, h11.Data):
                    return  # more is needed
        except h11.RemoteProtocolError:
            self._protocol = None  # it ends where the server closes
