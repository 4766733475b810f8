"""The process that reads a configuration for the daemon: `python -m fastvrrp.daemon.reader`.

Arguments: the file, the configuration's ID or nothing, and which half of it is wanted. It is asked
through stdin (daemon/reader_process.py), and what is to be said goes to stdout, as
daemon/reading.py has it; all of it goes into a file as well (daemon/snapshot.py).
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from fastvrrp.config import Reading, Severity, read
from fastvrrp.config.iproute_names import names_of
from fastvrrp.config.recall import Memory
from fastvrrp.daemon.options import Half, half_of
from fastvrrp.daemon.privileges import READER
from fastvrrp.daemon.reader_process import MOST_DESCRIPTORS, RELOAD
from fastvrrp.daemon.reading import (
    NICENESS,
    PART_ITEMS,
    PART_ROUTERS,
    PART_SERVERS,
    UNUSED,
    Digester,
    Known,
    Part,
    PartWriter,
    Summary,
    in_parts,
)
from fastvrrp.daemon.rights import receive
from fastvrrp.daemon.sealing import Sealed, Sealer, digests_in
from fastvrrp.daemon.snapshot import Origin, SnapshotWriter
from fastvrrp.kernel.capabilities import keep_only
from fastvrrp.kernel.namespaces import own_names
from fastvrrp.model import VirtualRouter
from fastvrrp.track.credentials import accounts_of
from fastvrrp.track.interpreter import end_with_starter

MANY_SERVERS = 256
"""Virtual servers for which a reader stays. Not for virtual routers: there may be 65,280, and what
reading those takes is not to be anybody's memory for long."""
LEVELS = {Severity.WARNING: logging.WARNING, Severity.ERROR: logging.ERROR}


def main(arguments: list[str]) -> None:
    """Reads when it is asked to, says what there is to be said, and ends where nobody will ask
    again."""
    path, config_id, half = arguments
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # whoever started us may block signals
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    end_with_starter(signal.SIGKILL)  # nobody is left who wants to know
    keep_only(READER)
    gc.disable()  # it would look at everything that is read; what is left goes after the answer
    memory, sealer = Memory(), Sealer()
    origin = Origin(str(Path(path).absolute()), config_id or None, Half(half))
    with (
        socket.socket(fileno=os.dup(0)) as asking,
        os.fdopen(os.dup(1), "wb", buffering=1 << 16) as file,
    ):
        while True:
            asked, descriptors = receive(asking, 1, MOST_DESCRIPTORS)
            if not asked:
                break
            known: Known | None = None
            if asked == RELOAD:
                known = _known(*descriptors[:2])
                del descriptors[:2]
                # The daemon may be nicer already (vrrp_priority), and nobody may become less nice.
                own = os.getpriority(os.PRIO_PROCESS, 0)
                os.setpriority(os.PRIO_PROCESS, 0, max(NICENESS, own))
            reading = read(path, config_id or None, own_names(), memory)
            with _snapshot(descriptors, origin) as whole:
                stays = say(PartWriter(file), reading, known, sealer, Half(half), whole)
            file.flush()
            if not stays:
                break
            path = origin.file
            _leave()
            del reading
            gc.collect()
    os._exit(0)  # the memory goes faster when nobody tidies it up


@contextmanager
def _snapshot(files: list[int], origin: Origin) -> Iterator[SnapshotWriter | None]:
    """Into the file that has come along, if one has; it is closed afterwards."""
    try:
        yield SnapshotWriter(files[0], origin) if files else None
    finally:
        for file in files:
            os.close(file)


def _known(file: int, stderr: int) -> Known:
    """What a reload is told of; what goes wrong is said to `stderr` from now on."""
    os.dup2(stderr, 2)
    os.close(stderr)
    with os.fdopen(file, "rb") as told:
        return Known.unpacked(told.read())


def _leave() -> None:
    """Lets go of all that is the caller's, as the daemon does, and of what was learned of files."""
    with suppress(PermissionError):  # it was not the first reading
        os.setsid()
    os.chdir("/")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 2)
    os.close(nothing)
    names_of.cache_clear()


def say(
    stream: PartWriter,
    reading: Reading,
    known: Known | None,
    sealer: Sealer,
    half: Half = Half.BOTH,
    snapshot: SnapshotWriter | None = None,
) -> bool:
    """Writes the whole stream; of a reload with an error nothing but the complaints. All of it goes
    into `snapshot`, too. Nothing is `known` at the start. Returns whether it pays to stay."""
    complaints = [(LEVELS[each.severity], str(each)) for each in reading.complaints]
    for part in in_parts(complaints, PART_ITEMS):
        stream.write(Part.COMPLAINTS, part)
    configuration = half_of(reading.configuration, half)
    models = configuration.virtual_routers
    accounts = accounts_of(replace(configuration, virtual_routers=()), models)
    servers = sealer.seal(configuration.virtual_servers)
    rest = replace(configuration, virtual_routers=(), virtual_servers=())
    digests = b"".join([each.digest for each in servers])
    stays = len(servers) >= MANY_SERVERS and len(servers) >= len(models)
    if known is None and rest.definitions.namespaces.network is not None:
        stays = False  # the daemon goes to another network namespace than that we are in
    summary = Summary(rest, reading.has_errors, len(models), digests, accounts)
    stream.write(Part.SUMMARY, summary)
    if known is None or not reading.has_errors:
        if snapshot is not None:
            _keep(snapshot, summary, models, servers)
        known = known or Known(b"")
        running = {digest: index for index, digest in enumerate(digests_in(known.routers))}
        running.pop(UNUSED, None)
        for part in in_parts(changed(models, running), PART_ROUTERS):
            stream.write(Part.ROUTERS, part)
        for part in in_parts(running.values(), PART_ITEMS):
            stream.write(Part.GONE, part)
        served = set(digests_in(known.servers))
        for part in in_parts((each for each in servers if each.digest not in served), PART_SERVERS):
            stream.write(Part.SERVERS, part)
    stream.write(Part.END, stays)
    return stays


def _keep(
    snapshot: SnapshotWriter,
    summary: Summary,
    models: tuple[VirtualRouter, ...],
    servers: Sequence[Sealed],
) -> None:
    digester = Digester()
    snapshot.write(Part.SUMMARY, summary)
    for part in in_parts(models, PART_ROUTERS):
        snapshot.write(Part.ROUTERS, [(model, digester.digest(model)) for model in part])
    for sealed in in_parts(servers, PART_SERVERS):
        snapshot.write(Part.SERVERS, sealed)
    snapshot.finish()


def changed(
    models: tuple[VirtualRouter, ...], running: dict[bytes, int]
) -> Iterator[tuple[VirtualRouter, bytes]]:
    """What does not run as it should, with its digest; takes the others out of `running`."""
    digester = Digester()
    for model in models:
        digest = digester.digest(model)
        if running.pop(digest, None) is None:
            yield model, digest


if __name__ == "__main__":
    main(sys.argv[1:])
