"""The keys of `auth_hmac`: how what is written becomes bytes.

A key is written as text, as `hex:DIGITS`, or as `file:PATH`, a file that has either of the two in
it, so that the secret need not stand in the configuration.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

SHORTEST_KEY = 32
"""Bytes."""
LONGEST_KEY = 64
LONGEST_FILE = 4096
HEX = "hex:"
FILE = "file:"


class KeyFault(ValueError):
    """What is wrong with a key, for a person; it never says the key."""


def is_in_file(written: str) -> bool:
    """Whether the key has to be read from a file."""
    return written.startswith(FILE)


def key_bytes(written: str) -> bytes:
    """The key's 32 to 64 bytes. Reads its file, where it is in one. Raises KeyFault."""
    if is_in_file(written):
        path = Path(written.removeprefix(FILE))
        return _checked(_from_file(path), f"in {path} ")
    return _checked(written.encode("utf-8", "surrogateescape"), "")


def _checked(value: bytes, where: str) -> bytes:
    if value.startswith(HEX.encode()):
        try:
            value = bytes.fromhex(value.removeprefix(HEX.encode()).decode("ascii"))
        except ValueError:
            raise KeyFault(f"what stands {where}after hex: are not hexadecimal digits") from None
    if not SHORTEST_KEY <= len(value) <= LONGEST_KEY:
        raise KeyFault(
            f"it has {len(value)} bytes {where}and needs {SHORTEST_KEY} to {LONGEST_KEY}"
        )
    return value


def _from_file(path: Path) -> bytes:
    """What stands in a file, without the end of its last line."""
    if not path.is_absolute():
        raise KeyFault(f"the path of its file, {path}, does not begin with /")
    try:
        # What is no file, a FIFO say, must not make anybody wait.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise KeyFault(f"{path} cannot be read: {os.strerror(error.errno or 0)}") from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise KeyFault(f"{path} is not a file")
        value = os.read(descriptor, LONGEST_FILE)
    except OSError as error:
        raise KeyFault(f"{path} cannot be read: {os.strerror(error.errno or 0)}") from None
    finally:
        os.close(descriptor)
    return value.removesuffix(b"\n").removesuffix(b"\r")
