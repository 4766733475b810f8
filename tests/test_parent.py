"""What the process that speaks VRRP knows of its parent (`fastvrrp.daemon.parent`)."""

from __future__ import annotations

import pickle
import socket

import pytest

from fastvrrp.daemon.orders import Started, Stop
from fastvrrp.daemon.parent import Parent
from fastvrrp.track.frames import Frames


@pytest.mark.parametrize("is_told", [False, True], ids=["dies", "tells it to stop"])
def test_it_is_followed_where_its_parent_dies_unless_it_was_told_to_stop(is_told: bool) -> None:
    ours, theirs = socket.socketpair()
    parent = Parent(ours)
    parent.say(Started())
    assert parent.is_followed  # this process alone would end
    if is_told:
        Frames(theirs).send(pickle.dumps(Stop()))
    theirs.close()
    assert parent.is_followed is not is_told
    assert not parent.keeps_wards
    ours.close()
