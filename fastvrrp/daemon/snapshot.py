"""The configuration that runs, kept in a file: what a vrrpd that is started again goes on with.

The file that a person edits may be another one by now, or broken; nobody has asked for it to be
read. So the reader writes all that it has read once more, as its stream has it (daemon/reading),
compressed, and the daemon puts that at its place when it has taken the configuration, at the start
and at each reload. A restart takes it from there, which is also ten times as fast as reading.

It has passwords, and nobody but the daemon's user reads or writes it.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import pickle
import stat
import sys
import zlib
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fastvrrp import __version__
from fastvrrp.daemon.options import Half
from fastvrrp.daemon.reading import Aside, Part, PartReader, PartWriter, Summary
from fastvrrp.daemon.sealing import Sealed, with_servers
from fastvrrp.model import VirtualRouter
from fastvrrp.track.credentials import learn

if TYPE_CHECKING:
    from fastvrrp.vrrp.place import RunElsewhere

log = logging.getLogger(__name__)

ENDING = ".running"
"""Of the file's name, beside the state segment."""
LEVEL = 1
"""Of the compression: what others save takes several times as long."""
PIECE = 1 << 20
"""Bytes that are copied, or read, at once."""


class DamagedError(Exception):
    """The file is not good for us; says why."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What was read, and by whom."""

    file: str
    """Absolute path."""
    config_id: str | None
    half: Half

    def head(self) -> bytes:
        """The first line of the file. A pickle is good for the version that has made it."""
        said = {
            "fastvrrp": __version__,
            "python": list(sys.version_info[:3]),
            "file": self.file,
            "config_id": self.config_id,
            "half": self.half.value,
        }
        return json.dumps(said).encode() + b"\n"


class _Compressed:
    """A file to be written to, whose content is compressed."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._compressor = zlib.compressobj(LEVEL)

    def write(self, data: bytes | memoryview) -> None:
        _write(self._descriptor, self._compressor.compress(data))

    def finish(self) -> None:
        _write(self._descriptor, self._compressor.flush())


class SnapshotWriter:
    """Writes a snapshot into an open file that is empty."""

    def __init__(self, descriptor: int, origin: Origin) -> None:
        _write(descriptor, origin.head())
        self._file = _Compressed(descriptor)
        self._parts = PartWriter(self._file)

    def write(self, part: Part, value: object) -> None:
        """What of the stream is wanted again: complaints are not."""
        self._parts.write(part, value)

    def finish(self) -> None:
        """Everything was written."""
        self._parts.write(Part.END, None)
        self._file.finish()


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def path_beside(segment: Path) -> Path:
    """Where the snapshot of the daemon with this state segment is."""
    return segment.with_suffix(ENDING)


def keep(descriptor: int, path: Path) -> None:
    """Puts what was written into an open file at a path, all of it or nothing: what was there
    before is not what runs. Raises OSError."""
    try:
        _put(descriptor, path)
    except OSError:
        with suppress(OSError):
            path.unlink()
        raise


class Kept:
    """The snapshot of what a daemon runs, beside its state segment."""

    def __init__(self, segment: Path, run_elsewhere: RunElsewhere) -> None:
        self._path = path_beside(segment)
        self._run_elsewhere = run_elsewhere

    def keep(self, descriptor: int) -> None:
        """Keeps what a reader has written for a successor, in the other thread."""
        kept = os.dup(descriptor)

        def put() -> None:
            try:
                keep(kept, self._path)
            except OSError as error:
                log.error("%s cannot be written: %s", self._path, error.strerror)
            finally:
                os.close(kept)

        self._run_elsewhere(put, lambda: None)

    def forget(self) -> None:
        """Whoever follows us is not to have it."""
        self._path.unlink(missing_ok=True)


def _put(descriptor: int, path: Path) -> None:
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    # Nobody else may read it for a moment, whatever umask is written.
    target = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        offset = 0
        while offset < size:
            offset += os.sendfile(target, descriptor, offset, min(PIECE, size - offset))
        draft.replace(path)
    except OSError:
        with suppress(OSError):
            draft.unlink()
        raise
    finally:
        os.close(target)


def load(path: Path, origin: Origin) -> Aside | None:
    """The configuration that ran; None where it is not there, or not good for us, which the log
    says then."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
                raise DamagedError("others than its owner may write or read it")
            if file.readline() != origin.head():
                raise DamagedError("it is another version's, or another file's")
            return _read(file.read())
    except FileNotFoundError:
        return None
    except (DamagedError, OSError) as error:
        log.warning("%s: the configuration that ran is not taken from it: %s", path, error)
        return None


def _read(compressed: bytes) -> Aside:
    """Raises DamagedError."""
    decompressor = zlib.decompressobj()
    stream = PartReader()
    summary: Summary | None = None
    routers: list[VirtualRouter] = []
    digests = bytearray()
    servers: list[Sealed] = []
    is_whole = False
    had_collector = gc.isenabled()
    gc.disable()  # everything that comes stays
    try:
        while compressed:
            data = decompressor.decompress(compressed, PIECE)
            compressed = decompressor.unconsumed_tail
            for part, value in stream.feed(data):
                if part is Part.SUMMARY:
                    summary = value
                elif part is Part.ROUTERS:
                    for model, digest in value:
                        routers.append(model)
                        digests += digest
                elif part is Part.SERVERS:
                    servers += value
                elif part is Part.END:
                    is_whole = True
        if summary is None or not is_whole or not decompressor.eof:
            raise DamagedError("it is cut short")
    except (zlib.error, pickle.UnpicklingError, EOFError, AttributeError, ImportError) as error:
        raise DamagedError(f"it is damaged ({error})") from None
    except (ValueError, TypeError, IndexError, KeyError) as error:
        raise DamagedError(f"it is damaged ({error})") from None
    finally:
        if had_collector:
            gc.enable()
    learn(summary.accounts)
    configuration = replace(
        with_servers(summary.configuration, tuple(servers)), virtual_routers=tuple(routers)
    )
    return Aside(configuration, digests, summary.has_errors)
