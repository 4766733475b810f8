"""What a router's kernel has of addresses, routes and rules, to be compared with another's."""

from __future__ import annotations

import time
from typing import Any

from lab.network import Router
from lab.waiting import wait_until

FOREVER = 4294967295
KERNELS_OWN = ("kernel", "ra", "redirect")
"""Protocols of routes that nobody has asked for."""


def routes(router: Router) -> list[dict[str, Any]]:
    """Every route that somebody has added, of every table; those to one destination in their order,
    others sorted."""
    found = [
        _sorted_ways(_without(route, "cache", "expires"))
        for family in ("-4", "-6")
        for route in router.show(family, "route", "show", "table", "all")
        if route.get("protocol") not in KERNELS_OWN
    ]
    return sorted(found, key=lambda route: (str(route.get("table", "")), str(route["dst"])))


def rules(router: Router) -> list[dict[str, Any]]:
    """Every rule but the kernel's."""
    return [
        {
            "family": family,
            **rule,
            # keepalived marks no rule that it does not track; we do, and find it after a crash.
            "protocol": rule["protocol"].replace("unspec", "keepalived"),
        }
        for family in ("-4", "-6")
        for rule in router.show(family, "rule", "show")
        if rule.get("protocol") != "kernel"
    ]


def addresses(router: Router) -> list[dict[str, Any]]:
    """Every address with its interface, sorted, without marks and with lifetimes as words."""
    found = []
    for link in router.show("address", "show"):
        for address in link.get("addr_info", ()):
            kept = _without(address, "protocol")
            for name in ("valid_life_time", "preferred_life_time"):
                life = kept.get(name)
                kept[name] = {FOREVER: "forever", 0: "none"}.get(int(life or 0), "some")
            found.append({"dev": link["ifname"], **kept})
    return sorted(found, key=str)


def settled(router: Router) -> dict[str, list[dict[str, Any]]]:
    """All of it, as soon as it has not changed for half a second."""
    seen: list[tuple[float, object]] = []

    def is_still() -> bool:
        now = {"routes": routes(router), "rules": rules(router), "addresses": addresses(router)}
        if not seen or seen[-1][1] != now:
            seen[:] = [(time.monotonic(), now)]
        return time.monotonic() - seen[-1][0] > 0.5

    wait_until(is_still, 20.0, what=f"the routes of {router} to settle", interval=0.1)
    last = seen[-1][1]
    assert isinstance(last, dict)
    return last


def _sorted_ways(route: dict[str, Any]) -> dict[str, Any]:
    """The ways of one route are all taken: their order says nothing."""
    if "nexthops" in route:
        route["nexthops"] = sorted(route["nexthops"], key=str)
    return route


def _without(shown: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in shown.items() if name not in names}
