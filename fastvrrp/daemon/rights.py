"""Descriptors that come by a socket (SCM_RIGHTS, unix(7))."""

from __future__ import annotations

import array
import socket


def receive(end: socket.socket, size: int, most: int) -> tuple[bytes, list[int]]:
    """A message of at most `size` bytes, and at most `most` descriptors that came with it, which
    programs that are started do not inherit. `socket.recv_fds` takes flags, and does not use them.
    Raises OSError."""
    found = array.array("i")
    room = socket.CMSG_LEN(most * found.itemsize)
    data, messages, _, _ = end.recvmsg(size, room, socket.MSG_CMSG_CLOEXEC)
    for level, kind, content in messages:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            found.frombytes(content[: len(content) - len(content) % found.itemsize])
    return data, list(found)
