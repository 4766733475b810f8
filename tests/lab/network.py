"""Routers that are network namespaces, and the links between them.

A link is a veth pair between two routers, or a switch (a bridge in a namespace of its own) among
more. Its interface has the same name in each of its routers: eth0 for the laboratory's first link.
Router k (1 for the first made) has on link n the addresses

    10.(n / 256).(n % 256).k/24    fd00:n::k/64    fe80::k/64

and the hardware address 02:00:00:(n as two bytes):k, so that who wins among equals is known.
"""

import json
import os
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from ctypes import CDLL, get_errno
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, BinaryIO, Self, TypeVar

from lab import ownership
from lab.janitor import hire_janitor
from lab.turns import turn
from lab.waiting import wait_until

CLONE_NEWNET = 0x40000000  # sched.h
libc = CDLL(None, use_errno=True)

Result = TypeVar("Result")


@dataclass(frozen=True)
class Link:
    """One broadcast domain and its interface."""

    index: int
    interface: str

    def address(self, router: "Router", version: int = 4) -> str:
        """A router's own address here, without its prefix length."""
        return self.host(router.index, version)

    def host(self, number: int, version: int = 4) -> str:
        """Any address of the link's prefix: numbers up to the count of routers are taken."""
        if version == 4:
            return f"10.{self.index >> 8}.{self.index & 255}.{number}"
        return str(ip_address(f"fd00:{self.index:x}::{number:x}"))


class Router:
    """A network namespace, its interfaces and what runs in it."""

    def __init__(self, laboratory: "Laboratory", name: str, index: int) -> None:
        self.laboratory = laboratory
        self.name = name
        self.index = index
        self.namespace = f"{laboratory.name}-{name}"
        self.folder = laboratory.folder / name
        self.interfaces: list[str] = []
        self.folder.mkdir()
        subprocess.run(["ip", "netns", "add", self.namespace], check=True)
        # A router forwards, and so takes no address from another router's advertisement. Its
        # addresses are usable at once.
        self.set_sysctl("net/ipv4/ip_forward", "1")
        for scope in ("all", "default"):
            self.set_sysctl(f"net/ipv6/conf/{scope}/forwarding", "1")
            self.set_sysctl(f"net/ipv6/conf/{scope}/accept_dad", "0")
        self.ip("link set lo up")

    def __repr__(self) -> str:
        return f"<Router {self.name}>"

    def call(self, function: Callable[[], Result]) -> Result:
        """Calls a function inside the namespace and returns, or raises, what it does.

        It runs in a thread of its own: only a thread enters a namespace, and this one never leaves.
        """
        outcome: list[Result] = []
        failure: list[BaseException] = []

        def enter_and_call() -> None:
            try:
                with (ownership.NAMESPACES / self.namespace).open("rb") as namespace:
                    if libc.setns(namespace.fileno(), CLONE_NEWNET):
                        raise OSError(get_errno(), f"setns to {self.namespace}")
                outcome.append(function())
            except BaseException as reason:  # raised again in the caller's thread
                failure.append(reason)

        thread = threading.Thread(target=enter_and_call)
        thread.start()
        thread.join()
        if failure:
            raise failure[0]
        return outcome[0]

    def set_sysctl(self, name: str, value: str) -> None:
        """`name` is the path below /proc/sys, with slashes: an interface's name may have dots."""
        path = Path("/proc/sys", name)
        self.call(lambda: path.write_text(value))

    def sysctl(self, name: str) -> str:
        path = Path("/proc/sys", name)
        return self.call(path.read_text).strip()

    def ip(self, *commands: str) -> None:
        """Carries out `ip` commands, in one process."""
        subprocess.run(
            ["ip", "-n", self.namespace, "-batch", "-"],
            input="\n".join(commands),
            check=True,
            text=True,
        )

    def show(self, *arguments: str) -> list[dict[str, Any]]:
        """What `ip` shows of something, as it is in its JSON."""
        command = ["ip", "-n", self.namespace, "-j", "-d", *arguments]
        output = subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout
        shown: list[dict[str, Any]] = json.loads(output or "[]")
        return shown

    def run(
        self, command: Sequence[str], *, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command in the namespace to its end; its output is text, stderr with stdout."""
        return subprocess.run(
            ["ip", "netns", "exec", self.namespace, *command],
            check=check,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def start_daemon(
        self, command: Sequence[str], log: BinaryIO, environment: dict[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Starts a command in the namespace; what it prints goes to `log`.

        The process is the command's own (`ip netns exec` becomes it). It ends with the laboratory
        if nobody ends it before.
        """
        process = subprocess.Popen(
            ["ip", "netns", "exec", self.namespace, *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            start_new_session=True,  # a terminal's interrupt is for the tests, which then end it
        )
        self.laboratory.processes.append(process)
        return process

    def addresses(self) -> set[str]:
        """Every address as `INTERFACE ADDRESS/PREFIXLEN`."""
        return {
            f"{link['ifname']} {address['local']}/{address['prefixlen']}"
            for link in self.show("address", "show")
            for address in link.get("addr_info", ())
        }

    def links(self) -> set[str]:
        return {link["ifname"] for link in self.show("link", "show")}

    def holds(self, address: str) -> bool:
        """Whether the address, given without a prefix length, is on one of the interfaces."""
        return any(held.split()[1].split("/")[0] == address for held in self.addresses())


class Laboratory:
    """Routers and links with names that no other test has; a context manager that removes them."""

    def __init__(self, *, alone: bool = False) -> None:
        """Waits until no other laboratory is open on this machine if `alone`, and lets none be
        opened until it is closed."""
        if os.geteuid() != 0:
            raise PermissionError("the laboratory makes network namespaces and needs root")
        hire_janitor(os.getpid())
        self.closing = ExitStack()
        self.closing.enter_context(turn(alone=alone))
        self.name = ownership.new_name()
        self.folder = ownership.FOLDERS / self.name
        self.folder.mkdir(mode=0o755)  # FRR's daemons, which are not root, pass through it
        self.routers: list[Router] = []
        self.links: list[Link] = []
        self.processes: list[subprocess.Popen[bytes]] = []
        self.closing.callback(self.remove)
        self.switch_namespace: Router | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the captures and removes everything; does nothing the second time."""
        self.closing.close()

    def remove(self) -> None:
        for process in self.processes:
            process.kill()
        ownership.remove(self.name)
        for process in self.processes:
            process.wait()

    def router(self, name: str) -> Router:
        """Makes a router."""
        made = Router(self, name, len(self.routers) + 1)
        self.routers.append(made)
        return made

    def connect(self, *routers: Router, count: int = 1) -> list[Link]:
        """Joins two routers by `count` veth pairs, or more than two by `count` switches."""
        links = [
            Link(index, f"eth{index}") for index in range(len(self.links), len(self.links) + count)
        ]
        self.links += links
        if len(routers) == 2:
            self.join_by_pairs(links, *routers)
        else:
            self.join_by_switches(links, routers)
        for router in routers:
            router.interfaces += [link.interface for link in links]
            router.ip(
                *(
                    command
                    for link in links
                    for command in (
                        f"link set {link.interface} address {hardware_address(link, router)}"
                        " addrgenmode none",
                        f"link set {link.interface} up",
                        f"address add {link.host(router.index)}/24 dev {link.interface}",
                        f"address add {link.host(router.index, 6)}/64 dev {link.interface}",
                        f"address add fe80::{router.index}/64 dev {link.interface}",
                    )
                )
            )
        for router in routers:
            wait_until(
                lambda router=router: all(  # type: ignore[misc]
                    link["operstate"] == "UP"
                    for link in router.show("link", "show")
                    if link["ifname"] in router.interfaces
                ),
                timeout=60.0,  # the kernel says so late where thousands of interfaces are made
                what=f"all interfaces of {router} up",
            )
        return links

    def join_by_pairs(self, links: list[Link], first: Router, second: Router) -> None:
        first.ip(
            *(
                f"link add {link.interface} type veth"
                f" peer name {link.interface} netns {second.namespace}"
                for link in links
            )
        )

    def join_by_switches(self, links: list[Link], routers: Sequence[Router]) -> None:
        if self.switch_namespace is None:
            self.switch_namespace = Router(self, "switch", 0)
        commands = []
        for link in links:
            bridge = f"br{link.index}"
            # Snooping would hold multicast back from a port whose membership report it missed.
            commands.append(f"link add {bridge} type bridge stp_state 0 mcast_snooping 0")
            commands += [f"link set {bridge} addrgenmode none", f"link set {bridge} up"]
            for router in routers:
                port = f"{link.interface}.{router.index}"
                commands += [
                    f"link add {port} type veth"
                    f" peer name {link.interface} netns {router.namespace}",
                    f"link set {port} master {bridge} addrgenmode none",
                    f"link set {port} up",
                ]
                self.switch_namespace.interfaces.append(port)
        self.switch_namespace.ip(*commands)

    def holders_of(self, address: str) -> list[Router]:
        """The routers that have an address, given without its prefix length, in their kernel."""
        return [router for router in self.routers if router.holds(address)]

    def wait_for_holder(self, address: str, router: Router, timeout: float = 10.0) -> None:
        """Waits until `router`, and no other, has an address, given without its prefix length."""
        wait_until(
            lambda: self.holders_of(address) == [router],
            timeout,
            what=lambda: f"{address} on {router} alone, not on {self.holders_of(address)}",
        )


def hardware_address(link: Link, router: Router) -> str:
    return f"02:00:00:{link.index >> 8:02x}:{link.index & 255:02x}:{router.index:02x}"
