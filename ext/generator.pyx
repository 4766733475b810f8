"""Frames at a rate: what `fastvrrp bench load` sends.

The frames are made before, in Python; here they only go out, in rotation, each at its own moment:
frame i of a second at i / rate. A wake sends all that are due, in one system call for many. Who was
kept from running meanwhile catches up.
"""

from fastvrrp._sockets import SocketSender

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy

from fastvrrp._clock cimport monotonic
from fastvrrp._sockets cimport SEND_BATCH, Sender

cdef extern from "<time.h>" nogil:
    struct timespec:
        long tv_sec
        long tv_nsec
    int clock_nanosleep(int clock, int flags, const timespec *until, timespec *left)
    int CLOCK_MONOTONIC
    int TIMER_ABSTIME

cdef enum:
    SECOND = 1_000_000_000
    SHORTEST_SLEEP = 200_000    # nanoseconds; at 50,000 a second ten packets share a wake

cdef struct frame_t:
    uint8_t *data
    uint32_t size
    int32_t ifindex


cdef class Generator:
    """Frames, and the socket through which they leave in this network namespace.

    Raises PermissionError where the right to open the socket is missing.
    """

    cdef readonly Sender sender
    cdef frame_t *frames
    cdef readonly uint32_t count
    cdef uint32_t room

    def __init__(self):
        self.sender = SocketSender()

    def __dealloc__(self):
        cdef uint32_t i
        for i in range(self.count):
            free(self.frames[i].data)
        free(self.frames)

    def close(self) -> None:
        self.sender.close()

    @property
    def sent(self) -> int:
        """Frames that the kernel has taken."""
        return self.sender.sent

    @property
    def unsent(self) -> int:
        """Frames that the kernel has refused; `sender.errors` says why."""
        return self.sender.unsent

    def add(self, int32_t ifindex, bytes frame) -> int:
        """Keeps an Ethernet frame that leaves through `ifindex`; returns its place."""
        cdef frame_t *grown
        cdef frame_t *added
        if self.count == self.room:
            grown = <frame_t *> realloc(self.frames, max(64, 2 * self.room) * sizeof(frame_t))
            if grown == NULL:
                raise MemoryError()
            self.frames = grown
            self.room = max(64, 2 * self.room)
        added = &self.frames[self.count]
        added.data = <uint8_t *> malloc(len(frame))
        if added.data == NULL:
            raise MemoryError()
        memcpy(added.data, <const char *> frame, len(frame))
        added.size = len(frame)
        added.ifindex = ifindex
        self.count += 1
        return self.count - 1

    def send(self, uint32_t first, uint32_t count, uint64_t begin, uint64_t end, double rate,
             int64_t began) -> None:
        """Sends number `begin` to `end` - 1 of an endless rotation through the frames `first` to
        `first + count - 1`: number n at `began` + n / `rate` (nanoseconds of CLOCK_MONOTONIC;
        frames a second).

        A rotation may so be sent in parts, and between them its owner look up. Raises IndexError.
        """
        cdef uint64_t number = begin
        cdef uint64_t due
        cdef frame_t *frame
        cdef int64_t now
        cdef int64_t wake
        cdef timespec until
        if count == 0 or <uint64_t> first + count > self.count:
            raise IndexError(f"frames {first} to {first + count - 1} of {self.count}")
        while number < end:
            now = monotonic()
            due = begin
            if now > began:
                due = min(end, <uint64_t> ((now - began) * rate / SECOND) + 1)
            due = min(due, number + SEND_BATCH)
            if number >= due:
                wake = began + <int64_t> (number * (SECOND / rate)) + 1
                wake = max(wake, now + SHORTEST_SLEEP)
                until.tv_sec = wake // SECOND
                until.tv_nsec = wake % SECOND
                with nogil:
                    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL)
                continue
            while number < due:
                frame = &self.frames[first + number % count]
                self.sender.frame(frame.ifindex, frame.data, frame.size)
                number += 1
            self.sender.flush()
