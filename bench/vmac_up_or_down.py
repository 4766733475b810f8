"""Is failover faster when a backup's VMACs are kept up, or down until it is master?

    python bench/vmac_up_or_down.py [--vmacs 255] [--parents 16] [--runs 3] [--back 255]

As root. A run makes a network namespace with VMACs on links whose other ends are in a second one,
and becomes master on all of them, one address on each. Measured is the time until the kernel has
carried out every request, and until every address has answered: then the other end asks each
virtual MAC (ARP, neighbour solicitation) until all have answered, which itself takes 0.1 s for
4,080. After that the first `--back` VMACs become backup again. Prints medians.
"""

from __future__ import annotations

import argparse
import select
import socket
import statistics
import struct
import sys
import time
from errno import ENOBUFS
from pathlib import Path
from typing import NamedTuple

from fastvrrp._rtmessage import encode_link, encode_macvlan
from fastvrrp._rtnetlink import Channel
from fastvrrp.kernel import sysctl
from fastvrrp.kernel.addresses import AddressBatch, AddressQueue, Applied
from fastvrrp.kernel.macvlan import IN6_ADDR_GEN_MODE_NONE, MACVLAN_MODE_VEPA, ipv6_gate
from fastvrrp.model import VirtualAddress

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from kernel_namespace import Namespace, inside_namespace, ip

AF_INET, AF_INET6 = socket.AF_INET, socket.AF_INET6
FOREVER = 1 << 62
SLICE = 3_000_000
PEER_MAC = b"\x02\0\0\0\0\x99"
SOLICITED_NODE = socket.inet_pton(AF_INET6, "ff02::1:ff00:0")[:13]


class Figures(NamedTuple):
    """Seconds."""

    applied: float
    answered: float
    back: float


class Carrier(NamedTuple):
    """A VMAC and the address it is to carry."""

    name: str
    mac: bytes
    parent: int
    """Which of the parents, counted from 0."""
    address: bytes


def checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def question(carrier: Carrier) -> bytes:
    """A frame to the virtual MAC alone that asks for its address (RFC 5227 2.1.1, RFC 4862 5.4.2).

    It has no source address: the answer to one that has takes an entry in the neighbour table,
    which holds 1,024 for the whole machine unless net.ipv4.neigh.default.gc_thresh3 was raised.
    """
    if len(carrier.address) == 4:
        body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + PEER_MAC + bytes(10)
        return carrier.mac + PEER_MAC + b"\x08\x06" + body + carrier.address
    group = SOLICITED_NODE + carrier.address[13:]
    pseudo = bytes(16) + group + struct.pack("!II", 24, 58)
    total = checksum(pseudo + struct.pack("!BBHI", 135, 0, 0, 0) + carrier.address)
    payload = struct.pack("!BBHI", 135, 0, total, 0) + carrier.address
    header = struct.pack("!IHBB", 6 << 28, len(payload), 58, 255) + bytes(16) + group
    return carrier.mac + PEER_MAC + b"\x86\xdd" + header + payload


def answered(frame: bytes) -> bytes | None:
    """The address that a frame answers for."""
    if frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\2":
        return frame[28:32]
    if frame[12:14] == b"\x86\xdd" and frame[54:55] == b"\x88":
        return frame[62:78]
    return None


def open_peer(parent: int) -> socket.socket:
    """A packet socket on the other end of a parent, in the namespace of this thread."""
    ip(f"link set b{parent} addrgenmode none")
    ip(f"link set b{parent} up")
    peer = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    peer.bind((f"b{parent}", 3))
    peer.setsockopt(socket.SOL_SOCKET, 33, 1 << 26)  # SO_RCVBUFFORCE
    return peer


def ask_all(carriers: list[Carrier], peers: list[socket.socket]) -> None:
    """Asks until every address has answered."""
    missing = {carrier.address: carrier for carrier in carriers}
    deadline = time.monotonic() + 120
    while missing:
        if time.monotonic() > deadline:
            raise SystemExit(f"{len(missing)} addresses do not answer")
        for at, carrier in enumerate(list(missing.values())):
            try:
                peers[carrier.parent].send(question(carrier))
            except OSError as error:
                if error.errno != ENOBUFS:
                    raise
            if at % 64 == 63:
                take_answers(peers, missing, 0)
        while missing and take_answers(peers, missing, 0.01):
            pass


def take_answers(peers: list[socket.socket], missing: dict[bytes, Carrier], seconds: float) -> bool:
    """Strikes off what has answered; False where nothing came for `seconds`."""
    readable = select.select(peers, [], [], seconds)[0]
    for peer in readable:
        try:
            while True:
                address = answered(peer.recv(2048, socket.MSG_DONTWAIT))
                if address is not None:
                    missing.pop(address, None)
        except BlockingIOError:
            continue
    return bool(readable)


def apply(channel: Channel, requests: list[bytes]) -> None:
    channel.apply(requests, 0, FOREVER)
    errors = channel.take_errors()
    if errors:
        raise SystemExit(f"{len(errors)} requests failed, the first with {errors[0]}")


def make(channel: Channel, carriers: list[Carrier], is_up: bool) -> dict[str, int]:
    """Makes the VMACs as `Vmacs` does, and brings them up or not; their ifindexes."""
    parents = {link.name: link.ifindex for link in channel.dump_links()}
    apply(
        channel,
        [
            encode_macvlan(c.name, parents[f"a{c.parent}"], c.mac, MACVLAN_MODE_VEPA, 1)
            for c in carriers
        ],
    )
    indexes = {link.name: link.ifindex for link in channel.dump_links() if link.kind == "macvlan"}
    is_ipv6 = len(carriers[0].address) == 16
    for carrier in carriers:
        sysctl.write(sysctl.path_of("ipv4", carrier.name, "arp_ignore"), "8" if is_ipv6 else "1")
        sysctl.write(sysctl.path_of("ipv6", carrier.name, "accept_ra"), "0")
        # One that is down is silent without its gate being shut.
        sysctl.write(ipv6_gate(carrier.name), "1" if is_up or not is_ipv6 else "0")
    for index in indexes.values():
        apply(channel, [encode_link(index, addr_gen_mode=IN6_ADDR_GEN_MODE_NONE)])
        if is_up:
            apply(channel, [encode_link(index, up=True)])
    return indexes


def batch_of(carrier: Carrier, index: int, gated: bool) -> AddressBatch:
    is_ipv6 = len(carrier.address) == 16
    family = AF_INET6 if is_ipv6 else AF_INET
    address = VirtualAddress(family, carrier.address, 128 if is_ipv6 else 32)
    return AddressBatch([address], [index], ipv6_gate(carrier.name) if gated and is_ipv6 else None)


def drain(channel: Channel, batches: list[tuple[str, AddressBatch]], add: bool) -> None:
    """What the daemon does with VMACs that are up."""

    def on_applied(applied: Applied) -> None:
        if applied.failures:
            raise SystemExit(f"failed: {applied}")

    queue = AddressQueue(channel, on_applied)
    for key, batch in batches:
        queue.put(key, batch, add)
    while queue.drain(SLICE):
        pass


def measure(carriers: list[Carrier], parents: int, is_kept_up: bool, back: int) -> Figures:
    far = Namespace()
    peers: list[socket.socket] = []
    try:
        with inside_namespace():
            for parent in range(parents):
                ip(f"link add a{parent} type veth peer name b{parent} netns {far.path}")
                ip(f"link set a{parent} addrgenmode none")
                ip(f"link set a{parent} up")
            with far.entered():
                peers += map(open_peer, range(parents))
            channel = Channel()
            indexes = make(channel, carriers, is_kept_up)
            batches = [(c.name, batch_of(c, indexes[c.name], is_kept_up)) for c in carriers]
            start = time.monotonic()
            if is_kept_up:
                drain(channel, batches, True)
            else:
                apply(channel, [encode_link(indexes[name], up=True) for name, _ in batches])
                apply(channel, [batch.request(0, True) for _, batch in batches])
            applied = time.monotonic() - start
            ask_all(carriers, peers)
            complete = time.monotonic() - start
            start = time.monotonic()
            if is_kept_up:
                drain(channel, batches[:back], False)
            else:
                apply(channel, [batch.request(0, False) for _, batch in batches[:back]])
                apply(channel, [encode_link(indexes[name], up=False) for name, _ in batches[:back]])
            way_back = time.monotonic() - start
            channel.close()
            return Figures(applied, complete, way_back)
    finally:
        for peer in peers:
            peer.close()
        far.close()


def carriers_of(family: int, parents: int, vmacs: int) -> list[Carrier]:
    kind = 1 if family == AF_INET else 2
    return [
        Carrier(
            f"v{parent}.{vrid}",
            bytes([0, 0, 0x5E, 0, kind, vrid]),
            parent,
            bytes([10, parent >> 8, parent & 255, vrid])
            if family == AF_INET
            else b"\xfe\x80" + bytes(10) + struct.pack("!HH", parent, vrid),
        )
        for parent in range(parents)
        for vrid in range(1, vmacs + 1)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vmacs", type=int, default=255, help="on a parent; at most 255")
    parser.add_argument("--parents", type=int, default=16)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--back", type=int, default=255, help="VMACs that become backup again")
    options = parser.parse_args()
    total = options.vmacs * options.parents
    back = min(options.back, total)
    print(f"{total} VMACs on {options.parents} parents, median of {options.runs}, in seconds")
    print(f"{'':20}{'applied':>10}{'answering':>11}{f'back, {back}':>12}")
    for family, name in ((AF_INET, "IPv4"), (AF_INET6, "IPv6")):
        carriers = carriers_of(family, options.parents, options.vmacs)
        for is_kept_up in (True, False):
            runs = [
                measure(carriers, options.parents, is_kept_up, back) for _ in range(options.runs)
            ]
            middle = [statistics.median(values) for values in zip(*runs, strict=True)]
            label = f"{name}, {'kept up' if is_kept_up else 'down until master'}"
            print(f"{label:24}{middle[0]:6.3f}{middle[1]:11.3f}{middle[2]:12.3f}", flush=True)


if __name__ == "__main__":
    main()
