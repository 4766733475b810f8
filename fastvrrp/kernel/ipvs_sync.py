"""The threads of the kernel that share the connections of IPVS (`lvs_sync_daemon`): started,
stopped, and started anew where something about them has changed."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from fastvrrp.kernel.ipvs import Ipvs, namespace_of
from fastvrrp.kernel.ipvs_messages import SyncState, SyncThread
from fastvrrp.model import Namespaces, State, SyncDaemon

log = logging.getLogger(__name__)

HALVES = {State.MASTER: SyncState.MASTER, State.BACKUP: SyncState.BACKUP}
REMEDIES = {
    errno.ENODEV: ": its interface is missing; make it, or name another in lvs_sync_daemon",
    errno.EINVAL: ": a server of another address family than its virtual server cannot be"
    " synchronised; nor can a group that is no multicast address",
}


class SyncThreads:
    """What runs of the synchronisation in one network namespace. It may be used by one thread at a
    time."""

    def __init__(self, namespaces: Namespaces, note: Path | None = None) -> None:
        """`note` is a file that is there as long as something of ours runs: after a crash it tells
        that there may be something to stop."""
        self._namespace = namespace_of(namespaces)
        self._note = note
        self._ipvs: Ipvs | None = None
        self._running: dict[SyncState, SyncThread] = {}
        self._said: str | None = None
        """The failure that the log has been told of."""
        self.has_failed = False

    def settle(self, daemon: SyncDaemon | None, states: Iterable[State]) -> None:
        """Runs the halves of these states, MASTER and BACKUP, and no other. Where that fails the
        log says so, once, and `has_failed` until it has been done."""
        halves = [] if daemon is None else [_thread(daemon, HALVES[state]) for state in states]
        try:
            self._settle({half.state: half for half in halves})
        except OSError as error:
            self._fail(error)
        else:
            if self.has_failed:
                log.info("The IPVS sync daemon runs now")
            self.has_failed, self._said = False, None

    def close(self) -> None:
        if self._ipvs is not None:
            self._ipvs.close()

    def _settle(self, wanted: dict[SyncState, SyncThread]) -> None:
        if self._ipvs is None:
            if not wanted and (self._note is None or not self._note.exists()):
                return
            self._open(wanted)
        assert self._ipvs is not None
        for state in [
            state for state, thread in self._running.items() if wanted.get(state) != thread
        ]:
            del self._running[state]
            self._stop(self._ipvs, state)
        if self._note is not None and wanted:
            self._note.touch()
        for state, thread in wanted.items():
            if state not in self._running:
                self._start(self._ipvs, thread)
                self._running[state] = thread
        if self._note is not None and not wanted:
            self._note.unlink(missing_ok=True)

    def _open(self, wanted: Mapping[SyncState, SyncThread]) -> None:
        """What a daemon that crashed has left runs on where it is wanted as it is."""
        self._ipvs = Ipvs(self._namespace)
        self._running = {
            thread.state: as_asked(thread, wanted.get(thread.state))
            for thread in self._ipvs.sync_threads()
        }

    def _stop(self, ipvs: Ipvs, state: SyncState) -> None:
        try:
            ipvs.stop_sync(state)
        except (ProcessLookupError, FileNotFoundError):
            log.info("Somebody else has stopped the IPVS sync daemon")
        else:
            log.debug("Stopped the IPVS sync daemon, %s half", state.name.lower())

    def _start(self, ipvs: Ipvs, thread: SyncThread) -> None:
        try:
            ipvs.start_sync(thread)
        except FileExistsError:
            log.info("Somebody else has started the IPVS sync daemon; it is started anew")
            ipvs.stop_sync(thread.state)
            ipvs.start_sync(thread)
        log.info(
            "Started the IPVS sync daemon, %s half, on %s",
            thread.state.name.lower(),
            thread.interface,
        )

    def _fail(self, error: OSError) -> None:
        self.has_failed = True
        reason = f"{error.strerror}{REMEDIES.get(error.errno or 0, '')}"
        if reason != self._said:
            log.error("The IPVS sync daemon cannot be changed: %s", reason)
        self._said = reason


def as_asked(found: SyncThread, wanted: SyncThread | None) -> SyncThread:
    """One that was found running. The kernel tells of a length also where none was asked for: where
    none is, that one is right."""
    if wanted is not None and wanted.max_length is None:
        return replace(found, max_length=None)
    return found


def _thread(wanted: SyncDaemon, state: SyncState) -> SyncThread:
    return SyncThread(
        state,
        wanted.interface,
        wanted.id or 0,
        wanted.max_length,
        wanted.port,
        wanted.ttl,
        wanted.group,
    )
