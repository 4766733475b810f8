"""A hierarchical timer wheel.

Time is cut into ticks of 65.5 us. Level 0 has one slot a tick for the 256 ticks around now, level 1
one slot for 256 ticks, and so on: six levels are more than a century. A timer goes to the lowest
level on which its tick and the present one fall into different slots, so the slot in which we stand
is empty on every level but 0, and every timer of a lower level is due before every timer of a
higher one. That makes the next deadline a search for the first set bit of a few words.

When the wheel comes to a slot of a higher level, its timers move down; each moves at most five
times in its life. Empty slots are never visited, so a wheel that slept for an hour wakes for one
step.

A slot's timers stand in the order in which they came. Virtual routers that speak in one tick do so
in the same order each time: with the last one first, as a simple list has them, the gaps of those
at either end differ by the length of the whole burst (at 4,080 virtual routers 12 ms).

A slot remembers the earliest deadline that was put into it. Cancelling does not correct that: the
price is a wake with nothing to do, which a virtual router that goes on hearing its master does not
pay, because an advert does not touch the wheel at all (see engine.pyx).
"""

from libc.stdint cimport INT64_MAX
from libc.stdlib cimport calloc, free, realloc

cdef extern from *:
    """
    #define fastvrrp_lowest_bit(word) __builtin_ctzll(word)
    #define fastvrrp_highest_bit(word) (63 - __builtin_clzll(word))
    """
    int lowest_bit "fastvrrp_lowest_bit"(uint64_t word) nogil
    int highest_bit "fastvrrp_highest_bit"(uint64_t word) nogil


cdef class Wheel:
    """A timer wheel for `capacity` timers that stands at `now` (nanoseconds)."""

    def __cinit__(self, uint32_t capacity, int64_t now=0):
        cdef int i
        for i in range(ALL_SLOTS):
            self.heads[i] = -1
            self.earliest[i] = INT64_MAX
        self.tick = now >> TICK_SHIFT
        self.grow(capacity)

    def __dealloc__(self):
        free(self.timers)

    cdef int grow(self, uint32_t capacity) except -1:
        cdef timer_t *timers
        if capacity <= self.capacity:
            return 0
        timers = <timer_t *> realloc(self.timers, capacity * sizeof(timer_t))
        if timers == NULL:
            raise MemoryError()
        self.timers = timers
        while self.capacity < capacity:
            timers[self.capacity].slot = UNSCHEDULED
            self.capacity += 1
        return 0

    cdef void link(self, uint32_t timer, int64_t deadline) noexcept nogil:
        cdef timer_t *entry = &self.timers[timer]
        cdef int64_t tick = deadline >> TICK_SHIFT
        cdef int level = 0
        cdef int slot
        if tick <= self.tick:
            tick = self.tick            # overdue: the slot in which we stand
        else:
            level = highest_bit(<uint64_t> (tick ^ self.tick)) // SLOT_SHIFT
        slot = level * SLOTS + ((tick >> (level * SLOT_SHIFT)) & (SLOTS - 1))
        entry.deadline = deadline
        entry.slot = slot
        entry.following = -1
        if self.heads[slot] < 0:
            entry.previous = -1
            self.heads[slot] = timer
        else:
            entry.previous = self.tails[slot]
            self.timers[entry.previous].following = timer
        self.tails[slot] = timer
        self.occupied[slot >> 6] |= <uint64_t> 1 << (slot & 63)
        if deadline < self.earliest[slot]:
            self.earliest[slot] = deadline

    cdef void unlink(self, uint32_t timer) noexcept nogil:
        cdef timer_t *entry = &self.timers[timer]
        cdef int slot = entry.slot
        if entry.previous >= 0:
            self.timers[entry.previous].following = entry.following
        else:
            self.heads[slot] = entry.following
            if entry.following < 0:
                self.occupied[slot >> 6] &= ~(<uint64_t> 1 << (slot & 63))
                self.earliest[slot] = INT64_MAX
        if entry.following >= 0:
            self.timers[entry.following].previous = entry.previous
        else:
            self.tails[slot] = entry.previous
        entry.slot = UNSCHEDULED

    cdef void schedule(self, uint32_t timer, int64_t deadline) noexcept nogil:
        if self.timers[timer].slot != UNSCHEDULED:
            self.unlink(timer)
        else:
            self.scheduled += 1
        self.link(timer, deadline)

    cdef void cancel(self, uint32_t timer) noexcept nogil:
        if self.timers[timer].slot != UNSCHEDULED:
            self.unlink(timer)
            self.scheduled -= 1

    cdef bint is_scheduled(self, uint32_t timer) noexcept nogil:
        return self.timers[timer].slot != UNSCHEDULED

    cdef int64_t deadline(self, uint32_t timer) noexcept nogil:
        return self.timers[timer].deadline

    cdef int next_occupied(self, int level, int slot) noexcept nogil:
        """The first occupied slot of a level from `slot` on, as an index over all; or -1."""
        cdef int word
        cdef int last = (level + 1) * (SLOTS // 64)
        cdef uint64_t bits
        if slot >= SLOTS:
            return -1
        slot += level * SLOTS
        word = slot >> 6
        bits = self.occupied[word] & (~<uint64_t> 0 << (slot & 63))
        while bits == 0:
            word += 1
            if word == last:
                return -1
            bits = self.occupied[word]
        return word * 64 + lowest_bit(bits)

    cdef int first_slot(self) noexcept nogil:
        """The slot with the earliest timers, as an index over all; or -1."""
        cdef int level
        cdef int slot
        cdef int here
        for level in range(LEVELS):
            here = (self.tick >> (level * SLOT_SHIFT)) & (SLOTS - 1)
            slot = self.next_occupied(level, here)
            if slot >= 0:
                return slot
        return -1

    cdef int64_t next_deadline(self) noexcept nogil:
        cdef int slot = self.first_slot()
        return INT64_MAX if slot < 0 else self.earliest[slot]

    cdef uint32_t expire(self, int64_t now, uint32_t *due, uint32_t limit) noexcept nogil:
        cdef int64_t now_tick = now >> TICK_SHIFT
        cdef int64_t reached
        cdef int64_t earliest
        cdef uint32_t count = 0
        cdef int slot
        cdef int level
        cdef int32_t timer
        cdef int32_t following
        while True:
            slot = self.first_slot()
            if slot < 0:
                break
            level = slot // SLOTS
            # The first tick of that slot: the present one with the lower levels at zero.
            reached = (self.tick >> ((level + 1) * SLOT_SHIFT)) << ((level + 1) * SLOT_SHIFT)
            reached += <int64_t> (slot & (SLOTS - 1)) << (level * SLOT_SHIFT)
            if reached > now_tick:
                break
            self.tick = reached
            timer = self.heads[slot]
            if level > 0:
                self.heads[slot] = -1
                self.occupied[slot >> 6] &= ~(<uint64_t> 1 << (slot & 63))
                self.earliest[slot] = INT64_MAX
                while timer >= 0:
                    following = self.timers[timer].following
                    self.link(timer, self.timers[timer].deadline)
                    timer = following
                continue
            if self.earliest[slot] > now:
                break
            earliest = INT64_MAX
            while timer >= 0:
                following = self.timers[timer].following
                if self.timers[timer].deadline > now:
                    earliest = min(earliest, self.timers[timer].deadline)
                elif count == limit:
                    return count
                else:
                    self.unlink(timer)
                    self.scheduled -= 1
                    due[count] = timer
                    count += 1
                timer = following
            if self.heads[slot] >= 0:
                self.earliest[slot] = earliest      # all that are left are yet to come
                break
        if self.tick < now_tick:
            self.tick = now_tick
        return count

    # --- the face that tests see ----------------------------------------------------------------

    def schedule_at(self, uint32_t timer, int64_t deadline) -> None:
        """Schedules `timer` (below `capacity`) for `deadline`, in nanoseconds."""
        self._check(timer)
        self.schedule(timer, deadline)

    def cancel_timer(self, uint32_t timer) -> None:
        """Unschedules `timer`; nothing happens when it was not scheduled."""
        self._check(timer)
        self.cancel(timer)

    def expired(self, int64_t now, uint32_t limit=256) -> list:
        """Takes out all timers due at `now`, in batches of `limit`."""
        cdef uint32_t *due = <uint32_t *> calloc(limit, sizeof(uint32_t))
        cdef uint32_t count
        if due == NULL:
            raise MemoryError()
        expired = []
        try:
            while True:
                count = self.expire(now, due, limit)
                expired += [due[i] for i in range(count)]
                if count < limit:
                    return expired
        finally:
            free(due)

    @property
    def sleeps_until(self) -> int | None:
        """No timer is due before this time; None when there is none."""
        cdef int64_t deadline = self.next_deadline()
        return None if deadline == INT64_MAX else deadline

    cdef int _check(self, uint32_t timer) except -1:
        if timer >= self.capacity:
            raise IndexError(f"timer {timer} is outside 0-{self.capacity - 1}")
        return 0
