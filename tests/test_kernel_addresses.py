"""Virtual addresses: how they are asked for, queued, and found again after a crash."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator

import pytest

from fastvrrp._rtmessage import AddressEvent
from fastvrrp._rtnetlink import Channel
from fastvrrp.kernel.addresses import (
    PROTOCOL,
    AddressBatch,
    AddressQueue,
    Applied,
    Failure,
    Placed,
    encode,
    leftovers,
)
from fastvrrp.kernel.macvlan import ipv6_gate
from fastvrrp.kernel.sysctl import write as write_sysctl
from fastvrrp.model import VirtualAddress
from kernel_namespace import add_veth, inside_namespace, ip, needs_root

pytestmark = needs_root

AF_INET, AF_INET6 = socket.AF_INET, socket.AF_INET6
FOREVER = 10**15
GATE = ipv6_gate("a0")


def virtual(
    text: str,
    *,
    broadcast: str | None = None,
    scope: int | None = None,
    label: str | None = None,
    preferred_lifetime: int | None = None,
    peer: bytes | None = None,
) -> VirtualAddress:
    address, prefixlen = text.split("/")
    family = AF_INET6 if ":" in address else AF_INET
    return VirtualAddress(
        family,
        socket.inet_pton(family, address),
        int(prefixlen),
        broadcast=None if broadcast is None else socket.inet_aton(broadcast),
        scope=scope,
        label=label,
        preferred_lifetime=preferred_lifetime,
        peer=peer,
    )


def shown() -> list[str]:
    """The lines of `ip address` about addresses of a0, without the link's own."""
    return sorted(
        line.strip()
        for line in ip("-d address show dev a0").splitlines()
        if line.strip().startswith("inet")
    )


class Lab:
    """A queue on the link a0, and what it has said."""

    def __init__(self) -> None:
        self.channel = Channel()
        self.applied: list[Applied] = []
        self.queue = AddressQueue(self.channel, self.applied.append)
        self.index = socket.if_nametoindex("a0")

    def batch(self, *texts: str) -> AddressBatch:
        return AddressBatch(map(virtual, texts), [self.index] * len(texts))

    def here(self) -> set[str]:
        return {
            socket.inet_ntop(event.family, event.address)
            for event in self.channel.dump_addresses()
            if event.ifindex == self.index
        }


@pytest.fixture
def lab() -> Iterator[Lab]:
    with inside_namespace():
        add_veth("a0", "b0")
        lab = Lab()
        yield lab
        lab.channel.close()


@pytest.mark.parametrize(
    ("address", "line"),
    [
        # As keepalived 2.2.7 was seen to make them, with our mark.
        (virtual("10.0.0.50/32"), "inet 10.0.0.50/32 scope global proto 112 a0"),
        (virtual("169.254.1.1/16"), "inet 169.254.1.1/16 scope global proto 112 a0"),
        (
            virtual("10.0.0.52/24", broadcast="10.0.0.255", label="a0:1"),
            "inet 10.0.0.52/24 brd 10.0.0.255 scope global proto 112 a0:1",
        ),
        (virtual("10.0.0.54/32", scope=254), "inet 10.0.0.54/32 scope host proto 112 a0"),
        (virtual("2001:db8::8/64"), "inet6 2001:db8::8/64 scope global nodad proto 112"),
        (
            virtual("2001:db8::7/128", preferred_lifetime=0),
            "inet6 2001:db8::7/128 scope global nodad deprecated proto 112",
        ),
        (
            virtual("fe80::77/128", preferred_lifetime=0),
            "inet6 fe80::77/128 scope link nodad deprecated proto 112",
        ),
        (virtual("2001:db8::8/128"), "inet6 2001:db8::8/128 scope global nodad proto 112"),
        (
            virtual("10.0.0.7/32", peer=bytes((10, 0, 0, 8))),
            "inet 10.0.0.7 peer 10.0.0.8/32 scope global proto 112 a0",
        ),
    ],
)
def test_an_address_is_made_as_keepalived_makes_it(
    lab: Lab, address: VirtualAddress, line: str
) -> None:
    lab.channel.apply([encode(address, lab.index, True)], 0, 0)
    assert lab.channel.take_errors() == []
    [found] = shown()
    # iproute2 older than 6.0 does not show the mark.
    assert found in (line, line.replace(" proto 112", ""))
    [event] = [e for e in lab.channel.dump_addresses() if e.ifindex == lab.index]
    assert event.protocol == PROTOCOL
    lab.channel.apply([encode(address, lab.index, False)], 0, 0)
    assert lab.channel.take_errors() == []
    assert shown() == []


class TestQueue:
    def test_batches_are_added_and_removed(self, lab: Lab) -> None:
        one, two = lab.batch("10.0.0.1/32", "fe80::1/128"), lab.batch("10.0.0.2/32")
        lab.queue.put("one", one, True)
        lab.queue.put("two", two, True)
        assert len(lab.queue) == 2
        assert not lab.queue.drain(FOREVER)
        assert lab.applied == [Applied("one", True, ()), Applied("two", True, ())]
        assert lab.here() == {"10.0.0.1", "10.0.0.2", "fe80::1"}
        lab.queue.put("one", one, False)
        lab.queue.drain(FOREVER)
        assert lab.applied[-1] == Applied("one", False, ())
        assert lab.here() == {"10.0.0.2"}
        assert len(lab.queue) == 0

    def test_a_wish_that_is_fulfilled_already_succeeds(self, lab: Lab) -> None:
        batch = lab.batch("10.0.0.1/32")
        gone = AddressBatch([virtual("10.0.0.1/32")], [9999])
        for key, wanted, add in ((1, batch, True), (2, batch, True), (3, batch, False)):
            lab.queue.put(key, wanted, add)
        lab.queue.put(4, batch, False)
        lab.queue.put(5, gone, False)
        lab.queue.drain(FOREVER)
        assert [applied.failures for applied in lab.applied] == [()] * 5

    def test_a_failure_names_its_address(self, lab: Lab) -> None:
        good, bad = virtual("10.0.0.1/32"), virtual("10.0.0.2/32")
        lab.queue.put("vr", AddressBatch([good, bad], [lab.index, 9999]), True)
        lab.queue.drain(FOREVER)
        assert lab.applied == [Applied("vr", True, (Failure(bad, errno.ENODEV),))]
        assert lab.here() == {"10.0.0.1"}

    def test_a_slice_ends_and_the_next_goes_on(self, lab: Lab) -> None:
        texts = [f"10.0.{i // 200}.{i % 200}/32" for i in range(1000)]
        for i in range(0, 1000, 100):
            lab.queue.put(i, lab.batch(*texts[i : i + 100]), True)
        slices = 1
        while lab.queue.drain(0):
            slices += 1
        assert slices > 10
        assert [applied.key for applied in lab.applied] == list(range(0, 1000, 100))
        assert len(lab.here()) == 1000

    def test_the_newest_wish_replaces_one_half_done(self, lab: Lab) -> None:
        batch = lab.batch(*(f"10.0.0.{i}/32" for i in range(1, 101)))
        lab.queue.put("vr", batch, True)
        assert lab.queue.drain(0)
        assert 0 < len(lab.here()) < 100
        lab.queue.put("vr", batch, False)
        assert len(lab.queue) == 1
        lab.queue.drain(FOREVER)
        assert lab.applied == [Applied("vr", False, ())]
        assert lab.here() == set()

    def test_a_wish_can_be_withdrawn(self, lab: Lab) -> None:
        lab.queue.put("vr", lab.batch("10.0.0.1/32"), True)
        lab.queue.discard("vr")
        assert not lab.queue.drain(FOREVER)
        assert lab.applied == []
        assert lab.here() == set()

    def test_a_virtual_router_without_addresses_is_done_at_once(self, lab: Lab) -> None:
        lab.queue.put("vr", lab.batch(), True)
        assert lab.applied == [Applied("vr", True, ())]
        assert not lab.queue.drain(FOREVER)

    def test_more_can_be_put_from_within(self, lab: Lab) -> None:
        one, two = lab.batch("10.0.0.1/32"), lab.batch("10.0.0.2/32")
        heard: list[Applied] = []

        def on_applied(applied: Applied) -> None:
            heard.append(applied)
            if applied == Applied("one", True, ()):
                # "two" is carried out in the same go and done already: the newer wish must hold.
                queue.put("two", two, False)
                queue.put("one", one, False)

        queue = AddressQueue(lab.channel, on_applied)
        queue.put("one", one, True)
        queue.put("two", two, True)
        assert not queue.drain(FOREVER)
        assert heard == [
            Applied("one", True, ()),
            Applied("two", False, ()),
            Applied("one", False, ()),
        ]
        assert lab.here() == set()


class TestOwner:
    """An address owner's addresses may be the machine's own, and then stay."""

    def own(self, lab: Lab, *texts: str) -> AddressBatch:
        indexes = [lab.index] * len(texts)
        return AddressBatch(map(virtual, texts), indexes, spares_found=True)

    def test_what_we_added_is_ours_also_when_it_is_added_again(self, lab: Lab) -> None:
        ip("address add 10.0.0.1/32 dev a0")
        batch = self.own(lab, "10.0.0.1/32", "10.0.0.2/32")
        for add in (True, True, False):
            lab.queue.put("owner", batch, add)
            lab.queue.drain(FOREVER)
        assert lab.here() == {"10.0.0.1"}

    def test_what_was_added_meanwhile_is_the_machines(self, lab: Lab) -> None:
        batch = self.own(lab, "10.0.0.1/32")
        for add in (True, False):
            lab.queue.put("owner", batch, add)
            lab.queue.drain(FOREVER)
        ip("address add 10.0.0.1/32 dev a0")
        for add in (True, False):
            lab.queue.put("owner", batch, add)
            lab.queue.drain(FOREVER)
        assert lab.here() == {"10.0.0.1"}

    def test_a_part_of_them_stays_the_machines(self, lab: Lab) -> None:
        ip("address add 10.0.0.1/32 dev a0")
        batch = self.own(lab, "10.0.0.2/32", "10.0.0.1/32")
        lab.queue.put("owner", batch, True)
        lab.queue.drain(FOREVER)
        lab.queue.put("moved", batch.without(self.own(lab, "10.0.0.3/32")), False)
        lab.queue.drain(FOREVER)
        assert lab.here() == {"10.0.0.1"}


class TestGates:
    def gated(self, lab: Lab, text: str) -> AddressBatch:
        return AddressBatch([virtual(text)], [lab.index], (GATE,))

    @pytest.fixture
    def written(self, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
        """Every value written to a gate, with the number of addresses that were there."""
        written: list[tuple[str, int]] = []

        def write(path: str, value: str) -> bool:
            assert path == GATE
            written.append((value, len(lab.here())))
            return write_sysctl(path, value)

        monkeypatch.setattr("fastvrrp.kernel.sysctl.write", write)
        return written

    def test_ipv6_is_enabled_for_the_addresses_and_disabled_with_them(
        self, lab: Lab, written: list[tuple[str, int]]
    ) -> None:
        write_sysctl(GATE, "1")
        batch = self.gated(lab, "2001:db8::1/64")
        lab.queue.put("vr", batch, True)
        lab.queue.drain(FOREVER)
        assert lab.here() == {"2001:db8::1"}
        lab.queue.put("vr", batch, False)
        lab.queue.drain(FOREVER)
        assert lab.here() == set()
        assert written == [("0", 0), ("1", 1)]
        assert [applied.failures for applied in lab.applied] == [(), ()]

    def test_every_gate_is_opened_before_the_first_address(
        self, lab: Lab, written: list[tuple[str, int]]
    ) -> None:
        for i in range(1, 41):
            lab.queue.put(i, self.gated(lab, f"2001:db8::{i}/128"), True)
        while lab.queue.drain(0):
            pass
        assert written == [("0", 0)] * 40
        assert len(lab.here()) == 40

    def test_a_gate_asked_to_open_and_shut_is_only_shut(
        self, lab: Lab, written: list[tuple[str, int]]
    ) -> None:
        batch = self.gated(lab, "2001:db8::1/64")
        lab.queue.put("vr", batch, True)
        lab.queue.put("vr", batch, False)
        lab.queue.drain(FOREVER)
        assert [value for value, _ in written] == ["1"]

    def test_a_gate_that_does_not_move_is_a_failure_of_its_addresses(
        self, lab: Lab, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def write(path: str, value: str) -> bool:
            raise OSError(errno.EROFS, "Read-only file system")

        monkeypatch.setattr("fastvrrp.kernel.sysctl.write", write)
        address = virtual("2001:db8::1/64")
        lab.queue.put("vr", AddressBatch([address], [lab.index], (GATE,)), False)
        lab.queue.drain(FOREVER)
        assert lab.applied == [Applied("vr", False, (Failure(address, errno.EROFS),))]


class TestLeftovers:
    def placed(self, lab: Lab, text: str) -> Placed:
        address = virtual(text)
        return Placed(lab.index, address.family, address.address, address.prefixlen)

    def remove(self, lab: Lab, requests: list[bytes]) -> None:
        lab.channel.apply(requests, 0, FOREVER)
        assert lab.channel.take_errors() == []

    def test_what_carries_our_mark_goes_unless_wanted(self, lab: Lab) -> None:
        ours = lab.batch("10.0.0.1/32", "10.0.2.2/24", "2001:db8::1/64", "2001:db8::2/64")
        lab.queue.put("vr", ours, True)
        lab.queue.drain(FOREVER)
        ip("address add 10.0.0.9/24 dev a0")
        wanted = {self.placed(lab, "10.0.0.1/32"), self.placed(lab, "2001:db8::1/64")}
        self.remove(lab, leftovers(wanted, lab.channel.dump_addresses()))
        assert lab.here() == {"10.0.0.1", "10.0.0.9", "2001:db8::1"}

    def test_what_keepalived_left_goes_when_it_is_named(self, lab: Lab) -> None:
        ip("address add 10.0.0.50/32 dev a0")
        ip("address add 10.0.0.51/32 dev a0")
        unmarked = {self.placed(lab, "10.0.0.50/32")}
        self.remove(lab, leftovers(set(), lab.channel.dump_addresses(), unmarked))
        assert lab.here() == {"10.0.0.51"}

    def test_nothing_is_left_of_nothing(self) -> None:
        dump: list[AddressEvent] = []
        assert leftovers(set(), dump) == []
