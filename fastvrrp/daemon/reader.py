"""The process that reads a configuration for the daemon: `python -m fastvrrp.daemon.reader`.

Arguments: `start` or `reload`, the file, the configuration's ID or nothing, which half of it is
wanted, and the descriptor of a file for all of it (daemon/snapshot.py). A reload's stdin has the
digests of what runs. What is to be said goes to stdout, as daemon/reading.py has it.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from fastvrrp.config import Reading, Severity, read
from fastvrrp.daemon.options import Half, half_of
from fastvrrp.daemon.reading import (
    DIGEST_SIZE,
    NICENESS,
    PART_ITEMS,
    PART_ROUTERS,
    UNUSED,
    Digester,
    Part,
    PartWriter,
    Summary,
    in_parts,
)
from fastvrrp.daemon.snapshot import Origin, SnapshotWriter
from fastvrrp.model import VirtualRouter
from fastvrrp.track.credentials import accounts_of
from fastvrrp.track.interpreter import end_with_starter

LEVELS = {Severity.WARNING: logging.WARNING, Severity.ERROR: logging.ERROR}


def main(arguments: list[str]) -> None:
    """Reads, says what there is to be said, and ends."""
    occasion, path, config_id, half, snapshot = arguments
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # whoever started us may block signals
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    end_with_starter(signal.SIGKILL)  # nobody is left who wants to know
    gc.disable()  # it lives for one reading
    is_reload = occasion == "reload"
    if is_reload:
        os.nice(NICENESS)
    known = sys.stdin.buffer.read() if is_reload else b""
    reading = read(path, config_id or None)
    origin = Origin(str(Path(path).absolute()), config_id or None, Half(half))
    with os.fdopen(os.dup(1), "wb", buffering=1 << 16) as file:
        whole = SnapshotWriter(int(snapshot), origin)
        say(PartWriter(file), reading, known, is_reload, Half(half), whole)
    os._exit(0)  # the memory goes faster when nobody tidies it up


def say(
    stream: PartWriter,
    reading: Reading,
    known: bytes,
    is_reload: bool,
    half: Half = Half.BOTH,
    snapshot: SnapshotWriter | None = None,
) -> None:
    """Writes the whole stream; of a reload with an error nothing but the complaints. All of it goes
    into `snapshot`, too."""
    complaints = [(LEVELS[each.severity], str(each)) for each in reading.complaints]
    for part in in_parts(complaints, PART_ITEMS):
        stream.write(Part.COMPLAINTS, part)
    configuration = half_of(reading.configuration, half)
    models = configuration.virtual_routers
    rest = replace(configuration, virtual_routers=())
    accounts = accounts_of(rest, models)
    summary = Summary(rest, reading.has_errors, len(models), accounts)
    stream.write(Part.SUMMARY, summary)
    if not (is_reload and reading.has_errors):
        if snapshot is not None:
            _keep(snapshot, summary, models)
        running = {
            known[start : start + DIGEST_SIZE]: start // DIGEST_SIZE
            for start in range(0, len(known), DIGEST_SIZE)
        }
        running.pop(UNUSED, None)
        for part in in_parts(changed(models, running), PART_ROUTERS):
            stream.write(Part.ROUTERS, part)
        for part in in_parts(running.values(), PART_ITEMS):
            stream.write(Part.GONE, part)
    stream.write(Part.END, None)


def _keep(snapshot: SnapshotWriter, summary: Summary, models: tuple[VirtualRouter, ...]) -> None:
    digester = Digester()
    snapshot.write(Part.SUMMARY, summary)
    for part in in_parts(models, PART_ROUTERS):
        snapshot.write(Part.ROUTERS, [(model, digester.digest(model)) for model in part])
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
