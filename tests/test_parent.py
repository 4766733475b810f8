"""What the process that speaks VRRP knows of its parent (`fastvrrp.daemon.parent`)."""

from __future__ import annotations

import asyncio
import pickle
import socket
import threading
from pathlib import Path

import pytest

from fastvrrp.config import read
from fastvrrp.daemon.checking import NAME, Checking
from fastvrrp.daemon.options import Options
from fastvrrp.daemon.orders import Answer, CloseWard, Go, Order, Started, Stop, WardEnded
from fastvrrp.daemon.parent import Parent
from fastvrrp.track.frames import Frames


def test_an_order_waits_until_there_is_somebody_to_carry_it_out() -> None:
    """It may come with the word that lets the start go on."""
    ours, theirs = socket.socketpair()
    parent, frames = Parent(theirs), Frames(ours)
    frames.send(pickle.dumps(Go()))
    frames.send(pickle.dumps(Order(7, "upgrade")))
    parent.wait_go()
    parent.orders.register("upgrade", lambda _, reply: reply(True))

    async def serve() -> list[bytes]:
        parent.attach(asyncio.get_running_loop(), lambda: None)
        for _ in range(100):
            await asyncio.sleep(0.01)
            if found := frames.receive():
                return found
        return []

    found = [pickle.loads(data) for data in asyncio.run(serve())]
    assert found == [Answer(7, True)]
    ours.close()
    theirs.close()


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


SERVER = """
virtual_server 192.0.2.1 80 {
    lvs_sched rr
    real_server 192.0.2.2 80 {
    }
}
"""


@pytest.mark.keywords("At the top/child_wait_time")
@pytest.mark.parametrize(
    ("written", "seconds"),
    [("", 60), ("child_wait_time 30\n", 60), ("child_wait_time 240\n", 240)],
)
def test_checkers_have_as_long_for_their_end_as_is_written_and_a_minute(
    tmp_path: Path, written: str, seconds: int
) -> None:
    """18,000 servers take the kernel seconds, and keepalived kills after five."""
    path = tmp_path / "x.conf"
    path.write_text(written + SERVER)
    ours, theirs = socket.socketpair()
    frames = Frames(theirs)
    loop = asyncio.new_event_loop()
    checking = Checking(loop, Options(), tmp_path / "fastvrrp.state", Parent(ours))
    checking.configure(read(str(path)).configuration)
    for _ in checking.settle():
        pass
    (start,) = map(pickle.loads, frames.receive())
    assert start.name == NAME
    stopping = threading.Thread(target=checking.stop)
    stopping.start()
    told: list[object] = []
    while not (limits := [each.limit for each in told if isinstance(each, CloseWard)]):
        theirs.setblocking(True)
        told += map(pickle.loads, frames.receive())
    frames.send(pickle.dumps(WardEnded(NAME, 0)))
    stopping.join()
    assert limits == [seconds]
    loop.close()
    theirs.close()
    ours.close()
