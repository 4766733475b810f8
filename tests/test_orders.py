"""What the parent and vrrpd say to each other, where they are of different versions."""

from __future__ import annotations

import pickle

import pytest

from fastvrrp.daemon.orders import Started, unpacked


@pytest.mark.parametrize("unknown", [b"cfastvrrp.daemon.orders\nNew\n.", b"cfastvrrp.new\nNew\n."])
def test_what_only_a_newer_version_says_is_left_out(unknown: bytes) -> None:
    messages = [pickle.dumps(Started()), unknown, pickle.dumps(Started())]
    assert list(unpacked(messages)) == [Started(), Started()]
