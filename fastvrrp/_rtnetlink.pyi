"""rtnetlink's sockets: requests sent in batches, dumps, and notifications (netlink(7))."""

from collections.abc import Sequence

from fastvrrp._rtmessage import AddressEvent, LinkEvent
from fastvrrp._table import Table

def count_in(table: Table | None) -> None:
    """Counts what the kernel refuses and loses in the header of a table from now on; None counts it
    no more."""

def count_error() -> None:
    """The kernel has refused a change."""

def count_overrun() -> None:
    """The kernel has lost notifications."""

class Overrun(Exception):
    """The kernel dropped notifications: what is known must be compared with a new dump."""

class Channel:
    """A socket for requests, in the network namespace of the thread that makes it. To be used by
    one thread at a time."""

    def __init__(self) -> None: ...
    def apply(self, messages: Sequence[bytes], start: int, budget_ns: int) -> int:
        """Sends requests from index `start` on until `budget_ns` nanoseconds are used up, at least
        eight, and returns the index of the first one not sent: `len(messages)` when all are.

        Requests are carried out in their order; one that fails does not stop the others, see
        `take_errors`. The GIL is released while the kernel works. ValueError where something in
        `messages` is not one encoded request, OSError where the socket fails.
        """

    def take_errors(self) -> list[tuple[int, int]]:
        """Every (index of the request, errno) since the last call, in their order."""

    def dump_links(self) -> list[LinkEvent]:
        """Every link of the namespace. OSError (EAGAIN) where the table never stood still."""

    def dump_addresses(self, family: int = 0) -> list[AddressEvent]:
        """Every address of a family; 0 is both. OSError (EAGAIN) where the table never stood
        still."""

    def close(self) -> None: ...

class Monitor:
    """A non-blocking socket that hears of links and of IPv4 and IPv6 addresses."""

    def __init__(self, receive_buffer: int = 33_554_432) -> None:
        """`receive_buffer` is in bytes. A notification takes about 1 to 4 KiB of it."""

    def fileno(self) -> int: ...
    def read(self, limit: int) -> list[LinkEvent | AddressEvent]:
        """At most `limit` notifications, in their order; an empty list where there is none.

        Overrun where the kernel dropped some: what was read in this call is lost as well.
        """

    def close(self) -> None: ...
