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
import time

from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

from fastvrrp._fsm cimport INIT, NEVER

MAGIC = b"FASTVRRP"


cdef uint64_t key_of(int32_t ifindex, uint8_t family, uint8_t vrid) noexcept nogil:
    return <uint64_t> ifindex << 16 | <uint64_t> family << 8 | vrid     # a VRID is not 0


cdef uint32_t spread(uint64_t key) noexcept nogil:
    return (key * 0x9E3779B97F4A7C15ULL) >> 32          # Fibonacci hashing


cdef bytes text_of(const uint8_t *start, int size):
    return (<const char *> start)[:size].split(b"\0", 1)[0]


cdef class Segment:
    """A mapped table, for reading. Raises ValueError where the file is not one of this layout."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self.mapping = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        if len(self.mapping) < HEADER_SIZE or self.mapping[:8] != MAGIC:
            raise ValueError(f"{path} is not a state segment of fastvrrp")
        self._map()
        if self.header.layout != LAYOUT or self.header.record_size != sizeof(router_t):
            raise ValueError(f"{path} has layout {self.header.layout}, not {LAYOUT}: "
                             "read it with the version that writes it")
        if <size_t> len(self.mapping) < HEADER_SIZE + self.header.capacity * sizeof(router_t):
            raise ValueError(f"{path} is cut short")

    def _map(self):
        cdef const unsigned char[::1] readable
        if isinstance(self.mapping, mmap.mmap):
            readable = memoryview(self.mapping).cast("B")
        else:
            readable = self.mapping
        self.header = <header_t *> &readable[0]
        self.routers = <router_t *> (<uint8_t *> self.header + HEADER_SIZE)

    @property
    def pid(self) -> int:
        """Of the process that writes (or wrote) the segment."""
        return self.header.pid

    def totals(self) -> dict:
        """Counters over all virtual routers: packets, refused (a tuple by Reason), frames,
        dropped (by the kernel, unread)."""
        return {
            "packets": self.header.packets,
            "refused": tuple([self.header.refused[i] for i in range(REASONS)]),
            "frames_sent": self.header.frames_sent,
            "frames_unsent": self.header.frames_unsent,
            "dropped": self.header.dropped,
        }

    def read(self, uint32_t index) -> dict | None:
        """The virtual router at `index` as it was at one instant, or None where there is none."""
        cdef router_t copy
        cdef uint32_t before
        cdef int _
        if index >= self.header.capacity:
            raise IndexError(f"router {index} is outside 0-{self.header.capacity - 1}")
        for _ in range(100_000):        # a writer that died in between left it odd for good
            before = load_acquire(&self.routers[index].sequence)
            memcpy(&copy, &self.routers[index], sizeof(router_t))
            read_fence()
            if not before & 1 and load_acquire(&self.routers[index].sequence) == before:
                break
        return self.describe(&copy) if copy.in_use else None

    def __iter__(self):
        for index in range(min(self.header.top, self.header.capacity)):
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

    `path` is created, or replaced as a whole; None keeps the table in private memory, for tests and
    simulations.
    """

    def __cinit__(self, path, uint32_t capacity, uint32_t room=0):
        self.free = []
        self.make_index(capacity)

    def __init__(self, path, uint32_t capacity, uint32_t room=0):
        room = max(room, capacity)
        total = HEADER_SIZE + <size_t> room * sizeof(router_t)
        if path is None:
            self.mapping = mmap.mmap(-1, total)
        else:
            # Readers of an older file keep it; nobody ever maps a half-made one.
            draft = f"{path}.{os.getpid()}"
            descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
            try:
                os.ftruncate(descriptor, total)
                self.mapping = mmap.mmap(descriptor, total)
            finally:
                os.close(descriptor)
        self._map()
        memcpy(self.header.magic, b"FASTVRRP", 8)
        self.header.layout = LAYOUT
        self.header.record_size = sizeof(router_t)
        self.header.capacity = room
        self.header.pid = os.getpid()
        self.header.started_at = time.monotonic_ns()
        if path is not None:
            os.replace(draft, path)

    def __dealloc__(self):
        free(self.keys)
        free(self.heads)
        free(self.following)

    @property
    def room(self) -> int:
        """How many virtual routers it can grow to."""
        return self.header.capacity

    def grow(self, uint32_t capacity) -> None:
        """Makes it a table for at least `capacity` virtual routers; every one keeps its index. The
        engine has to `grow` before the next is added. Raises OverflowError where that is more than
        there is room for."""
        cdef uint32_t index
        if capacity > self.header.capacity:
            raise OverflowError(f"the table has room for {self.header.capacity} virtual routers")
        if capacity <= self.capacity:
            return
        self.make_index(capacity)
        for index in range(self.top):
            if self.routers[index].in_use:
                self.enter(index)

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

    def set_split(self, uint32_t index, int64_t since) -> None:
        """Another master speaks or answers beside this virtual router's since then (nanoseconds);
        0: that is over."""
        cdef router_t *router = &self.routers[index]
        if index >= self.top or not router.in_use:
            raise IndexError(f"no virtual router at {index}")
        begin_write(router)
        if since and not router.split_since:
            router.split_brains += 1
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

    def state(self, uint32_t index) -> int:
        """The state of a virtual router of this process (fsm.State)."""
        if index >= self.top:
            raise IndexError(f"no virtual router at {index}")
        return self.routers[index].machine.state

    cdef int32_t find(self, int32_t ifindex, uint8_t family, uint8_t vrid) noexcept nogil:
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


cdef int write_text(uint8_t *out, str text, int size) except -1:
    """Writes UTF-8, cut to whole characters and zero padded, always with a zero at the end."""
    cdef bytes encoded = text.encode(errors="replace")[:size - 1].decode("utf-8", "ignore").encode()
    memset(out, 0, size)
    memcpy(out, <const char *> encoded, len(encoded))
    return 0
