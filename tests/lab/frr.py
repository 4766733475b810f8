"""FRR's vrrpd and the zebra that it needs.

vrrpd speaks from a macvlan with the virtual MAC, which must be there before it and holds the
virtual addresses always: a backup is one whose macvlan is `protodown`. It binds a virtual router to
a macvlan by the MAC and the parent, whatever the name.
"""

import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from lab.configuration import VirtualRouter
from lab.daemons import Daemon
from lab.network import Router
from lab.waiting import wait_until

PROGRAMS = Path("/usr/lib/frr")
USER = "frr"  # which Debian's package makes; zebra and vrrpd become it


class Frr(Daemon):
    """zebra and vrrpd, with sockets of their own, so that many routers have them."""

    kind = "frr"
    always_has_vmac = True
    # Measured with 8.4.4: it sends it while the macvlan is still `protodown`.
    loses_first_ipv6_advert = True
    says_backup = False

    def __init__(
        self, router: Router, virtual_routers: Iterable[VirtualRouter], priority: int
    ) -> None:
        virtual_routers = list(virtual_routers)
        super().__init__(router, frr_conf(virtual_routers, priority))
        (self.folder / "zebra.conf").touch()
        shutil.chown(self.folder, USER, USER)
        for virtual_router in virtual_routers:
            add_macvlan(router, virtual_router)
        self.macvlans = {macvlan(virtual_router) for virtual_router in virtual_routers}

    def commands(self) -> Iterator[Sequence[str]]:
        zebra = self.folder / "zebra.socket"
        zebra.unlink(missing_ok=True)
        yield self.command("zebra", self.folder / "zebra.conf")
        # A vrrpd that finds no zebra asks again only after seconds.
        wait_until(zebra.exists, what=f"{zebra}\n{self.log()}")
        yield self.command("vrrpd", self.configuration_file)

    def command(self, program: str, configuration: Path) -> list[str]:
        return [
            str(PROGRAMS / program),
            *("-f", str(configuration)),
            *("-i", str(self.folder / f"{program}.pid")),
            *("-z", str(self.folder / "zebra.socket")),
            *("--vty_socket", str(self.folder)),
            *("-P", "0"),  # no terminal over TCP
            *("--log", "stdout"),
        ]

    def stop(self, timeout: float = 15.0) -> int:
        """vrrpd asks zebra for `protodown`, so zebra lives until that is done."""
        zebra, vrrpd = self.processes
        vrrpd.terminate()
        vrrpd.wait(timeout)
        wait_until(
            lambda: self.silent_interfaces() >= self.macvlans,
            timeout,
            what=f"all of {self.macvlans} protodown",
        )
        zebra.terminate()
        return self.wait(timeout)

    def silent_interfaces(self) -> set[str]:
        """Interfaces that are `protodown`: the kernel does not let them speak."""
        links = self.router.show("link", "show")
        return {link["ifname"] for link in links if link.get("proto_down")}

    def held_addresses(self) -> set[str]:
        silent = self.silent_interfaces()
        return {held for held in super().held_addresses() if held.split()[0] not in silent}


def macvlan(virtual_router: VirtualRouter) -> str:
    return f"vrrp{virtual_router.family}-{virtual_router.link.index}-{virtual_router.vrid}"


def add_macvlan(router: Router, virtual_router: VirtualRouter) -> None:
    name = macvlan(virtual_router)
    addresses = [f"{a}/{virtual_router.prefix_length}" for a in virtual_router.addresses]
    if virtual_router.family == 6:
        # Where its adverts come from, as the kernel names the latest first. One that the kernel
        # itself makes of the virtual MAC would be the same on both routers.
        addresses.append(f"fe80::{router.index}:{virtual_router.vrid:x}/64")
    router.ip(
        f"link add {name} link {virtual_router.link.interface}"
        f" address {virtual_router.virtual_mac} type macvlan mode bridge",
        f"link set {name} addrgenmode none",
        f"link set {name} protodown on",
        f"link set {name} up",
        *(f"address add {address} dev {name}" for address in addresses),
    )


def frr_conf(virtual_routers: Iterable[VirtualRouter], priority: int) -> str:
    """A configuration of vrrpd in which the router has each virtual router at `priority`."""
    lines = ["debug vrrp protocol"]
    for virtual_router in virtual_routers:
        prefix = f" vrrp {virtual_router.vrid}"
        lines += [
            f"interface {virtual_router.link.interface}",
            f"{prefix} version {virtual_router.version}",
            f"{prefix} priority {priority}",
            f"{prefix} advertisement-interval {virtual_router.interval * 1000:.0f}",
        ]
        keyword = "ip" if virtual_router.family == 4 else "ipv6"
        lines += [f"{prefix} {keyword} {address}" for address in virtual_router.addresses]
    return "\n".join(lines) + "\n"
