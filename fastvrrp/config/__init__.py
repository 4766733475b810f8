"""Reads keepalived.conf: `read(path)` gives the model and every complaint.

The stages, each a module: source text (`source`), statements of words (`lines`), a tree by the
table of keywords (`keywords`, `tree`), the model (`definitions`, `build`), and what only the whole
shows (`checks`). One top-level block passes through all of them before the next is read.
"""

from __future__ import annotations

import gc
import os
import time
from dataclasses import dataclass

from fastvrrp.config.build import Builder, Draft
from fastvrrp.config.checkers import Checkers
from fastvrrp.config.checks import Claims
from fastvrrp.config.complaints import Complaint, Complaints, Place, Severity
from fastvrrp.config.definitions import Defaults
from fastvrrp.config.garp_groups import GarpGroups
from fastvrrp.config.lines import Lines
from fastvrrp.config.references import References
from fastvrrp.config.script_checks import ScriptChecks
from fastvrrp.config.server_groups import VirtualServers
from fastvrrp.config.source import SourceError
from fastvrrp.config.statement import Whole
from fastvrrp.config.table import TOP
from fastvrrp.config.tree import Tree
from fastvrrp.config.vmac_names import VmacNames
from fastvrrp.model import Configuration

__all__ = ["Complaint", "Place", "Reading", "Severity", "read"]


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


def read(path: str, config_id: str | None = None) -> Reading:
    """Read a configuration file and what it includes. Never raises for what the file says.

    Lines that start with @ID are read where `config_id` (`-i`) is that ID; without one it is the
    host's name up to its first dot.

    Collection of cycles is put off meanwhile: a reading makes many objects and no cycles.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        return _read(path, config_id or os.uname().nodename.partition(".")[0])
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


def _read(path: str, config_id: str) -> Reading:
    """Read once, or twice where the first time something was needed that came later."""
    foreknown = _Foreknown(config_id, time.time_ns(), Defaults())
    reading, learned = _pass(path, foreknown)
    if learned is not None:
        reading, _ = _pass(path, learned)
    return reading


def _pass(path: str, foreknown: _Foreknown) -> tuple[Reading, _Foreknown | None]:
    """One reading, and what it should have known before if that matters."""
    complaints = Complaints()
    defaults = foreknown.defaults
    known_before = dict(defaults.values)
    lines = Lines(complaints, foreknown.config_id, foreknown.seed)
    try:
        statements = lines.of_file(path)
    except SourceError as error:
        complaints.error(Whole(path), 0, str(error))
        return Reading(Configuration(), complaints.in_order()), None
    claims = Claims(complaints)
    references = References(complaints)
    scripts = ScriptChecks(complaints)
    garp_groups = GarpGroups(complaints)
    servers = VirtualServers(complaints)
    checkers = Checkers(complaints)
    names: VmacNames | None = None
    builder: Builder | None = None
    drafts: list[Draft] = []
    tree = Tree(statements, TOP.rows, complaints)
    for entry in tree:
        if entry.keyword.name == "global_defs":
            defaults.take(entry)
            scripts.take_definitions(entry)
            seed = defaults.values.get("random_seed")
            if isinstance(seed, int):
                lines.seed(seed)
        elif entry.keyword.name == "vrrp_instance":
            if builder is None or names is None:
                known_before = dict(defaults.values)
                names = VmacNames(defaults.text("vmac_prefix", "vrrp"), foreknown.vmac_names)
                builder = Builder(defaults, names, complaints)
            if entry.value is None or not claims.name(entry):
                continue
            draft = builder.build(entry)
            if draft is not None and not claims.accept(draft):
                draft = None
            references.take_instance(entry, draft)
            if draft is not None:
                drafts.append(draft)
        elif entry.keyword.name == "virtual_server":
            servers.take_server(entry)
            checkers.check(entry)
            scripts.take_server(entry)
        elif entry.keyword.name == "virtual_server_group":
            servers.take_group(entry)
        else:
            references.take(entry)
            if entry.keyword.name == "vrrp_script":
                scripts.take_script(entry)
            elif entry.keyword.name == "garp_group":
                garp_groups.take(entry)
            elif entry.keyword.name in ("track_file", "vrrp_track_file"):
                checkers.take_file(entry)
            elif entry.keyword.name == "bfd_instance":
                checkers.take_session(entry)
    references.check()
    servers.check()
    has_insecure_scripts = scripts.check(
        tree.notifying,
        is_secure=defaults.is_on("enable_script_security"),
    )
    reading = Reading(
        Configuration(defaults.definitions(), tuple([draft.router for draft in drafts])),
        complaints.in_order(),
        has_insecure_scripts,
        complaints.misses_files,
    )
    if names is not None and (names.chose_too_early or defaults.values != known_before):
        return reading, _Foreknown(
            foreknown.config_id, foreknown.seed, defaults, frozenset(names.written)
        )
    return reading, None
