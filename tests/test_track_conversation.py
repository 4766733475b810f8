"""One end of a socket with messages, in an event loop."""

from __future__ import annotations

import asyncio
import socket

import pytest

from fastvrrp.track.conversation import Conversation
from fastvrrp.track.frames import Closed, Frames


def test_nothing_is_sent_after_the_end() -> None:
    """The socket would never take it, and the loop would try for ever."""
    loop = asyncio.new_event_loop()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        other = Frames(theirs)
        conversation = Conversation(loop, Frames(ours), lambda _: None, lambda: None)
        conversation.send(b"first")
        conversation.end()
        conversation.send(b"second")
        assert not conversation.frames.is_behind
        assert other.receive() == [b"first"]
        with pytest.raises(Closed):
            other.receive()
        conversation.close()
    loop.close()
