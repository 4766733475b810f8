# A hierarchical timer wheel: many timers, one sleep. Insert, cancel and expiry are O(1).
#
# Timers are numbers from 0 to capacity - 1, each scheduled at most once; deadlines are nanoseconds.

from libc.stdint cimport int32_t, int64_t, uint16_t, uint32_t, uint64_t

cdef enum:
    TICK_SHIFT = 16     # a tick is 2**16 ns, 65.5 us: a hundredth of the shortest advert interval
    SLOT_SHIFT = 8
    SLOTS = 256         # a level
    LEVELS = 6          # 2**64 ns and more
    ALL_SLOTS = 1536
    WORDS = 24          # of 64 slots
    UNSCHEDULED = 0xFFFF

cdef struct timer_t:
    int64_t deadline
    int32_t previous    # in the slot's list, -1 for none
    int32_t following
    uint16_t slot       # level * SLOTS + slot, or UNSCHEDULED

cdef class Wheel:
    cdef timer_t *timers
    cdef readonly uint32_t capacity
    cdef readonly uint32_t scheduled                # how many timers are
    cdef int64_t tick                               # where the wheel stands
    cdef int32_t[ALL_SLOTS] heads
    cdef int32_t[ALL_SLOTS] tails              # only where the slot is occupied
    cdef int64_t[ALL_SLOTS] earliest           # no timer of the slot is due before
    cdef uint64_t[WORDS] occupied    # a bit a slot

    # Sets `timer` to expire at `deadline`, instead of when it was to before.
    cdef void schedule(self, uint32_t timer, int64_t deadline) noexcept nogil
    cdef void cancel(self, uint32_t timer) noexcept nogil
    cdef bint is_scheduled(self, uint32_t timer) noexcept nogil
    cdef int64_t deadline(self, uint32_t timer) noexcept nogil      # only if it is scheduled

    # Takes out up to `limit` timers whose deadline is `now` or before, writes their numbers to
    # `due` and returns how many there are; fewer than `limit` means that there are no more. They
    # come in order of ticks, and within one in the order in which they were put into its slot.
    # `now` never goes back.
    cdef uint32_t expire(self, int64_t now, uint32_t *due, uint32_t limit) noexcept nogil

    # No timer is due before this; NEVER when there is none. To wake then finds at most nothing due,
    # and brings the next answer nearer to the truth.
    cdef int64_t next_deadline(self) noexcept nogil

    cdef int grow(self, uint32_t capacity) except -1

    cdef void link(self, uint32_t timer, int64_t deadline) noexcept nogil
    cdef void unlink(self, uint32_t timer) noexcept nogil
    cdef int next_occupied(self, int level, int slot) noexcept nogil
    cdef int first_slot(self) noexcept nogil
    cdef int _check(self, uint32_t timer) except -1
