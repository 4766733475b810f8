"""Groups of interfaces: `garp_group`, `linkbeat_interfaces`, `interface_up_down_delays`."""

from __future__ import annotations

from collections.abc import Iterator

from fastvrrp.config.building.block import Block
from fastvrrp.config.options import Options
from fastvrrp.config.tree import Entry
from fastvrrp.model import GarpGroup, InterfaceDelay, LinkbeatInterface, LinkPolling


def garp_group(entry: Entry, interfaces: tuple[str, ...]) -> GarpGroup:
    """A `garp_group`; interfaces that are not in one have the gaps of `global_defs`."""
    block = Block.of(entry)
    return GarpGroup(interfaces, block.number("garp_interval"), block.number("gna_interval"))


def linkbeat_interfaces(entry: Entry) -> Iterator[LinkbeatInterface]:
    """Lines of a `linkbeat_interfaces` block."""
    for options, _ in entry.items:
        assert isinstance(options, Options)
        interface = options.get("interface")
        if not isinstance(interface, str):
            continue
        polling = LinkPolling.ANY
        for kind in (LinkPolling.MII, LinkPolling.ETHTOOL, LinkPolling.IOCTL):
            if options.get(kind.name):
                polling = kind
        yield LinkbeatInterface(interface, polling)


def interface_delays(entry: Entry) -> Iterator[InterfaceDelay]:
    """Lines of an `interface_up_down_delays` block; up is as down where it is not written."""
    for values, _ in entry.items:
        assert isinstance(values, tuple)
        interface, down, up = values
        yield InterfaceDelay(interface, down, down if up is None else up)
