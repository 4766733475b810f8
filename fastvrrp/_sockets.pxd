# Every socket that carries VRRP, ARP and NDP, in batches: one system call for many packets.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    RECEIVE_BATCH = 64
    SEND_BATCH = 256
    BUFFER_SIZE = 4352      # above the longest advert of either family
    CONTROL_SIZE = 128
    PLACES = 2048           # network namespaces that one daemon can be in
    PLACE_SHIFT = 20        # an interface's number is -(place << PLACE_SHIFT | ifindex)
    PLACE_MASK = 0xFFFFF
    ANYWHERE = 0x7FFFFFFF   # no interface of place 0; that of another place has the ifindex 0

# A received packet. IPv4 starts at its IP header, IPv6 at the VRRP header.
cdef struct datagram_t:
    const uint8_t *data
    uint32_t size
    int32_t ifindex         # the interface's number, where the receiver is in another place than 0
    int32_t hop_limit       # IPv6 only
    uint8_t source[16]      # IPv6 only
    uint8_t destination[16]

# Where frames and packets go. What is handed over stays the caller's and must not change before
# `flush` has returned.
cdef class Sender:
    cdef uint64_t sent
    cdef uint64_t unsent
    # A whole Ethernet frame, through an interface.
    cdef void frame(self, int32_t ifindex, const uint8_t *data, uint32_t size) noexcept
    # A whole IP packet, through the routing table: unicast. `ifindex` 0 leaves the choice to it.
    cdef void packet(
        self, uint8_t family, int32_t ifindex, const uint8_t *data, uint32_t size) noexcept
    cdef void flush(self) noexcept

cdef class Receiver:
    cdef readonly int descriptor
    cdef readonly int family        # AF_INET or AF_INET6
    cdef readonly int place         # 0: the daemon's own namespace
    cdef object socket
    cdef object buffers
    cdef uint8_t *memory
    cdef void *messages
    # What the kernel threw away because the queue was full.
    cdef readonly uint64_t dropped
    cdef datagram_t[RECEIVE_BATCH] datagrams
    # Receives up to RECEIVE_BATCH packets into `datagrams`; returns how many, 0 when none waits.
    cdef int receive(self) noexcept
    cdef void count_drops(self) noexcept

# The one timer of a loop.
cdef class Alarm:
    cdef readonly int descriptor
    cdef int64_t armed
    # Fires at `deadline` (nanoseconds of CLOCK_MONOTONIC), or never for NEVER.
    cdef void set(self, int64_t deadline) noexcept
    # Takes note that it fired.
    cdef void acknowledge(self) noexcept
