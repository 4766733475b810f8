"""Threads of the kernel that share connections: which of those that were found are left alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fastvrrp.kernel import ipvs_sync
from fastvrrp.kernel.ipvs_messages import SyncState, SyncThread
from fastvrrp.kernel.ipvs_sync import SyncThreads
from fastvrrp.model import Namespaces, State, SyncDaemon

FOUND = SyncThread(SyncState.MASTER, "eth0", max_length=1472)


class Kernel:
    """It has such a thread running."""

    def __init__(self, _: str | None) -> None:
        self.changes: list[str] = []

    def sync_threads(self) -> list[SyncThread]:
        return [FOUND]

    def start_sync(self, thread: SyncThread) -> None:
        self.changes.append(f"start {thread.max_length}")

    def stop_sync(self, state: SyncState) -> None:
        self.changes.append("stop")


@pytest.mark.parametrize(
    ("length", "changes"), [(None, []), (1472, []), (1400, ["stop", "start 1400"])]
)
def test_a_thread_that_runs_as_it_is_wanted_runs_on(
    monkeypatch: pytest.MonkeyPatch, length: int | None, changes: list[str]
) -> None:
    kernel = Kernel(None)
    monkeypatch.setattr(ipvs_sync, "Ipvs", lambda _: kernel)
    daemon = replace(SyncDaemon("eth0"), max_length=length)
    SyncThreads(Namespaces()).settle(daemon, [State.MASTER])
    assert kernel.changes == changes


@pytest.mark.parametrize(("is_noted", "changes"), [(True, ["stop"]), (False, [])])
def test_what_a_daemon_that_crashed_has_left_running_is_stopped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, is_noted: bool, changes: list[str]
) -> None:
    kernel = Kernel(None)
    monkeypatch.setattr(ipvs_sync, "Ipvs", lambda _: kernel)
    note = tmp_path / "note"
    if is_noted:
        SyncThreads(Namespaces(), note).settle(SyncDaemon("eth0"), [State.MASTER])
        assert note.exists()
    SyncThreads(Namespaces(), note).settle(None, [])
    assert kernel.changes == changes
    assert not note.exists()
