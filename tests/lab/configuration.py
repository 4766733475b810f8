"""A virtual router as the tests speak of it, written in each daemon's own language."""

from collections.abc import Iterable
from dataclasses import dataclass
from textwrap import indent

from lab.network import Link, Router


@dataclass(frozen=True)
class VirtualRouter:
    """A virtual router on one link between two routers, the same for both of them."""

    link: Link
    vrid: int
    version: int = 2
    family: int = 4
    interval: float = 1.0
    """Seconds."""
    authentication: str = ""
    """PASS, AH or nothing."""
    is_unicast: bool = False
    has_vmac: bool = False

    @property
    def name(self) -> str:
        """Tells apart all virtual routers of a laboratory: links may share a VRID, families too."""
        return f"{self.link.interface}_{self.vrid}_ipv{self.family}"

    @property
    def prefix_length(self) -> int:
        return 24 if self.family == 4 else 64

    @property
    def addresses(self) -> tuple[str, ...]:
        """The virtual addresses; RFC 9568 section 5.2.9 wants a link-local one first for IPv6."""
        if self.family == 4:
            return (self.link.host(100), self.link.host(101))
        return (f"fe80::100:{self.vrid:x}", self.link.host(0x100, 6))

    @property
    def virtual_mac(self) -> str:
        """RFC 9568 section 7.3."""
        return f"00:00:5e:00:{1 if self.family == 4 else 2:02x}:{self.vrid:02x}"

    def skew(self, priority: int) -> float:
        """Skew_Time of a backup in seconds (RFC 9568 section 6.1, RFC 3768 section 6.1)."""
        return (256 - priority) / 256 * (self.interval if self.version == 3 else 1.0)


def keepalived_conf(
    virtual_routers: Iterable[VirtualRouter], router: Router, peer: Router, priority: int
) -> str:
    """A keepalived.conf in which `router` has each virtual router at `priority`."""
    return f"global_defs {{\n    router_id {router.name}\n}}\n" + "".join(
        f"vrrp_instance {virtual_router.name} {{\n"
        + indent("\n".join(instance(virtual_router, router, peer, priority)), "    ")
        + "\n}\n"
        for virtual_router in virtual_routers
    )


def instance(
    virtual_router: VirtualRouter, router: Router, peer: Router, priority: int
) -> list[str]:
    link = virtual_router.link
    lines = [
        "state BACKUP",
        f"interface {link.interface}",
        f"virtual_router_id {virtual_router.vrid}",
        f"version {virtual_router.version}",
        f"priority {priority}",
        f"advert_int {virtual_router.interval:g}",
    ]
    if virtual_router.authentication:
        lines += [
            "authentication {",
            f"    auth_type {virtual_router.authentication}",
            "    auth_pass s3cret",
            "}",
        ]
    if virtual_router.is_unicast:
        lines += [
            f"unicast_src_ip {link.address(router, virtual_router.family)}",
            f"unicast_peer {{\n    {link.address(peer, virtual_router.family)}\n}}",
        ]
    if virtual_router.has_vmac:
        lines.append("use_vmac")
    addresses = (f"    {a}/{virtual_router.prefix_length}" for a in virtual_router.addresses)
    return [*lines, "virtual_ipaddress {", *addresses, "}"]
