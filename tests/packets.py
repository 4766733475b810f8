"""Packets for tests: addresses as text, IP packets of either family, memory that ends."""

from __future__ import annotations

import ctypes
import ipaddress
import mmap
from collections.abc import Iterator
from contextlib import contextmanager

from fastvrrp._wire import Advert, decode

libc = ctypes.CDLL(None, use_errno=True)


def packed(address: str) -> bytes:
    return ipaddress.ip_address(address).packed


def decode_ip(packet: bytes, family: int | None = None) -> Advert:
    """Decodes an IP packet of either family; of an IPv6 packet the header, as a socket would."""
    if (family or packet[0] >> 4) == 4:
        return decode(packet)
    return decode(packet[40:], 6, packet[8:24], packet[24:40], packet[7])


@contextmanager
def guarded(data: bytes) -> Iterator[memoryview]:
    """`data` at the very end of a page, behind which nothing may be read: that is a SIGSEGV."""
    pages = (len(data) + mmap.PAGESIZE - 1) // mmap.PAGESIZE + 1
    memory = mmap.mmap(-1, pages * mmap.PAGESIZE)
    end = (pages - 1) * mmap.PAGESIZE
    anchor = (ctypes.c_char * len(memory)).from_buffer(memory)
    guard = ctypes.c_void_p(ctypes.addressof(anchor) + end)
    if libc.mprotect(guard, ctypes.c_size_t(mmap.PAGESIZE), 0) != 0:
        raise OSError(ctypes.get_errno(), "mprotect")
    whole = memoryview(memory)
    view = whole[end - len(data) : end]
    view[:] = data
    try:
        yield view
    finally:
        view.release()
        whole.release()
        del anchor
        memory.close()
