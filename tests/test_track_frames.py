"""Messages over a socket."""

from __future__ import annotations

import socket

from fastvrrp.track.frames import Frames


def test_nothing_waits_for_an_end_that_has_closed() -> None:
    one, other = socket.socketpair()
    with one:
        frames = Frames(one)
        frames.send(bytes(1 << 22))
        assert frames.is_behind
        other.close()
        frames.flush()
        assert not frames.is_behind
