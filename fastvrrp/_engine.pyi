from collections.abc import Callable, Sequence
from typing import NamedTuple

from fastvrrp._sockets import Sender
from fastvrrp._table import Segment, Table
from fastvrrp._trailer import Authenticator

NOTE_NAMES: tuple[str, ...]
"""What a note, or an event of the table, may be about, by its number."""

class Note(NamedTuple):
    """A change of state, or a request to announce again, as the engine tells its owner."""

    router: int
    """Index of the virtual router in the table."""
    event: str
    """One of EVENT_NAMES, SPLIT_BRAIN or SPLIT_BRAIN_OVER."""
    before: int
    """State before and after (model.State)."""
    after: int
    acquires: bool
    """The router takes its addresses."""
    releases: bool
    reannounces: bool
    """Somebody of lower priority spoke as master: announce again."""
    wants: bool
    """A member of a sync group would be master: it is when every member would."""
    priority: int
    """ADVERT: what was heard; otherwise 0."""
    source: bytes
    """ADVERT: from whom, packed. SPLIT_BRAIN: the other master."""
    since: int = 0
    """SPLIT_BRAIN: since when there are two, in nanoseconds of the engine's clock."""

class Engine:
    table: Table
    sender: Sender
    on_unknown: Callable[[int, int, int, bytes], None] | None
    """Called with the ifindex, the family (4 or 6), the VRID and the packed source of an advert for
    which there is no virtual router; once for each such VRID of an interface."""
    def __init__(self, table: Table, sender: Sender, now: int) -> None: ...
    def grow(self) -> None: ...
    def configure(
        self,
        index: int,
        *,
        version: int,
        advert_interval: int,
        addresses: bytes,
        group: bytes,
        peers: Sequence[tuple[bytes, int, int]] = (),
        preempt: bool = True,
        preempt_delay: int = 0,
        down_timer_adverts: int = 3,
        lower_prio_no_advert: bool = False,
        higher_prio_send_advert: bool = False,
        starts_backup: bool = False,
        expired_priority: int = 0,
        ignores_adverts: bool = False,
        auth_type: int = 0,
        password: bytes = b"",
        ttl: int = 255,
        checksum_as_v2: bool = False,
        old_checksum: int = 0,
        skips_known_addresses: bool = False,
        checks_source: bool = False,
        ah_sequence: int = 0,
        signs: bool = False,
    ) -> None: ...
    def attach(self, index: int, ifindex: int, mac: bytes, source: bytes) -> None: ...
    def authenticate(self, index: int, authenticator: Authenticator | None) -> None: ...
    def detach(self, index: int) -> None: ...
    def set_targets(
        self, index: int, targets: list[tuple[int, bytes, int, bytes, bool]]
    ) -> None: ...
    def target_count(self, index: int) -> int: ...
    def target(self, index: int, position: int) -> tuple[int, bytes, int]: ...
    def forget(self, index: int) -> None: ...
    def start(self, index: int, now: int) -> None: ...
    def resume(
        self, index: int, before: Segment, at: int, now: int, as_master: bool = True
    ) -> int: ...
    def send_due(self, now: int) -> None: ...
    def fail(self, index: int, now: int) -> None: ...
    def stop(self, index: int, now: int) -> None: ...
    def promote(self, index: int, now: int) -> None: ...
    def demote(self, index: int, now: int) -> None: ...
    def set_membership(self, index: int, membership: int) -> None: ...
    def wants_master(self, index: int) -> bool: ...
    def restrain(self, index: int, restraint: int, now: int) -> None: ...
    def open_at(self, opens_at: int) -> None: ...
    def resign(self, index: int, now: int) -> None: ...
    def set_priority(self, index: int, priority: int) -> None: ...
    def hurry(self, index: int, now: int) -> None: ...
    def run(self, now: int) -> int | None: ...
    def receive_frame(self, ifindex: int, frame: bytes, now: int) -> None: ...
    def announce(self, index: int, first: int = 0, count: int = ...) -> int: ...
    def flush(self) -> None: ...
    def take_notes(self) -> list[Note]: ...
