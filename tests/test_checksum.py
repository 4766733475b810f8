"""The Internet checksum against a plain reading of RFC 1071, and against numbers of the RFCs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastvrrp._checksum import checksum, checksum_of_parts, updated_checksum

words = st.integers(0, 0xFFFF)


def plainly(data: bytes) -> int:
    """RFC 1071 section 1, word by word."""
    total = 0
    for i in range(0, len(data), 2):
        total += int.from_bytes(data[i : i + 2].ljust(2, b"\0"), "big")
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def test_is_the_example_of_rfc_1071() -> None:
    """Section 3: the words 0001 f203 f4f5 f6f7 add up to ddf2."""
    assert checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0xFFFF - 0xDDF2


def test_of_nothing_is_all_ones() -> None:
    assert checksum(b"") == 0xFFFF


@given(st.binary(max_size=100))
def test_agrees_with_rfc_1071_for_any_size(data: bytes) -> None:
    assert checksum(data) == plainly(data)


@pytest.mark.parametrize("size", [1499, 1500, 65_534, 65_535])
def test_loses_no_carry(size: int) -> None:
    for byte in (0xFF, 0xFE, 0x80):
        data = bytes([byte]) * size
        assert checksum(data) == plainly(data)


@given(st.binary(max_size=64), st.integers(0, 7))
def test_does_not_mind_alignment(data: bytes, start: int) -> None:
    assert checksum(memoryview(bytes(start) + data)[start:]) == plainly(data)


@given(st.lists(st.binary(max_size=9).filter(lambda part: len(part) % 2 == 0)), st.binary())
def test_of_parts_is_that_of_the_whole(parts: list[bytes], last: bytes) -> None:
    assert checksum_of_parts([*parts, last]) == plainly(b"".join([*parts, last]))


def test_refuses_an_odd_part_before_the_last() -> None:
    with pytest.raises(ValueError, match="only the last part"):
        checksum_of_parts([b"abc", b"de"])


@given(st.lists(words, min_size=1, max_size=20).filter(any))
def test_of_data_with_its_checksum_is_zero(data: list[int]) -> None:
    raw = b"".join(word.to_bytes(2, "big") for word in data)
    assert checksum(raw + checksum(raw).to_bytes(2, "big")) == 0


def test_is_updated_as_rfc_1624_says() -> None:
    """Section 4: 5555 becomes 3285, and the checksum dd2f becomes 0000."""
    assert updated_checksum(0xDD2F, 0x5555, 0x3285) == 0x0000


@given(st.lists(words, min_size=1, max_size=20), words, st.data())
def test_updated_is_as_if_made_afresh(data: list[int], after: int, draw: st.DataObject) -> None:
    """Of all zeros there are two checksums; no VRRP packet is all zeros."""
    data.append(0x3101)
    index = draw.draw(st.integers(0, len(data) - 2))
    before = data[index]
    old = plainly(b"".join(word.to_bytes(2, "big") for word in data))
    data[index] = after
    new = plainly(b"".join(word.to_bytes(2, "big") for word in data))
    assert updated_checksum(old, before, after) == new
