"""Links that are made for a virtual router: its VMAC or ipvlan, and VMACs of single addresses.

keepalived tells VMACs apart by the link below and the MAC: what has the same of both shares one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from fastvrrp.config.complaints import Complaints
from fastvrrp.config.grammar import VmacWords
from fastvrrp.config.options import Options
from fastvrrp.config.statement import Statement
from fastvrrp.config.tree import Entry
from fastvrrp.config.vmac_names import VmacNames
from fastvrrp.config.written import AF_INET6, Written
from fastvrrp.model import AddressVmac, Ipvlan, IpvlanMode, VirtualAddress, Vmac

VMAC_IPV4 = bytes.fromhex("00005e0001")
"""RFC 9568 section 7.3; the sixth octet is the VRID."""
VMAC_IPV6 = bytes.fromhex("00005e0002")
IPV6_LENGTH = 16

Addresses = list[tuple[VirtualAddress, Statement]]


class OwnLinks(NamedTuple):
    """The links that are made for one virtual router, and what is said about them."""

    vmac: Vmac | None
    ipvlan: Ipvlan | None
    address_vmacs: tuple[AddressVmac, ...]
    group: int | None
    notifies: bool

    @property
    def has_options(self) -> bool:
        """Whether there is anything besides a plain VMAC."""
        return bool(self.ipvlan or self.address_vmacs or self.notifies) or self.group is not None


NO_LINKS = OwnLinks(None, None, (), None, notifies=False)


class VmacBuilder:
    """Builds what `use_vmac`, `use_ipvlan` and `use_vmac_addr` say; names that are not written are
    chosen, those of addresses' VMACs with `address_prefix`."""

    def __init__(self, names: VmacNames, address_prefix: str, complaints: Complaints) -> None:
        self._names = names
        self._address_prefix = address_prefix
        self._complaints = complaints

    def build(
        self, written: Written, interface: str, vrid: int, lists: Sequence[Addresses]
    ) -> OwnLinks:
        """The links of an instance. In the lists an address is changed where its interface is the
        instance's, or where it uses a VMAC that is not: it says so then."""
        last = written.last
        ipvlan = last.get("use_ipvlan")
        entry = last.get("use_vmac")
        words = entry.value if entry is not None else None
        if ipvlan is not None and isinstance(ipvlan.value, Options):
            own = self._ipvlan(written, ipvlan, ipvlan.value, interface, vrid)
        elif entry is not None and isinstance(words, VmacWords):
            vmac = self._vmac(written, entry, words, interface, vrid)
            own = OwnLinks(vmac, None, (), words.group, words.notifies)
        else:
            own = NO_LINKS
        if entry is None and "vmac_xmit_base" in last:
            self._complaints.warning(
                last["vmac_xmit_base"].statement,
                0,
                f"vmac_xmit_base is ignored: {written.name} has no use_vmac",
            )
        vmacs = self._of_addresses(written, own.vmac, interface, vrid, lists)
        return own._replace(address_vmacs=vmacs) if vmacs else own

    def _vmac(
        self, written: Written, entry: Entry, words: VmacWords, interface: str, vrid: int
    ) -> Vmac:
        name = self._name(written, entry, "use_vmac", words.name, interface, vrid)
        transmits_on_parent = "vmac_xmit_base" in written.last
        if written.peers and not transmits_on_parent:
            self._complaints.warning(
                entry.statement,
                0,
                f"{written.name} is unicast: its VMAC needs vmac_xmit_base, which is assumed",
            )
            transmits_on_parent = True
        mac = _mac(words.mac, written.family == AF_INET6, vrid)
        return Vmac(name, mac, transmits_on_parent)

    def _ipvlan(
        self, written: Written, entry: Entry, options: Options, interface: str, vrid: int
    ) -> OwnLinks:
        given = options.get("address")
        address, prefixlen = given if isinstance(given, tuple) else (None, 0)
        is_ipv6 = written.family == AF_INET6
        if address is None and not is_ipv6 and written.source is None:
            self._complaints.warning(
                entry.statement,
                0,
                f"use_ipvlan of {written.name} has no address for its adverts, which is a fault;"
                " write use_ipvlan ADDRESS",
                is_ours=True,
            )
        if address is not None and (len(address) == IPV6_LENGTH) != is_ipv6:
            self._leave_out(entry, written.name, "has an address of the other family")
            return NO_LINKS
        mode = IpvlanMode.BRIDGE
        for one in (IpvlanMode.PRIVATE, IpvlanMode.VEPA):
            if options.get(one.name.lower()):
                mode = one
        name, group = options.get("name"), options.get("group")
        chosen = self._name(
            written, entry, "use_ipvlan", name if isinstance(name, str) else None, interface, vrid
        )
        return OwnLinks(
            Vmac(chosen, b"", transmit_on_parent=True),
            Ipvlan(address, prefixlen, mode),
            (),
            group if isinstance(group, int) else None,
            notifies=False,
        )

    def _leave_out(self, entry: Entry, name: str, fault: str) -> None:
        self._complaints.error(
            entry.statement, 0, f"use_ipvlan of {name} {fault}; it is left out", is_ours=True
        )

    def _name(
        self,
        written: Written,
        entry: Entry,
        keyword: str,
        name: str | None,
        interface: str,
        vrid: int,
    ) -> str:
        """The name that was written, where it can be had, or one that is chosen."""
        fault = ""
        place = written.namespace
        if name is not None and name == interface:
            fault = f"is the interface of {written.name} itself"
        elif name is not None and self._names.owner(name, place) not in (None, written.name):
            fault = f"is the VMAC of {self._names.owner(name, place)}"
        if fault:
            self._complaints.error(
                entry.statement, 1, f"{keyword} {name} {fault}; a name is chosen instead"
            )
        if name is None or fault:
            return self._names.choose(vrid, written.family == AF_INET6, written.name, place)
        self._names.take(name, written.name, place)
        return name

    def _of_addresses(
        self,
        written: Written,
        own: Vmac | None,
        interface: str,
        vrid: int,
        lists: Sequence[Addresses],
    ) -> tuple[AddressVmac, ...]:
        """VMACs of addresses that use one of their own."""
        entry = written.last.get("use_vmac")
        words = entry.value if entry is not None else None
        given = words.mac if isinstance(words, VmacWords) else None
        is_for_all = "use_vmac_addr" in written.last
        made: dict[tuple[str, int], AddressVmac] = {}
        by_mac = {} if own is None or not own.mac else {(interface, own.mac): own.name}
        for addresses in lists:
            for position, (address, statement) in enumerate(addresses):
                link = address.interface or interface
                is_elsewhere = link != interface or address.family != written.family
                is_at_home = own is not None and bool(own.mac) and not is_elsewhere
                uses_vmac = not is_at_home and (address.use_vmac or (is_for_all and is_elsewhere))
                placed = None if link == interface else link
                if (placed, uses_vmac) != (address.interface, address.use_vmac):
                    changed = replace(address, interface=placed, use_vmac=uses_vmac)
                    addresses[position] = (changed, statement)
                if not uses_vmac or (link, address.family) in made:
                    continue
                is_ipv6 = address.family == AF_INET6
                mac = _mac(given, is_ipv6, vrid)
                name = by_mac.get((link, mac))
                if name is None:
                    name = self._names.choose(
                        vrid, is_ipv6, written.name, written.namespace, self._address_prefix
                    )
                    by_mac[link, mac] = name
                made[link, address.family] = AddressVmac(name, link, address.family, mac)
        return tuple(vmac for vmac in made.values() if own is None or vmac.name != own.name)


def _mac(given: bytes | None, is_ipv6: bool, vrid: int) -> bytes:
    """Six bytes; of five that were given, or none, the VRID is the last one."""
    start = given or (VMAC_IPV6 if is_ipv6 else VMAC_IPV4)
    return (start + bytes((vrid,)))[:6]
