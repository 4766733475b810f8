# rtnetlink's messages in C (rtnetlink(7), linux/rtnetlink.h): what `rtnetlink`'s sockets send and
# receive.

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint16_t, uint32_t

cdef extern from "<linux/rtnetlink.h>" nogil:
    struct nlmsghdr:
        uint32_t nlmsg_len
        uint16_t nlmsg_type
        uint16_t nlmsg_flags
        uint32_t nlmsg_seq
    struct ifinfomsg:
        unsigned char ifi_family
        int ifi_index
        unsigned ifi_flags
        unsigned ifi_change
    struct ifaddrmsg:
        uint8_t ifa_family
        uint8_t ifa_prefixlen
        uint8_t ifa_flags
        uint8_t ifa_scope
        uint32_t ifa_index

cdef enum:
    MAX_REQUEST = 512   # more than the longest request that is encoded here

# A request that is being written; its length is not in its header yet.
cdef struct request_t:
    size_t size
    uint8_t data[MAX_REQUEST]

# Starts a request with its header: `kind` is RTM_*, `flags` are NLM_F_* beside NLM_F_REQUEST.
cdef void begin(request_t *request, uint16_t kind, uint16_t flags) noexcept nogil

# Appends bytes and pads to four (NLMSG_ALIGN, RTA_ALIGN). The callers bound every size, and their
# sum is far below MAX_REQUEST.
cdef void put(request_t *request, const void *data, size_t size) noexcept nogil

# Appends an attribute of four bytes in host order.
cdef void put_u32(request_t *request, uint16_t kind, uint32_t value) noexcept nogil

# What `decode_messages` has seen beside events.
cdef struct progress_t:
    uint32_t sequence   # of a dump: messages of another one are left out. 0: take all.
    bint done           # the dump's end
    bint interrupted    # the table changed during the dump
    int error           # errno; 0 is none

# Appends the events in `size` bytes at `data` to `events`; what is malformed is left out.
cdef int decode_messages(
    const uint8_t *data, size_t size, list events, progress_t *progress) except -1
