# rtnetlink's sockets (netlink(7)): requests sent in batches, and notifications heard.
#
# A `Channel` puts many requests into one send(). The kernel carries a request out inside send() and
# answers only one that failed (no request here asks for an acknowledgement), so what stands in the
# socket after send() is the whole list of errors, and a batch that succeeds costs no answer at all.

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.errno cimport EAGAIN, EINTR, ENOBUFS, errno
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memcpy, memset
from posix.time cimport timespec
from posix.unistd cimport close as close_fd

from fastvrrp._clock cimport monotonic
from fastvrrp._rtmessage cimport (
    begin, decode_messages, ifaddrmsg, ifinfomsg, nlmsghdr, progress_t, put, put_u32,
    request_t,
)

cdef extern from "<sys/socket.h>" nogil:
    enum:
        AF_NETLINK
        MSG_DONTWAIT
        MSG_TRUNC
        SOCK_RAW
        SOCK_CLOEXEC
        SOL_SOCKET
        SO_RCVBUF
        SO_RCVBUFFORCE
    struct iovec:
        void *iov_base
        size_t iov_len
    struct msghdr:
        iovec *msg_iov
        size_t msg_iovlen
        int msg_flags
    struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len
    struct sockaddr:
        pass
    int socket(int family, int kind, int protocol)
    int bind(int fd, const sockaddr *address, unsigned int size)
    int setsockopt(int fd, int level, int name, const void *value, unsigned int size)
    ssize_t send(int fd, const void *data, size_t size, int flags)
    ssize_t recv(int fd, void *data, size_t size, int flags)
    int recvmmsg(int fd, mmsghdr *messages, unsigned int count, int flags, timespec *timeout)

cdef extern from "<linux/rtnetlink.h>" nogil:
    struct sockaddr_nl:
        unsigned short nl_family
        uint32_t nl_groups
    struct nlmsgerr:
        int error
        nlmsghdr msg
    enum:
        NETLINK_ROUTE
        SOL_NETLINK
        NETLINK_CAP_ACK
        NLMSG_ERROR
        NLM_F_DUMP
        RTM_GETLINK
        RTM_GETADDR
        RTMGRP_LINK
        RTMGRP_IPV4_IFADDR
        RTMGRP_IPV6_IFADDR
        IFLA_EXT_MASK
        RTEXT_FILTER_SKIP_STATS

cdef enum:
    # Requests in one send(). The clock is read once a chunk: an address costs the kernel 20 us on a
    # few interfaces and up to 350 us on 4,000, so a slice ends at most 3 ms late. A system call is
    # 1 us, nothing beside eight addresses.
    CHUNK = 8
    CHUNK_SIZE = 16384
    # The kernel never makes a dump message longer than 32 KiB (af_netlink.c, netlink_recvmsg).
    MESSAGE_SIZE = 32768
    BATCH = 32              # notifications in one recvmmsg()
    DUMP_ATTEMPTS = 64
    MONITOR_BUFFER = 32 * 1024 * 1024


class Overrun(Exception):
    """The kernel dropped notifications: what is known must be compared with a new dump."""


cdef int open_socket(uint32_t groups) except -1:
    cdef sockaddr_nl address
    cdef int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE)
    if fd < 0:
        raise OSError(errno, "cannot open a netlink socket")
    memset(&address, 0, sizeof(address))
    address.nl_family = AF_NETLINK
    address.nl_groups = groups
    if bind(fd, <const sockaddr *>&address, sizeof(address)) < 0:
        error = errno
        close_fd(fd)
        raise OSError(error, "cannot bind a netlink socket")
    return fd


cdef class Channel:
    cdef int _fd
    cdef uint32_t _sequence
    cdef list _errors
    cdef uint8_t *_buffer

    def __cinit__(self):
        cdef int on = 1
        self._fd = -1
        self._errors = []
        self._buffer = <uint8_t *>PyMem_Malloc(MESSAGE_SIZE)
        if self._buffer == NULL:
            raise MemoryError
        self._fd = open_socket(0)
        # An error then carries the failed request's header and not all of it.
        setsockopt(self._fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on))

    def __dealloc__(self):
        self.close()
        PyMem_Free(self._buffer)

    cpdef void close(self):
        if self._fd >= 0:
            close_fd(self._fd)
            self._fd = -1

    def apply(self, messages not None, Py_ssize_t start, int64_t budget_ns):
        cdef Py_ssize_t count = len(messages)
        cdef int64_t deadline = monotonic() + budget_ns
        if start < 0:
            raise ValueError(f"start {start} is below 0")
        while start < count:
            start = self._apply_chunk(messages, start, count)
            if monotonic() >= deadline:
                break
        return start

    cdef Py_ssize_t _apply_chunk(
        self, messages, Py_ssize_t start, Py_ssize_t count
    ) except -1:
        cdef bytes message
        cdef nlmsghdr header
        cdef size_t size = 0, length
        cdef Py_ssize_t index = start
        cdef uint32_t first = self._sequence + 1
        cdef ssize_t sent
        while index < count and index - start < CHUNK:
            message = messages[index]
            length = <size_t>PyBytes_GET_SIZE(message) if message is not None else 0
            if length >= sizeof(header):
                memcpy(&header, PyBytes_AS_STRING(message), sizeof(header))
            if not sizeof(header) <= length <= CHUNK_SIZE or header.nlmsg_len != length \
                    or length & 3:
                raise ValueError(f"messages[{index}] is not one encoded request")
            if size + length > CHUNK_SIZE:
                break
            self._sequence += 1
            header.nlmsg_seq = self._sequence
            memcpy(self._buffer + size, PyBytes_AS_STRING(message), length)
            memcpy(self._buffer + size, &header, sizeof(header))
            size += length
            index += 1
        with nogil:
            sent = send(self._fd, self._buffer, size, 0)
            while sent < 0 and errno == EINTR:
                sent = send(self._fd, self._buffer, size, 0)
        if sent < 0:
            raise OSError(errno, "cannot send to the kernel's rtnetlink")
        self._collect_errors(start, first)
        return index

    cdef int _collect_errors(self, Py_ssize_t start, uint32_t first) except -1:
        cdef ssize_t received
        cdef nlmsghdr header
        cdef nlmsgerr answer
        cdef Py_ssize_t offset
        while True:
            with nogil:
                received = recv(self._fd, self._buffer, MESSAGE_SIZE, MSG_DONTWAIT)
            if received < 0:
                if errno == EINTR:
                    continue
                if errno == EAGAIN:
                    return 0
                raise OSError(errno, "cannot read the answers of the kernel's rtnetlink")
            if <size_t>received < sizeof(header) + sizeof(answer):
                continue
            memcpy(&header, self._buffer, sizeof(header))
            memcpy(&answer, self._buffer + sizeof(header), sizeof(answer))
            offset = <Py_ssize_t>(<uint32_t>(answer.msg.nlmsg_seq - first))
            if header.nlmsg_type == NLMSG_ERROR and answer.error and offset < CHUNK:
                self._errors.append((start + offset, -answer.error))
                count_error()

    def take_errors(self):
        cdef list errors = self._errors
        self._errors = []
        return errors

    def dump_links(self):
        cdef request_t request
        cdef ifinfomsg link
        memset(&link, 0, sizeof(link))
        begin(&request, RTM_GETLINK, NLM_F_DUMP)
        put(&request, &link, sizeof(link))
        put_u32(&request, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS)
        return self._dump(&request)

    def dump_addresses(self, uint8_t family=0):
        cdef request_t request
        cdef ifaddrmsg address
        memset(&address, 0, sizeof(address))
        address.ifa_family = family
        begin(&request, RTM_GETADDR, NLM_F_DUMP)
        put(&request, &address, sizeof(address))
        return self._dump(&request)

    cdef list _dump(self, request_t *request):
        # The kernel marks a dump during which the table changed: an entry that was there all the
        # time may be missing from it.
        cdef int _attempt
        cdef list events
        for _attempt in range(DUMP_ATTEMPTS):
            events = self._dump_once(request)
            if events is not None:
                return events
        raise OSError(EAGAIN, "the kernel's table changes faster than it can be read")

    cdef list _dump_once(self, request_t *request):
        cdef list events = []
        cdef progress_t progress
        cdef nlmsghdr header
        cdef ssize_t size
        memset(&progress, 0, sizeof(progress))
        self._sequence += 1
        if self._sequence == 0:
            self._sequence = 1
        progress.sequence = self._sequence
        memcpy(&header, request.data, sizeof(header))
        header.nlmsg_len = <uint32_t>request.size
        header.nlmsg_seq = progress.sequence
        memcpy(request.data, &header, sizeof(header))
        with nogil:
            size = send(self._fd, request.data, request.size, 0)
        if size < 0:
            raise OSError(errno, "cannot ask the kernel's rtnetlink for a dump")
        while not progress.done:
            with nogil:
                size = recv(self._fd, self._buffer, MESSAGE_SIZE, 0)
            if size < 0:
                if errno == EINTR:
                    continue
                raise OSError(errno, "cannot read a dump of the kernel's rtnetlink")
            decode_messages(self._buffer, <size_t>size, events, &progress)
        if progress.error:
            raise OSError(progress.error, "the kernel's rtnetlink refuses a dump")
        return None if progress.interrupted else events


cdef object counting = None


def count_in(table):
    """Counts what the kernel refuses and loses in the header of a Table from now on; None counts it
    no more."""
    global counting
    counting = table


def count_error():
    """The kernel has refused a change."""
    if counting is not None:
        counting.count_netlink(1, 0)


def count_overrun():
    """The kernel has lost notifications."""
    if counting is not None:
        counting.count_netlink(0, 1)


cdef class Monitor:
    cdef int _fd
    cdef uint8_t *_buffer
    cdef mmsghdr _messages[BATCH]
    cdef iovec _vectors[BATCH]

    def __cinit__(self, int receive_buffer=MONITOR_BUFFER):
        cdef int i
        self._fd = -1
        self._buffer = <uint8_t *>PyMem_Malloc(BATCH * MESSAGE_SIZE)
        if self._buffer == NULL:
            raise MemoryError
        memset(self._messages, 0, sizeof(self._messages))
        for i in range(BATCH):
            self._vectors[i].iov_base = self._buffer + i * MESSAGE_SIZE
            self._vectors[i].iov_len = MESSAGE_SIZE
            self._messages[i].msg_hdr.msg_iov = &self._vectors[i]
            self._messages[i].msg_hdr.msg_iovlen = 1
        self._fd = open_socket(RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR)
        # FORCE goes over net.core.rmem_max and needs CAP_NET_ADMIN; a smaller buffer only means
        # that an overrun comes sooner.
        if setsockopt(
            self._fd, SOL_SOCKET, SO_RCVBUFFORCE, &receive_buffer, sizeof(receive_buffer)
        ) < 0:
            setsockopt(self._fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer))

    def __dealloc__(self):
        self.close()
        PyMem_Free(self._buffer)

    cpdef void close(self):
        if self._fd >= 0:
            close_fd(self._fd)
            self._fd = -1

    def fileno(self):
        return self._fd

    def read(self, int limit):
        cdef list events = []
        cdef progress_t progress
        cdef int count, i
        memset(&progress, 0, sizeof(progress))
        while limit > 0:
            count = min(limit, BATCH)
            with nogil:
                count = recvmmsg(self._fd, self._messages, count, MSG_DONTWAIT, NULL)
            if count < 0:
                if errno == EINTR:
                    continue
                if errno == EAGAIN:
                    break
                if errno == ENOBUFS:
                    count_overrun()
                    raise Overrun("the kernel dropped link and address notifications")
                raise OSError(errno, "cannot read the kernel's notifications")
            for i in range(count):
                if self._messages[i].msg_hdr.msg_flags & MSG_TRUNC:
                    raise Overrun("a notification of the kernel is longer than 32 KiB")
                decode_messages(
                    self._buffer + i * MESSAGE_SIZE, self._messages[i].msg_len, events, &progress)
            limit -= count
        return events
