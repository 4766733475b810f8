"""What vrrpd does when it is asked to, through the control socket.

What comes in is JSON that somebody has written: every argument is looked at before it is used.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from fastvrrp.daemon.orders import Carrier, Orders, Reply
from fastvrrp.daemon.reload import Reloads
from fastvrrp.vrrp.maintenance import Maintenance

LONGEST = 10 * 365 * 86_400.0
"""Seconds: more is a mistake."""
SLOWEST, FASTEST = 0.001, 1e6
"""Masters a second."""


class _Unusable(Exception):
    """An argument is missing, or is none."""


def register_reload(orders: Orders, reloads: Reloads) -> None:
    """Has requests to reload carried out."""

    def reload(arguments: Mapping[str, Any], reply: Reply) -> None:
        only_checks = arguments.get("check", False)
        if not isinstance(only_checks, bool):
            raise _Unusable("check is true or false")
        if only_checks:
            reloads.request_check(reply)
        else:
            reloads.request(reply)

    orders.register("reload", _refusing(reload))


def register_maintenance(orders: Orders, maintenance: Maintenance) -> None:
    """Has masters given away and taken back."""

    def resign(arguments: Mapping[str, Any], reply: Reply) -> None:
        name = arguments.get("name")
        if not isinstance(name, str):
            raise _Unusable("name is that of a virtual router, or a pattern")
        seconds = _number(arguments, "for", 0, LONGEST)
        maintenance.resign(name, seconds, _rate(arguments), reply)

    def drain(arguments: Mapping[str, Any], reply: Reply) -> None:
        maintenance.drain(_rate(arguments), reply)

    def undrain(arguments: Mapping[str, Any], reply: Reply) -> None:
        maintenance.undrain(_rate(arguments), reply)

    for carrier in (resign, drain, undrain):
        orders.register(carrier.__name__, _refusing(carrier))


def _refusing(carrier: Carrier) -> Carrier:
    """One that says what is wrong with the arguments."""

    def carry_out(arguments: Mapping[str, Any], reply: Reply) -> None:
        try:
            carrier(arguments, reply)
        except _Unusable as error:
            reply(False, (str(error),))

    return carry_out


def _rate(arguments: Mapping[str, Any]) -> float:
    return _number(arguments, "rate", SLOWEST, FASTEST)


def _number(arguments: Mapping[str, Any], key: str, least: float, most: float) -> float:
    value = arguments.get(key)
    # A bool is an int for Python, and infinity may be written in JSON.
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _Unusable(f"{key} is a number")
    if not least <= value <= most:
        raise _Unusable(f"{key} is {value:g}, outside {least:g}-{most:g}")
    return float(value)
