"""The process that reads a configuration for the daemon: `python -m fastvrrp.daemon.reader`.

Arguments: `start` or `reload`, the file, the configuration's ID or nothing, and which half of it is
wanted. A reload's stdin has the digests of what runs. What is to be said goes to stdout, as
daemon/reading.py has it.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace

from fastvrrp.config import Reading, Severity, read
from fastvrrp.daemon.options import Half, half_of
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
from fastvrrp.daemon.sealing import digests_in, seal
from fastvrrp.model import VirtualRouter
from fastvrrp.track.credentials import accounts_of

LEVELS = {Severity.WARNING: logging.WARNING, Severity.ERROR: logging.ERROR}


def main(arguments: list[str]) -> None:
    """Reads, says what there is to be said, and ends."""
    occasion, path, config_id, half = arguments
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # whoever started us may block signals
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    gc.disable()  # it lives for one reading
    is_reload = occasion == "reload"
    if is_reload:
        os.nice(NICENESS)
    known = Known.unpacked(sys.stdin.buffer.read()) if is_reload else Known(b"")
    reading = read(path, config_id or None)
    with os.fdopen(os.dup(1), "wb", buffering=1 << 16) as file:
        say(PartWriter(file), reading, known, is_reload, Half(half))
    os._exit(0)  # the memory goes faster when nobody tidies it up


def say(
    stream: PartWriter, reading: Reading, known: Known, is_reload: bool, half: Half = Half.BOTH
) -> None:
    """Writes the whole stream; of a reload with an error nothing but the complaints."""
    complaints = [(LEVELS[each.severity], str(each)) for each in reading.complaints]
    for part in in_parts(complaints, PART_ITEMS):
        stream.write(Part.COMPLAINTS, part)
    configuration = half_of(reading.configuration, half)
    models = configuration.virtual_routers
    accounts = accounts_of(replace(configuration, virtual_routers=()), models)
    servers = list(seal(configuration.virtual_servers))
    rest = replace(configuration, virtual_routers=(), virtual_servers=())
    digests = b"".join([each.digest for each in servers])
    stream.write(Part.SUMMARY, Summary(rest, reading.has_errors, len(models), digests, accounts))
    if not (is_reload and reading.has_errors):
        running = {digest: index for index, digest in enumerate(digests_in(known.routers))}
        running.pop(UNUSED, None)
        for part in in_parts(changed(models, running), PART_ROUTERS):
            stream.write(Part.ROUTERS, part)
        for part in in_parts(running.values(), PART_ITEMS):
            stream.write(Part.GONE, part)
        served = set(digests_in(known.servers))
        for part in in_parts((each for each in servers if each.digest not in served), PART_SERVERS):
            stream.write(Part.SERVERS, part)
    stream.write(Part.END, None)


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
