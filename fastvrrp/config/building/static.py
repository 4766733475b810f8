"""Addresses, routes and rules that stay."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TypeAlias

from fastvrrp.config.building.routes import RuleBuilder, route
from fastvrrp.config.options import Options
from fastvrrp.config.statement import Statement
from fastvrrp.config.tree import Entry
from fastvrrp.model import Route, Rule, VirtualAddress

StaticThing: TypeAlias = VirtualAddress | Route | Rule


def static_things(
    entry: Entry, interface: str, rules: RuleBuilder
) -> Iterator[tuple[StaticThing, Statement]]:
    """Lines of a block; an address without an interface goes to the default one."""
    for value, statement in entry.items:
        if isinstance(value, VirtualAddress):
            address = value
            if address.interface is None:
                address = replace(address, interface=interface)
            yield address, statement
        elif isinstance(value, Options):
            build = route if entry.keyword.name == "static_routes" else rules.build
            yield build(value), statement
