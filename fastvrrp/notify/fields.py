"""What a line of the log is about, for the journal and for JSON, where people look for it by name.

    log.info("(%s) %s", name, reason, extra=about(name))

The names are those of the journal's fields: `journalctl VRRP_INSTANCE=VI_1`.
"""

from __future__ import annotations

import logging

ATTRIBUTE = "fields"
"""Of a record, where it has them."""


def about(instance: str, state: str | None = None) -> dict[str, dict[str, str]]:
    """A line about a virtual router, and the state that it has entered."""
    fields = {"VRRP_INSTANCE": instance}
    if state is not None:
        fields["VRRP_STATE"] = state
    return {ATTRIBUTE: fields}


def about_group(group: str, state: str) -> dict[str, dict[str, str]]:
    """A line about a sync group that goes to a state."""
    return {ATTRIBUTE: {"VRRP_GROUP": group, "VRRP_STATE": state}}


def fields_of(record: logging.LogRecord) -> dict[str, str]:
    """Those of a line; none, where it is about nothing in particular."""
    fields: dict[str, str] = getattr(record, ATTRIBUTE, {})
    return fields
