# The table of virtual routers, in a file that other processes map: the state segment.
#
# A header of HEADER_SIZE bytes, then `capacity` records of one size, of which those from `top` on
# were never used: the file is as long as it can ever get, so that a reader's mapping stays good,
# and what was not used yet is a hole that takes no memory. One process writes. A record's
# `sequence` is odd while it is being written and has changed when it was written in between (a
# sequence lock), so a reader copies, looks again and never makes the writer wait.
#
# Times are nanoseconds of CLOCK_MONOTONIC, which is one clock for every process of the machine.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from fastvrrp._fsm cimport machine_t

cdef enum:
    LAYOUT = 4              # changes with every change of what follows
    HEADER_SIZE = 4096
    REASONS = 24            # room for packet.Reason
    NAME_SIZE = 64
    INTERFACE_SIZE = 16     # IFNAMSIZ
    NOBODY = -1

cdef struct header_t:
    uint8_t magic[8]        # b"FASTVRRP"
    uint32_t layout
    uint32_t record_size
    uint32_t capacity
    uint32_t pid            # of the writer
    uint32_t top            # every record in use has an index below
    int64_t started_at
    uint64_t packets        # received, before any check
    uint64_t refused[REASONS]   # by Reason, whether or not a virtual router was found
    uint64_t frames_sent
    uint64_t frames_unsent  # the kernel would not take them
    uint64_t dropped        # received, and thrown away by the kernel: our queue was full

cdef struct router_t:
    machine_t machine
    uint32_t sequence
    int32_t ifindex         # where it listens; 0 where the interface is missing
    uint8_t in_use
    uint8_t family          # 4 or 6
    uint8_t vrid
    uint8_t base_priority
    uint32_t became_master
    int64_t heard_at        # last advert that passed every check
    int64_t sent_at         # last advert sent
    uint64_t adverts_received
    uint64_t adverts_sent
    uint64_t announcements_sent
    uint32_t released_master
    uint32_t resigns_received
    uint32_t resigns_sent
    uint32_t discarded      # adverts of lower priority that had no effect
    uint32_t refused[REASONS]
    uint32_t split_brains   # how often another master was found that did not yield
    int64_t split_since     # since when there is one; 0: there is none
    uint8_t name[NAME_SIZE]             # UTF-8, cut to fit, zero padded
    uint8_t interface[INTERFACE_SIZE]

cdef class Segment:
    cdef object mapping                 # keeps the memory
    cdef header_t *header
    cdef router_t *routers

    cdef object describe(self, const router_t *router)

cdef class Table(Segment):
    cdef readonly uint32_t capacity     # records for which there is more than room in the file
    cdef readonly uint32_t count        # routers in use
    cdef readonly uint32_t top          # all in use have an index below
    cdef int32_t *following             # the next router of the same key
    cdef uint64_t *keys                 # open addressing; 0 is free
    cdef int32_t *heads
    cdef uint32_t mask
    cdef list free

    # The first router of (interface, family, VRID), or NOBODY; `following` has the others (they
    # differ in multicast group or unicast peers).
    cdef int32_t find(self, int32_t ifindex, uint8_t family, uint8_t vrid) noexcept nogil
    cdef int make_index(self, uint32_t capacity) except -1
    cdef void enter(self, uint32_t index) noexcept nogil
    cdef void leave(self, uint32_t index) noexcept nogil

# Around every change that a reader must see whole.
cdef inline void begin_write(router_t *router) noexcept nogil:
    store_release(&router.sequence, router.sequence + 1)
    write_fence()

cdef inline void end_write(router_t *router) noexcept nogil:
    store_release(&router.sequence, router.sequence + 1)

cdef extern from *:
    """
    #define fastvrrp_store_release(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
    #define fastvrrp_load_acquire(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
    #define fastvrrp_read_fence() __atomic_thread_fence(__ATOMIC_ACQUIRE)
    #define fastvrrp_write_fence() __atomic_thread_fence(__ATOMIC_RELEASE)
    """
    void store_release "fastvrrp_store_release"(uint32_t *p, uint32_t v) nogil
    uint32_t load_acquire "fastvrrp_load_acquire"(const uint32_t *p) nogil
    void write_fence "fastvrrp_write_fence"() nogil
    void read_fence "fastvrrp_read_fence"() nogil
