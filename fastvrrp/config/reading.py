"""One reading of a configuration, from the file to the model, block by block."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Collection
from dataclasses import dataclass

from fastvrrp.config.assembly import Assembly
from fastvrrp.config.complaints import Complaint, Complaints, Severity
from fastvrrp.config.definitions import Defaults
from fastvrrp.config.iproute_names import look_in
from fastvrrp.config.kernel_modules import NeededModule
from fastvrrp.config.lines import Lines
from fastvrrp.config.recall import Head, Memory
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
    modules: tuple[NeededModule, ...] = ()
    """What its virtual servers need of the kernel."""

    @property
    def has_errors(self) -> bool:
        """True where something was dropped."""
        return any(complaint.severity == Severity.ERROR for complaint in self.complaints)

    @property
    def satisfies_keepalived(self) -> bool:
        """True where keepalived would take the whole without a word."""
        return all(complaint.is_ours for complaint in self.complaints)


def read(
    path: str,
    config_id: str | None = None,
    own_namespaces: Collection[str] = (),
    memory: Memory | None = None,
) -> Reading:
    """Read a configuration file and what it includes. Never raises for what the file says.

    Lines that start with @ID are read where `config_id` (`-i`) is that ID; without one it is the
    host's name up to its first dot. `own_namespaces` are names of the network namespace in which
    the daemon is; an instance that names one of them names no other place. With a `memory` what it
    has of earlier readings of this file is not read again where it is the same; the result is as
    without it.

    Collection of cycles is put off meanwhile: a reading makes many objects and no cycles.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        identity = config_id or os.uname().nodename.partition(".")[0]
        return _read(path, identity, own_namespaces, memory)
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


def _read(
    path: str, config_id: str, own_namespaces: Collection[str], memory: Memory | None
) -> Reading:
    """Read once, or twice where the first time something was needed that came later."""
    reading = _read_with(path, config_id, own_namespaces, memory)
    if memory is not None:
        if memory.is_mistaken(has_errors=reading.has_errors):
            reading = _read_with(path, config_id, own_namespaces, memory)
        memory.keep()
    return reading


def _read_with(
    path: str, config_id: str, own_namespaces: Collection[str], memory: Memory | None
) -> Reading:
    foreknown = _Foreknown(config_id, time.time_ns(), Defaults(own_namespaces))
    reading, learned = _pass(path, foreknown, memory)
    if learned is not None:
        reading, _ = _pass(path, learned, memory)
    return reading


def _pass(
    path: str, foreknown: _Foreknown, memory: Memory | None
) -> tuple[Reading, _Foreknown | None]:
    """One reading, and what it should have known before if that matters."""
    complaints = Complaints()
    defaults = foreknown.defaults
    lines = Lines(complaints, foreknown.config_id, foreknown.seed, memory)
    try:
        statements = lines.of_file(path)
        if memory is not None:
            memory.begin(defaults.own_namespaces)
            statements = memory.noting(statements)
    except SourceError as error:
        complaints.error(Whole(path), 0, str(error))
        return Reading(Configuration(), complaints.in_order()), None
    assembly = Assembly(defaults, foreknown.vmac_names, complaints)
    tree = Tree(statements, TOP.rows, complaints, assembly.recall)
    look_in(*_iproute_directories(defaults))
    complained = 0
    for entry in tree:
        assembly.take(entry)
        if memory is not None and isinstance(entry.statement, Head):
            server = assembly.built(entry)
            if server is not None and len(complaints) == complained:
                memory.learn(entry.statement.text, server)
        complained = len(complaints)
        seed = defaults.written.get("random_seed")
        if entry.keyword.name == "global_defs" and isinstance(seed, int):
            lines.seed(seed)
        if entry.keyword.name == "global_defs":
            look_in(*_iproute_directories(defaults))
    configuration = assembly.configuration()
    assembly.check_fifos()
    has_insecure_scripts = assembly.check_scripts(tree.notifying)
    reading = Reading(
        configuration,
        complaints.in_order(),
        has_insecure_scripts,
        complaints.misses_files,
        assembly.modules.found,
    )
    learned = assembly.learned_late()
    if learned is None:
        return reading, None
    return reading, _Foreknown(foreknown.config_id, foreknown.seed, defaults, learned)


def _iproute_directories(defaults: Defaults) -> tuple[str | None, str | None]:
    return defaults.text("iproute_usr_dir"), defaults.text("iproute_etc_dir")
