"""The files that dumps are written to: where, and how."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from enum import Enum
from pathlib import Path

from fastvrrp.model import GlobalDefinitions

CHUNK = 1 << 16
"""Characters that are written together."""
MODE = 0o666
"""Less the umask."""


class Dump(Enum):
    """One of keepalived's files; the value is its usual name."""

    DATA = "keepalived.data"
    PARENT = "keepalived_parent.data"
    CHECKERS = "keepalived_check.data"
    STATISTICS = "keepalived.stats"
    JSON = "keepalived.json"


WORDS = {Dump.PARENT: "_parent", Dump.CHECKERS: "_check"}
"""In the names of files that have one place."""


def place_of(dump: Dump, definitions: GlobalDefinitions, namespace: str | None) -> Path:
    """Where a dump goes: by default to $TMPDIR or /tmp. `namespace` is the network namespace of the
    command line."""
    files = definitions.files
    written = {Dump.STATISTICS: files.statistics, Dump.JSON: files.json}.get(dump, files.state)
    folder, name = _folder(), dump.value
    if written is not None and written.endswith("/"):
        folder = Path(written)
    elif written is not None:
        folder, name = Path(written).parent, Path(written).name
        if dump in WORDS:
            name = _inserted(name, WORDS[dump])
    if files.names_with_instance and dump is not Dump.JSON:
        words = (
            namespace or definitions.namespaces.network,
            definitions.processes.instance,
        )
        # keepalived 2.2.7 has them in the data only; later ones in the statistics too.
        name = _inserted(name, "." + "_".join(filter(None, words))) if any(words) else name
    return folder / name


def _folder() -> Path:
    named = os.environ.get("TMPDIR", "")
    return Path(named) if named.startswith("/") else Path("/tmp")


def _inserted(name: str, word: str) -> str:
    """Before the last dot."""
    stem, dot, end = name.rpartition(".")
    return f"{stem}{word}{dot}{end}" if dot else name + word


class DumpFile:
    """A file that comes to its place when it is whole.

    It is renamed before it is closed: who waits for a file of that name to be closed after writing
    (inotify's IN_CLOSE_WRITE, as VyOS does) hears of it, and who looks finds all of it or none.
    """

    def __init__(self, path: Path, umask: int) -> None:
        """Raises OSError."""
        self.path = path
        descriptor, draft = tempfile.mkstemp(prefix=path.name, dir=path.parent)
        self._draft = Path(draft)
        os.fchmod(descriptor, MODE & ~umask)
        self._file = os.fdopen(descriptor, "w", CHUNK, encoding="utf-8", errors="replace")

    def write(self, text: str) -> None:
        """Raises OSError."""
        self._file.write(text)

    def finish(self) -> None:
        """Puts it in its place. Raises OSError."""
        self._file.flush()
        self._draft.rename(self.path)
        self._file.close()

    def give_up(self) -> None:
        """Leaves nothing of it."""
        self._draft.unlink(missing_ok=True)
        with suppress(OSError):  # the disk is full, which was said already
            self._file.close()
