"""One reading of a configuration, from the file to the model, block by block."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Container
from dataclasses import dataclass

from fastvrrp.config.assembly import Assembly
from fastvrrp.config.complaints import Complaint, Complaints, Severity
from fastvrrp.config.definitions import Defaults
from fastvrrp.config.iproute_names import look_in
from fastvrrp.config.lines import Lines
from fastvrrp.config.source import SourceError
from fastvrrp.config.statement import Whole
from fastvrrp.config.table import TOP
from fastvrrp.config.tree import Tree
from fastvrrp.model import Configuration


@dataclass(frozen=True, slots=True)
class Reading:
    """What reading a configuration gave."""

    configuration: Configuration
    """Everything that could be taken: what an error dropped is not in it."""
    complaints: tuple[Complaint, ...]
    """In the order of the files."""
    has_insecure_scripts: bool = False
    """True where scripts can run and enable_script_security is off."""
    misses_files: bool = False
    """True where a file that is included is not there or no file, and that is an error."""

    @property
    def has_errors(self) -> bool:
        """True where something was dropped."""
        return any(complaint.severity == Severity.ERROR for complaint in self.complaints)

    @property
    def satisfies_keepalived(self) -> bool:
        """True where keepalived would take the whole without a word."""
        return all(complaint.is_ours for complaint in self.complaints)


def read(path: str, config_id: str | None = None, own_namespaces: Container[str] = ()) -> Reading:
    """Read a configuration file and what it includes. Never raises for what the file says.

    Lines that start with @ID are read where `config_id` (`-i`) is that ID; without one it is the
    host's name up to its first dot. `own_namespaces` are names of the network namespace in which
    the daemon is; an instance that names one of them names no other place.

    Collection of cycles is put off meanwhile: a reading makes many objects and no cycles.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        identity = config_id or os.uname().nodename.partition(".")[0]
        return _read(path, _Foreknown(identity, time.time_ns(), Defaults(own_namespaces)))
    finally:
        if collects:
            gc.enable()


@dataclass(slots=True)
class _Foreknown:
    """What an instance needs to know that may be written after it."""

    config_id: str
    seed: int
    """Of ${_RANDOM}: the same for both readings."""
    defaults: Defaults
    vmac_names: frozenset[str] = frozenset()


def _read(path: str, foreknown: _Foreknown) -> Reading:
    """Read once, or twice where the first time something was needed that came later."""
    reading, learned = _pass(path, foreknown)
    if learned is not None:
        reading, _ = _pass(path, learned)
    return reading


def _pass(path: str, foreknown: _Foreknown) -> tuple[Reading, _Foreknown | None]:
    """One reading, and what it should have known before if that matters."""
    complaints = Complaints()
    defaults = foreknown.defaults
    lines = Lines(complaints, foreknown.config_id, foreknown.seed)
    try:
        statements = lines.of_file(path)
    except SourceError as error:
        complaints.error(Whole(path), 0, str(error))
        return Reading(Configuration(), complaints.in_order()), None
    assembly = Assembly(defaults, foreknown.vmac_names, complaints)
    tree = Tree(statements, TOP.rows, complaints)
    look_in(*_iproute_directories(defaults))
    for entry in tree:
        assembly.take(entry)
        seed = defaults.written.get("random_seed")
        if entry.keyword.name == "global_defs" and isinstance(seed, int):
            lines.seed(seed)
        if entry.keyword.name == "global_defs":
            look_in(*_iproute_directories(defaults))
    configuration = assembly.configuration()
    has_insecure_scripts = assembly.check_scripts(tree.notifying)
    reading = Reading(
        configuration, complaints.in_order(), has_insecure_scripts, complaints.misses_files
    )
    learned = assembly.learned_late()
    if learned is None:
        return reading, None
    return reading, _Foreknown(foreknown.config_id, foreknown.seed, defaults, learned)


def _iproute_directories(defaults: Defaults) -> tuple[str | None, str | None]:
    return defaults.text("iproute_usr_dir"), defaults.text("iproute_etc_dir")
