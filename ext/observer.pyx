"""Takes note of every advert that an interface of this network namespace sends or hears.

At 65,280 adverts a second nothing may be done in Python for each of them, neither here nor in the
daemons that are being measured. The kernel filters (BPF), stamps and copies the adverts into a ring
that this process shares with it (TPACKET_V3, packet(7)), a block at a time; from there each becomes
a record of 16 bytes in memory that the reader has mapped as well. Nobody is asked and nobody waits.

    header   | count of records (8) | adverts lost for want of room (8) | nothing up to byte 4096
    record   | time, ns since 1970 (8) | priority, direction, VRID, family (1 each), ifindex (4)

Who asks for it sees announcements, too (gratuitous ARP, neighbour advertisements). Their records
have family 0 and, where the VRID would stand, the last byte of the announced address.

Everything is in the machine's byte order; the second half of a record, read as one number, is

    ifindex << 32 | family << 24 | VRID << 16 | direction << 8 | priority
"""

import mmap
import os
import socket
import struct
import time

from libc.errno cimport EINTR, errno as c_errno
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp

cdef extern from "<poll.h>" nogil:
    struct pollfd:
        int fd
        short events
        short revents
    int poll(pollfd *descriptors, unsigned long count, int timeout)
    short POLLIN

cdef extern from "<sys/socket.h>" nogil:
    int setsockopt(int fd, int level, int option, const void *value, unsigned int size)
    int SOL_SOCKET
    int SO_ATTACH_FILTER

cdef extern from "<linux/filter.h>" nogil:
    struct sock_filter:
        uint16_t code
        uint8_t jt
        uint8_t jf
        uint32_t k
    struct sock_fprog:
        unsigned short len
        sock_filter *filter

cdef extern from "<linux/if_packet.h>" nogil:
    struct sockaddr_ll:
        int sll_ifindex
        unsigned char sll_pkttype
    struct tpacket_hdr_v1:
        uint32_t block_status
        uint32_t num_pkts
        uint32_t offset_to_first_pkt
    union tpacket_bd_header_u:
        tpacket_hdr_v1 bh1
    struct tpacket_block_desc:
        tpacket_bd_header_u hdr
    struct tpacket3_hdr:
        uint32_t tp_next_offset
        uint32_t tp_sec
        uint32_t tp_nsec
        uint32_t tp_snaplen
        uint16_t tp_mac
    size_t TPACKET3_HDRLEN
    uint32_t TP_STATUS_KERNEL
    uint32_t TP_STATUS_USER

cdef extern from *:
    """
    #define fastvrrp_load_acquire(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
    #define fastvrrp_store_release(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
    #define fastvrrp_sll(h) ((const struct sockaddr_ll *) \
        ((const char *) (h) + TPACKET_ALIGN(sizeof(struct tpacket3_hdr))))
    """
    uint32_t load_acquire "fastvrrp_load_acquire"(const uint32_t *place) nogil
    void store_release "fastvrrp_store_release"(uint64_t *place, uint64_t value) nogil
    const sockaddr_ll *address_of "fastvrrp_sll"(const tpacket3_hdr *frame) nogil

cdef struct record_t:
    int64_t time
    uint8_t priority
    uint8_t direction
    uint8_t vrid
    uint8_t family
    uint32_t ifindex

HEADER_SIZE = 4096
RECORD_SIZE = sizeof(record_t)

# linux/if_packet.h, linux/if_ether.h
SOL_PACKET = 263            # linux/socket.h
PACKET_RX_RING = 5
PACKET_STATISTICS = 6
PACKET_VERSION = 10
TPACKET_V3 = 2
ETH_P_ALL = 3

BLOCK_SIZE = 1 << 20
BLOCKS = 32                 # more than two seconds of 65,280 virtual routers, both directions
FRAME_SIZE = 2048
RETIRE_AFTER = 20           # milliseconds until a block that is not full is handed over

cdef enum:
    SNAPLEN = 96            # Ethernet, the longest IPv4 header, the first bytes of VRRP
    ETHERNET_HEADER = 14
    FAMILY_AT = 12          # the ethertype's place
    SKF_IFINDEX = 0xFFFFF008    # linux/filter.h: SKF_AD_OFF + SKF_AD_IFINDEX
    # linux/bpf_common.h: class, size and mode of an instruction
    LOAD_WORD = 0x20
    LOAD_HALF = 0x28
    LOAD_BYTE = 0x30
    JUMP_EQUAL = 0x15
    JUMP_GREATER = 0x25
    RETURN = 0x06
    SKF_PACKET_TYPE = 0xFFFFF004    # SKF_AD_OFF + SKF_AD_PKTTYPE
    PACKET_OUTGOING = 4     # linux/if_packet.h
    PROTO_VRRP = 112
    ICMPV6 = 58
    NEIGHBOUR_ADVERTISEMENT = 136
    ANNOUNCEMENT = 0        # instead of a family


cdef class Observer:
    """An observer that writes to the memory file `descriptor`, which has room for its header and
    some records. Raises OSError where the rights to observe are missing."""

    cdef object file
    cdef object packet_socket
    cdef object ring
    cdef const uint8_t[::1] ring_view
    cdef uint8_t[::1] file_view
    cdef uint64_t capacity
    cdef uint64_t count
    cdef uint64_t lost
    cdef uint32_t block

    def __init__(self, int descriptor):
        self.file = mmap.mmap(descriptor, 0)
        self.file_view = self.file
        self.capacity = (len(self.file) - HEADER_SIZE) // sizeof(record_t)

    def start(self, uint32_t last_ifindex, bint announcements=False, bint outgoing=True) -> None:
        """Sees from now on what passes the interfaces with an index up to `last_ifindex`: a
        macvlan above would show an advert that its parent shows too. With `announcements` also
        those; without `outgoing` nothing that leaves."""
        packet_socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        try:
            attach_filter(packet_socket.fileno(), last_ifindex, announcements, outgoing)
            packet_socket.setsockopt(SOL_PACKET, PACKET_VERSION, TPACKET_V3)
            # What came in before there was a filter is thrown away when the ring begins.
            packet_socket.setsockopt(
                SOL_PACKET,
                PACKET_RX_RING,
                struct.pack("7I", BLOCK_SIZE, BLOCKS, FRAME_SIZE,
                            BLOCK_SIZE // FRAME_SIZE * BLOCKS, RETIRE_AFTER, 0, 0),
            )
            self.ring = mmap.mmap(packet_socket.fileno(), BLOCK_SIZE * BLOCKS)
        except OSError:
            packet_socket.close()
            raise
        self.ring_view = self.ring
        self.block = 0
        self.packet_socket = packet_socket

    def stop(self) -> None:
        """Sees no more; what was seen is in the records."""
        if self.packet_socket is None:
            return
        attach_filter(self.packet_socket.fileno(), 0, False, False)
        time.sleep(3 * RETIRE_AFTER / 1000)     # the kernel hands over the last block
        self.take_blocks()
        dropped = struct.unpack(
            "3I", self.packet_socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 12))[1]
        self.lost += dropped
        store_release(<uint64_t *> &self.file_view[8], self.lost)
        self.ring_view = None
        self.packet_socket.close()
        self.packet_socket = None
        self.ring = None

    def run(self, int control) -> None:
        """Works until the descriptor `control` is readable."""
        cdef pollfd[2] descriptors
        cdef int ready
        descriptors[0].fd = control
        descriptors[0].events = POLLIN
        descriptors[1].fd = self.packet_socket.fileno() if self.packet_socket is not None else -1
        descriptors[1].events = POLLIN
        while True:
            descriptors[0].revents = descriptors[1].revents = 0
            with nogil:
                ready = poll(descriptors, 2, -1)
            if ready < 0 and c_errno != EINTR:
                raise OSError(c_errno, os.strerror(c_errno))
            if descriptors[1].revents:
                self.take_blocks()
            if descriptors[0].revents:
                return

    cdef void take_blocks(self) noexcept:
        """Takes every block that the kernel has handed over."""
        cdef const uint8_t *ring = &self.ring_view[0]
        cdef tpacket_block_desc *block
        cdef uint32_t blocks = BLOCKS
        cdef uint64_t size = BLOCK_SIZE
        with nogil:
            while True:
                block = <tpacket_block_desc *> (ring + self.block * size)
                if not load_acquire(&block.hdr.bh1.block_status) & TP_STATUS_USER:
                    break
                self.take_block(block)
                block.hdr.bh1.block_status = TP_STATUS_KERNEL
                self.block = (self.block + 1) % blocks
            store_release(<uint64_t *> &self.file_view[8], self.lost)
            store_release(<uint64_t *> &self.file_view[0], self.count)

    cdef void take_block(self, const tpacket_block_desc *block) noexcept nogil:
        cdef const uint8_t *place = <const uint8_t *> block + block.hdr.bh1.offset_to_first_pkt
        cdef const tpacket3_hdr *frame
        cdef const uint8_t *ethernet
        cdef const sockaddr_ll *address
        cdef record_t *record
        cdef uint32_t _
        for _ in range(block.hdr.bh1.num_pkts):
            frame = <const tpacket3_hdr *> place
            place += frame.tp_next_offset
            ethernet = <const uint8_t *> frame + frame.tp_mac
            if self.count == self.capacity:
                self.lost += 1
                continue
            record = <record_t *> &self.file_view[4096] + self.count
            if not describe(record, ethernet):
                continue
            address = address_of(frame)
            record.time = <int64_t> frame.tp_sec * 1_000_000_000 + frame.tp_nsec
            record.direction = address.sll_pkttype
            record.ifindex = address.sll_ifindex
            self.count += 1


cdef bint describe(record_t *record, const uint8_t *ethernet) noexcept nogil:
    """Who speaks in a frame and how; False where it is an ARP packet that announces nothing."""
    cdef const uint8_t *packet = ethernet + ETHERNET_HEADER
    record.priority = 0
    if ethernet[FAMILY_AT + 1] == 0x06:                 # ARP: sender's address is the target's
        record.family = ANNOUNCEMENT
        record.vrid = packet[17]
        return memcmp(packet + 14, packet + 24, 4) == 0
    if packet[0] >> 4 == 6 and packet[6] == ICMPV6:
        record.family = ANNOUNCEMENT
        record.vrid = packet[63]                        # the target's last byte
        return True
    record.family = 4 if packet[0] >> 4 == 4 else 6
    packet += (packet[0] & 15) * 4 if record.family == 4 else 40
    record.vrid = packet[1]
    record.priority = packet[2]
    return True


cdef int attach_filter(
        int descriptor, uint32_t last_ifindex, bint announcements, bint outgoing) except -1:
    """Only what counts, of either family, on the interfaces that count (bpf(4) is the language)."""
    cdef sock_filter[17] steps
    cdef sock_fprog program
    cdef uint8_t if_announced = 0 if announcements else 3
    steps[0] = step(LOAD_WORD, 0, 0, SKF_IFINDEX)
    steps[1] = step(JUMP_GREATER, 14, 0, last_ifindex)
    steps[2] = step(LOAD_WORD, 0, 0, SKF_PACKET_TYPE)
    steps[3] = step(JUMP_EQUAL, 0 if outgoing else 12, 0, PACKET_OUTGOING)
    steps[4] = step(LOAD_HALF, 0, 0, FAMILY_AT)
    steps[5] = step(JUMP_EQUAL, 9 if announcements else 10, 0, 0x0806)
    steps[6] = step(JUMP_EQUAL, 0, 2, 0x0800)               # IPv4: protocol is its byte 9
    steps[7] = step(LOAD_BYTE, 0, 0, ETHERNET_HEADER + 9)
    steps[8] = step(JUMP_EQUAL, 6, 7, PROTO_VRRP)
    steps[9] = step(JUMP_EQUAL, 0, 6, 0x86DD)               # IPv6: next header is its byte 6
    steps[10] = step(LOAD_BYTE, 0, 0, ETHERNET_HEADER + 6)
    steps[11] = step(JUMP_EQUAL, 3, 0, PROTO_VRRP)
    steps[12] = step(JUMP_EQUAL, if_announced, 3, ICMPV6)
    steps[13] = step(LOAD_BYTE, 0, 0, ETHERNET_HEADER + 40)
    steps[14] = step(JUMP_EQUAL, 0, 1, NEIGHBOUR_ADVERTISEMENT)
    steps[15] = step(RETURN, 0, 0, SNAPLEN)
    steps[16] = step(RETURN, 0, 0, 0)
    program.len = 17
    program.filter = steps
    if setsockopt(descriptor, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) != 0:
        raise OSError(c_errno, os.strerror(c_errno))
    return 0


cdef sock_filter step(uint16_t code, uint8_t if_true, uint8_t if_false, uint32_t value) noexcept:
    cdef sock_filter made
    made.code = code
    made.jt = if_true
    made.jf = if_false
    made.k = value
    return made
