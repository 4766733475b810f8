# The engine: virtual routers, their timers and frames, between a Sender and a source of packets.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from fastvrrp._fsm cimport EVENT_COUNT, Event
from fastvrrp._packet cimport Reason, advert_t
from fastvrrp._plan cimport plan_t
from fastvrrp._rivals cimport news_t
from fastvrrp._sockets cimport Sender
from fastvrrp._table cimport Table
from fastvrrp._wheel cimport Wheel

cdef enum:
    EARLY_PART = 100        # an advert may go 1/100 of its interval early, to share a wake
    DUE_BATCH = 2048        # adverts of one wake
    DOWN_BATCH = 256

# What a note is about, besides the state machine's events.
cdef enum Found:
    SPLIT_BRAIN = EVENT_COUNT           # two masters, and neither yields
    SPLIT_BRAIN_OVER = EVENT_COUNT + 1

# A change that the engine's owner has to carry on with.
cdef struct note_t:
    uint32_t index
    uint16_t actions
    uint8_t event
    uint8_t before
    uint8_t after
    uint8_t priority        # ADVERT: what was heard
    uint8_t source[16]
    int64_t since           # SPLIT_BRAIN and SPLIT_BRAIN_OVER

cdef class Engine:
    cdef readonly Table table
    cdef readonly Sender sender
    cdef Wheel adverts      # MASTER: when the next advert may go
    cdef Wheel downs        # BACKUP: when the master may be down; looked at again when it comes
    cdef plan_t **plans     # by the table's index; NULL where nothing is configured
    cdef uint32_t plan_count
    cdef note_t *notes
    cdef uint32_t note_count
    cdef uint32_t note_room
    cdef int64_t opens_at   # until then nobody becomes master by silence
    cdef public object on_unknown   # called once for each VRID of an interface that is nobody's
    cdef set unknown        # those
    cdef int64_t slack      # how long an advert that may go can wait for company
    cdef dict intervals     # how many routers have each Adver_Interval
    cdef int64_t shared_until   # adverts that may go before then share the present wake
    cdef uint32_t places        # for how many adverts there is room in it
    cdef uint32_t flushes   # counts them: a frame of the present one must not be changed
    cdef uint8_t *scratch   # announcements on their way to the sender
    cdef uint32_t scratch_used
    cdef uint64_t counted_sent      # of the sender's counters, what the table's header has
    cdef uint64_t counted_unsent

    cdef void hear_ipv4(
        self, int32_t ifindex, const uint8_t *packet, uint32_t size, int64_t now)
    cdef void hear_ipv6(
        self, int32_t ifindex, const uint8_t *payload, uint32_t size, const uint8_t *source,
        const uint8_t *destination, int hop_limit, int64_t now)
    cdef void hear(
        self, int32_t ifindex, const advert_t *advert, Reason verdict, const uint8_t *packet,
        uint32_t size, int64_t now)
    cdef void feed(
        self, uint32_t index, Event event, const advert_t *advert, int64_t now)
    cdef void set_timer(self, uint32_t index) noexcept nogil
    cdef void send(self, uint32_t index, uint8_t priority, int64_t now)
    cdef void follow_checksum(self, uint32_t index, const advert_t *advert)
    cdef int tell_unknown(self, int32_t ifindex, const advert_t *advert) except -1
    cdef void build(self, uint32_t index, uint8_t priority)
    cdef void sign(self, plan_t *plan, uint8_t priority)
    cdef void flush_frames(self) noexcept
    cdef int count_interval(self, int64_t advert_interval) except -1
    cdef int discount_interval(self, int64_t advert_interval) except -1
    cdef int check(self, uint32_t index) except -1
    cdef plan_t *plan_of(self, uint32_t index) except NULL
    cdef note_t *note(
        self, uint32_t index, uint8_t event, uint32_t actions, uint8_t before,
        const advert_t *advert) except NULL
    cdef int tell(self, uint32_t index, news_t news) except -1
    # When `run` has to be called next, in nanoseconds; NEVER for never.
    cdef int64_t next_wake(self) noexcept nogil
    # Does what is due at `now`, for at most `budget` nanoseconds of CLOCK_MONOTONIC (0: all of it).
    # `with_downs` is False while adverts that came earlier are still unread.
    cdef void run_due(self, int64_t now, int64_t budget, bint with_downs)
