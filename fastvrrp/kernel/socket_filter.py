"""Classic BPF: what a socket takes is decided by the kernel (linux/filter.h, bpf_common.h).

What nobody wants is never copied, and wakes nobody.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Sequence
from typing import NamedTuple

SO_ATTACH_FILTER = 26  # asm-generic/socket.h

LOAD_WORD = 0x20
LOAD_HALF = 0x28
LOAD_BYTE = 0x30
SHIFT_RIGHT = 0x74
JUMP_EQUAL = 0x15
RETURN = 0x06
EVERY_BYTE = 0xFFFFFFFF
"""What RETURN gives for a whole packet; 0 drops it."""

_INSTRUCTION = struct.Struct("=HBBI")
"""struct sock_filter."""
_PROGRAM = struct.Struct("@HP")
"""struct sock_fprog, as the machine aligns it."""


class Instruction(NamedTuple):
    """One instruction."""

    code: int
    if_true: int = 0
    """Instructions that JUMP_EQUAL skips where it is equal."""
    if_false: int = 0
    operand: int = 0
    """A position in the packet, a number to compare with, or how many bytes are taken."""


DROP = Instruction(RETURN, operand=0)
TAKE = Instruction(RETURN, operand=EVERY_BYTE)


def attach(opened: socket.socket, program: Sequence[Instruction]) -> None:
    """Lets a socket take what a program takes, instead of what one before it took. Raises OSError
    where the kernel refuses the program."""
    code = b"".join(_INSTRUCTION.pack(*instruction) for instruction in program)
    kept = ctypes.create_string_buffer(code, len(code))
    described = _PROGRAM.pack(len(program), ctypes.addressof(kept))
    opened.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, described)


def half_of_host(value: int) -> int:
    """What LOAD_HALF, which reads in network order, makes of 16 bits in the host's: the type in the
    header of a netlink message."""
    swapped: int = struct.unpack(">H", struct.pack("=H", value))[0]
    return swapped
