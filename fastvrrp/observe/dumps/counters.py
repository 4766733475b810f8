"""keepalived's counters of a virtual router, and what each of them counts here."""

from __future__ import annotations

from typing import NamedTuple

from fastvrrp._wire import REASONS
from fastvrrp.observe.dumps.facts import Counts, Record


class Counter(NamedTuple):
    """One counter."""

    key: str
    """In keepalived.json."""
    section: str
    """In keepalived.stats; none is above the sections."""
    label: str
    field: str
    """Of the record."""
    reasons: tuple[str, ...] = ()
    """Refusals that it counts, of `_wire.REASONS`, where the field is `refused`."""


COUNTERS = (
    Counter("advert_rcvd", "Advertisements", "Received", "adverts_received"),
    Counter("advert_sent", "Advertisements", "Sent", "adverts_sent"),
    Counter("become_master", "", "Became master", "became_master"),
    Counter("release_master", "", "Released master", "released_master"),
    Counter("packet_len_err", "Packet Errors", "Length", "refused", ("TRUNCATED",)),
    Counter("ip_ttl_err", "Packet Errors", "TTL", "refused", ("TTL",)),
    Counter("invalid_type_rcvd", "Packet Errors", "Invalid Type", "refused", ("TYPE",)),
    Counter(
        "advert_interval_err", "Packet Errors", "Advertisement Interval", "refused", ("INTERVAL",)
    ),
    Counter(
        *("addr_list_err", "Packet Errors", "Address List", "refused"),
        ("ADDRESS_COUNT", "ADDRESS_LIST"),
    ),
    Counter("invalid_authtype", "Authentication Errors", "Invalid Type", "refused", ("AH_HEADER",)),
    Counter(
        "authtype_mismatch", "Authentication Errors", "Type Mismatch", "refused", ("AUTH_TYPE",)
    ),
    Counter(
        *("auth_failure", "Authentication Errors", "Failure", "refused"),
        ("PASSWORD", "AH_REPLAY", "AH_ICV"),
    ),
    Counter("pri_zero_rcvd", "Priority Zero", "Received", "resigns_received"),
    Counter("pri_zero_sent", "Priority Zero", "Sent", "resigns_sent"),
)
_PLACES = {counter.key: tuple(map(REASONS.index, counter.reasons)) for counter in COUNTERS}


def counts_of(record: Record) -> dict[str, int]:
    """What was counted since the virtual router began."""
    refused = record["refused"]
    return {
        key: sum(refused[place] for place in _PLACES[key]) if reasons else record[field]
        for key, _, _, field, reasons in COUNTERS
    }


def stats_of(name: str, counts: Counts) -> str:
    """The lines of one virtual router in keepalived.stats."""
    lines = [f"VRRP Instance: {name}"]
    last = ""
    for key, section, label, _, _ in COUNTERS:
        if section != last and section:
            lines.append(f"  {section}:")
        lines.append(f"{'    ' if section else '  '}{label}: {counts[key]}")
        last = section
    return "\n".join(lines) + "\n"
