"""The engine: what happens to every packet and every timer.

It owns a plan for each virtual router of the table (frames built once, addresses to compare, whom
to announce to), two timer wheels and a Sender. Everything that comes in, a packet or the time,
becomes an event of the state machine (fsm.pyx); what the machine answers is carried out here. It
reads no clock and no socket: `Driver` (driver.pyx) does that in the daemon, a loop over a list does
it in the tests, and both run this same code.

Two wheels, because the two kinds of timers are allowed different things. An advert may go up to a
hundredth of its interval early but never late: the wheel `adverts` holds the time from which it may
go, and the engine wakes when the first of them has waited for `slack`, so that one wake sends many.
Those that go early for that have the wake's time as their phase from then on: they share every
later wake too, and no gap is longer than the interval. A wake that is late takes nobody along who
could not have gone with it in time, or thousands that are worked off slice by slice would all move
together.
A wake has room for CROWD adverts, or a fiftieth of all. Those of a full one that another follows
too closely take a hundredth of the interval off their next, second for second, until there is room
behind them: thousands who became master in one moment do not stay one burst, whose length varies
and the gaps with it. It is the first who move, so nobody is overtaken.
A Master_Down_Interval must never end early: the wheel `downs` wakes exactly. An advert that is
heard only moves the deadline in the record; when the wheel comes to the old one, it is put back.

A plan is small, and there is one for each virtual router: it comes from Python's allocator, which
wastes less on small pieces and has room where the configuration was read.

Whoever owns the engine takes the notes: one for each change of state and each request to announce
again, and one when two masters are found that do not yield (contest.pyx). That is where Python
begins.
"""

from typing import NamedTuple

from fastvrrp._fsm import EVENT_NAMES

from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.ref cimport Py_INCREF, Py_XDECREF, PyObject
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy, memset

from fastvrrp._ah cimport AH_SIZE, ah_icv, encode_ah
from fastvrrp._clock cimport monotonic
from fastvrrp._contest cimport NO_NEWS, SPLIT
from fastvrrp._fsm cimport (
    ABSTAINING, ACQUIRE, ADVERT, BACKUP, CHANGE, DEMOTE, DISCARD, FAIL, FAULT, MASTER, NEVER,
    PRIORITY_RESIGN, PROMOTE, REANNOUNCE, RELEASE, RESIGN, SEND_ADVERT, SEND_RESIGN, SET_TIMER,
    START, STOP, TIMER, WANT, heard_t, machine_t, master_down_interval, may_go_on, step)
from fastvrrp._judge cimport is_for, judge
from fastvrrp._packet cimport (
    ADDRESS_COUNT, ADDRESS_LIST, AH_ICV, AUTH_AH, AUTH_TYPE, DESTINATION, GARP_SIZE,
    HMAC_DIGEST, HMAC_KEY, HMAC_MISSING, HMAC_TIME, INTERVAL, MAX_ADDRESSES, NA_SIZE, OK,
    PASSWORD, TRAILER_SIZE, VERSION, VRID_UNKNOWN, advert_spec_t, decode_ipv4, decode_ipv6,
    encode, multicast_mac, renew_checksum, set_priority, write_ethernet, write_garp, write_na)
from fastvrrp._plan cimport ALWAYS_OLD, DETECTED_OLD, auth_t, peer_t, target_t
from fastvrrp._rivals cimport changed, concerns, heard, spoke
from fastvrrp._sockets cimport SEND_BATCH
from fastvrrp._table cimport NOBODY, Segment, begin_write, end_write, observe, router_t, spoke_at
from fastvrrp._trailer cimport Authenticator


class Note(NamedTuple):
    """Something that the engine did and its owner has to carry on."""

    router: int
    event: str
    before: int
    after: int
    acquires: bool
    releases: bool
    reannounces: bool
    wants: bool
    priority: int       # ADVERT: what was heard, and from whom
    source: bytes       # SPLIT_BRAIN: the other master, and since when there are two
    since: int = 0


NOTE_NAMES = (*EVENT_NAMES, "SPLIT_BRAIN", "SPLIT_BRAIN_OVER")

ETHERTYPE_IPV4 = 0x0800
ETHERTYPE_IPV6 = 0x86DD

cdef enum:
    CROWD = 64              # adverts in one wake; or, where they are more than fit into a second,
    WAKES = 50              # this part of all
    ETHERNET = 14
    SCRATCH_FRAMES = SEND_BATCH
    FEW_NOTES = 1024


# Refusals that a master of the same virtual router earns, one that is set up otherwise or cannot be
# told from a forger; not those of what comes from elsewhere or comes twice. As bits.
cdef uint64_t IS_MASTERS = (
    1 << VERSION | 1 << ADDRESS_COUNT | 1 << ADDRESS_LIST | 1 << INTERVAL | 1 << AUTH_TYPE
    | 1 << PASSWORD | 1 << AH_ICV | 1 << HMAC_MISSING | 1 << HMAC_KEY | 1 << HMAC_TIME
    | 1 << HMAC_DIGEST)


cdef class Engine:
    """An engine over `table`, sending through `sender`, at time `now` (nanoseconds)."""

    def __cinit__(self, Table table not None, Sender sender not None, int64_t now):
        self.table = table
        self.sender = sender
        self.adverts = Wheel(table.capacity, now)
        self.downs = Wheel(table.capacity, now)
        self.plans = <plan_t **> calloc(table.capacity or 1, sizeof(plan_t *))
        self.plan_count = table.capacity
        self.scratch = <uint8_t *> malloc(SCRATCH_FRAMES * NA_SIZE)
        if self.plans == NULL or self.scratch == NULL:
            raise MemoryError()
        self.slack = NEVER
        self.intervals = {}
        self.shared_until = now
        self.places = CROWD
        self.flushes = 1
        self.unknown = set()

    def __dealloc__(self):
        cdef uint32_t i
        if self.plans != NULL:
            for i in range(self.plan_count):        # the table may be gone already
                if self.plans[i] != NULL:
                    free_plan(self.plans[i])
        free(self.plans)
        free(self.notes)
        free(self.scratch)

    # --- configuration ----------------------------------------------------------------------------

    def grow(self) -> None:
        """Makes room for every virtual router that the table can have, after it has grown."""
        cdef uint32_t capacity = self.table.capacity
        cdef uint32_t before = self.plan_count
        cdef plan_t **plans
        if capacity <= before:
            return
        self.flush_frames()
        plans = <plan_t **> realloc(self.plans, capacity * sizeof(plan_t *))
        if plans == NULL:
            raise MemoryError()
        memset(&plans[before], 0, (capacity - before) * sizeof(plan_t *))
        self.plans = plans
        self.plan_count = capacity
        self.downs.grow(capacity)
        self.adverts.grow(capacity)

    def configure(
            self, uint32_t index, *, int version, int64_t advert_interval, bytes addresses,
            bytes group, object peers=(), bint preempt=True, int64_t preempt_delay=0,
            int down_timer_adverts=3, bint lower_prio_no_advert=False,
            bint higher_prio_send_advert=False, bint starts_backup=False,
            int expired_priority=0, bint ignores_adverts=False, int auth_type=0,
            bytes password=b"", int ttl=255, bint checksum_as_v2=False, int old_checksum=0,
            bint skips_known_addresses=False, bint checks_source=False,
            uint32_t ah_sequence=0, bint signs=False) -> None:
        """Says what the configuration says of the virtual router at `index` of the table.

        `addresses` are the advertised ones, packed one after the other; `group` is the multicast
        group; `peers` are (packed address, min TTL, max TTL) and make the router a unicast one.
        `ah_sequence` is the one before the first to be sent: a router that starts again must go on
        above where it was, or is taken for a replay. With `signs` its adverts have a trailer, and
        it sends none before `authenticate`. The router cannot send before `attach`.

        A router that runs may be configured anew, and stays what it is: nothing changes but what is
        said here, from its next advert on (see `hurry`).
        """
        self.check(index)
        cdef plan_t *before = self.plans[index]
        cdef plan_t *plan
        cdef auth_t *auth
        cdef router_t *router = &self.table.routers[index]
        cdef int size = router.machine.address_size
        cdef int i
        if len(addresses) % size or len(addresses) // size > MAX_ADDRESSES:
            raise ValueError(f"{len(addresses)} bytes are not up to {MAX_ADDRESSES} addresses")
        if not peers and len(group) != size:
            raise ValueError(f"the group has {len(group)} bytes, expected {size}")
        self.flush_frames()             # the sender may still point into what is freed
        stride = ETHERNET + (20 if size == 4 else 40) + 8 + len(addresses)
        if version == 2:
            stride += 8                 # authentication data
        if auth_type == AUTH_AH:
            stride += AH_SIZE
        if signs:
            stride += TRAILER_SIZE
        total = len(peers) * sizeof(peer_t) + len(addresses) + (len(peers) or 1) * stride
        plan = <plan_t *> PyMem_Calloc(1, sizeof(plan_t) + total)
        if plan == NULL:
            raise MemoryError()
        if before != NULL:
            plan[0] = before[0]
            PyMem_Free(before)
        self.plans[index] = plan
        plan.ready = False
        plan.unicast = bool(peers)
        plan.copies = len(peers) or 1
        plan.trailer = TRAILER_SIZE if signs else 0
        plan.address_count = len(addresses) // size
        plan.stride = stride
        plan.peers = <peer_t *> (plan + 1)
        plan.addresses = <uint8_t *> (plan.peers + len(peers))
        plan.frames = plan.addresses + len(addresses)
        memcpy(plan.addresses, <const char *> addresses, len(addresses))
        memcpy(plan.group, <const char *> group, len(group))
        for i, (address, min_ttl, max_ttl) in enumerate(peers):
            if len(address) != size:
                raise ValueError(f"a peer's address has {len(address)} bytes, expected {size}")
            memcpy(plan.peers[i].address, <const char *> address, size)
            plan.peers[i].min_ttl = min_ttl
            plan.peers[i].max_ttl = max_ttl
        plan.auth_type = auth_type
        plan.ttl = ttl
        plan.checksum_as_v2 = checksum_as_v2
        if old_checksum != DETECTED_OLD or plan.old_checksum != DETECTED_OLD:
            plan.checksum_for_group = old_checksum == ALWAYS_OLD
        plan.old_checksum = old_checksum
        plan.skips_known_addresses = skips_known_addresses
        plan.checks_source = checks_source
        if auth_type:
            auth = auth_of(plan)
            auth.ah_sequence = max(auth.ah_sequence, ah_sequence)
            memset(auth.password, 0, 8)
            memcpy(auth.password, <const char *> password, min(len(password), 8))
        self.count_interval(advert_interval)
        if before != NULL:
            self.discount_interval(router.machine.advert_interval)
        begin_write(router)
        # A backup of VRRPv3 has learned the master's interval, and goes by that.
        if router.machine.state != BACKUP or version != 3 or router.machine.version != 3:
            router.machine.master_interval = advert_interval
        router.machine.version = version
        router.machine.advert_interval = advert_interval
        router.machine.preempt = preempt
        router.machine.preempt_delay = preempt_delay
        router.machine.down_timer_adverts = down_timer_adverts
        router.machine.lower_prio_no_advert = lower_prio_no_advert
        router.machine.higher_prio_send_advert = higher_prio_send_advert
        router.machine.starts_backup = starts_backup
        router.machine.expired_priority = expired_priority
        router.machine.ignores_adverts = ignores_adverts
        end_write(router)

    def attach(self, uint32_t index, int32_t ifindex, bytes mac, bytes source) -> None:
        """Builds the frames of a configured router, as they leave `ifindex` from `mac` (six bytes)
        and `source` (a packed address)."""
        cdef plan_t *plan = self.plan_of(index)
        cdef router_t *router = &self.table.routers[index]
        cdef uint8_t group_mac[6]
        cdef int i
        if len(mac) != 6 or len(source) != router.machine.address_size:
            raise ValueError(f"MAC of {len(mac)} and source of {len(source)} bytes")
        self.flush_frames()
        begin_write(router)
        memcpy(router.machine.source, <const char *> source, len(source))
        end_write(router)
        plan.ifindex = ifindex
        multicast_mac(router.family, plan.group, group_mac)
        for i in range(plan.copies):
            write_ethernet(plan.frames + i * plan.stride, group_mac, <const uint8_t *> <char *> mac,
                           ETHERTYPE_IPV4 if router.family == 4 else ETHERTYPE_IPV6)
        self.build(index, router.machine.priority)
        plan.ready = True
        self.set_timer(index)           # of one that has resumed before it could send

    def authenticate(self, uint32_t index, Authenticator authenticator) -> None:
        """Lets it sign the adverts of a configured router, and judge those that the router hears;
        None lets nobody."""
        cdef auth_t *auth = auth_of(self.plan_of(index))
        cdef PyObject *before = auth.authenticator
        auth.authenticator = NULL
        if authenticator is not None:
            Py_INCREF(authenticator)
            auth.authenticator = <PyObject *> authenticator
        Py_XDECREF(before)

    def detach(self, uint32_t index) -> None:
        """The router can no longer send: what its frames are made of is gone."""
        self.plan_of(index).ready = False

    def set_targets(self, uint32_t index, list targets) -> None:
        """What to announce as master: (family 4 or 6, packed address, ifindex, MAC, R flag)
        each."""
        cdef plan_t *plan = self.plan_of(index)
        cdef target_t *made = <target_t *> PyMem_Calloc(len(targets) or 1, sizeof(target_t))
        cdef int i
        if made == NULL:
            raise MemoryError()
        for i, (family, address, ifindex, mac, is_router) in enumerate(targets):
            made[i].family = family
            made[i].router_flag = is_router
            made[i].ifindex = ifindex
            memcpy(made[i].mac, <const char *> mac, 6)
            memcpy(made[i].address, <const char *> address, 4 if family == 4 else 16)
        PyMem_Free(plan.targets)
        plan.targets = made
        plan.target_count = len(targets)

    def target_count(self, uint32_t index) -> int:
        """How many targets the router has."""
        return self.plan_of(index).target_count

    def target(self, uint32_t index, uint32_t position) -> tuple:
        """One target of the router: (family 4 or 6, packed address, ifindex)."""
        cdef plan_t *plan = self.plan_of(index)
        if position >= plan.target_count:
            raise IndexError(f"no target {position} at {index}")
        cdef target_t *found = &plan.targets[position]
        size = 4 if found.family == 4 else 16
        return found.family, (<const char *> found.address)[:size], found.ifindex

    def forget(self, uint32_t index) -> None:
        """Frees what `configure` made, before the record is removed from the table."""
        self.check(index)
        self.flush_frames()
        self.adverts.cancel(index)
        self.downs.cancel(index)
        if self.plans[index] != NULL:
            self.discount_interval(self.table.routers[index].machine.advert_interval)
            free_plan(self.plans[index])
            self.plans[index] = NULL

    cdef int count_interval(self, int64_t advert_interval) except -1:
        self.intervals[advert_interval] = self.intervals.get(advert_interval, 0) + 1
        self.slack = min(self.intervals) // EARLY_PART
        return 0

    cdef int discount_interval(self, int64_t advert_interval) except -1:
        self.intervals[advert_interval] -= 1
        if not self.intervals[advert_interval]:
            del self.intervals[advert_interval]
            self.slack = min(self.intervals) // EARLY_PART if self.intervals else NEVER
        return 0

    cdef int check(self, uint32_t index) except -1:
        if index >= self.table.top or not self.table.routers[index].in_use:
            raise IndexError(f"no virtual router at {index}")
        return 0

    cdef plan_t *plan_of(self, uint32_t index) except NULL:
        self.check(index)
        if self.plans[index] == NULL:
            raise ValueError(f"the virtual router at {index} is not configured")
        return self.plans[index]

    # --- events -----------------------------------------------------------------------------------

    def start(self, uint32_t index, int64_t now) -> None:
        """Everything the router needs is there. It must be attached."""
        if not self.plan_of(index).ready:
            raise ValueError(f"the virtual router at {index} is not attached")
        self.feed(index, START, NULL, now)

    def resume(self, uint32_t index, Segment before not None, uint32_t at, int64_t now,
               bint as_master=True) -> int:
        """Goes on as the virtual router at `at` of a segment whose writer has died, or stands
        still; nobody is told. Returns the state in which it does.

        A MASTER is one still, and its next advert leaves when it was due, where the rule allows it
        (`may_go_on` of fsm.pyx) and `as_master` too; otherwise, and from INIT, it is to be started.
        A BACKUP waits for a whole Master_Down_Interval. What is configured stays as it is.
        `before.left` must have been asked, and its timers run when it is attached.
        """
        cdef router_t *router = &self.table.routers[index]
        cdef machine_t *machine = &router.machine
        cdef router_t old
        cdef bint was_master
        self.check(index)
        if at >= before.header.capacity or not before.copy(at, &old):
            raise IndexError(f"nothing was left at {at}")
        begin_write(router)
        take_counters(router, &old)
        router.ah_sequence = max(router.ah_sequence, old.ah_sequence)
        if self.plans[index] != NULL and self.plans[index].auth_type == AUTH_AH:
            # A clock that was set back would have others take us for a replay.
            self.plans[index].auth.ah_sequence = max(
                self.plans[index].auth.ah_sequence, old.ah_sequence)
        was_master = old.machine.state == MASTER
        machine.uses_old_checksum = old.machine.uses_old_checksum
        if self.plans[index] != NULL and self.plans[index].old_checksum == DETECTED_OLD:
            self.plans[index].checksum_for_group = old.machine.uses_old_checksum
        if was_master and not (as_master and may_go_on(
                &old.machine, spoke_at(&old, before.last_tick), now)):
            router.released_master += 1
        elif old.machine.state in (BACKUP, MASTER, FAULT):
            machine.state = old.machine.state
            machine.changed_at = old.machine.changed_at
            machine.preempt_at = old.machine.preempt_at
            machine.master_priority = old.machine.master_priority
            memcpy(machine.master_address, old.machine.master_address, 16)
        if machine.state == MASTER:
            machine.master_interval = machine.advert_interval
            machine.deadline = old.machine.deadline
            # It may have been on its way to the kernel when its sender died.
            if old.sent_at >= before.last_tick or machine.deadline > now + machine.advert_interval:
                machine.deadline = now
        elif machine.state == BACKUP:
            if machine.version == 3 and old.machine.version == 3 and old.machine.master_interval:
                machine.master_interval = old.machine.master_interval       # as it has learned
            machine.deadline = max(now, self.opens_at) + master_down_interval(machine)
        end_write(router)
        return machine.state

    def send_due(self, int64_t now) -> None:
        """Sends the adverts that are due, and does nothing else: those who have begun need not wait
        for those who are still to begin."""
        self.run_due(now, 0, False)

    def fail(self, uint32_t index, int64_t now) -> None:
        """Something the router needs is gone."""
        self.check(index)
        self.feed(index, FAIL, NULL, now)

    def stop(self, uint32_t index, int64_t now) -> None:
        """The administrator ends the router."""
        self.check(index)
        self.feed(index, STOP, NULL, now)

    def resign(self, uint32_t index, int64_t now) -> None:
        """A master becomes a backup, and says so with priority 0."""
        self.check(index)
        self.feed(index, RESIGN, NULL, now)

    def promote(self, uint32_t index, int64_t now) -> None:
        """The router's sync group becomes master."""
        self.check(index)
        self.feed(index, PROMOTE, NULL, now)

    def demote(self, uint32_t index, int64_t now) -> None:
        """The router's sync group is master no more."""
        self.check(index)
        self.feed(index, DEMOTE, NULL, now)

    def set_membership(self, uint32_t index, int membership) -> None:
        """Whether the router decides alone, as member of a sync group, or as one of owners alone: a
        position in fsm.MEMBERSHIP_NAMES."""
        self.check(index)
        begin_write(&self.table.routers[index])
        self.table.routers[index].machine.membership = membership
        end_write(&self.table.routers[index])

    def wants_master(self, uint32_t index) -> bool:
        """Whether a member of a sync group is master, or would be but for its group."""
        self.check(index)
        cdef machine_t *machine = &self.table.routers[index].machine
        return machine.state == MASTER or bool(machine.wants_master)

    def restrain(self, uint32_t index, int restraint, int64_t now) -> None:
        """Says whether an administrator keeps the router from being master: a position in
        fsm.RESTRAINT_NAMES. One that is master stays so until it is to resign; one that has
        abstained listens for a Master_Down_Interval, as one that starts does."""
        self.check(index)
        cdef router_t *router = &self.table.routers[index]
        cdef machine_t *machine = &router.machine
        begin_write(router)
        if machine.restraint == ABSTAINING and machine.state == BACKUP:
            machine.deadline = max(now, self.opens_at) + master_down_interval(machine)
        machine.restraint = restraint
        if restraint == ABSTAINING:
            machine.wants_master = False
        end_write(router)
        self.set_timer(index)

    def open_at(self, int64_t opens_at) -> None:
        """Nobody becomes master by silence before then, and no Master_Down_Interval begins."""
        self.opens_at = self.table.header.opens_at = opens_at

    def set_priority(self, uint32_t index, int priority) -> None:
        """Gives the router another effective priority, from its next advert on. A backup's
        Master_Down_Interval gets longer or shorter by what its Skew_Time does."""
        self.check(index)
        cdef router_t *router = &self.table.routers[index]
        cdef int64_t before = master_down_interval(&router.machine)
        if not 1 <= priority <= 255:
            raise ValueError(f"priority {priority} is outside 1-255")
        begin_write(router)
        router.machine.priority = priority
        if router.machine.state == BACKUP and router.machine.deadline != NEVER:
            router.machine.deadline += master_down_interval(&router.machine) - before
        end_write(router)
        self.set_timer(index)

    def hurry(self, uint32_t index, int64_t now) -> None:
        """Lets a master send its next advert at once, because there is something new in it."""
        self.check(index)
        cdef router_t *router = &self.table.routers[index]
        if router.machine.state != MASTER or router.machine.deadline <= now:
            return
        begin_write(router)
        router.machine.deadline = now
        end_write(router)
        self.set_timer(index)

    def run(self, int64_t now) -> int | None:
        """Does everything that is due, and returns when to be called next (None: never)."""
        self.run_due(now, 0, True)
        cdef int64_t wake = self.next_wake()
        return None if wake == NEVER else wake

    def receive_frame(self, int32_t ifindex, bytes frame, int64_t now) -> None:
        """Hears one Ethernet frame with VRRP in it, as if it had come through `ifindex`."""
        cdef const uint8_t *data = <const uint8_t *> <const char *> frame
        if len(frame) > ETHERNET and frame[12:14] == b"\x08\x00":
            self.hear_ipv4(ifindex, data + ETHERNET, len(frame) - ETHERNET, now)
        elif len(frame) >= ETHERNET + 40 and frame[12:14] == b"\x86\xdd":
            self.hear_ipv6(ifindex, data + ETHERNET + 40, len(frame) - ETHERNET - 40,
                           data + ETHERNET + 8, data + ETHERNET + 24, data[ETHERNET + 7], now)
        else:
            raise ValueError("neither IPv4 nor IPv6 in the frame")
        self.flush_frames()

    def announce(self, uint32_t index, uint32_t first=0, uint32_t count=0xFFFFFFFF) -> int:
        """Sends one gratuitous ARP or neighbour advertisement for each of `count` targets of the
        router from `first` on, and returns how many. They may wait for company until `flush`."""
        cdef plan_t *plan = self.plan_of(index)
        cdef target_t *target
        cdef uint8_t *frame
        cdef uint32_t i
        first = min(first, plan.target_count)
        count = min(count, plan.target_count - first)
        for i in range(first, first + count):
            target = &plan.targets[i]
            if self.scratch_used == SCRATCH_FRAMES:
                self.flush_frames()
            frame = self.scratch + self.scratch_used * NA_SIZE
            self.scratch_used += 1
            if target.family == 4:
                write_garp(frame, target.mac, target.address)
                self.sender.frame(target.ifindex, frame, GARP_SIZE)
            else:
                write_na(frame, target.mac, target.address, target.router_flag)
                self.sender.frame(target.ifindex, frame, NA_SIZE)
        self.table.routers[index].announcements_sent += count
        self.table.header.announcements_sent += count
        return count

    def flush(self) -> None:
        """Sends what waits for company."""
        self.flush_frames()

    def take_notes(self) -> list:
        """What happened since the last call, as Notes, oldest first."""
        cdef uint32_t i
        cdef note_t *note
        taken = []
        for i in range(self.note_count):
            note = &self.notes[i]
            size = self.table.routers[note.index].machine.address_size
            taken.append(Note(
                note.index, NOTE_NAMES[note.event], note.before, note.after,
                bool(note.actions & ACQUIRE), bool(note.actions & RELEASE),
                bool(note.actions & REANNOUNCE), bool(note.actions & WANT), note.priority,
                (<const char *> note.source)[:size], note.since))
        self.note_count = 0
        if self.note_room > FEW_NOTES:      # a change of state of all: keep no room for the next
            free(self.notes)
            self.notes = NULL
            self.note_room = 0
        return taken

    # --- the time ---------------------------------------------------------------------------------

    cdef int64_t next_wake(self) noexcept nogil:
        cdef int64_t advert = self.adverts.next_deadline()
        if advert != NEVER and (advert > self.shared_until or self.places == 0):
            advert += self.slack
        return min(advert, self.downs.next_deadline())

    cdef void run_due(self, int64_t now, int64_t budget, bint with_downs):
        cdef uint32_t due[DUE_BATCH]
        cdef uint32_t count
        cdef uint32_t i
        cdef int64_t until = 0
        cdef int64_t begun = 0
        cdef int64_t clock = 0          # stands still where `now` is no real time
        if budget:
            begun = clock = monotonic()
            until = begun + budget
        cdef int64_t first
        cdef bint is_crowded
        cdef int64_t down_at
        cdef machine_t *machine
        while True:
            first = self.adverts.next_deadline()
            if first > self.shared_until or self.places == 0:
                if first == NEVER or first + self.slack > now:
                    break
                # The wheel never goes back: who has resumed may be due since before its last turn.
                self.shared_until = max(self.shared_until, first + self.slack)
                self.places = min(DUE_BATCH, max(CROWD, self.adverts.scheduled // WAKES))
            count = self.adverts.expire(self.shared_until, due, self.places)
            self.places -= count
            is_crowded = self.places == 0 and self.adverts.next_deadline() < self.shared_until
            for i in range(count):
                machine = &self.table.routers[due[i]].machine
                observe(&self.table.header.lateness, now + clock - begun - machine.deadline)
                machine.deadline = min(machine.deadline, self.shared_until)
                # The sequence numbers of AH must not get ahead of the clock.
                if is_crowded and self.plans[due[i]].auth_type != AUTH_AH:
                    machine.deadline -= machine.advert_interval // EARLY_PART
                self.feed(due[i], TIMER, NULL, now)
            if budget:
                clock = monotonic()
                if clock > until:
                    self.flush_frames()
                    return
        while with_downs:
            count = self.downs.expire(now, due, DOWN_BATCH)
            for i in range(count):
                machine = &self.table.routers[due[i]].machine
                down_at = machine.deadline
                if down_at > now:
                    self.downs.schedule(due[i], down_at)
                    continue
                self.feed(due[i], TIMER, NULL, now)
                if machine.state == MASTER:
                    if budget:
                        clock = monotonic()
                    observe(&self.table.header.overshoot, now + clock - begun - down_at)
            if count < DOWN_BATCH or (budget and monotonic() > until):
                break
        self.flush_frames()

    cdef void set_timer(self, uint32_t index) noexcept nogil:
        cdef machine_t *machine = &self.table.routers[index].machine
        if machine.state == MASTER:
            self.downs.cancel(index)
            self.adverts.schedule(index, machine.deadline - machine.advert_interval // EARLY_PART)
        elif machine.state == BACKUP:
            self.adverts.cancel(index)
            if not self.downs.is_scheduled(index) or machine.deadline < self.downs.deadline(index):
                self.downs.schedule(index, machine.deadline)
        else:
            self.adverts.cancel(index)
            self.downs.cancel(index)

    cdef void feed(self, uint32_t index, Event event, const advert_t *advert, int64_t now):
        """One event to one state machine, and its answer carried out."""
        cdef plan_t *plan = self.plans[index]
        cdef router_t *router = &self.table.routers[index]
        cdef uint8_t before = router.machine.state
        cdef uint32_t actions
        cdef heard_t said
        begin_write(router)
        if event == ADVERT:
            if concerns(plan, router, advert):
                self.tell(index, heard(plan, router, advert, now))
            said.interval = advert.interval
            said.priority = advert.priority
            memcpy(said.source, advert.source, 16)
            router.adverts_received += 1
            router.heard_at = now
            if advert.priority == PRIORITY_RESIGN:
                router.resigns_received += 1
            actions = step(&router.machine, event, &said, now, self.opens_at)
            if actions & DISCARD:
                router.discarded += 1
        else:
            actions = step(&router.machine, event, NULL, now, self.opens_at)
        if actions & CHANGE:
            router.changed_by = event
            router.changed_from = before
            router.changes += 1
            self.table.header.changes += 1
            self.table.log_event(index, event, before, now)
            if router.machine.state == MASTER:
                router.became_master += 1
            elif before == MASTER:
                router.released_master += 1
        end_write(router)
        if actions & SET_TIMER:
            self.set_timer(index)
        if actions & SEND_ADVERT:
            self.send(index, router.machine.priority, now)
        elif actions & SEND_RESIGN:
            router.resigns_sent += 1
            self.send(index, PRIORITY_RESIGN, now)
        if plan != NULL and plan.contest != NULL:
            if actions & CHANGE:
                self.tell(index, changed(plan, router))
            elif actions & SEND_ADVERT:
                self.tell(index, spoke(plan, router, now))
        if actions & (CHANGE | REANNOUNCE | WANT):
            self.note(index, event, actions, before, advert)

    cdef note_t *note(
            self, uint32_t index, uint8_t event, uint32_t actions, uint8_t before,
            const advert_t *advert) except NULL:
        cdef note_t *note
        cdef note_t *grown
        cdef uint32_t room = max(64, 2 * self.note_room)
        if self.note_count == self.note_room:
            grown = <note_t *> realloc(self.notes, room * sizeof(note_t))
            if grown == NULL:
                raise MemoryError()
            self.notes = grown
            self.note_room = room
        note = &self.notes[self.note_count]
        self.note_count += 1
        memset(note, 0, sizeof(note_t))
        note.index = index
        note.event = event
        note.actions = actions
        note.before = before
        note.after = self.table.routers[index].machine.state
        if advert != NULL:
            note.priority = advert.priority
            memcpy(note.source, advert.source, 16)
        return note

    cdef int tell(self, uint32_t index, news_t news) except -1:
        """Notes that two masters were found, or are no more."""
        cdef note_t *note
        if news.turn != NO_NEWS:
            note = self.note(
                index, SPLIT_BRAIN if news.turn == SPLIT else SPLIT_BRAIN_OVER, 0,
                self.table.routers[index].machine.state, NULL)
            note.since = news.since
            memcpy(note.source, news.rival, 16)
        return 0

    # --- what comes in ----------------------------------------------------------------------------

    cdef void hear_ipv4(
            self, int32_t ifindex, const uint8_t *packet, uint32_t size, int64_t now):
        cdef advert_t advert
        advert.vrid = 0
        advert.family = 4
        cdef Reason verdict = decode_ipv4(packet, size, &advert)
        self.hear(ifindex, &advert, verdict, packet, size, now)

    cdef void hear_ipv6(
            self, int32_t ifindex, const uint8_t *payload, uint32_t size, const uint8_t *source,
            const uint8_t *destination, int hop_limit, int64_t now):
        cdef advert_t advert
        advert.vrid = 0
        advert.family = 6
        cdef Reason verdict = decode_ipv6(payload, size, source, destination, hop_limit, &advert)
        self.hear(ifindex, &advert, verdict, payload, size, now)

    cdef void hear(
            self, int32_t ifindex, const advert_t *advert, Reason verdict, const uint8_t *packet,
            uint32_t size, int64_t now):
        cdef int32_t head = NOBODY
        cdef int32_t index
        cdef bint alone
        self.table.header.packets += 1
        if advert.vrid != 0:
            head = self.table.find(ifindex, advert.family, advert.vrid)
        index = head
        if verdict == OK:
            alone = head != NOBODY and self.table.following[head] == NOBODY
            while index != NOBODY and (self.plans[index] == NULL or not is_for(
                    self.plans[index], advert,
                    self.table.routers[index].machine.address_size, alone)):
                index = self.table.following[index]
            if index == NOBODY:
                index = head
                verdict = VRID_UNKNOWN if head == NOBODY else DESTINATION
            else:
                verdict = judge(
                    self.plans[index], &self.table.routers[index], advert, packet, size)
                # Masters that refuse each other are the usual split brain.
                if IS_MASTERS >> verdict & 1 and advert.priority != PRIORITY_RESIGN:
                    self.tell(index, heard(
                        self.plans[index], &self.table.routers[index], advert, now))
        if verdict != OK:
            if verdict == VRID_UNKNOWN and self.on_unknown is not None:
                self.tell_unknown(ifindex, advert)
            self.table.header.refused[<int> verdict] += 1
            if index != NOBODY:
                self.table.routers[index].refused[<int> verdict] += 1
            return
        if self.plans[index].unicast:
            self.follow_checksum(index, advert)
        self.feed(index, ADVERT, advert, now)

    cdef int tell_unknown(self, int32_t ifindex, const advert_t *advert) except -1:
        """Tells of a VRID that nobody has here; once, for it may come a thousand times a second."""
        key = (ifindex, advert.family, advert.vrid)
        if key not in self.unknown:
            self.unknown.add(key)
            size = 4 if advert.family == 4 else 16
            self.on_unknown(*key, (<const char *> advert.source)[:size])
        return 0

    cdef void follow_checksum(self, uint32_t index, const advert_t *advert):
        """A backup takes the master's way to calculate the checksum, if it is told no other."""
        cdef plan_t *plan = self.plans[index]
        cdef machine_t *machine = &self.table.routers[index].machine
        if (plan.checksum_for_group == advert.checksum_for_group
                or plan.old_checksum != DETECTED_OLD or machine.state != BACKUP
                or advert.version != 3 or advert.priority < machine.priority):
            return
        plan.checksum_for_group = machine.uses_old_checksum = advert.checksum_for_group
        if plan.ready:
            self.flush_frames()         # the sender may still point into what is built anew
            self.build(index, machine.priority)

    # --- what goes out ----------------------------------------------------------------------------

    cdef void build(self, uint32_t index, uint8_t priority):
        """Writes the IP packets behind the Ethernet headers of a router's frames."""
        cdef plan_t *plan = self.plans[index]
        cdef router_t *router = &self.table.routers[index]
        cdef advert_spec_t spec
        cdef uint8_t *packet
        cdef int i
        spec.family = router.family
        spec.version = router.machine.version
        spec.vrid = router.vrid
        spec.priority = priority
        spec.auth_type = plan.auth_type
        spec.checksum_as_v2 = plan.checksum_as_v2
        spec.checksum_for_group = plan.unicast and plan.checksum_for_group
        spec.ttl = plan.ttl
        spec.trailer = plan.trailer
        spec.address_count = plan.address_count
        spec.interval = router.machine.advert_interval
        spec.source = router.machine.source
        spec.addresses = plan.addresses
        spec.password = plan.auth.password if plan.auth_type else NULL
        if plan.auth_type == AUTH_AH:
            plan.auth.ah_sequence += 1
            router.ah_sequence = plan.auth.ah_sequence
        for i in range(plan.copies):
            packet = plan.frames + i * plan.stride + ETHERNET
            if plan.unicast:
                spec.destination = plan.peers[i].address
            else:
                spec.destination = plan.group
            if plan.auth_type == AUTH_AH:
                size = encode_ah(&spec, plan.auth.ah_sequence, packet)
                ah_icv(packet, size, (<const char *> plan.auth.password)[:8])
            else:
                size = encode(&spec, packet)
            plan.frame_size = ETHERNET + size
        plan.frame_priority = priority

    cdef void send(self, uint32_t index, uint8_t priority, int64_t now):
        """Hands a router's advert to the sender. It leaves with the next flush."""
        cdef plan_t *plan = self.plans[index]
        cdef router_t *router = &self.table.routers[index]
        cdef uint8_t *frame
        cdef int i
        if not plan.ready:
            return
        if plan.trailer and (plan.auth == NULL or plan.auth.authenticator == NULL):
            return
        if plan.frame_priority != priority or plan.auth_type == AUTH_AH or plan.trailer:
            if plan.queued_in == self.flushes:
                self.flush_frames()
            if plan.auth_type == AUTH_AH:
                self.build(index, priority)     # a new sequence number, a new digest
            elif plan.trailer:
                self.sign(plan, priority)
            else:
                for i in range(plan.copies):
                    set_priority(plan.frames + i * plan.stride + ETHERNET,
                                 plan.frame_size - ETHERNET, priority)
                plan.frame_priority = priority
        for i in range(plan.copies):
            frame = plan.frames + i * plan.stride
            if plan.unicast:
                self.sender.packet(
                    router.family, plan.ifindex, frame + ETHERNET, plan.frame_size - ETHERNET)
            else:
                self.sender.frame(plan.ifindex, frame, plan.frame_size)
        plan.queued_in = self.flushes
        self.table.header.is_sending = True
        router.adverts_sent += 1
        router.sent_at = now

    cdef void sign(self, plan_t *plan, uint8_t priority):
        """Gives a new trailer to a router's frames: the same one for every peer, since it does not
        depend on the destination."""
        cdef uint8_t *first = plan.frames + ETHERNET
        cdef uint32_t size = plan.frame_size - ETHERNET
        cdef uint32_t header = 20 if first[0] >> 4 == 4 else 40
        cdef uint8_t *packet
        cdef int i
        first[header + 2] = priority
        (<Authenticator> plan.auth.authenticator).sign(first, header, size)
        for i in range(plan.copies):
            packet = first + i * plan.stride
            if i:
                memcpy(packet + header, first + header, size - header)
            renew_checksum(packet, size, plan.checksum_as_v2,
                           plan.unicast and plan.checksum_for_group)
        plan.frame_priority = priority

    cdef void flush_frames(self) noexcept:
        self.sender.flush()
        self.table.header.is_sending = False
        self.scratch_used = 0
        self.flushes += 1
        self.table.header.frames_sent += self.sender.sent - self.counted_sent
        self.table.header.frames_unsent += self.sender.unsent - self.counted_unsent
        self.counted_sent = self.sender.sent
        self.counted_unsent = self.sender.unsent


cdef void take_counters(router_t *router, const router_t *before) noexcept nogil:
    """Goes on counting where somebody else has stopped."""
    router.changed_by = before.changed_by
    router.changed_from = before.changed_from
    router.changes = before.changes
    router.became_master = before.became_master
    router.released_master = before.released_master
    router.heard_at = before.heard_at
    router.sent_at = before.sent_at
    router.adverts_received = before.adverts_received
    router.adverts_sent = before.adverts_sent
    router.announcements_sent = before.announcements_sent
    router.resigns_received = before.resigns_received
    router.resigns_sent = before.resigns_sent
    router.discarded = before.discarded
    memcpy(router.refused, before.refused, sizeof(router.refused))
    router.split_brains = before.split_brains


cdef auth_t *auth_of(plan_t *plan) except NULL:
    """What the plan knows of authentication, with room made for it."""
    if plan.auth == NULL:
        plan.auth = <auth_t *> PyMem_Calloc(1, sizeof(auth_t))
        if plan.auth == NULL:
            raise MemoryError()
    return plan.auth


cdef void free_plan(plan_t *plan):
    if plan.auth != NULL:
        Py_XDECREF(plan.auth.authenticator)
        PyMem_Free(plan.auth)
    PyMem_Free(plan.contest)
    PyMem_Free(plan.targets)
    PyMem_Free(plan)
