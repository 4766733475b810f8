"""Packets for tests: the vectors, IP packets of either family, memory that ends."""

from __future__ import annotations

import ctypes
import ipaddress
import json
import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fastvrrp._wire import Advert, decode, encode, encode_ah

Case = dict[str, Any]
VECTORS = Path(__file__).parent / "vectors"
MADE = ("scapy_v2", "scapy_v2_ah", "scapy_v3_ipv4", "scapy_v3_ipv6")
RECORDED = ("keepalived", "frr")

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


def load(*names: str) -> list[Any]:
    """The cases of some files of vectors, as pytest's parameters."""
    return [
        pytest.param(json.loads(line), id=f"{name}: {json.loads(line)['name']}")
        for name in names
        for line in (VECTORS / f"{name}.jsonl").read_text().splitlines()
    ]


def encoded(case: Case) -> bytes:
    """The IP packet that the codec makes of a case's fields."""
    fields: Case = {key: case[key] for key in ("vrid", "priority", "interval", "ttl")}
    fields["source"] = packed(case["source"])
    fields["destination"] = packed(case["destination"])
    fields["addresses"] = [packed(address) for address in case["addresses"]]
    fields["password"] = case.get("password", "").encode()
    if "ah_sequence" in case:
        return encode_ah(**fields, sequence=case["ah_sequence"])
    return encode(
        **fields,
        family=case["family"],
        version=case["version"],
        auth_type=case.get("auth_type", 0),
        checksum_as_v2=case.get("checksum_as_v2", False),
    )
