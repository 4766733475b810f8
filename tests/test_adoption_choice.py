"""Which virtual router goes on as which one that was left (`fastvrrp.vrrp.adoption`), and what else
a process that died has left beside its segment (`fastvrrp.daemon.adoption`)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fastvrrp._table import Table
from fastvrrp.daemon.adoption import find
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


def test_drafts_of_dead_processes_are_removed(tmp_path: Path) -> None:
    files = Files.of_segment(tmp_path / "fastvrrp.state")
    for path in (files.segment, files.details, files.routers):
        path.with_name(f"{path.name}.{NOBODY}").touch()
    files.details.with_name(f"{files.details.name}.1").touch()  # that one lives
    assert find(files.segment, ran_the_same=True) is None
    assert [path.name for path in tmp_path.iterdir()] == ["fastvrrp.details.1"]
