"""TCP_CHECK: where it connects to, and where it comes from. (test_lvs_patrol has the rest.)"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterator
from dataclasses import replace

import pytest

from checker_lab import BRISK, HERE, ask, run, server, target, unused_port
from fastvrrp.lvs.check import CannotCheckError, Verdict
from fastvrrp.model import SECOND, CheckTarget, CheckTiming, TcpCheck
from kernel_namespace import Namespace, add_veth, ip, needs_root

TIMING = CheckTiming(SECOND, 2 * SECOND, 0, SECOND, 0)
NEAR = socket.inet_pton(socket.AF_INET6, "fe80::1")


@pytest.fixture
def link() -> Iterator[None]:
    """This thread is in a namespace with two links that are each other's ends."""
    namespace = Namespace()
    with namespace.entered():
        ip("link set lo up")
        add_veth("near", "far")
        ip("address add 198.18.0.1/24 dev near")
        ip("address add fe80::1/64 dev near nodad")
        yield
    namespace.close()


def found(aim: CheckTarget) -> Verdict:
    return run(ask(TcpCheck(aim, TIMING)))


def callers(**options: object) -> list[tuple[str, int]]:
    """Who has connected to a server on loopback."""

    async def story() -> list[tuple[str, int]]:
        seen: list[tuple[str, int]] = []

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            seen.append(writer.get_extra_info("peername"))
            assert await reader.read() == b"", "the connection is ended, and not reset"

        async with server(talk) as port:
            assert (await ask(TcpCheck(target(port, **options), TIMING))).is_good
            while not seen:
                await asyncio.sleep(0.01)
        return seen

    return run(story())


@pytest.mark.keywords("real_server/TCP_CHECK", "TCP_CHECK/connect_ip", "TCP_CHECK/connect_port")
def test_a_server_that_accepts_is_well() -> None:
    ((address, _),) = callers()
    assert address == "127.0.0.1"
    verdict = found(target(unused_port()))
    assert not verdict.is_good
    assert verdict.why.endswith(": Connection refused")


@pytest.mark.keywords("TCP_CHECK/bindto", "TCP_CHECK/bind_port")
def test_it_comes_from_where_it_should() -> None:
    port = unused_port()
    ((address, _),) = callers(source_address=bytes((127, 0, 0, 5)))
    assert address == "127.0.0.5"
    assert callers(source_address=bytes((127, 0, 0, 5)), source_port=port) == [("127.0.0.5", port)]
    other = unused_port()
    assert callers(source_port=other) == [("127.0.0.1", other)]


def test_an_address_that_is_not_ours_says_nothing_of_the_server() -> None:
    """keepalived says "TCP socket bind failed. Rescheduling." and leaves the server as it is."""
    with pytest.raises(CannotCheckError, match="Cannot assign requested address"):
        found(target(unused_port(), source_address=bytes((192, 0, 2, 9))))


@needs_root
@pytest.mark.keywords("TCP_CHECK/bind_if")
def test_an_interface_is_kept_to(link: None) -> None:
    with socket.create_server(("198.18.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        aim = CheckTarget(bytes((198, 18, 0, 1)), port)
        assert found(aim).is_good
        far = CheckTarget(bytes((198, 18, 0, 1)), port, interface="far")
        assert not found(far).is_good
        with pytest.raises(CannotCheckError, match="No such device"):
            found(CheckTarget(bytes((198, 18, 0, 1)), port, interface="none"))


@needs_root
def test_a_link_local_address_is_found_on_its_interface(link: None) -> None:
    with socket.create_server(
        ("fe80::1", 0, 0, socket.if_nametoindex("near")), family=socket.AF_INET6
    ) as listening:
        port = listening.getsockname()[1]
        assert found(CheckTarget(NEAR, port, interface="near")).is_good
        both = CheckTarget(NEAR, port, source_address=NEAR, interface="near")
        assert found(both).is_good
        with pytest.raises(CannotCheckError, match="No such device"):
            found(CheckTarget(NEAR, port, interface="none"))


@needs_root
@pytest.mark.keywords("TCP_CHECK/fwmark")
def test_its_packets_have_the_mark(link: None) -> None:
    ip("rule add fwmark 7 unreachable priority 10")
    ip("rule add lookup local priority 20")
    ip("rule del lookup local priority 0")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        assert found(CheckTarget(HERE, port)).is_good
        assert found(CheckTarget(HERE, port, mark=8)).is_good
        verdict = found(CheckTarget(HERE, port, mark=7))
        assert not verdict.is_good
        assert "unreachable" in verdict.why


@pytest.mark.keywords("TCP_CHECK/connect_timeout")
def test_no_answer_is_a_timeout() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        held = [socket.socket() for _ in range(3)]
        for each in held:  # the queue of those that wait to be accepted is full now
            each.setblocking(False)
            each.connect_ex(full.getsockname())
        checker = TcpCheck(target(full.getsockname()[1]), BRISK)
        verdict = run(ask(replace(checker, timing=replace(BRISK, connect_timeout=SECOND // 10))))
        for each in held:
            each.close()
    assert verdict.line == "TCP connection to {service} timeout."


def test_a_server_that_resets_at_once_has_accepted() -> None:
    async def story() -> None:
        async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            raw = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

        async with server(talk) as port:
            for _ in range(20):
                assert isinstance(await ask(TcpCheck(target(port), TIMING)), Verdict)

    run(story())
