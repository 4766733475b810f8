"""What Prometheus is told of every virtual router: lines of its text format, written in C.

A scrape of 65,280 virtual routers is a million lines. Whoever scrapes takes a `Snapshot`: every
record as it was at one instant, with its labels written once, and asks it for the lines of one
metric after the other. That runs in the process that serves metrics, never in the daemon's.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy

from cpython.bytes cimport PyBytes_FromStringAndSize

from fastvrrp._fsm cimport MASTER
from fastvrrp._table cimport INTERFACE_SIZE, NAME_SIZE, REASONS, Segment, router_t

cdef extern from "string.h" nogil:
    size_t strnlen(const char *text, size_t most)

cdef enum:
    LONGEST_LABELS = 2 * (NAME_SIZE + INTERFACE_SIZE) + 128     # every character may be escaped
    LONGEST_NUMBER = 32
    MILLISECOND = 1_000_000

cdef enum Field:
    STATE
    PRIORITY
    BASE_PRIORITY
    RECEIVED
    SENT
    ANNOUNCED
    CHANGES
    BECAME_MASTER
    RELEASED_MASTER
    CHANGED_AT
    RESIGNS_RECEIVED
    RESIGNS_SENT
    DISCARDED
    SPLIT
    SPLIT_BRAINS
    MASTER_PRIORITY
    REFUSED         # the sum of those reasons that `mask` has a bit for
    FIELD_COUNT

FIELDS = (
    "state", "priority", "base_priority", "adverts_received", "adverts_sent", "announcements_sent",
    "changes", "became_master", "released_master", "changed_at", "resigns_received", "resigns_sent",
    "discarded", "split", "split_brains", "master_priority", "refused")
assert len(FIELDS) == FIELD_COUNT


cdef class Snapshot:
    """Every virtual router of a segment as it is now. `places` are the names of network namespaces
    by the records' numbers, in UTF-8; `wall_offset` is what makes a time of the day of one of the
    monotonic clock, in nanoseconds. With `as_keepalived` the labels are those of
    keepalived-exporter."""

    cdef router_t *routers
    cdef uint32_t *indexes
    cdef uint8_t *labels        # one after the other
    cdef size_t *ends           # where the labels of each end
    cdef readonly uint32_t count
    cdef int64_t wall_offset

    def __cinit__(self, Segment segment not None, dict places, int64_t wall_offset,
                  bint as_keepalived=False):
        cdef uint32_t extent = segment.extent
        cdef uint32_t index
        cdef size_t used = 0
        cdef size_t room = extent * 96 + LONGEST_LABELS
        cdef size_t needed
        cdef uint8_t *grown
        cdef bytes place
        self.wall_offset = wall_offset
        self.routers = <router_t *> malloc((extent or 1) * sizeof(router_t))
        self.indexes = <uint32_t *> malloc((extent or 1) * sizeof(uint32_t))
        self.ends = <size_t *> malloc((extent + 1) * sizeof(size_t))
        self.labels = <uint8_t *> malloc(room)
        if (self.routers == NULL or self.indexes == NULL or self.ends == NULL
                or self.labels == NULL):
            raise MemoryError()
        self.ends[0] = 0
        for index in range(extent):
            if not segment.copy(index, &self.routers[self.count]):
                continue
            place = b""
            if self.routers[self.count].place:
                place = places.get(self.routers[self.count].place, b"")
            needed = used + LONGEST_LABELS + 2 * len(place)
            if needed > room:
                room = 2 * needed
                grown = <uint8_t *> realloc(self.labels, room)
                if grown == NULL:
                    raise MemoryError()
                self.labels = grown
            if as_keepalived:
                used += write_as_keepalived(&self.labels[used], &self.routers[self.count])
            else:
                used += write_labels(&self.labels[used], &self.routers[self.count],
                                     <const uint8_t *> <const char *> place, len(place))
            self.indexes[self.count] = index
            self.count += 1
            self.ends[self.count] = used

    def __dealloc__(self):
        free(self.routers)
        free(self.indexes)
        free(self.labels)
        free(self.ends)

    def states(self) -> tuple:
        """How many are in each state, by its number."""
        cdef uint32_t counts[4]
        cdef uint32_t i
        counts[0] = counts[1] = counts[2] = counts[3] = 0
        for i in range(self.count):
            counts[self.routers[i].machine.state & 3] += 1
        return counts[0], counts[1], counts[2], counts[3]

    def restrained(self) -> tuple:
        """How many have each fsm.Restraint, by its number."""
        cdef uint32_t counts[3]
        cdef uint32_t i
        counts[0] = counts[1] = counts[2] = 0
        for i in range(self.count):
            counts[min(self.routers[i].machine.restraint, 2)] += 1
        return counts[0], counts[1], counts[2]

    def indexes_of(self, uint32_t start, uint32_t stop) -> list:
        """The table's indexes of some of them."""
        return [self.indexes[i] for i in range(start, min(stop, self.count))]

    def labels_of(self, uint32_t position) -> bytes:
        """The labels of one, without the braces."""
        if position >= self.count:
            raise IndexError(position)
        return self.labels[self.ends[position]:self.ends[position + 1]]

    def value(self, uint32_t position, int field, uint64_t mask=0) -> int:
        """The value of a field (a position in FIELDS)."""
        if position >= self.count or not 0 <= field < FIELD_COUNT:
            raise IndexError((position, field))
        return value_of(&self.routers[position], <Field> field, mask)

    def lines(self, bytes name, int field, uint32_t start, uint32_t stop,
              uint64_t mask=0, bytes more=b"", bint only_some=False) -> bytes:
        """The lines of one metric for those at start ... stop - 1. `more` is another label,
        as `,name="value"`; with `only_some` there are none for whom the value is 0."""
        cdef uint32_t i
        cdef uint8_t *out
        cdef uint8_t *at
        cdef const uint8_t *name_start = <const uint8_t *> <const char *> name
        cdef const uint8_t *more_start = <const uint8_t *> <const char *> more
        cdef size_t name_size = len(name)
        cdef size_t more_size = len(more)
        cdef size_t size
        cdef int64_t value
        if not 0 <= field < FIELD_COUNT:
            raise IndexError(field)
        stop = min(stop, self.count)
        if start >= stop:
            return b""
        out = <uint8_t *> malloc(
            self.ends[stop] - self.ends[start]
            + (stop - start) * (name_size + more_size + LONGEST_NUMBER + 4))
        if out == NULL:
            raise MemoryError()
        at = out
        for i in range(start, stop):
            value = value_of(&self.routers[i], <Field> field, mask)
            if only_some and value == 0:
                continue
            memcpy(at, name_start, name_size)
            at += name_size
            at[0] = c"{"
            size = self.ends[i + 1] - self.ends[i]
            memcpy(at + 1, &self.labels[self.ends[i]], size)
            at += size + 1
            memcpy(at, more_start, more_size)
            at += more_size
            at[0] = c"}"
            at[1] = c" "
            at += 2
            if field == CHANGED_AT:
                at += write_time(at, value + self.wall_offset)
            else:
                at += write_number(at, value)
            at[0] = c"\n"
            at += 1
        try:
            return PyBytes_FromStringAndSize(<const char *> out, at - out)
        finally:
            free(out)


cdef int64_t value_of(const router_t *router, Field field, uint64_t mask) noexcept nogil:
    cdef int64_t total = 0
    cdef int i
    if field == STATE:
        return router.machine.state
    elif field == PRIORITY:
        return router.machine.priority
    elif field == BASE_PRIORITY:
        return router.base_priority
    elif field == RECEIVED:
        return router.adverts_received
    elif field == SENT:
        return router.adverts_sent
    elif field == ANNOUNCED:
        return router.announcements_sent
    elif field == CHANGES:
        return router.changes
    elif field == BECAME_MASTER:
        return router.became_master
    elif field == RELEASED_MASTER:
        return router.released_master
    elif field == CHANGED_AT:
        return router.machine.changed_at
    elif field == RESIGNS_RECEIVED:
        return router.resigns_received
    elif field == RESIGNS_SENT:
        return router.resigns_sent
    elif field == DISCARDED:
        return router.discarded
    elif field == SPLIT:
        return router.split_since != 0
    elif field == SPLIT_BRAINS:
        return router.split_brains
    elif field == MASTER_PRIORITY:
        return (router.machine.priority if router.machine.state == MASTER
                else router.machine.master_priority)
    for i in range(REASONS):
        if mask >> i & 1:
            total += router.refused[i]
    return total


cdef size_t write_labels(
        uint8_t *out, const router_t *router, const uint8_t *place, size_t place_size) noexcept:
    cdef uint8_t *at = out
    at += write_literal(at, b'vrrp_instance="')
    at += write_escaped(at, router.name, strnlen(<const char *> router.name, NAME_SIZE))
    at += write_literal(at, b'",interface="')
    at += write_escaped(
        at, router.interface, strnlen(<const char *> router.interface, INTERFACE_SIZE))
    at += write_literal(at, b'",vrid="')
    at += write_number(at, router.vrid)
    at += write_literal(at, b'",family="ipv4"' if router.family == 4 else b'",family="ipv6"')
    if place_size:
        at += write_literal(at, b',namespace="')
        at += write_escaped(at, place, place_size)
        at += write_literal(at, b'"')
    return at - out


cdef size_t write_as_keepalived(uint8_t *out, const router_t *router) noexcept:
    cdef uint8_t *at = out
    at += write_literal(at, b'iname="')
    at += write_escaped(at, router.name, strnlen(<const char *> router.name, NAME_SIZE))
    at += write_literal(at, b'",intf="')
    at += write_escaped(
        at, router.interface, strnlen(<const char *> router.interface, INTERFACE_SIZE))
    at += write_literal(at, b'",vrid="')
    at += write_number(at, router.vrid)
    at += write_literal(at, b'"')
    return at - out


cdef size_t write_literal(uint8_t *out, const char *text) noexcept:
    cdef size_t size = strnlen(text, LONGEST_LABELS)
    memcpy(out, text, size)
    return size


cdef size_t write_escaped(uint8_t *out, const uint8_t *text, size_t size) noexcept nogil:
    cdef uint8_t *at = out
    cdef size_t i
    for i in range(size):
        if text[i] == c"\\" or text[i] == c'"' or text[i] == c"\n":
            at[0] = c"\\"
            at += 1
        at[0] = c"n" if text[i] == c"\n" else text[i]
        at += 1
    return at - out


cdef size_t write_number(uint8_t *out, int64_t value) noexcept nogil:
    cdef uint8_t digits[LONGEST_NUMBER]
    cdef size_t count = 0
    cdef size_t i
    if value < 0:
        return snprintf(<char *> out, LONGEST_NUMBER, "%lld", <long long> value)
    while True:
        digits[count] = c"0" + value % 10
        count += 1
        value //= 10
        if value == 0:
            break
    for i in range(count):
        out[i] = digits[count - 1 - i]
    return count


cdef size_t write_time(uint8_t *out, int64_t value) noexcept nogil:
    cdef int64_t milliseconds = value // MILLISECOND
    return snprintf(<char *> out, LONGEST_NUMBER, "%lld.%03d",
                    <long long> (milliseconds // 1000), <int> (milliseconds % 1000))
