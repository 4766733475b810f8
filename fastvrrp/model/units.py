"""Units and kinds of the model's plain values; a field's annotation says which one it is.

They are other names of `int`, `bytes` and `str`, so they cost nothing; what shows the model (JSON,
differences) reads them from the annotations.
"""

from __future__ import annotations

from typing import TypeAlias

NANOSECOND = 1
MILLISECOND = 1_000_000
SECOND = 1_000_000_000

Nanoseconds: TypeAlias = int
"""A time."""
Family: TypeAlias = int
"""AF_INET or AF_INET6."""
Address: TypeAlias = bytes
"""An address in network order: 4 bytes for IPv4, 16 for IPv6."""
Mac: TypeAlias = bytes
"""Six bytes."""
Octets: TypeAlias = bytes
"""Bytes that are no text; shown in hexadecimal."""
Secret: TypeAlias = bytes
"""Bytes that are nobody's to read; a difference of them is only said to be one."""
SecretText: TypeAlias = str
"""The same as text."""
