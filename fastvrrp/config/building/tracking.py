"""Trackers: `vrrp_script`, `track_file`, `vrrp_track_process`, `bfd_instance`."""

from __future__ import annotations

from fastvrrp.config.building.block import Block
from fastvrrp.config.building.scripts import ScriptUsers
from fastvrrp.config.options import Options
from fastvrrp.config.tree import Entry
from fastvrrp.model import (
    BfdInstance,
    ParameterMatch,
    TrackFile,
    TrackProcess,
    TrackScript,
)

MATCHES = {"initial": ParameterMatch.INITIAL, "partial": ParameterMatch.PARTIAL}


def track_script(entry: Entry, users: ScriptUsers) -> TrackScript | None:
    """A `vrrp_script`; None where it has no sound command, or nobody to run it."""
    block = Block.of(entry)
    written = block.command("script")
    command = None if written is None else users.run_by(written, block.value("user"))
    if command is None:
        return None
    weight, is_reversed = _weight(block)
    interval = block.number("interval")
    return TrackScript(
        str(entry.value),
        command,
        interval,
        block.number("timeout", interval),
        weight,
        is_reversed,
        block.number("rise"),
        block.number("fall"),
        block.is_on("init_fail"),
    )


def track_file(entry: Entry) -> TrackFile | None:
    """A `track_file`; None where it names no file."""
    block = Block.of(entry)
    path = block.text("file")
    if path is None:
        return None
    weight, is_reversed = _weight(block)
    initial = block.value("init_file")
    value: object = None
    overwrites = False
    if isinstance(initial, Options):
        value = initial.get("value") or 0
        overwrites = initial.get("overwrite") is True
    return TrackFile(
        str(entry.value),
        path,
        weight,
        is_reversed,
        value if isinstance(value, int) else None,
        overwrites,
    )


def track_process(entry: Entry) -> TrackProcess | None:
    """A `vrrp_track_process`; None where it names no process."""
    block = Block.of(entry)
    words = block.words("process")
    if not words:
        return None
    match = MATCHES.get(block.text("param_match") or "")
    if match is None:
        match = ParameterMatch.EXACT if len(words) > 1 else ParameterMatch.ANY
    weight, is_reversed = _weight(block)
    quorum = block.number("quorum")
    quorum_max = block.optional_number("quorum_max")
    if quorum_max is not None and "quorum" not in block.written:
        quorum = min(quorum, quorum_max)
    fork_delay = terminate_delay = 0
    for inner in entry.entries:
        if isinstance(inner.value, int):
            if inner.keyword.name in ("fork_delay", "delay"):
                fork_delay = inner.value
            if inner.keyword.name in ("terminate_delay", "delay"):
                terminate_delay = inner.value
    return TrackProcess(
        str(entry.value),
        words[0],
        words[1:],
        match,
        weight,
        is_reversed,
        quorum,
        quorum_max,
        fork_delay,
        terminate_delay,
        block.is_on("full_command"),
    )


def bfd_instance(entry: Entry) -> BfdInstance | None:
    """A `bfd_instance`; None where it has no neighbour."""
    block = Block.of(entry)
    neighbor = block.address("neighbor_ip") or block.address("neighbour_ip")
    if neighbor is None:
        return None
    weight, is_reversed = _weight(block)
    ttl = block.number("hoplimit" if len(neighbor) == 16 else "ttl")
    for inner in entry.entries:
        if inner.keyword.name in ("ttl", "hoplimit") and isinstance(inner.value, int):
            ttl = inner.value
    return BfdInstance(
        str(entry.value),
        neighbor,
        block.address("source_ip"),
        block.number("min_rx"),
        block.number("min_tx"),
        block.number("idle_tx"),
        block.number("multiplier"),
        block.is_on("passive"),
        block.is_on("multihop"),
        ttl,
        block.number("max_hops"),
        weight,
        is_reversed,
        block.is_on("vrrp") or not block.is_on("checker"),
        block.is_on("checker") or not block.is_on("vrrp"),
    )


def _weight(block: Block) -> tuple[int, bool]:
    value = block.value("weight")
    assert isinstance(value, tuple)
    return value[0], value[1]
