# The table of virtual routers, in a file that other processes map: the state segment.
#
# A header of HEADER_SIZE bytes, then `capacity` records of one size, of which those from `top` on
# were never used: the file is as long as it can ever get, so that a reader's mapping stays good,
# and what was not used yet is a hole that takes no memory. One process writes. A record's
# `sequence` is odd while it is being written and has changed when it was written in between (a
# sequence lock), so a reader copies, looks again and never makes the writer wait.
#
# Behind the records is a ring of the last changes of state. An event is whole where its `number` is
# the same before and after it is copied.
#
# Times are nanoseconds of CLOCK_MONOTONIC, which is one clock for every process of the machine.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from fastvrrp._fsm cimport machine_t

cdef enum:
    LAYOUT = 6              # changes with every change of what follows
    HEADER_SIZE = 4096
    REASONS = 24            # room for packet.Reason
    NAME_SIZE = 64
    VERSION_SIZE = 32
    BOUNDS = 14             # of a histogram; above the last is one bucket more
    EVENTS = 16384          # that the ring remembers
    INTERFACE_SIZE = 16     # IFNAMSIZ
    ATTEMPTS = 3            # to take a table over, of which the time is remembered
    NOBODY = -1
    NO_INDEX = 0xFFFFFFFF   # of an event: the virtual router is no more

# How often something took so long: `counts` are for each bucket alone, in the order of `bounds`.
cdef struct histogram_t:
    uint64_t counts[BOUNDS + 1]
    uint64_t sum            # nanoseconds

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
    uint8_t version[VERSION_SIZE]       # of the writer, zero padded
    uint64_t events         # how many there ever were; the last one's number
    uint64_t changes        # of state, by all virtual routers there ever were
    uint64_t split_brains   # likewise
    uint64_t announcements_sent
    histogram_t lateness    # of adverts, behind their interval
    histogram_t overshoot   # of takeovers, behind the Master_Down_Interval
    uint64_t netlink_errors     # the kernel refused a change of an address, link, route or rule
    uint64_t netlink_overruns   # notifications were lost, and everything was read anew
    uint64_t reloads_done
    uint64_t reloads_refused
    int64_t reloaded_at     # the last reload, of either outcome; 0: there was none
    int64_t reload_done_at  # the last one that was carried out
    int64_t reload_time     # how long the last one took
    uint8_t boot[16]        # of the machine on whose clock all times are (proc(5), boot_id)
    uint64_t network        # inode of the writer's own network namespace
    uint32_t is_sending     # adverts of the last tick are on their way to the kernel
    int64_t opens_at        # nobody becomes master by silence before (`vrrp_startup_delay`)
    int64_t taken_at[ATTEMPTS]  # when successors began to take the table over; the last one first

cdef struct router_t:
    machine_t machine
    uint32_t sequence
    int32_t ifindex         # where it listens; 0 where the interface is missing
    uint8_t in_use
    uint8_t family          # 4 or 6
    uint8_t vrid
    uint8_t base_priority
    uint8_t changed_by      # the fsm.Event that brought its state
    uint8_t changed_from    # the state before
    uint16_t place          # whose names the details have; 0: the daemon's own network namespace
    uint32_t changes        # of state
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
    uint32_t ah_sequence    # of the last AH packet
    uint64_t identity       # by which a successor knows it again; 0: it is not told
    uint8_t name[NAME_SIZE]             # UTF-8, cut to fit, zero padded
    uint8_t interface[INTERFACE_SIZE]

# A change of state, or of a split brain.
cdef struct event_t:
    uint64_t number         # from 1 on; 0 while it is being written
    int64_t at
    uint32_t index
    uint8_t kind            # as the engine's notes: fsm.Event, SPLIT_BRAIN, SPLIT_BRAIN_OVER
    uint8_t before
    uint8_t after
    uint8_t priority        # the effective one
    uint8_t source[16]      # of the master that is followed, where the event is an advert

cdef class Segment:
    cdef object mapping                 # keeps the memory
    cdef header_t *header
    cdef router_t *routers
    cdef event_t *events
    # Once `left` has looked: adverts with this `sent_at`, which is that of all of one tick, may not
    # have got to the kernel before the writer died; NEVER: all have.
    cdef int64_t last_tick

    # False where there is none; otherwise it is as it was at one instant.
    cdef bint copy(self, uint32_t index, router_t *into) noexcept nogil
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
    cdef int descriptor                 # of the file; -1 is none
    cdef object path                    # of the file, or where it is to be
    cdef object draft                   # where it is until `publish`
    cdef uint32_t roaming               # routers that listen on no interface in particular
    cdef int32_t *members               # interfaces of VRFs, in order
    cdef int32_t *domains               # their VRFs
    cdef uint32_t member_count

    # The first router of (interface, family, VRID), or NOBODY; `following` has the others (they
    # differ in multicast group or unicast peers). Where there is none, one that listens on the VRF
    # of the interface, or where it is in none on no interface in particular.
    cdef int32_t find(self, int32_t ifindex, uint8_t family, uint8_t vrid) noexcept nogil
    cdef int32_t find_there(self, int32_t ifindex, uint8_t family, uint8_t vrid) noexcept nogil
    cdef int32_t domain_of(self, int32_t ifindex) noexcept nogil
    cdef void log_event(
        self, uint32_t index, uint8_t kind, uint8_t before, int64_t now) noexcept nogil
    cdef int reserve(self, uint32_t capacity) except -1
    cdef int make_index(self, uint32_t capacity) except -1
    cdef void enter(self, uint32_t index) noexcept nogil
    cdef void leave(self, uint32_t index) noexcept nogil

# When the last advert of a router left for sure, given the last tick of its writer.
cdef int64_t spoke_at(const router_t *router, int64_t last_tick) noexcept nogil

# Around every change that a reader must see whole.
cdef inline void begin_write(router_t *router) noexcept nogil:
    store_release(&router.sequence, router.sequence + 1)
    write_fence()

cdef inline void end_write(router_t *router) noexcept nogil:
    store_release(&router.sequence, router.sequence + 1)

# Counts something that took so many nanoseconds; less than none is none.
cdef inline void observe(histogram_t *histogram, int64_t duration) noexcept nogil:
    cdef int bucket = 0
    if duration > 0:
        while bucket < BOUNDS and duration > bounds[bucket]:
            bucket += 1
        histogram.sum += duration
    histogram.counts[bucket] += 1

cdef extern from *:
    """
    #define fastvrrp_store_release(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
    #define fastvrrp_load_acquire(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
    #define fastvrrp_read_fence() __atomic_thread_fence(__ATOMIC_ACQUIRE)
    #define fastvrrp_write_fence() __atomic_thread_fence(__ATOMIC_RELEASE)
    #define fastvrrp_load_acquire_64(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
    #define fastvrrp_store_release_64(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
    /* Nanoseconds; 50 us to 1 s. */
    static const int64_t fastvrrp_bounds[] = {
        50000, 100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000, 25000000, 50000000,
        100000000, 250000000, 500000000, 1000000000};
    """
    const int64_t bounds "fastvrrp_bounds"[BOUNDS]
    void store_release_64 "fastvrrp_store_release_64"(uint64_t *p, uint64_t v) nogil
    uint64_t load_acquire_64 "fastvrrp_load_acquire_64"(const uint64_t *p) nogil
    void store_release "fastvrrp_store_release"(uint32_t *p, uint32_t v) nogil
    uint32_t load_acquire "fastvrrp_load_acquire"(const uint32_t *p) nogil
    void write_fence "fastvrrp_write_fence"() nogil
    void read_fence "fastvrrp_read_fence"() nogil
