"""systemd's journal, by its own protocol, so that lines have fields that can be asked for:
`journalctl VRRP_INSTANCE=VI_1 VRRP_STATE=MASTER`.

A line is one datagram of fields. A field is `NAME=value` and a newline; one whose value has
newlines in it is its name, a newline, the length of the value as 64 bits in little-endian order,
the value and a newline (https://systemd.io/JOURNAL_NATIVE_PROTOCOL/).
"""

from __future__ import annotations

import logging
import os
import socket
import struct
from contextlib import suppress
from pathlib import Path

from fastvrrp.notify.fields import fields_of

SOCKET = Path("/run/systemd/journal/socket")
LONGEST = 65_536
"""Bytes of a value; what is longer is cut off. A datagram has room for more on every Linux."""
LENGTH = struct.Struct("<Q")
PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
"""Of syslog, from a level on."""
DEBUG = 7


def is_there() -> bool:
    """Whether this machine has a journal."""
    return SOCKET.exists()


def has_stream(descriptor: int) -> bool:
    """Whether what is written to a descriptor goes to the journal: systemd says which file that is
    (JOURNAL_STREAM), and it may have been redirected since."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        there = os.fstat(descriptor)
    except OSError:
        return False
    return (device, inode) == (str(there.st_dev), str(there.st_ino))


class Journal:
    """The end that writes. A journal that is away loses what is said meanwhile."""

    def __init__(self, ident: str, facility: int) -> None:
        """`ident` is who speaks, and `facility` is that of syslog, to whom the journal may tell
        it."""
        self._fixed = field("SYSLOG_IDENTIFIER", ident) + field("SYSLOG_FACILITY", str(facility))
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def write(self, record: logging.LogRecord, text: str) -> None:
        """Writes one line, whose text may have more than one line in it; waits for a journal that
        is there and slow."""
        parts = [
            field("MESSAGE", text),
            field("PRIORITY", str(priority_of(record.levelno))),
            self._fixed,
            field("LOGGER", record.name),
            *(field(name, value) for name, value in fields_of(record).items()),
        ]
        with suppress(OSError):  # nobody is left to be told
            self._socket.sendto(b"".join(parts), str(SOCKET))

    def close(self) -> None:
        self._socket.close()


def field(name: str, value: str) -> bytes:
    """One field as it is sent."""
    data = value.encode(errors="backslashreplace")[:LONGEST]
    if b"\n" in data:
        return name.encode() + b"\n" + LENGTH.pack(len(data)) + data + b"\n"
    return name.encode() + b"=" + data + b"\n"


def priority_of(level: int) -> int:
    """The priority of syslog that a level of `logging` is."""
    return next((priority for least, priority in PRIORITIES if level >= least), DEBUG)
