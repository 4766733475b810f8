"""Messages between the daemon and the processes that work for it: a length, then so many bytes.

They go over a stream socket, which has room for a message of any length, in parts.
"""

from __future__ import annotations

import socket
import struct

LENGTH = struct.Struct("=I")
READ_SIZE = 1 << 16


class Closed(Exception):
    """The other end has closed, or was killed."""


class Frames:
    """One end of such a socket, which never waits."""

    def __init__(self, end: socket.socket, heard: bytes = b"", unsent: bytes = b"") -> None:
        """`heard` and `unsent` are the `rest` of one that had the socket before."""
        self.socket = end
        end.setblocking(False)
        self._heard = bytearray(heard)
        self._unsent = bytearray(unsent)

    @property
    def is_behind(self) -> bool:
        """True while something waits for room: `flush` when the socket can be written."""
        return bool(self._unsent)

    @property
    def rest(self) -> tuple[bytes, bytes]:
        """What was heard and is no whole message yet, and what could not be sent yet."""
        return bytes(self._heard), bytes(self._unsent)

    def send(self, message: bytes) -> None:
        """Sends a message, or what there is room for, and the rest later. An end that has closed is
        told of by `receive`."""
        self._unsent += LENGTH.pack(len(message))
        self._unsent += message
        self.flush()

    def flush(self) -> None:
        """Sends what there is room for. What an end that has closed does not take is forgotten."""
        while self._unsent:
            try:
                sent = self.socket.send(self._unsent)
            except BlockingIOError:
                return
            except ConnectionError:
                self._unsent.clear()
                return
            del self._unsent[:sent]

    def finish(self, seconds: float) -> None:
        """Sends all that waits, in so many seconds. Raises OSError where that cannot be."""
        self.socket.settimeout(seconds)
        self.socket.sendall(self._unsent)
        self._unsent.clear()

    def receive(self) -> list[bytes]:
        """The messages that are whole after one read. Raises Closed where there is none left and
        none will come."""
        try:
            data = self.socket.recv(READ_SIZE)
        except BlockingIOError:
            return []
        except ConnectionError:
            data = b""
        if not data:
            raise Closed
        self._heard += data
        messages = []
        start = 0
        while len(self._heard) >= start + LENGTH.size:
            end = start + LENGTH.size + LENGTH.unpack_from(self._heard, start)[0]
            if len(self._heard) < end:
                break
            messages.append(bytes(self._heard[start + LENGTH.size : end]))
            start = end
        del self._heard[:start]
        return messages
