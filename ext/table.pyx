"""The table of virtual routers, in shared memory.

The engine writes it, in the process that speaks VRRP. Whoever wants to know (metrics, `status`, the
parent after a crash) maps the same file and reads: that costs the engine nothing, not even a lock.
What only the engine needs (frames, passwords, addresses) is not here.

An advert finds its virtual router by (interface, family, VRID) in an open hash table: one cache
miss however many interfaces there are. Two routers may share that key when their multicast groups
or unicast peers differ; they stand in a chain, and the engine asks each.
"""

import mmap
import os
import struct
import time
import uuid
from typing import NamedTuple

from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

from fastvrrp._fsm cimport (
    ADVERT, EVENT_COUNT, INIT, NEVER, machine_t, master_down_interval, may_go_on)
from fastvrrp._sockets cimport ANYWHERE, PLACE_MASK

MAGIC = b"FASTVRRP"
LATENESS_BOUNDS = tuple([bounds[i] for i in range(BOUNDS)])
"""Upper bounds of the histograms' buckets, in nanoseconds."""
SEGMENT_LAYOUT = LAYOUT
"""Of the files that this version writes, and can read."""
RING = EVENTS
"""How many events are remembered."""


class Left(NamedTuple):
    """A virtual router as the process that wrote a segment has left it."""

    at: int
    identity: int
    name: str           # cut to fit
    state: int
    may_go_on: bool     # as MASTER


cdef enum:
    SPLIT_BRAIN = EVENT_COUNT           # as in _engine.pxd
    SPLIT_BRAIN_OVER = EVENT_COUNT + 1


cdef size_t size_of(uint32_t capacity) noexcept nogil:
    return HEADER_SIZE + capacity * sizeof(router_t) + EVENTS * sizeof(event_t)


cdef uint64_t key_of(int32_t ifindex, uint8_t family, uint8_t vrid) noexcept nogil:
    return <uint64_t> ifindex << 16 | <uint64_t> family << 8 | vrid     # a VRID is not 0


cdef uint32_t spread(uint64_t key) noexcept nogil:
    return (key * 0x9E3779B97F4A7C15ULL) >> 32          # Fibonacci hashing


cdef bytes text_of(const uint8_t *start, int size):
    return (<const char *> start)[:size].split(b"\0", 1)[0]


cdef class Segment:
    """A mapped table, for reading: `path`, or an open descriptor of it. Raises ValueError where the
    file is not one of this layout."""

    def __init__(self, path):
        with open(path, "rb", closefd=not isinstance(path, int)) as file:
            self.mapping = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        if len(self.mapping) < HEADER_SIZE or self.mapping[:8] != MAGIC:
            raise ValueError(f"{path} is not a state segment of fastvrrp")
        self._map()
        if self.header.layout != LAYOUT or self.header.record_size != sizeof(router_t):
            raise ValueError(f"{path} has layout {self.header.layout}, not {LAYOUT}: "
                             "read it with the version that writes it")
        if <size_t> len(self.mapping) < size_of(self.header.capacity):
            raise ValueError(f"{path} is cut short")
        self.events = <event_t *> (self.routers + self.header.capacity)

    def _map(self):
        cdef const unsigned char[::1] readable
        if isinstance(self.mapping, mmap.mmap):
            readable = memoryview(self.mapping).cast("B")
        else:
            readable = self.mapping
        self.header = <header_t *> &readable[0]
        self.routers = <router_t *> (<uint8_t *> self.header + HEADER_SIZE)
        self.events = NULL

    @property
    def pid(self) -> int:
        """Of the process that writes (or wrote) the segment."""
        return self.header.pid

    @property
    def boot(self) -> bytes:
        """Which start of a machine its times are of: 16 bytes, as `this_boot`."""
        return (<const char *> self.header.boot)[:16]

    @property
    def network(self) -> int:
        """Inode of the network namespace that its writer is (or was) in."""
        return self.header.network

    @property
    def attempts(self) -> tuple:
        """When successors began to take it over, the last one first; at most as many as are
        remembered."""
        return tuple([self.header.taken_at[i] for i in range(ATTEMPTS)
                      if self.header.taken_at[i]])

    @property
    def opens_at(self) -> int:
        """Nobody of its writer becomes master by silence before then; 0 is no limit."""
        return self.header.opens_at

    def left(self, int64_t now) -> list:
        """Every virtual router as it was left (Left), by a writer that has died or stands still."""
        cdef uint32_t index
        cdef router_t copy
        found = []
        self.last_tick = 0 if self.header.is_sending else NEVER
        for index in range(self.extent):
            if self.header.is_sending and self.routers[index].in_use:
                self.last_tick = max(self.last_tick, self.routers[index].sent_at)
        for index in range(self.extent):
            if self.copy(index, &copy):
                found.append(Left(
                    index, copy.identity,
                    text_of(copy.name, NAME_SIZE).decode("utf-8", "replace"),
                    copy.machine.state,
                    may_go_on(&copy.machine, spoke_at(&copy, self.last_tick), now)))
        return found

    def totals(self) -> dict:
        """What holds for the whole daemon: its version and start, counters of packets, refusals (a
        tuple by Reason), frames and dropped packets (by the kernel, unread), changes of state, and
        what is in the header besides. Histograms are (counts by LATENESS_BOUNDS and one above them,
        sum in nanoseconds). Times are nanoseconds of the monotonic clock, None where there is
        none."""
        return {
            "version": text_of(self.header.version, VERSION_SIZE).decode("utf-8", "replace"),
            "started_at": self.header.started_at,
            "packets": self.header.packets,
            "refused": tuple([self.header.refused[i] for i in range(REASONS)]),
            "frames_sent": self.header.frames_sent,
            "frames_unsent": self.header.frames_unsent,
            "dropped": self.header.dropped,
            "changes": self.header.changes,
            "split_brains": self.header.split_brains,
            "announcements_sent": self.header.announcements_sent,
            "lateness": histogram(&self.header.lateness),
            "overshoot": histogram(&self.header.overshoot),
            "netlink_errors": self.header.netlink_errors,
            "netlink_overruns": self.header.netlink_overruns,
            "reloads_done": self.header.reloads_done,
            "reloads_refused": self.header.reloads_refused,
            "reloaded_at": self.header.reloaded_at or None,
            "reload_done_at": self.header.reload_done_at or None,
            "reload_time": self.header.reload_time,
        }

    @property
    def last_event(self) -> int:
        """Number of the last event; 0 where there was none."""
        return load_acquire_64(&self.header.events)

    @property
    def extent(self) -> int:
        """Every virtual router has an index below."""
        return min(self.header.top, self.header.capacity)

    def names(self) -> dict:
        """The names of all virtual routers, by index."""
        cdef uint32_t index
        cdef router_t copy
        found = {}
        for index in range(self.extent):
            if self.copy(index, &copy):
                found[index] = text_of(copy.name, NAME_SIZE).decode("utf-8", "replace")
        return found

    def events_after(self, uint64_t number, int most=1024) -> list:
        """Up to `most` events behind the one with that number, oldest first, as dictionaries. Those
        that the ring does not remember any more are left out: `number` of the first one says so."""
        cdef uint64_t last = load_acquire_64(&self.header.events)
        cdef uint64_t wanted = number + 1
        cdef event_t *slot
        cdef event_t copy
        found = []
        if last > EVENTS and wanted <= last - EVENTS:
            wanted = last - EVENTS + 1
        while wanted <= last and len(found) < most:
            slot = &self.events[wanted % EVENTS]
            memcpy(&copy, slot, sizeof(event_t))
            read_fence()
            if copy.number == wanted and load_acquire_64(&slot.number) == wanted:
                size = 4 if not any(copy.source[i] for i in range(4, 16)) else 16
                found.append({
                    "number": copy.number,
                    "at": copy.at,
                    "router": copy.index,
                    "kind": copy.kind,
                    "before": copy.before,
                    "after": copy.after,
                    "priority": copy.priority,
                    "source": (<const char *> copy.source)[:size]
                    if any(copy.source[i] for i in range(16)) else b"",
                })
            wanted += 1
        return found

    def read(self, uint32_t index) -> dict | None:
        """The virtual router at `index` as it was at one instant, or None where there is none."""
        cdef router_t copy
        if index >= self.header.capacity:
            raise IndexError(f"router {index} is outside 0-{self.header.capacity - 1}")
        return self.describe(&copy) if self.copy(index, &copy) else None

    cdef bint copy(self, uint32_t index, router_t *into) noexcept nogil:
        cdef uint32_t before
        cdef int _
        for _ in range(100_000):        # a writer that died in between left it odd for good
            before = load_acquire(&self.routers[index].sequence)
            memcpy(into, &self.routers[index], sizeof(router_t))
            read_fence()
            if not before & 1 and load_acquire(&self.routers[index].sequence) == before:
                break
        return into.in_use

    def __iter__(self):
        for index in range(self.extent):
            router = self.read(index)
            if router is not None:
                yield router

    cdef object describe(self, const router_t *router):
        cdef const machine_t *machine = &router.machine
        size = machine.address_size
        return {
            "name": text_of(router.name, NAME_SIZE).decode("utf-8", "replace"),
            "interface": text_of(router.interface, INTERFACE_SIZE).decode("utf-8", "replace"),
            "ifindex": router.ifindex,
            "family": router.family,
            "vrid": router.vrid,
            "version": machine.version,
            "state": machine.state,
            "base_priority": router.base_priority,
            "priority": machine.priority,
            "advert_interval": machine.advert_interval,
            "source": (<const char *> machine.source)[:size],
            "master_priority": machine.master_priority,
            "master_address": (<const char *> machine.master_address)[:size],
            "master_interval": machine.master_interval,
            "master_down_interval": master_down_interval(machine),
            "down_timer_adverts": machine.down_timer_adverts,
            "preempt": bool(machine.preempt),
            "restraint": machine.restraint,
            "changed_by": router.changed_by,
            "changed_from": router.changed_from,
            "changes": router.changes,
            "place": router.place,
            "deadline": None if machine.deadline == NEVER else machine.deadline,
            "changed_at": machine.changed_at,
            "heard_at": router.heard_at,
            "sent_at": router.sent_at,
            "adverts_received": router.adverts_received,
            "adverts_sent": router.adverts_sent,
            "announcements_sent": router.announcements_sent,
            "became_master": router.became_master,
            "released_master": router.released_master,
            "resigns_received": router.resigns_received,
            "resigns_sent": router.resigns_sent,
            "discarded": router.discarded,
            "refused": tuple([router.refused[i] for i in range(REASONS)]),
            "split_brains": router.split_brains,
            "split_since": router.split_since or None,
        }


cdef class Table(Segment):
    """A table for `capacity` virtual routers, written by this process, that can `grow` to `room`
    (`capacity` where that is more).

    `path` is created, or replaced as a whole, now or, of a draft, by `publish`; None keeps the
    table in private memory, for tests and simulations. What will be written is taken from the file
    system at once, so that one that is full is an OSError here and in `grow`, and no SIGBUS later.
    """

    def __cinit__(self, path, uint32_t capacity, uint32_t room=0, bint is_draft=False):
        self.descriptor = -1
        self.free = []
        self.make_index(capacity)

    def __init__(self, path, uint32_t capacity, uint32_t room=0, bint is_draft=False):
        room = max(room, capacity)
        total = size_of(room)
        if path is None:
            self.mapping = mmap.mmap(-1, total)
        else:
            # Readers of an older file keep it; nobody ever maps a half-made one.
            draft = self.draft = f"{path}.{os.getpid()}"
            self.descriptor = os.open(
                draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
            try:
                os.ftruncate(self.descriptor, total)
                ring = EVENTS * sizeof(event_t)
                os.posix_fallocate(self.descriptor, total - ring, ring)
                self.reserve(capacity)
                self.mapping = mmap.mmap(self.descriptor, total)
            except BaseException:
                os.unlink(draft)
                raise
        self._map()
        memcpy(self.header.magic, b"FASTVRRP", 8)
        self.header.layout = LAYOUT
        self.header.record_size = sizeof(router_t)
        self.header.capacity = room
        self.header.pid = os.getpid()
        self.header.started_at = time.monotonic_ns()
        self.events = <event_t *> (self.routers + room)
        boot = this_boot()
        memcpy(self.header.boot, <const char *> boot, 16)
        self.header.network = this_network()
        self.path = path
        if not is_draft:
            self.publish()

    def publish(self) -> None:
        """Puts a draft at its place, where readers find it from now on. Raises OSError."""
        if self.draft is not None:
            os.replace(self.draft, self.path)
            self.draft = None

    def withdraw(self) -> None:
        """Removes the file, or the draft."""
        if self.path is not None:
            try:
                os.unlink(self.path if self.draft is None else self.draft)
            except FileNotFoundError:
                pass

    def inherit(self, Segment before not None, indexes) -> None:
        """Goes on with the counters and the events of another segment. `indexes` has our index of
        each of its virtual routers that there still is."""
        cdef header_t *ours = self.header
        cdef header_t *theirs = before.header
        cdef uint32_t *known
        cdef uint32_t i
        ours.packets = theirs.packets
        memcpy(ours.refused, theirs.refused, sizeof(ours.refused))
        ours.frames_sent = theirs.frames_sent
        ours.frames_unsent = theirs.frames_unsent
        ours.dropped = theirs.dropped
        ours.changes = theirs.changes
        ours.split_brains = theirs.split_brains
        ours.announcements_sent = theirs.announcements_sent
        ours.lateness = theirs.lateness
        ours.overshoot = theirs.overshoot
        ours.netlink_errors = theirs.netlink_errors
        ours.netlink_overruns = theirs.netlink_overruns
        ours.reloads_done = theirs.reloads_done
        ours.reloads_refused = theirs.reloads_refused
        ours.reloaded_at = theirs.reloaded_at
        ours.reload_done_at = theirs.reload_done_at
        ours.reload_time = theirs.reload_time
        memcpy(ours.taken_at, theirs.taken_at, sizeof(ours.taken_at))
        memcpy(self.events, before.events, EVENTS * sizeof(event_t))
        ours.events = theirs.events
        known = <uint32_t *> malloc((before.header.capacity or 1) * sizeof(uint32_t))
        if known == NULL:
            raise MemoryError()
        memset(known, 0xFF, before.header.capacity * sizeof(uint32_t))
        for theirs_index, ours_index in indexes.items():
            known[<uint32_t> theirs_index] = ours_index
        for i in range(EVENTS):
            if self.events[i].number:
                self.events[i].index = (
                    known[self.events[i].index]
                    if self.events[i].index < before.header.capacity else NO_INDEX)
        free(known)

    def __dealloc__(self):
        if self.descriptor >= 0:
            os.close(self.descriptor)
        free(self.keys)
        free(self.heads)
        free(self.following)
        free(self.members)

    @property
    def room(self) -> int:
        """How many virtual routers it can grow to."""
        return self.header.capacity

    def grow(self, uint32_t capacity) -> None:
        """Makes it a table for at least `capacity` virtual routers; every one keeps its index. The
        engine has to `grow` before the next is added. Raises OverflowError where that is more than
        there is room for, and OSError where the file system is full; then it is as it was."""
        cdef uint32_t index
        if capacity > self.header.capacity:
            raise OverflowError(f"the table has room for {self.header.capacity} virtual routers")
        if capacity <= self.capacity:
            return
        self.reserve(capacity)
        self.make_index(capacity)
        for index in range(self.top):
            if self.routers[index].in_use:
                self.enter(index)

    cdef int reserve(self, uint32_t capacity) except -1:
        """Takes the room of so many records from the file system. Raises OSError."""
        if self.descriptor >= 0:
            os.posix_fallocate(self.descriptor, 0, HEADER_SIZE + capacity * sizeof(router_t))
        return 0

    cdef int make_index(self, uint32_t capacity) except -1:
        """An empty index, in which `capacity` virtual routers can be found."""
        cdef uint32_t size = 16
        while size < 2 * capacity:
            size *= 2
        free(self.keys)
        free(self.heads)
        free(self.following)
        self.keys = <uint64_t *> calloc(size, sizeof(uint64_t))
        self.heads = <int32_t *> calloc(size, sizeof(int32_t))
        self.following = <int32_t *> malloc((capacity or 1) * sizeof(int32_t))
        if self.keys == NULL or self.heads == NULL or self.following == NULL:
            raise MemoryError()
        memset(self.following, 0xFF, capacity * sizeof(int32_t))
        self.capacity = capacity
        self.mask = size - 1
        return 0

    def add(self, str name, str interface, int32_t ifindex, int family, int vrid,
            int priority) -> int:
        """Takes a record for a virtual router and returns its index. Raises OverflowError when the
        table is full. `family` is 4 or 6."""
        cdef router_t *router
        cdef uint32_t index
        if self.free:
            index = self.free.pop()
        elif self.top < self.capacity:
            index = self.top
            self.top += 1
            self.header.top = self.top
        else:
            raise OverflowError(f"the table is full with {self.capacity} virtual routers")
        router = &self.routers[index]
        begin_write(router)
        write_text(router.name, name, NAME_SIZE)
        write_text(router.interface, interface, INTERFACE_SIZE)
        router.ifindex = ifindex
        router.family = family
        router.vrid = vrid
        router.base_priority = priority
        router.machine.priority = priority
        router.machine.address_size = 4 if family == 4 else 16
        router.machine.state = INIT
        router.machine.deadline = router.machine.preempt_at = NEVER
        router.in_use = True
        end_write(router)
        self.enter(index)
        self.count += 1
        return index

    def update(self, uint32_t index, str name, int priority, int effective=0) -> None:
        """Gives a virtual router another name, and other priorities: the one that was written, and
        the one in force (0: the same). Its state and counters stay."""
        cdef router_t *router = &self.routers[index]
        if index >= self.top or not router.in_use:
            raise IndexError(f"no virtual router at {index}")
        begin_write(router)
        write_text(router.name, name, NAME_SIZE)
        router.base_priority = priority
        router.machine.priority = effective or priority
        end_write(router)

    def remove(self, uint32_t index) -> None:
        """Gives the record back."""
        cdef router_t *router = &self.routers[index]
        cdef uint32_t sequence
        if index >= self.top or not router.in_use:
            raise IndexError(f"no virtual router at {index}")
        self.leave(index)
        begin_write(router)
        sequence = router.sequence
        memset(router, 0, sizeof(router_t))
        router.sequence = sequence
        end_write(router)
        self.free.append(index)
        self.count -= 1

    def move(self, uint32_t index, int32_t ifindex) -> None:
        """Listens on another interface index: the interface came back, or is gone (0)."""
        if index >= self.top or not self.routers[index].in_use:
            raise IndexError(f"no virtual router at {index}")
        self.leave(index)
        begin_write(&self.routers[index])
        self.routers[index].ifindex = ifindex
        end_write(&self.routers[index])
        self.enter(index)

    def set_identity(self, uint32_t index, uint64_t identity) -> None:
        """Says by what a successor knows a virtual router again (Left.identity)."""
        if index >= self.top or not self.routers[index].in_use:
            raise IndexError(f"no virtual router at {index}")
        self.routers[index].identity = identity

    def set_version(self, str version) -> None:
        """Says which version writes."""
        write_text(self.header.version, version, VERSION_SIZE)

    def set_place(self, uint32_t index, int place) -> None:
        """The virtual router is in another network namespace, whose name the details have."""
        cdef router_t *router = &self.routers[index]
        if index >= self.top or not router.in_use:
            raise IndexError(f"no virtual router at {index}")
        begin_write(router)
        router.place = place
        end_write(router)

    def count_reload(self, bint is_done, int64_t now, int64_t duration) -> None:
        """A reload was carried out, or refused, at `now` after so many nanoseconds."""
        if is_done:
            self.header.reloads_done += 1
            self.header.reload_done_at = now
        else:
            self.header.reloads_refused += 1
        self.header.reloaded_at = now
        self.header.reload_time = duration

    def count_netlink(self, uint32_t errors, uint32_t overruns) -> None:
        """The kernel has refused so many changes, and lost notifications so often."""
        self.header.netlink_errors += errors
        self.header.netlink_overruns += overruns

    cdef void log_event(
            self, uint32_t index, uint8_t kind, uint8_t before, int64_t now) noexcept nogil:
        cdef router_t *router = &self.routers[index]
        cdef uint64_t number = self.header.events + 1
        cdef event_t *slot = &self.events[number % EVENTS]
        store_release_64(&slot.number, 0)
        write_fence()
        slot.at = now
        slot.index = index
        slot.kind = kind
        slot.before = before
        slot.after = router.machine.state
        slot.priority = router.machine.priority
        memset(slot.source, 0, 16)
        if kind == ADVERT:
            memcpy(slot.source, router.machine.master_address, router.machine.address_size)
        store_release_64(&slot.number, number)
        store_release_64(&self.header.events, number)

    def set_split(self, uint32_t index, int64_t since) -> None:
        """Another master speaks or answers beside this virtual router's since then (nanoseconds);
        0: that is over."""
        cdef router_t *router = &self.routers[index]
        if index >= self.top or not router.in_use:
            raise IndexError(f"no virtual router at {index}")
        if bool(since) != bool(router.split_since):
            self.log_event(index, SPLIT_BRAIN if since else SPLIT_BRAIN_OVER,
                           router.machine.state, time.monotonic_ns())
        begin_write(router)
        if since and not router.split_since:
            router.split_brains += 1
            self.header.split_brains += 1
        router.split_since = since
        end_write(router)

    def lookup(self, int32_t ifindex, int family, int vrid) -> list:
        """The indexes of all virtual routers of that key."""
        cdef int32_t index = self.find(ifindex, family, vrid)
        found = []
        while index != NOBODY:
            found.append(index)
            index = self.following[index]
        return found

    def changed_at(self, uint32_t index) -> int:
        """When the state of a virtual router of this process last changed, in nanoseconds."""
        if index >= self.top:
            raise IndexError(f"no virtual router at {index}")
        return self.routers[index].machine.changed_at

    def state(self, uint32_t index) -> int:
        """The state of a virtual router of this process (fsm.State)."""
        if index >= self.top:
            raise IndexError(f"no virtual router at {index}")
        return self.routers[index].machine.state

    def roam(self, uint32_t roaming, list members) -> None:
        """So many virtual routers listen on no interface in particular, and these interfaces, as
        (number, number of its VRF), are in VRFs, where others listen."""
        cdef int32_t *found
        cdef Py_ssize_t i
        members = sorted(members)
        found = <int32_t *> malloc((2 * len(members) or 1) * sizeof(int32_t))
        if found == NULL:
            raise MemoryError()
        for i, (member, domain) in enumerate(members):
            found[i] = member
            found[len(members) + i] = domain
        free(self.members)
        self.members = found
        self.domains = found + len(members)
        self.member_count = len(members)
        self.roaming = roaming

    cdef int32_t find(self, int32_t ifindex, uint8_t family, uint8_t vrid) noexcept nogil:
        cdef int32_t found = self.find_there(ifindex, family, vrid)
        if found == NOBODY and self.roaming:
            found = self.find_there(self.domain_of(ifindex), family, vrid)
        return found

    cdef int32_t domain_of(self, int32_t ifindex) noexcept nogil:
        cdef uint32_t low = 0
        cdef uint32_t high = self.member_count
        cdef uint32_t middle
        while low < high:
            middle = (low + high) // 2
            if self.members[middle] < ifindex:
                low = middle + 1
            else:
                high = middle
        if low < self.member_count and self.members[low] == ifindex:
            return self.domains[low]
        return ANYWHERE if ifindex >= 0 else -(-ifindex & ~PLACE_MASK)

    cdef int32_t find_there(self, int32_t ifindex, uint8_t family, uint8_t vrid) noexcept nogil:
        cdef uint64_t key = key_of(ifindex, family, vrid)
        cdef uint32_t place = spread(key) & self.mask
        while self.keys[place] != key:
            if self.keys[place] == 0:
                return NOBODY
            place = (place + 1) & self.mask
        return self.heads[place]

    cdef void enter(self, uint32_t index) noexcept nogil:
        cdef router_t *router = &self.routers[index]
        cdef uint64_t key = key_of(router.ifindex, router.family, router.vrid)
        cdef uint32_t place = spread(key) & self.mask
        self.following[index] = NOBODY
        if router.ifindex == 0:
            return
        while self.keys[place] != 0 and self.keys[place] != key:
            place = (place + 1) & self.mask
        if self.keys[place] == key:
            self.following[index] = self.heads[place]
        self.keys[place] = key
        self.heads[place] = index

    cdef void leave(self, uint32_t index) noexcept nogil:
        cdef router_t *router = &self.routers[index]
        cdef uint64_t key = key_of(router.ifindex, router.family, router.vrid)
        cdef uint32_t place = spread(key) & self.mask
        cdef uint32_t probe
        cdef uint32_t home
        cdef int32_t before
        if router.ifindex == 0:
            return
        while self.keys[place] != key:
            place = (place + 1) & self.mask
        if self.heads[place] != <int32_t> index:
            before = self.heads[place]
            while self.following[before] != <int32_t> index:
                before = self.following[before]
            self.following[before] = self.following[index]
            return
        if self.following[index] != NOBODY:
            self.heads[place] = self.following[index]
            return
        # Close the gap, so that no probe ends early: every entry that could not reach its own place
        # but for this one moves up (Knuth 6.4, algorithm R).
        probe = place
        while True:
            self.keys[place] = 0
            while True:
                probe = (probe + 1) & self.mask
                if self.keys[probe] == 0:
                    return
                home = spread(self.keys[probe]) & self.mask
                if ((probe - home) & self.mask) >= ((probe - place) & self.mask):
                    break
            self.keys[place] = self.keys[probe]
            self.heads[place] = self.heads[probe]
            place = probe


cdef int64_t spoke_at(const router_t *router, int64_t last_tick) noexcept nogil:
    """When its last advert left for sure: those of the last tick may have been on their way to the
    kernel still when the writer died."""
    if router.sent_at < last_tick:
        return router.sent_at
    return router.sent_at - router.machine.advert_interval


def this_boot() -> bytes:
    """What tells this start of the machine from all others: 16 bytes."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return uuid.UUID(file.read().strip()).bytes


def this_network() -> int:
    """Inode of the network namespace of the calling thread."""
    return os.stat("/proc/thread-self/ns/net").st_ino


def count_attempt(path, int64_t now) -> None:
    """Notes in the file of a segment whose writer has died that it is about to be taken over.
    Raises OSError."""
    cdef header_t header
    cdef size_t place = <size_t> (<uint8_t *> &header.taken_at - <uint8_t *> &header)
    size = ATTEMPTS * sizeof(int64_t)
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        known = os.pread(descriptor, size, place)
        os.pwrite(descriptor, (struct.pack("=q", now) + known)[:size], place)
    finally:
        os.close(descriptor)


def kept_name(str name) -> str:
    """What a record has of a name: a long one is cut."""
    cdef uint8_t kept[NAME_SIZE]
    write_text(kept, name, NAME_SIZE)
    return text_of(kept, NAME_SIZE).decode("utf-8", "replace")


cdef tuple histogram(const histogram_t *of):
    return tuple([of.counts[i] for i in range(BOUNDS + 1)]), of.sum


cdef int write_text(uint8_t *out, str text, int size) except -1:
    """Writes UTF-8, cut to whole characters and zero padded, always with a zero at the end."""
    cdef bytes encoded = text.encode(errors="replace")[:size - 1].decode("utf-8", "ignore").encode()
    memset(out, 0, size)
    memcpy(out, <const char *> encoded, len(encoded))
    return 0
