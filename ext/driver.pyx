"""The engine on a real clock and real sockets, on whatever event loop watches its descriptors.

The loop calls `on_alarm` when `alarm` is readable, `on_packets` when a receiver of the daemon's own
namespace is, and `on_crowd` when `crowd` is: one descriptor for the receivers of all other
namespaces, of which there may be hundreds. Each runs the engine, sends what came of it, sets the
alarm and hands the notes to `on_notes`. Nothing is done anywhere else, so an idle engine costs
nothing.

Packets before time: when a Master_Down_Interval seems to be over, what already waits in the sockets
is heard first. A process that was kept from running, or a machine that was suspended, would
otherwise take over from a master whose adverts it has not read yet.
"""

import select
import socket

from libc.stdint cimport int64_t, uint64_t

from fastvrrp._clock cimport monotonic
from fastvrrp._engine cimport Engine
from fastvrrp._sockets cimport RECEIVE_BATCH, Alarm, Receiver, datagram_t

cdef enum:
    # How long one call may keep the loop, in nanoseconds, when there is more to do.
    BUDGET = 5_000_000
    # How long unread packets may put off a takeover. A flood must not do it for ever.
    PATIENCE = 1_000_000_000


cdef class Driver:
    """Runs `engine`; `on_notes` is called with the list of Engine.take_notes when it is not
    empty."""

    cdef readonly Engine engine
    cdef readonly Alarm alarm
    cdef readonly list receivers
    cdef readonly object crowd      # an epoll of those of other places
    cdef list own                   # receivers of place 0
    cdef dict others                # by descriptor
    cdef object on_notes
    cdef int64_t behind_since       # when packets first put off a takeover; 0: none do
    cdef bint delivering

    def __init__(self, Engine engine not None, on_notes):
        self.engine = engine
        self.alarm = Alarm()
        self.receivers = []
        self.crowd = select.epoll()
        self.own = []
        self.others = {}
        self.on_notes = on_notes

    def listen(self, int family, int protocol, int place=0) -> Receiver:
        """Opens a receiver in the namespace of the calling thread, which is `place`. The caller
        watches the descriptor of one of place 0, and passes it to `on_packets`."""
        receiver = Receiver(family, protocol, place)
        self.receivers.append(receiver)
        if place == 0:
            self.own.append(receiver)
        else:
            self.others[receiver.descriptor] = receiver
            self.crowd.register(receiver.descriptor, select.EPOLLIN)
        return receiver

    def unlisten(self, Receiver receiver not None) -> None:
        """Closes a receiver, which the caller watches no more."""
        self.receivers.remove(receiver)
        if receiver.place == 0:
            self.own.remove(receiver)
        else:
            del self.others[receiver.descriptor]
            self.crowd.unregister(receiver.descriptor)
        receiver.close()

    def close(self) -> None:
        for receiver in self.receivers[:]:
            self.unlisten(receiver)
        self.crowd.close()

    def now(self) -> int:
        """Nanoseconds of the engine's clock."""
        return monotonic()

    def on_alarm(self) -> None:
        """The alarm went off."""
        cdef int64_t now
        cdef bint is_behind = False
        self.alarm.acknowledge()
        now = monotonic()
        if self.engine.downs.next_deadline() <= now:
            for receiver in self.own:
                if self.hear(receiver):
                    is_behind = True
            if self.others and self.hear_crowd():
                is_behind = True
            now = monotonic()
        if not is_behind:
            self.behind_since = 0
        elif self.behind_since == 0:
            self.behind_since = now
        elif now - self.behind_since > PATIENCE:
            is_behind = False
        self.engine.run_due(now, BUDGET, not is_behind)
        self.settle()

    def on_packets(self, Receiver receiver not None) -> None:
        """A receiver is readable."""
        self.hear(receiver)
        self.settle()

    def on_crowd(self) -> None:
        """`crowd` is readable."""
        self.hear_crowd()
        self.settle()

    def settle(self) -> None:
        """Sends what waits, sets the alarm and delivers the notes: to be called after every call to
        the engine that is not made from `on_notes`."""
        self.engine.flush_frames()
        if not self.delivering:
            self.delivering = True
            try:
                while self.engine.note_count:
                    self.on_notes(self.engine.take_notes())
                    self.engine.flush_frames()
            finally:
                self.delivering = False
        self.alarm.set(self.engine.next_wake())

    cdef bint hear_crowd(self) except -1:
        """Hears what waits in other places; True as of `hear`."""
        cdef bint is_behind = False
        for descriptor, _ in self.crowd.poll(0, max(len(self.others), 1)):
            if self.hear(self.others[descriptor]):
                is_behind = True
        return is_behind

    cdef bint hear(self, Receiver receiver) except -1:
        """Hears what waits; True where that took too long and more may wait."""
        cdef int64_t now = monotonic()
        cdef int64_t until = now + BUDGET
        cdef datagram_t *datagram
        cdef uint64_t dropped
        cdef int count
        cdef int i
        while True:
            dropped = receiver.dropped
            count = receiver.receive()
            self.engine.table.header.dropped += receiver.dropped - dropped
            for i in range(count):
                datagram = &receiver.datagrams[i]
                if receiver.family == socket.AF_INET:
                    self.engine.hear_ipv4(datagram.ifindex, datagram.data, datagram.size, now)
                else:
                    self.engine.hear_ipv6(
                        datagram.ifindex, datagram.data, datagram.size, datagram.source,
                        datagram.destination, datagram.hop_limit, now)
            if count < RECEIVE_BATCH:
                return False
            now = monotonic()
            if now > until:
                return True
