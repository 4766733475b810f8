"""What is measured: so many virtual routers on so many interfaces, and the files that say so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count

MASTER_PRIORITY = 200
BACKUP_PRIORITY = 100
VRIDS = 255  # RFC 9568 section 5.2.3
MOST_INTERFACES = 16_384  # as far as the addresses below go


class CaseError(Exception):
    """What was asked for cannot be; says why and what could be asked for instead."""


@dataclass(frozen=True)
class Case:
    """A laboratory's virtual routers, spread evenly over its interfaces.

    Interface k is eth{k}, counted from 0, on both sides; it has 10.(k / 256).(k % 256).1/24 on one
    side and .2 on the other, or fe80::1/64 and fe80::2/64. Virtual router v on it has VRID v and
    one address: 10.(64 + k / 256).(k % 256).v/32, or fe80::1:v/64.
    """

    routers: int
    interfaces: int
    has_vmac: bool = False
    version: int = 2
    family: int = 4
    interval: float = 1.0
    """Seconds."""
    has_spread_phases: bool = False
    """Whether its virtual routers speak evenly spread over the interval (fastvrrp.bench.phases), or
    as it comes."""
    scripts: int = 0
    """Scripts that are tracked, each by one virtual router, and run every second."""
    refuses: bool = False
    """Whether their addresses take no packets (`no_accept`)."""

    def __post_init__(self) -> None:
        """Raises CaseError."""
        if not 1 <= self.interfaces <= MOST_INTERFACES:
            raise CaseError(f"{self.interfaces} interfaces: it must be 1 to {MOST_INTERFACES}")
        if not self.interfaces <= self.routers <= VRIDS * self.interfaces:
            raise CaseError(
                f"{self.routers} virtual routers on {self.interfaces} interfaces: it must be at"
                f" least one and at most {VRIDS} an interface (there are {VRIDS} VRIDs), so"
                f" {self.interfaces} to {VRIDS * self.interfaces}"
            )
        if self.family == 6 and self.version == 2:
            raise CaseError("VRRPv2 has no IPv6: use --version 3")
        if self.version == 2 and (self.interval < 1 or self.interval % 1):
            raise CaseError(
                f"VRRPv2 counts whole seconds, not {self.interval:g} s: use --version 3"
            )
        if self.scripts < 0:
            raise CaseError(f"{self.scripts} scripts: it must be 0 or more")
        if not 0.01 <= self.interval <= (255 if self.version == 2 else 40.95):
            raise CaseError(f"an advert interval of {self.interval:g} s does not fit into a packet")

    @property
    def name(self) -> str:
        parts = [f"{self.routers:,} on {self.interfaces:,}"]
        if self.has_vmac:
            parts.append("VMAC")
        if self.version == 3:
            parts.append(f"v3 IPv{self.family}")
        if self.interval != 1:
            parts.append(f"{self.interval * 1000:g} ms")
        if self.has_spread_phases:
            parts.append("phases spread")
        if self.scripts:
            parts.append(f"{self.scripts:,} scripts")
        if self.refuses:
            parts.append("no_accept")
        return ", ".join(parts)

    @property
    def adverts_a_second(self) -> float:
        return self.routers / self.interval

    def master_down_interval(self, priority: int) -> float:
        """Seconds (RFC 9568 section 6.1; RFC 3768 section 6.1 has its skew in seconds)."""
        skew_of = self.interval if self.version == 3 else 1.0
        return 3 * self.interval + (256 - priority) / 256 * skew_of

    def vrids(self, interface: int) -> range:
        """The VRIDs on one interface; the first interfaces have one more where they must."""
        each, more = divmod(self.routers, self.interfaces)
        return range(1, each + (interface < more) + 1)

    def own_address(self, interface: int, host: int) -> str:
        """With its prefix length, of side `host` (1 or 2)."""
        if self.family == 6:
            return f"fe80::{host}/64"
        return f"10.{interface >> 8}.{interface & 255}.{host}/24"

    def virtual_address(self, interface: int, vrid: int) -> str:
        if self.family == 6:
            return f"fe80::1:{vrid:x}/64"
        return f"10.{64 + (interface >> 8)}.{interface & 255}.{vrid}/32"

    def is_virtual(self, address: bytes) -> bool:
        """Whether an address, packed, is one of the virtual routers'."""
        if self.family == 6:
            return len(address) == 16 and address[:2] == b"\xfe\x80" and address[12:14] == b"\0\1"
        return len(address) == 4 and address[0] == 10 and address[1] >= 64

    @property
    def added_name(self) -> str:
        """What the virtual router is called that a change adds."""
        return f"VI_{self.interfaces}_1"

    def configuration(self, priority: int) -> str:
        """A keepalived.conf for one side."""
        return self._written(priority, self._numbers())

    def changed_configuration(self, priority: int) -> str:
        """The same without the last virtual router, and with another one on the next interface."""
        return self._written(priority, [*self._numbers()[:-1], (self.interfaces, 1)])

    def _numbers(self) -> list[tuple[int, int]]:
        """Interface and VRID of every virtual router, in order."""
        return [(number, vrid) for number in range(self.interfaces) for vrid in self.vrids(number)]

    def _written(self, priority: int, routers: Sequence[tuple[int, int]]) -> str:
        head, tracked = self._scripts()
        numbers = count()
        return head + "".join(
            self.instance(interface, vrid, priority, tracked(next(numbers)))
            for interface, vrid in routers
        )

    def instance(self, interface: int, vrid: int, priority: int, more: str = "") -> str:
        """The block of one virtual router, with `more` lines in it."""
        settings = (
            f"    version {self.version}\n    priority {priority}\n"
            f"    advert_int {self.interval:g}\n"
        )
        if self.has_vmac:
            settings += "    use_vmac\n"
        if self.refuses:
            settings += "    no_accept\n"
        return (
            f"vrrp_instance VI_{interface}_{vrid} {{\n    interface eth{interface}\n"
            f"    virtual_router_id {vrid}\n{settings}{more}"
            "    virtual_ipaddress {\n"
            f"        {self.virtual_address(interface, vrid)}\n    }}\n}}\n"
        )

    def _scripts(self) -> tuple[str, Callable[[int], str]]:
        """The blocks that define the scripts, and what each virtual router has to say of its own;
        as long as they succeed, as all do, they leave its priority what it is."""
        if not self.scripts:
            return "", lambda _: ""
        head = "global_defs {\n    script_user root\n    enable_script_security\n}\n" + "".join(
            f"vrrp_script S{number} {{\n    script /bin/true\n    interval 1\n    weight -1\n}}\n"
            for number in range(self.scripts)
        )

        def tracked(router: int) -> str:
            names = [f"        S{number}\n" for number in range(router, self.scripts, self.routers)]
            return f"    track_script {{\n{''.join(names)}    }}\n" if names else ""

        return head, tracked
