"""Virtual routers without an interface: adverts to unicast peers leave as the routing table has it.

They may be in a VRF, whose routing table it is then.
"""

from __future__ import annotations

from dataclasses import replace

from fastvrrp.config.complaints import Complaints
from fastvrrp.config.written import Written, needs_link

ON_AN_INTERFACE = ("use_vmac", "use_ipvlan", "vmac_xmit_base")
"""What needs one."""


class Roaming:
    """Says whether an instance can do without an interface, and what it has instead."""

    def __init__(self, default_interface: str, complaints: Complaints) -> None:
        self._default = default_interface
        self._complaints = complaints

    def settle(self, written: Written) -> None:
        """Complains of an instance that wrote no interface and needs one; otherwise its addresses
        that name none go to the default one."""
        fault = self._fault(written)
        if fault is not None:
            self._complaints.error(
                written.statement,
                1,
                f"vrrp_instance {written.name} has no interface{fault}; write interface NAME",
                is_ours=bool(fault),
            )
            return
        written.is_roaming = True
        for keyword in ON_AN_INTERFACE:
            entry = written.last.pop(keyword, None)
            if entry is not None:
                self._complaints.error(
                    entry.statement,
                    0,
                    f"{keyword} is left out: {written.name} has no interface",
                    is_ours=True,
                )
        for addresses in (written.addresses, written.excluded):
            addresses[:] = [
                (replace(address, interface=self._default), statement)
                if address.interface is None
                else (address, statement)
                for address, statement in addresses
            ]

    def ignore_vrf(self, written: Written) -> None:
        """Complains of the VRF of an instance that has an interface, which is in one or is not."""
        entry = written.last.pop("vrf", None)
        if entry is not None:
            self._complaints.warning(
                entry.statement,
                0,
                f"vrf is ignored: {written.name} has an interface, and what VRF that is in counts",
                is_ours=True,
            )

    def _fault(self, written: Written) -> str | None:
        if not written.peers:
            return ""
        if written.source is None:
            return ", and no unicast_src_ip to send from without one"
        ends = [written.source, *(peer.address for peer in written.peers)]
        if any(needs_link(address) for address in ends):
            return ", which link-local addresses need"
        return None
