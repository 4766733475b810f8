"""The codec and the checksum: what is done once for every packet, through their face for Python."""

from typing import Any

import pytest

from fastvrrp._checksum import checksum, updated_checksum
from fastvrrp._wire import decode, encode

GROUP = bytes([224, 0, 0, 18])
SOURCE = bytes([10, 0, 0, 1])


def advert(version: int) -> dict[str, Any]:
    return {
        "family": 4,
        "version": version,
        "vrid": 51,
        "priority": 200,
        "interval": 1_000_000_000,  # ns
        "source": SOURCE,
        "destination": GROUP,
        "addresses": [bytes([10, 64, 0, 51])],
    }


@pytest.mark.parametrize("version", [2, 3])
def test_encode(benchmark: Any, version: int) -> None:
    fields = advert(version)
    benchmark(lambda: encode(**fields))


@pytest.mark.parametrize("version", [2, 3])
def test_decode(benchmark: Any, version: int) -> None:
    packet = encode(**advert(version))
    assert benchmark(decode, packet).vrid == 51


@pytest.mark.parametrize("size", [20, 1500])
def test_checksum(benchmark: Any, size: int) -> None:
    benchmark(checksum, bytes(range(250)) * (size // 250) + bytes(size % 250))


def test_checksum_updated(benchmark: Any) -> None:
    benchmark(updated_checksum, 0x1234, 0x2101, 0x2102)
