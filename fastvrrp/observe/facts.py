"""What there is to say of a virtual router, in plain values and in words."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

from fastvrrp._fsm import EVENT_NAMES
from fastvrrp._wire import REASONS
from fastvrrp.model import SECOND, State
from fastvrrp.observe.catalogue import Entry
from fastvrrp.observe.details import Details
from fastvrrp.observe.view import View

Record = Mapping[str, Any]
"""As `Segment.read` gives it, with `index`."""

RESTRAINTS = (None, "resigned", "drained")
"""What an administrator has asked for, by the record's `restraint`."""
RESTRAINT_WORDS = (
    "",
    "; it has resigned, and does not preempt for now",
    "; it is drained, and not to be master until 'fastvrrp undrain'",
)
REASON_WORDS = {
    ("MASTER", "TIMER"): "no master was heard for the Master_Down_Interval",
    ("MASTER", "START"): "its priority is 255, so it owns the addresses and begins as master",
    ("MASTER", "PROMOTE"): "every member of its sync group would be master",
    ("MASTER", "RESIGN"): "it was to resign, and nobody took over",
    ("BACKUP", "START"): "it began, and others may be master",
    ("BACKUP", "ADVERT"): "another master with a priority that wins was heard",
    ("BACKUP", "DEMOTE"): "another member of its sync group is master no more",
    ("BACKUP", "RESIGN"): "it was told to resign",
    ("BACKUP", "TIMER"): "it was silent for so long that another one may be master",
    ("INIT", "STOP"): "it was stopped",
}
"""Why it is in a state, by the event that brought it there."""


def why(record: Record, details: Details) -> str:
    """Why a virtual router is in its state, in words."""
    state = State(record["state"]).name
    fault = details.faults.get(record["index"])
    if state == "FAULT":
        return fault or "what it lacks is not known yet"
    if state == "INIT":
        return f"it waits: {fault}" if fault else "it has not begun"
    words = REASON_WORDS.get((state, EVENT_NAMES[record["changed_by"]]), "")
    if state == "BACKUP" and record["heard_at"] and any(record["master_address"]):
        master = ip_address(record["master_address"])
        words += f"; {master} is master with priority {record['master_priority']}"
    return words + RESTRAINT_WORDS[record["restraint"]]


def troubles(record: Record, details: Details) -> list[str]:
    """What is not as it should be, in words; nothing where all is well."""
    found = []
    if record["state"] in (State.FAULT, State.INIT):
        found.append(why(record, details))
    if record["split_since"] is not None:
        found.append("split brain")
    if record["priority"] != record["base_priority"]:
        found.append(f"priority {record['priority']} instead of {record['base_priority']}")
    return found


def brief(view: View, record: Record, details: Details) -> dict[str, Any]:
    """One row of `fastvrrp status`."""
    master = record["master_address"] if record["heard_at"] else b""
    return {
        "name": record["name"],
        "interface": record["interface"],
        "vrid": record["vrid"],
        "family": family(record),
        "namespace": details.places.get(record["place"], ""),
        "state": State(record["state"]).name,
        "since": since(view, record["changed_at"]),
        "priority": record["priority"],
        "configured_priority": record["base_priority"],
        "master": _master(record, master),
        "restraint": RESTRAINTS[record["restraint"]],
        "troubles": troubles(record, details),
    }


def everything(view: View, record: Record, entry: Entry, details: Details) -> dict[str, Any]:
    """All that is known of one; times in seconds, of the day in seconds since 1970."""
    now = view.now()
    states = {(each.kind, each.name): each for each in details.trackers}
    return {
        **brief(view, record, details),
        "why": why(record, details),
        "version": record["version"],
        "source": _address(record["source"]),
        "master_priority": record["master_priority"] if record["heard_at"] else None,
        "addresses": [
            {"address": address, "interface": interface or record["interface"]}
            for address, interface in entry.addresses
        ],
        "sync_group": entry.group or None,
        "preempts": record["preempt"],
        "restrained_until": _restrained_until(view, record),
        "timers": _timers(record, now),
        "tracked": [
            {
                "kind": kind,
                "name": name,
                "weight": weight,
                "state": states[kind, name].text if (kind, name) in states else "not known",
            }
            for kind, name, weight in entry.tracked
        ],
        "split_brain_since": since(view, record["split_since"]),
        "counters": {
            key: record[key]
            for key in (
                *("adverts_sent", "adverts_received", "discarded", "resigns_sent"),
                *("resigns_received", "announcements_sent", "changes", "became_master"),
                *("released_master", "split_brains"),
            )
        },
        "refused": {
            REASONS[number].lower(): count
            for number, count in enumerate(record["refused"])
            if count
        },
    }


def since(view: View, at: int | None) -> float | None:
    """A time of the segment as one of the day, in seconds since 1970; None for none."""
    return None if not at else round((at + view.wall_offset) / SECOND, 3)


def family(record: Record) -> str:
    """IPv4 or IPv6."""
    return f"IPv{record['family']}"


def _timers(record: Record, now: int) -> dict[str, float | None]:
    """In seconds from now on, or ago."""
    state, deadline = record["state"], record["deadline"]
    is_drained = RESTRAINTS[record["restraint"]] == "drained"
    left = None if deadline is None else round((deadline - now) / SECOND, 3)
    down = record["master_down_interval"]
    return {
        "advert_interval": record["advert_interval"] / SECOND,
        "master_advert_interval": record["master_interval"] / SECOND,
        "skew_time": (down - record["down_timer_adverts"] * record["master_interval"]) / SECOND,
        "master_down_interval": down / SECOND,
        "next_advert_in": left if state == State.MASTER else None,
        "takes_over_in": left if state == State.BACKUP and not is_drained else None,
        "sent_ago": _ago(record["sent_at"], now),
        "heard_ago": _ago(record["heard_at"], now),
    }


def _restrained_until(view: View, record: Record) -> float | None:
    """When it may preempt again, in seconds since 1970; None where nobody knows, or it may."""
    if RESTRAINTS[record["restraint"]] != "resigned":
        return None
    return since(view, view.maintenance().until.get(record["name"]))


def _ago(at: int, now: int) -> float | None:
    return round((now - at) / SECOND, 3) if at else None


def _master(record: Record, heard: bytes) -> str | None:
    if record["state"] == State.MASTER:
        return _address(record["source"])
    return _address(heard) if record["state"] == State.BACKUP else None


def _address(packed: bytes) -> str | None:
    return str(ip_address(packed)) if any(packed) else None
