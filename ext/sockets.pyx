"""The sockets of the data path. No other file opens one for VRRP, ARP or NDP, but kernel/claims.py,
which hears who else claims an address.

Receiving: one raw socket an address family (and one for AH) for all interfaces, because the kernel
offers every packet of a protocol to every raw socket of it. It joins no group itself: a socket's
memberships are walked for every packet it is offered. kernel/memberships.py joins on sockets that
are never bound and so are never offered anything, and the receiving socket hears all that was
joined (IP_MULTICAST_ALL, IPV6_MULTICAST_ALL).

Sending: adverts to a group, gratuitous ARP and neighbour advertisements are frames for a packet
socket that receives nothing (protocol 0). Unicast adverts need the routing table and the neighbour
cache, so they are IP packets for a raw socket with the header included.

Places: one engine serves many network namespaces. A socket belongs to the one in which it was
opened, and two of them have the same ifindexes. So each namespace but the daemon's own, which is
place 0, has a number, and its interfaces have numbers below zero (`interface_number`): the engine
and the table take those for interfaces like all others, and here they are taken apart again.
"""

import os
import socket

from libc.errno cimport EINTR, errno as c_errno
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset
from posix.time cimport CLOCK_MONOTONIC, itimerspec, timespec

from fastvrrp._packet cimport PROTO_VRRP

cdef extern from "<sys/timerfd.h>" nogil:
    int timerfd_create(int clock, int flags)
    int timerfd_settime(int fd, int flags, const itimerspec *new, itimerspec *old)
    int TFD_NONBLOCK
    int TFD_CLOEXEC
    int TFD_TIMER_ABSTIME

cdef extern from "<unistd.h>" nogil:
    ssize_t read(int fd, void *buffer, size_t size)
    int close(int fd)

cdef extern from "<sys/uio.h>" nogil:
    struct iovec:
        void *iov_base
        size_t iov_len

cdef extern from "<sys/socket.h>" nogil:
    struct msghdr:
        void *msg_name
        unsigned int msg_namelen
        iovec *msg_iov
        size_t msg_iovlen
        void *msg_control
        size_t msg_controllen
        int msg_flags
    struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len
    struct cmsghdr:
        size_t cmsg_len
        int cmsg_level
        int cmsg_type
    cmsghdr *CMSG_FIRSTHDR(msghdr *message)
    cmsghdr *CMSG_NXTHDR(msghdr *message, cmsghdr *control)
    unsigned char *CMSG_DATA(cmsghdr *control)
    size_t CMSG_LEN(size_t size)
    size_t CMSG_SPACE(size_t size)
    int sendmmsg(int fd, mmsghdr *messages, unsigned int count, int flags)
    int recvmmsg(int fd, mmsghdr *messages, unsigned int count, int flags, timespec *timeout)
    int AF_INET
    int AF_INET6
    int AF_PACKET
    int MSG_DONTWAIT
    int MSG_TRUNC
    int SOL_SOCKET
    int SO_MEMINFO
    int getsockopt(int fd, int level, int option, void *value, unsigned int *size)

cdef extern from "<linux/sock_diag.h>" nogil:
    int SK_MEMINFO_DROPS

cdef extern from "<netinet/in.h>" nogil:
    struct in_addr:
        uint32_t s_addr
    struct in6_addr:
        uint8_t s6_addr[16]
    struct sockaddr_in:
        unsigned short sin_family
        uint16_t sin_port
        in_addr sin_addr
    struct sockaddr_in6:
        unsigned short sin6_family
        uint16_t sin6_port
        uint32_t sin6_flowinfo
        in6_addr sin6_addr
        uint32_t sin6_scope_id
    struct in_pktinfo:
        int ipi_ifindex
        in_addr ipi_spec_dst
        in_addr ipi_addr
    struct in6_pktinfo:
        in6_addr ipi6_addr
        unsigned int ipi6_ifindex
    int IPPROTO_IP
    int IPPROTO_IPV6
    int IP_PKTINFO
    int IPV6_PKTINFO
    int IPV6_HOPLIMIT

cdef extern from "<linux/if_packet.h>" nogil:
    struct sockaddr_ll:
        unsigned short sll_family
        uint16_t sll_protocol
        int sll_ifindex
        unsigned short sll_hatype
        unsigned char sll_pkttype
        unsigned char sll_halen
        unsigned char sll_addr[8]

# Linux values that the socket module lacks in Python 3.11.
IP_PKTINFO_OPTION = 8           # linux/in.h
IPV6_MULTICAST_ALL_OPTION = 29  # linux/in6.h
IPV6_HDRINCL_OPTION = 36        # linux/in6.h
SO_RCVBUFFORCE = 33             # asm-generic/socket.h
SO_SNDBUFFORCE = 32
TC_PRIO_CONTROL = 7             # linux/pkt_sched.h
RECEIVE_BUFFER = 16 << 20       # a second's adverts of a large table, as the kernel counts
LARGEST_BUFFER = (1 << 30) - 1  # the kernel doubles it into an int: net/core/sock.c


cdef struct place_t:
    int packet_socket       # -1: not open
    int raw_ipv4
    int raw_ipv6


cdef inline int place_of(int32_t number) noexcept nogil:
    return 0 if number >= 0 else -number >> PLACE_SHIFT


cdef inline int32_t ifindex_of(int32_t number) noexcept nogil:
    if number >= 0:
        return 0 if number == ANYWHERE else number
    return -number & PLACE_MASK


cdef int check_place(int place) except -1:
    if not 0 <= place < PLACES:
        raise ValueError(f"place {place} is outside 0-{PLACES - 1}")
    return place


def interface_number(int place, int32_t ifindex) -> int:
    """The number by which engine and table know an interface. Raises OverflowError where its
    ifindex has no room beside the number of the place; those of place 0 always have."""
    if check_place(place) == 0:
        return ifindex
    if not 0 < ifindex <= PLACE_MASK:
        raise OverflowError(
            f"the interface number {ifindex} is above {PLACE_MASK}, which is the highest in a"
            " network namespace other than the daemon's")
    return -(place << PLACE_SHIFT | ifindex)


def number_anywhere(int place) -> int:
    """The number for no interface in particular: the routing table decides where a packet leaves,
    and one may come in by any interface that is in no VRF."""
    return -(place << PLACE_SHIFT) if check_place(place) else ANYWHERE


def place_and_ifindex(int32_t number) -> tuple:
    """Takes an `interface_number` apart."""
    return place_of(number), ifindex_of(number)


cdef class Alarm:
    """A timerfd on CLOCK_MONOTONIC. `descriptor` is readable when it has fired."""

    def __cinit__(self):
        self.descriptor = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)
        if self.descriptor < 0:
            raise OSError(c_errno, os.strerror(c_errno))
        self.armed = -1

    def __dealloc__(self):
        if self.descriptor >= 0:
            close(self.descriptor)

    cdef void set(self, int64_t deadline) noexcept:
        cdef itimerspec when
        if deadline == self.armed:
            return
        self.armed = deadline
        memset(&when, 0, sizeof(when))
        if deadline != 0x7FFFFFFFFFFFFFFF:
            deadline = max(deadline, 1)             # zero would disarm
            when.it_value.tv_sec = deadline // 1_000_000_000
            when.it_value.tv_nsec = deadline % 1_000_000_000
        timerfd_settime(self.descriptor, TFD_TIMER_ABSTIME, &when, NULL)

    cdef void acknowledge(self) noexcept:
        cdef uint64_t expirations
        if read(self.descriptor, &expirations, sizeof(expirations)) > 0:
            self.armed = -1


cdef class Receiver:
    """A raw socket for one protocol of one family, for all interfaces of this network namespace,
    which is `place`.

    `protocol` is 112 (VRRP) or 51 (AH). Raises OSError where the right to open it is missing.
    """

    def __cinit__(self, int family, int protocol=PROTO_VRRP, int place=0):
        cdef int i
        cdef mmsghdr *messages
        cdef iovec *vectors
        self.family = family
        self.place = check_place(place)
        self.descriptor = -1
        self.memory = <uint8_t *> calloc(RECEIVE_BATCH, BUFFER_SIZE + CONTROL_SIZE
                                         + sizeof(mmsghdr) + sizeof(iovec) + sizeof(sockaddr_in6))
        if self.memory == NULL:
            raise MemoryError()
        messages = <mmsghdr *> (self.memory + RECEIVE_BATCH * (BUFFER_SIZE + CONTROL_SIZE))
        vectors = <iovec *> (messages + RECEIVE_BATCH)
        names = <sockaddr_in6 *> (vectors + RECEIVE_BATCH)
        for i in range(RECEIVE_BATCH):
            vectors[i].iov_base = self.memory + i * BUFFER_SIZE
            vectors[i].iov_len = BUFFER_SIZE
            messages[i].msg_hdr.msg_iov = &vectors[i]
            messages[i].msg_hdr.msg_iovlen = 1
            messages[i].msg_hdr.msg_name = &names[i]
            messages[i].msg_hdr.msg_control = (
                self.memory + RECEIVE_BATCH * BUFFER_SIZE + i * CONTROL_SIZE)
        self.messages = messages

    def __init__(self, int family, int protocol=PROTO_VRRP, int place=0):
        self.socket = open_raw(family, protocol)
        self.descriptor = self.socket.fileno()
        self.resize(None)
        if family == socket.AF_INET:
            self.socket.setsockopt(socket.IPPROTO_IP, IP_PKTINFO_OPTION, 1)
        else:
            self.socket.setsockopt(socket.IPPROTO_IPV6, IPV6_MULTICAST_ALL_OPTION, 1)
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)

    def __dealloc__(self):
        free(self.memory)

    def resize(self, size: int | None) -> None:
        """How many bytes may wait to be read, of which the kernel makes twice as many; None is what
        a daemon of thousands needs."""
        wanted = RECEIVE_BUFFER if size is None else min(size, LARGEST_BUFFER)
        try:
            self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, wanted)
        except PermissionError:             # without CAP_NET_ADMIN: take what is allowed
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, wanted)

    def fileno(self) -> int:
        return self.descriptor

    def close(self) -> None:
        self.socket.close()

    cdef int receive(self) noexcept:
        cdef mmsghdr *messages = <mmsghdr *> self.messages
        cdef msghdr *message
        cdef cmsghdr *control
        cdef datagram_t *datagram
        cdef int count
        cdef int i
        for i in range(RECEIVE_BATCH):
            messages[i].msg_hdr.msg_namelen = sizeof(sockaddr_in6)
            messages[i].msg_hdr.msg_controllen = CONTROL_SIZE
        with nogil:
            count = recvmmsg(self.descriptor, messages, RECEIVE_BATCH, MSG_DONTWAIT, NULL)
        for i in range(count):
            message = &messages[i].msg_hdr
            datagram = &self.datagrams[i]
            datagram.data = <uint8_t *> message.msg_iov.iov_base
            datagram.size = messages[i].msg_len
            datagram.ifindex = 0
            datagram.hop_limit = 0
            if self.family == AF_INET6:
                memcpy(datagram.source, (<sockaddr_in6 *> message.msg_name).sin6_addr.s6_addr, 16)
            control = CMSG_FIRSTHDR(message)
            while control != NULL:
                if control.cmsg_level == IPPROTO_IP and control.cmsg_type == IP_PKTINFO:
                    datagram.ifindex = (<in_pktinfo *> CMSG_DATA(control)).ipi_ifindex
                elif control.cmsg_level == IPPROTO_IPV6 and control.cmsg_type == IPV6_PKTINFO:
                    datagram.ifindex = (<in6_pktinfo *> CMSG_DATA(control)).ipi6_ifindex
                    memcpy(datagram.destination,
                           (<in6_pktinfo *> CMSG_DATA(control)).ipi6_addr.s6_addr, 16)
                elif control.cmsg_level == IPPROTO_IPV6 and control.cmsg_type == IPV6_HOPLIMIT:
                    datagram.hop_limit = (<int *> CMSG_DATA(control))[0]
                control = CMSG_NXTHDR(message, control)
            if self.place:
                datagram.ifindex = -(self.place << PLACE_SHIFT | (datagram.ifindex & PLACE_MASK))
        if count == RECEIVE_BATCH:
            self.count_drops()
        return count if count > 0 else 0

    cdef void count_drops(self) noexcept:
        """Asks only when a batch was full: a queue that overflowed gives many such."""
        cdef uint32_t[32] found
        cdef unsigned int size = sizeof(found)
        if (getsockopt(self.descriptor, SOL_SOCKET, SO_MEMINFO, found, &size) == 0
                and size > SK_MEMINFO_DROPS * sizeof(uint32_t)):
            # The kernel's count has 32 bits and goes round.
            self.dropped += <uint32_t> (found[SK_MEMINFO_DROPS] - <uint32_t> self.dropped)


cdef class Sender:
    """Where the engine's frames go: the base of a real and of a simulated end."""

    cdef void frame(self, int32_t ifindex, const uint8_t *data, uint32_t size) noexcept:
        pass

    cdef void packet(
            self, uint8_t family, int32_t ifindex, const uint8_t *data, uint32_t size) noexcept:
        pass

    cdef void flush(self) noexcept:
        pass


cdef struct outgoing_t:
    mmsghdr[SEND_BATCH] messages
    iovec[SEND_BATCH] vectors
    sockaddr_in6[SEND_BATCH] names              # the largest of the three kinds
    uint8_t[SEND_BATCH][CONTROL_SIZE] controls
    uint32_t count


cdef class SocketSender(Sender):
    """Sends through the interfaces of every place that was opened; `errors` counts refusals by
    errno. The place in whose namespace it is made, number 0, is open at once."""

    cdef readonly dict errors
    cdef dict sockets               # lists by place
    cdef place_t *places
    cdef outgoing_t *frames
    cdef outgoing_t *packets
    cdef int frames_place
    cdef int packets_place
    cdef uint8_t packets_family

    def __cinit__(self):
        cdef int i
        self.frames = new_batch()
        self.packets = new_batch()
        self.places = <place_t *> malloc(PLACES * sizeof(place_t))
        if self.places == NULL:
            raise MemoryError()
        for i in range(PLACES):
            self.places[i].packet_socket = self.places[i].raw_ipv4 = self.places[i].raw_ipv6 = -1
        self.errors = {}
        self.sockets = {}

    def __init__(self):
        self.open(0)

    def open(self, int place) -> None:
        """Opens what `frame` needs for the namespace of the calling thread, as this place. Raises
        OSError."""
        check_place(place)
        frames = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
        frames.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, TC_PRIO_CONTROL)
        try:
            frames.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, RECEIVE_BUFFER)
        except PermissionError:
            frames.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, RECEIVE_BUFFER)
        self.places[place].packet_socket = frames.fileno()
        self.sockets[place] = [frames]

    def __dealloc__(self):
        free(self.frames)
        free(self.packets)
        free(self.places)

    def close(self) -> None:
        """Closes every place."""
        for place in list(self.sockets):
            self.close_place(place)

    def close_place(self, int place) -> None:
        """Closes a place, after what waits has been sent; nothing happens where it is not open."""
        for each in self.give_up(place):
            each.close()

    def give_up(self, int place) -> list:
        """The same, but gives back the sockets, which are still to be closed: that takes its time
        (kernel/closing.py). None where it is not open, or can be no place at all."""
        if place not in self.sockets:
            return []
        self.flush()
        self.places[place].packet_socket = -1
        self.places[place].raw_ipv4 = self.places[place].raw_ipv6 = -1
        return self.sockets.pop(place, [])

    def open_unicast(self, int family, int place=0) -> None:
        """Opens what `packet` needs for a family in a place that is open, which must be the
        namespace of the calling thread; once is enough. Raises OSError."""
        cdef place_t *sockets = &self.places[check_place(place)]
        if family == AF_INET and sockets.raw_ipv4 < 0:
            raw = open_raw(family, socket.IPPROTO_RAW)      # the header is included
            sockets.raw_ipv4 = raw.fileno()
        elif family == AF_INET6 and sockets.raw_ipv6 < 0:
            raw = open_raw(family, socket.IPPROTO_RAW)
            raw.setsockopt(socket.IPPROTO_IPV6, IPV6_HDRINCL_OPTION, 1)
            sockets.raw_ipv6 = raw.fileno()
        else:
            return
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, TC_PRIO_CONTROL)
        self.sockets[place].append(raw)

    cdef void frame(self, int32_t ifindex, const uint8_t *data, uint32_t size) noexcept:
        cdef outgoing_t *batch = self.frames
        cdef sockaddr_ll *name
        cdef mmsghdr *message
        cdef int place = place_of(ifindex)
        if batch.count == SEND_BATCH or (batch.count and place != self.frames_place):
            self.send_frames()
        self.frames_place = place
        name = <sockaddr_ll *> &batch.names[batch.count]
        name.sll_family = AF_PACKET
        name.sll_ifindex = ifindex_of(ifindex)
        name.sll_halen = 6
        memcpy(&name.sll_protocol, data + 12, 2)        # the frame's own ethertype
        batch.vectors[batch.count].iov_base = <void *> data
        batch.vectors[batch.count].iov_len = size
        message = &batch.messages[batch.count]
        message.msg_hdr.msg_namelen = sizeof(sockaddr_ll)
        batch.count += 1

    cdef void packet(
            self, uint8_t family, int32_t ifindex, const uint8_t *data, uint32_t size) noexcept:
        cdef outgoing_t *batch = self.packets
        cdef msghdr *message
        cdef cmsghdr *control
        cdef in_pktinfo *info4
        cdef in6_pktinfo *info6
        cdef sockaddr_in *name4
        cdef sockaddr_in6 *name6
        cdef int place = place_of(ifindex)
        if batch.count == SEND_BATCH or (batch.count and (
                family != self.packets_family or place != self.packets_place)):
            self.send_packets()
        self.packets_family = family
        self.packets_place = place
        ifindex = ifindex_of(ifindex)
        batch.vectors[batch.count].iov_base = <void *> data
        batch.vectors[batch.count].iov_len = size
        message = &batch.messages[batch.count].msg_hdr
        memset(batch.controls[batch.count], 0, CONTROL_SIZE)
        message.msg_control = batch.controls[batch.count]
        message.msg_controllen = CONTROL_SIZE
        control = CMSG_FIRSTHDR(message)
        memset(&batch.names[batch.count], 0, sizeof(sockaddr_in6))
        if family == 4:
            name4 = <sockaddr_in *> &batch.names[batch.count]
            name4.sin_family = AF_INET
            memcpy(&name4.sin_addr, data + 16, 4)       # the header's destination
            message.msg_namelen = sizeof(sockaddr_in)
            control.cmsg_level = IPPROTO_IP
            control.cmsg_type = IP_PKTINFO
            control.cmsg_len = CMSG_LEN(sizeof(in_pktinfo))
            message.msg_controllen = CMSG_SPACE(sizeof(in_pktinfo))
            info4 = <in_pktinfo *> CMSG_DATA(control)
            info4.ipi_ifindex = ifindex
            memcpy(&info4.ipi_spec_dst, data + 12, 4)   # the header's source
        else:
            name6 = <sockaddr_in6 *> &batch.names[batch.count]
            name6.sin6_family = AF_INET6
            memcpy(name6.sin6_addr.s6_addr, data + 24, 16)
            if data[24] == 0xFE and data[25] & 0xC0 == 0x80:
                name6.sin6_scope_id = ifindex
            message.msg_namelen = sizeof(sockaddr_in6)
            control.cmsg_level = IPPROTO_IPV6
            control.cmsg_type = IPV6_PKTINFO
            control.cmsg_len = CMSG_LEN(sizeof(in6_pktinfo))
            message.msg_controllen = CMSG_SPACE(sizeof(in6_pktinfo))
            info6 = <in6_pktinfo *> CMSG_DATA(control)
            info6.ipi6_ifindex = ifindex
            memcpy(info6.ipi6_addr.s6_addr, data + 8, 16)
        batch.count += 1

    cdef void flush(self) noexcept:
        if self.frames.count:
            self.send_frames()
        if self.packets.count:
            self.send_packets()

    cdef void send_frames(self) noexcept:
        self.send(self.places[self.frames_place].packet_socket, self.frames)

    cdef void send_packets(self) noexcept:
        cdef place_t *sockets = &self.places[self.packets_place]
        self.send(sockets.raw_ipv4 if self.packets_family == 4 else sockets.raw_ipv6, self.packets)

    cdef void send(self, int descriptor, outgoing_t *batch) noexcept:
        """Sends a batch. A message that the kernel refuses is counted and left out: the interface
        is going down, or its queue is full, and the next advert is the remedy."""
        cdef uint32_t done = 0
        cdef int count
        cdef int why
        while done < batch.count:
            with nogil:
                count = sendmmsg(descriptor, &batch.messages[done], batch.count - done, 0)
                why = c_errno
            if count > 0:
                done += count
                self.sent += count
            elif why != EINTR:
                done += 1
                self.unsent += 1
                self.errors[why] = self.errors.get(why, 0) + 1
        batch.count = 0


cdef class Recorder(Sender):
    """The end of a simulated link: keeps what is sent as (ifindex, bytes) until it is taken."""

    cdef list _frames
    cdef list _packets

    def __cinit__(self):
        self._frames = []
        self._packets = []

    cdef void frame(self, int32_t ifindex, const uint8_t *data, uint32_t size) noexcept:
        self.sent += 1
        self._frames.append((ifindex, (<const char *> data)[:size]))

    cdef void packet(
            self, uint8_t family, int32_t ifindex, const uint8_t *data, uint32_t size) noexcept:
        self.sent += 1
        self._packets.append((ifindex, (<const char *> data)[:size]))

    def take_frames(self) -> list:
        """The Ethernet frames sent since the last call, oldest first."""
        taken = self._frames
        self._frames = []
        return taken

    def take_packets(self) -> list:
        """The routed IP packets sent since the last call, oldest first."""
        taken = self._packets
        self._packets = []
        return taken


cdef outgoing_t *new_batch() except NULL:
    cdef outgoing_t *batch = <outgoing_t *> calloc(1, sizeof(outgoing_t))
    cdef int i
    if batch == NULL:
        raise MemoryError()
    for i in range(SEND_BATCH):
        batch.messages[i].msg_hdr.msg_name = &batch.names[i]
        batch.messages[i].msg_hdr.msg_iov = &batch.vectors[i]
        batch.messages[i].msg_hdr.msg_iovlen = 1
    return batch


def open_raw(family: int, protocol: int) -> socket.socket:
    """A non-blocking raw socket; says what is missing where it may not be opened."""
    try:
        return socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, protocol)
    except PermissionError as error:
        raise PermissionError(
            error.errno, "a raw socket needs CAP_NET_RAW: run as root or grant it") from None
