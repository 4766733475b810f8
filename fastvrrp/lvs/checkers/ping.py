"""PING_CHECK: it answers an echo request (RFC 792, RFC 4443 section 4).

One raw socket a family hears for all checks, and one more for each other way to send (`bindto`,
`bind_if`, `fwmark`). An answer is told by identifier, sequence number, sender, and what it carries;
a filter in the kernel keeps other ICMP messages away. That the target is unreachable is told by the
beginning of our request in the error.

keepalived may change net.ipv4.ping_group_range to be allowed another kind of socket; no sysctl is
touched here.
"""

from __future__ import annotations

import asyncio
import errno
import secrets
import socket
import struct
from collections.abc import Callable, Sequence

from fastvrrp._checksum import checksum
from fastvrrp.lvs.check import CannotCheckError, Check, QuickCheck, Verdict
from fastvrrp.lvs.checkers.sockets import LOCAL_TROUBLE, Route, describe
from fastvrrp.lvs.checkers.tools import Shared, Tools
from fastvrrp.model import SECOND, PingCheck

ECHO = struct.Struct("!BBHHH")
"""Type, code, checksum, identifier, sequence number."""
CARRIED = 56
"""Bytes behind that, as ping(8) has it; the first ones are a secret of the request."""
SECRET = 16
MASKED = 0xFFFFFFFF
ICMP_FILTER = 1
"""linux/icmp.h, on SOL_RAW: bits of types that are not given to the socket."""
ICMP6_FILTER = 1
"""linux/icmpv6.h, on IPPROTO_ICMPV6: the same, 256 bits."""
SOL_RAW = 255
GONE = frozenset({errno.ENODEV, errno.ENXIO})
"""What sendto(2) says where the interface of the socket was deleted."""
AT_ONCE = 64
LONGEST = 2048


class Family:
    """What differs between the two."""

    def __init__(
        self, protocol: int, request: int, reply: int, errors: tuple[int, ...], header: int
    ) -> None:
        self.protocol = protocol
        self.request = request
        self.reply = reply
        self.errors = errors
        """Types that say that the target is not reached."""
        self.header = header
        """Bytes of the shortest IP header in front of our request in an error."""


FAMILIES = {
    socket.AF_INET: Family(socket.IPPROTO_ICMP, 8, 0, (3, 11), 20),
    socket.AF_INET6: Family(socket.IPPROTO_ICMPV6, 128, 129, (1, 3), 40),
}


class Echo:
    """A request that is on its way."""

    __slots__ = ("address", "done", "secret", "timer")

    def __init__(self, address: str, done: Callable[[str], None]) -> None:
        self.address = address
        self.done = done
        self.secret = secrets.token_bytes(SECRET)
        self.timer: asyncio.TimerHandle | None = None


class Channel:
    """One raw socket, and what was sent over it."""

    def __init__(self, route: Route, loop: asyncio.AbstractEventLoop) -> None:
        """Raises CannotCheckError."""
        self._loop = loop
        self._family = FAMILIES[route.family]
        self._is_old = route.family == socket.AF_INET
        self._identifier = secrets.randbelow(1 << 16)
        self._sequence = 0
        self._echoes: dict[int, Echo] = {}
        self._socket = route.open(socket.SOCK_RAW, self._family.protocol)
        self._filter()
        loop.add_reader(self._socket.fileno(), self._read)

    @property
    def is_idle(self) -> bool:
        """Nothing is under way over it."""
        return not self._echoes

    def send(self, route: Route, timeout: float, done: Callable[[str], None]) -> int:
        """Sends a request; its sequence number. `done` is called with what went wrong, or nothing.
        Raises OSError, CannotCheckError."""
        for _ in range(1 << 16):
            self._sequence = (self._sequence + 1) & 0xFFFF
            if self._sequence not in self._echoes:
                break
        else:
            raise CannotCheckError("65,536 pings are on their way")
        number = self._sequence
        echo = Echo(route.target[0], done)
        request = self._family.request
        carried = echo.secret + bytes(CARRIED - SECRET)
        head = ECHO.pack(request, 0, 0, self._identifier, number)
        if self._is_old:  # the kernel does it for IPv6
            head = ECHO.pack(request, 0, checksum(head + carried), self._identifier, number)
        where = route.destination
        self._socket.sendto(head + carried, (where[0], 0, *where[2:]))
        self._echoes[number] = echo
        echo.timer = self._loop.call_later(timeout, self._end, number, "timed out")
        return number

    def cancel(self, number: int) -> None:
        """Waits for an answer no more."""
        echo = self._echoes.pop(number, None)
        if echo is not None and echo.timer is not None:
            echo.timer.cancel()

    def fail(self, failure: str) -> None:
        """Ends what is under way, and closes."""
        for number in list(self._echoes):
            if number in self._echoes:
                self._end(number, failure)
        self.close()

    def close(self) -> None:
        for number in list(self._echoes):
            self.cancel(number)
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()

    def _filter(self) -> None:
        wanted = (self._family.reply, *self._family.errors)
        if self._is_old:
            bits = MASKED
            for kind in wanted:
                bits &= ~(1 << kind)
            self._socket.setsockopt(SOL_RAW, ICMP_FILTER, struct.pack("=I", bits))
            return
        words = [MASKED] * 8
        for kind in wanted:
            words[kind >> 5] &= ~(1 << (kind & 31))
        self._socket.setsockopt(socket.IPPROTO_ICMPV6, ICMP6_FILTER, struct.pack("=8I", *words))

    def _read(self) -> None:
        for _ in range(AT_ONCE):
            try:
                packet, sender = self._socket.recvfrom(LONGEST)
            except BlockingIOError:
                return
            except OSError:
                continue  # an error of one that was sent, which its own message tells, too
            self._hear(packet, str(sender[0]).partition("%")[0])

    def _hear(self, packet: bytes, sender: str) -> None:
        if self._is_old:
            packet = packet[(packet[0] & 0x0F) * 4 :] if packet else b""
        if len(packet) < ECHO.size:
            return
        kind = packet[0]
        if kind == self._family.reply:
            _, _, _, identifier, number = ECHO.unpack_from(packet)
            echo = self._echoes.get(number)
            if echo is None or identifier != self._identifier or sender != echo.address:
                return
            if packet[ECHO.size : ECHO.size + SECRET] == echo.secret:
                self._end(number, "")
        elif kind in self._family.errors:
            self._hear_error(packet[ECHO.size :])

    def _hear_error(self, returned: bytes) -> None:
        """What came back: an IP header, and the beginning of a request."""
        length = self._family.header
        if self._is_old and returned:
            length = (returned[0] & 0x0F) * 4
        if len(returned) < length + ECHO.size:
            return
        kind, _, _, identifier, number = ECHO.unpack_from(returned, length)
        packed = returned[16:20] if self._is_old else returned[24:40]
        echo = self._echoes.get(number)
        if echo is None or kind != self._family.request or identifier != self._identifier:
            return
        family = socket.AF_INET if self._is_old else socket.AF_INET6
        if socket.inet_ntop(family, packed) == echo.address:
            self._end(number, "unreachable")

    def _end(self, number: int, failure: str) -> None:
        echo = self._echoes[number]
        self.cancel(number)
        echo.done(failure)


class Channels(Shared):
    """The raw sockets of all PING_CHECKs."""

    def __init__(self, tools: Tools) -> None:
        self._loop = tools.loop
        self._open: dict[object, Channel] = {}

    def channel(self, route: Route) -> Channel:
        """The one that sends as a target wants it. Raises CannotCheckError."""
        found = self._open.get(route.way)
        if found is None:
            found = self._open[route.way] = Channel(route, self._loop)
        return found

    def configured(self) -> None:
        for way, each in list(self._open.items()):
            if each.is_idle:  # perhaps nobody sends so any more
                del self._open[way]
                each.close()

    def drop(self, channel: Channel) -> None:
        """Its interface is gone, or was made anew and is another one: the next check opens a new
        one. What is under way over it is not answered any more."""
        for way, each in list(self._open.items()):
            if each is channel:
                del self._open[way]
        channel.fail("its interface is gone")

    def close(self) -> None:
        for each in self._open.values():
            each.close()
        self._open.clear()


class Ping(QuickCheck):
    """Sends an echo request."""

    def __init__(self, checker: PingCheck, tools: Tools) -> None:
        self._route = Route(checker.target)
        self._timeout = checker.timing.connect_timeout / SECOND
        self._channels = tools.the(Channels)
        self._loop = tools.loop
        self._under_way: tuple[Channel, int] | None = None
        self._timer: asyncio.Handle | None = None
        self._done: Callable[[Verdict], None] = lambda _: None

    def begin(self, done: Callable[[Verdict], None]) -> None:
        self._done = done
        channel = self._channels.channel(self._route)
        try:
            number = channel.send(self._route, self._timeout, self._told)
        except OSError as error:
            if error.errno in GONE:
                self._channels.drop(channel)
                raise CannotCheckError(f"{self._route.text}: {describe(error)}") from error
            if error.errno in LOCAL_TROUBLE:
                raise CannotCheckError(f"{self._route.text}: {describe(error)}") from error
            verdict = Verdict(False, describe(error), line="send ICMP packet fail")
            self._timer = self._loop.call_soon(done, verdict)
        else:
            self._under_way = channel, number

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._under_way is not None:
            channel, number = self._under_way
            channel.cancel(number)
            self._under_way = None

    def _told(self, failure: str) -> None:
        self._under_way = None
        if not failure:
            self._done(Verdict(True))
            return
        how = "timeout" if failure == "timed out" else "failed"
        line = f"ICMP connection to address {{service}} {how}."
        self._done(Verdict(False, f"ping: {failure}", line=line))


def make(checker: PingCheck, tools: Tools) -> Sequence[Check]:
    return (Ping(checker, tools),)
