"""Which virtual router goes on as which one that was left (`fastvrrp.vrrp.adoption`), and what else
a process that died has left beside its segment (`fastvrrp.daemon.adoption`)."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from threading import Timer

import pytest

from fastvrrp._table import Table
from fastvrrp.daemon import adoption
from fastvrrp.daemon.adoption import find, patience
from fastvrrp.daemon.background import AlreadyRunning, PidFile
from fastvrrp.model import UnicastPeer, VirtualRouter
from fastvrrp.observe.files import Files
from fastvrrp.vrrp.adoption import Predecessor, identity_of
from simulated_machine import virtual_router

NOBODY = 999_999_999
"""Above every process id."""


def left_by(*models: VirtualRouter) -> Predecessor:
    table = Table(None, len(models))
    for model in models:
        index = table.add(model.name, model.interface, 1, 4, model.vrid, model.priority)
        table.set_identity(index, identity_of(model))
    return Predecessor(table)


def unicast(name: str, *peers: bytes) -> VirtualRouter:
    return virtual_router(name, 0, unicast_peers=tuple(UnicastPeer(each) for each in peers))


def test_unicast_ones_of_a_vrid_are_told_apart_by_their_names() -> None:
    before = left_by(unicast("a", b"\x0a\0\0\x01"))
    other, same = unicast("b", b"\x0a\0\0\x02"), unicast("a", b"\x0a\0\0\x01")
    before.choose([other, same], (), 0)
    assert before.left(other) is None
    assert before.left(same) is not None


def test_a_unicast_one_goes_on_as_long_as_its_lowest_peer_remains() -> None:
    low, high, new = b"\x0a\0\0\x01", b"\x0a\0\0\x02", b"\x0a\0\0\x00"
    for peers, goes_on in (
        ((high, low), True),
        ((low,), True),
        ((low, high, new), True),
        ((new,), False),  # all have changed: who hears it now has never heard of it
        ((high,), False),
        ((), False),
    ):
        before, model = left_by(unicast("a", low, high)), unicast("a", *peers)
        before.choose([model], (), 0)
        assert (before.left(model) is not None) is goes_on, peers


def test_one_that_has_another_name_goes_on() -> None:
    before = left_by(virtual_router("a", 0))
    renamed = virtual_router("b", 0)
    before.choose([renamed], (), 0)
    assert before.left(renamed) is not None


def test_those_of_two_vrfs_are_not_the_same() -> None:
    red, blue = (
        replace(each, interface="", options=replace(each.options, vrf=vrf))
        for each, vrf in ((virtual_router("a", 0), "red"), (virtual_router("a", 0), "blue"))
    )
    before = left_by(red)
    before.choose([blue], (), 0)
    assert before.left(blue) is None


def test_what_somebody_dying_holds_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adoption, "LAST_MOMENTS", 60.0)
    segment, path = tmp_path / "keepalived.state", tmp_path / "vrrp.pid"
    dying = PidFile(path)
    dying.take()
    with pytest.raises(AlreadyRunning):
        PidFile(path, patience(segment)).take()  # that one is none of ours
    segment.touch()
    Timer(0.2, dying.remove).start()
    with PidFile(path, patience(segment)):
        assert path.read_text() == f"{os.getpid()}\n"


def test_drafts_of_dead_processes_are_removed(tmp_path: Path) -> None:
    files = Files.of_segment(tmp_path / "fastvrrp.state")
    for path in (files.segment, files.details, files.routers):
        path.with_name(f"{path.name}.{NOBODY}").touch()
    files.details.with_name(f"{files.details.name}.1").touch()  # that one lives
    assert find(files.segment) is None
    assert [path.name for path in tmp_path.iterdir()] == ["fastvrrp.details.1"]
