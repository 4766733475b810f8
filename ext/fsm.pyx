"""The virtual router's state machine, whole, in one file.

A virtual router waits in BACKUP for the master's adverts. When they stay away for a
Master_Down_Interval it takes over: it sends an advert, takes the addresses and goes on sending
adverts until it hears somebody better, or is told to stop. FAULT is keepalived's name for a router
that cannot take part because something it needs is gone.

What follows is one table. A row says: in this state, on this event, if all of these guards are
true, do this and go there. The first row that fits is taken; an event with no row has no effect.
Guards are facts about the advert and the router that `look` computes once an event, so that a row
is data, and the table can be printed (`TABLE`) and compared with RFC 9568 section 6.4 line by line.

Nothing here knows a socket or a clock. The engine calls `step` for every advert and every expired
timer; the tests call it through `Machine` with the same arguments.

Where keepalived is more careful than the RFC, we follow keepalived, because the neighbour may be
one:

* A BACKUP that would preempt, and has a preempt delay, lets the lower master be until the delay has
  passed since it was first heard. Only then does it stop listening, and the Master_Down_Interval of
  its last advert still has to pass.
* An owner that is told `state BACKUP` waits at first like everybody else.
* A MASTER that hears somebody of lower priority answers with an advert and announces its addresses
  again, which RFC 9568 has taken up and RFC 3768 has not (`lower_prio_no_advert` is RFC 3768).

keepalived's extensions have rows here too:

* A member of a sync group whose Master_Down_Interval ends does not become master. It only would
  (`wants_master`), until it follows a master again, and listens for another such interval. When
  every member would, whoever owns the machines promotes them all, in one moment; when one of them
  has yielded, it demotes the others, who say nothing: the one who was better takes them over too.
  FAULT needs no event of its own: a member that must not take part because another one cannot
  fails, and starts, like any router.
* `vrrp_startup_delay`: until `opens_at` a silent master is not missed. Adverts are heard meanwhile.
* `timer_expired_backup`: a MASTER with nopreempt that was kept from sending for so long that
  another one may have taken over by now must not push that one aside with its next advert.
* A MASTER that has lost a route or a rule that it tracks resigns, and waits in BACKUP for whoever
  is there.

Two rows are ours alone. Before maintenance an administrator gives masters away (`restraint`): one
that is YIELDING does not preempt, an owner neither, and takes over where nobody is master; one that
is ABSTAINING never becomes master. Neither has an effect on one that is master: it is to resign.

And one rule that is in no row, because it is about no event of a life but about its end: when the
process of a MASTER has died, its successor may go on as MASTER (`may_go_on`) as long as no backup
can have missed a Master_Down_Interval. For the others on the link nothing has happened then.
"""

from libc.string cimport memcmp, memcpy

# Guards. Each is a bit that `look` sets where the fact holds.
cdef enum Guard:
    ALWAYS = 0
    OWNER = 1               # our priority is 255, and we are not told to wait
    RESIGNED = 2            # the advert has priority 0
    BETTER = 4              # the advert wins against a master: priority, then address (6.4.3 (725))
    NOT_LOWER = 8           # the advert's priority is at least ours
    NO_PREEMPT = 16         # Preempt_Mode is False
    DELAYING = 32           # a preempt delay holds us back
    ANSWERS_LOWER = 64      # not `lower_prio_no_advert`
    ANSWERS_HIGHER = 128    # `higher_prio_send_advert`
    GROUPED = 256           # a sync group decides
    EARLY_OWNER = 512       # OWNER, but for the startup delay
    EXPIRED = 1024          # another one has had time to become master since our last advert
    DEAF = 2048             # `vrrp_strict`: an owner ignores adverts
    ABSTAINS = 4096         # an administrator keeps it from being master

cdef enum:
    # What of a backup's patience must be left for our next advert to get there.
    MARGIN_PART = 10        # of an advert interval,
    LONGEST_MARGIN = 100_000_000

# What happens to the deadline.
cdef enum Timer:
    KEEP = 0
    ADVERT_NEXT = 1         # one interval after the deadline that has come
    ADVERT_FROM_NOW = 2     # one interval from now
    MASTER_DOWN = 3         # a Master_Down_Interval from now
    SKEW = 4                # Skew_Time from now
    NONE = 5
    OPENING = 6             # the end of the startup delay

cdef struct row_t:
    uint8_t state
    uint8_t event
    uint16_t guards
    uint8_t following
    uint8_t timer
    uint16_t actions

cdef enum:
    ROW_COUNT = 33

cdef row_t[ROW_COUNT] ROWS
cdef uint8_t[4][EVENT_COUNT] FIRST          # index of the first row of (state, event)

GUARD_NAMES = ("OWNER", "RESIGNED", "BETTER", "NOT_LOWER", "NO_PREEMPT", "DELAYING",
               "ANSWERS_LOWER", "ANSWERS_HIGHER", "GROUPED", "EARLY_OWNER", "EXPIRED", "DEAF",
               "ABSTAINS")
STATE_NAMES = ("INIT", "BACKUP", "MASTER", "FAULT")
EVENT_NAMES = ("START", "TIMER", "ADVERT", "FAIL", "STOP", "PROMOTE", "DEMOTE", "RESIGN")
ACTION_NAMES = ("SEND_ADVERT", "SEND_RESIGN", "SET_TIMER", "CHANGE", "ACQUIRE", "RELEASE",
                "REANNOUNCE", "DISCARD", "WANT")
TIMER_NAMES = ("KEEP", "ADVERT_NEXT", "ADVERT_FROM_NOW", "MASTER_DOWN", "SKEW", "NONE", "OPENING")
MEMBERSHIP_NAMES = ("ALONE", "MEMBER", "OWNING_MEMBER")
RESTRAINT_NAMES = ("UNRESTRAINED", "YIELDING", "ABSTAINING")

# The table. Numbers in brackets are line numbers of RFC 9568 section 6.4.
#   state, event, guards, next state, timer, actions
_TABLE = (
    # 6.4.1 Initialize
    (INIT, START, OWNER, MASTER, ADVERT_FROM_NOW, SEND_ADVERT | ACQUIRE),       # (105)-(140)
    (INIT, START, EARLY_OWNER, BACKUP, OPENING, 0),                             # startup delay
    (INIT, START, ALWAYS, BACKUP, MASTER_DOWN, 0),                              # (150)-(165)
    (INIT, FAIL, ALWAYS, FAULT, NONE, 0),
    # FAULT is left as Initialize is.
    (FAULT, START, OWNER, MASTER, ADVERT_FROM_NOW, SEND_ADVERT | ACQUIRE),
    (FAULT, START, EARLY_OWNER, BACKUP, OPENING, 0),
    (FAULT, START, ALWAYS, BACKUP, MASTER_DOWN, 0),
    (FAULT, STOP, ALWAYS, INIT, NONE, 0),
    # 6.4.2 Backup
    (BACKUP, ADVERT, RESIGNED, BACKUP, SKEW, 0),                                # (375)
    (BACKUP, ADVERT, NOT_LOWER, BACKUP, MASTER_DOWN, 0),                        # (385)-(400)
    (BACKUP, ADVERT, NO_PREEMPT, BACKUP, MASTER_DOWN, 0),                       # (385)
    (BACKUP, ADVERT, DELAYING, BACKUP, MASTER_DOWN, 0),                         # preempt_delay
    (BACKUP, ADVERT, ALWAYS, BACKUP, KEEP, DISCARD),                            # (410)
    (BACKUP, TIMER, ABSTAINS, BACKUP, MASTER_DOWN, 0),
    # A router alone does this at once; a member does when the last member would, too.
    (BACKUP, TIMER, GROUPED, BACKUP, MASTER_DOWN, WANT),
    (BACKUP, TIMER, ALWAYS, MASTER, ADVERT_FROM_NOW, SEND_ADVERT | ACQUIRE),    # (310)-(355)
    (BACKUP, PROMOTE, ABSTAINS, BACKUP, KEEP, 0),
    (BACKUP, PROMOTE, ALWAYS, MASTER, ADVERT_FROM_NOW, SEND_ADVERT | ACQUIRE),
    (BACKUP, FAIL, ALWAYS, FAULT, NONE, 0),
    (BACKUP, STOP, ALWAYS, INIT, NONE, 0),                                      # (305)
    # 6.4.3 Active
    (MASTER, TIMER, EXPIRED, BACKUP, MASTER_DOWN, RELEASE),                     # silently
    (MASTER, TIMER, ALWAYS, MASTER, ADVERT_NEXT, SEND_ADVERT),                  # (655)
    (MASTER, ADVERT, DEAF, MASTER, KEEP, DISCARD),
    (MASTER, ADVERT, EXPIRED, BACKUP, MASTER_DOWN, RELEASE),        # heard before our own time came
    (MASTER, ADVERT, RESIGNED, MASTER, ADVERT_FROM_NOW, SEND_ADVERT),           # (705)
    (MASTER, ADVERT, BETTER | ANSWERS_HIGHER, BACKUP, MASTER_DOWN, SEND_ADVERT | RELEASE),
    (MASTER, ADVERT, BETTER, BACKUP, MASTER_DOWN, RELEASE),                     # (725)-(740)
    (MASTER, ADVERT, ANSWERS_LOWER, MASTER, KEEP, SEND_ADVERT | REANNOUNCE),    # (750)
    (MASTER, ADVERT, ALWAYS, MASTER, KEEP, DISCARD),                            # (745)
    # No advert of priority 0: the member that has yielded did it to a master who is there.
    (MASTER, DEMOTE, ALWAYS, BACKUP, MASTER_DOWN, RELEASE),
    (MASTER, FAIL, ALWAYS, FAULT, NONE, SEND_RESIGN | RELEASE),
    (MASTER, STOP, ALWAYS, INIT, NONE, SEND_RESIGN | RELEASE),                  # (640)
    (MASTER, RESIGN, ALWAYS, BACKUP, MASTER_DOWN, SEND_RESIGN | RELEASE),
)


cdef void _lay_out():
    """Copies the table into C and indexes it: rows of one (state, event) stand together."""
    cdef int i
    for state in range(4):
        for event in range(EVENT_COUNT):
            FIRST[state][event] = ROW_COUNT
    assert len(_TABLE) == ROW_COUNT
    for i, (state, event, guards, following, timer, actions) in enumerate(_TABLE):
        ROWS[i].state = state
        ROWS[i].event = event
        ROWS[i].guards = guards
        ROWS[i].following = following
        ROWS[i].timer = timer
        ROWS[i].actions = actions
        if FIRST[state][event] == ROW_COUNT:
            FIRST[state][event] = i


_lay_out()


cdef int64_t skew_time(const machine_t *machine) noexcept nogil:
    cdef int64_t base = machine.master_interval
    if machine.version == 2:
        base = 1_000_000_000            # RFC 3768 section 6.1: of a second, not of the interval
    return (256 - machine.priority) * base // 256


cdef int64_t master_down_interval(const machine_t *machine) noexcept nogil:
    return machine.down_timer_adverts * machine.master_interval + skew_time(machine)


cdef bint has_expired(const machine_t *machine, int64_t now) noexcept nogil:
    """Whether a backup of `expired_priority`, the highest of the others, would have missed a
    Master_Down_Interval of ours by now."""
    # A master's deadline is one interval after its last advert, or less.
    cdef int64_t silence = now - (machine.deadline - machine.advert_interval)
    cdef machine_t other = machine[0]
    other.priority = machine.expired_priority
    other.master_interval = machine.advert_interval
    return silence > master_down_interval(&other)


cdef bint may_go_on(const machine_t *machine, int64_t spoke_at, int64_t now) noexcept nogil:
    """The rule of a crash. The least patient backup has the highest priority of all that are not an
    owner, and waits for as many of our intervals as we would."""
    cdef machine_t other = machine[0]
    other.priority = PRIORITY_OWNER - 1
    other.master_interval = machine.advert_interval
    cdef int64_t margin = min(machine.advert_interval // MARGIN_PART, LONGEST_MARGIN)
    return (machine.state == MASTER and spoke_at <= now
            and now - spoke_at < master_down_interval(&other) - margin)


cdef uint32_t look(
        const machine_t *machine, Event event, const heard_t *heard, int64_t now,
        int64_t opens_at) noexcept nogil:
    """The guards that hold."""
    cdef uint32_t facts = ALWAYS
    cdef int order
    if (machine.state == MASTER and machine.expired_priority and not machine.preempt
            and has_expired(machine, now)):
        facts |= EXPIRED
    if event != ADVERT:
        if machine.membership != ALONE:
            facts |= GROUPED
        if machine.restraint == ABSTAINING:
            facts |= ABSTAINS
        if (machine.priority == PRIORITY_OWNER and not machine.starts_backup
                and machine.membership != MEMBER and not machine.restraint):
            facts |= OWNER if now >= opens_at else EARLY_OWNER
        return facts
    if machine.ignores_adverts:
        facts |= DEAF
    if heard.priority == PRIORITY_RESIGN:
        return facts | RESIGNED
    order = <int> heard.priority - <int> machine.priority
    if order >= 0:
        facts |= NOT_LOWER
        if order > 0 or memcmp(heard.source, machine.source, machine.address_size) > 0:
            facts |= BETTER
    elif machine.preempt_delay > 0 and now < machine.preempt_at:
        facts |= DELAYING               # also before the delay has begun: then it is NEVER
    if not machine.preempt or machine.restraint:
        facts |= NO_PREEMPT
    if not machine.lower_prio_no_advert:
        facts |= ANSWERS_LOWER
    if machine.higher_prio_send_advert:
        facts |= ANSWERS_HIGHER
    return facts


cdef void learn(machine_t *machine, const heard_t *heard, int64_t now) noexcept nogil:
    """Takes over what the master says (RFC 9568 (390)), and starts or ends a preempt delay."""
    machine.master_priority = heard.priority
    memcpy(machine.master_address, heard.source, 16)
    if heard.priority == PRIORITY_RESIGN:
        return
    machine.wants_master = False
    if machine.version == 3:
        machine.master_interval = heard.interval
    if machine.preempt_delay > 0:
        if heard.priority >= machine.priority:
            machine.preempt_at = NEVER
        elif machine.preempt_at == NEVER:
            machine.preempt_at = now + machine.preempt_delay


cdef void set_deadline(
        machine_t *machine, uint8_t timer, int64_t now, int64_t opens_at) noexcept nogil:
    if timer == ADVERT_NEXT:
        machine.deadline += machine.advert_interval
        if machine.deadline <= now:     # we slept through a whole interval: do not send a burst
            machine.deadline = now + machine.advert_interval
    elif timer == ADVERT_FROM_NOW:
        machine.deadline = now + machine.advert_interval
    elif timer == MASTER_DOWN:
        machine.deadline = max(now, opens_at) + master_down_interval(machine)
    elif timer == SKEW:
        machine.deadline = max(now, opens_at) + skew_time(machine)
    elif timer == OPENING:
        machine.deadline = opens_at
    else:
        machine.deadline = NEVER


cdef uint32_t step(
        machine_t *machine, Event event, const heard_t *heard, int64_t now,
        int64_t opens_at) noexcept nogil:
    cdef uint32_t facts = look(machine, event, heard, now, opens_at)
    cdef int i = FIRST[machine.state][<int> event]
    cdef const row_t *row
    cdef uint32_t actions
    while True:
        if i == ROW_COUNT:
            return DISCARD
        row = &ROWS[i]
        if row.state != machine.state or row.event != event:
            return DISCARD
        if (row.guards & facts) == row.guards:
            break
        i += 1
    actions = row.actions
    if event == ADVERT and row.following == BACKUP and not actions & DISCARD:
        learn(machine, heard, now)
    if row.following != machine.state:
        actions |= CHANGE
        machine.changed_at = now
        machine.state = row.following
        machine.preempt_at = NEVER
        machine.wants_master = False
        if event != ADVERT:             # a master that yields has just learned these
            machine.master_interval = machine.advert_interval
            machine.master_priority = machine.priority if row.following == MASTER else 0
            memcpy(machine.master_address, machine.source, 16)
    elif actions & WANT:
        machine.wants_master = True
    if row.timer != KEEP:
        set_deadline(machine, row.timer, now, opens_at)
        actions |= SET_TIMER
    return actions


# --- the face that tests and documentation see --------------------------------------------------

def _bits(value, names):
    return tuple(name for bit, name in enumerate(names) if value >> bit & 1)


TABLE = tuple(
    (STATE_NAMES[state], EVENT_NAMES[event], _bits(guards, GUARD_NAMES), STATE_NAMES[following],
     TIMER_NAMES[timer], _bits(actions, ACTION_NAMES))
    for state, event, guards, following, timer, actions in _TABLE
)


cdef class Machine:
    """One virtual router's protocol, without an engine. Times are nanoseconds.

    `source` is four or sixteen bytes in network order.
    """

    cdef machine_t machine

    def __cinit__(self, *, int version=3, int priority=100, int64_t advert_interval=1_000_000_000,
                  bint preempt=True, int64_t preempt_delay=0, int down_timer_adverts=3,
                  bint lower_prio_no_advert=False, bint higher_prio_send_advert=False,
                  bint starts_backup=False, str membership="ALONE", int expired_priority=0,
                  bint ignores_adverts=False, str restraint="UNRESTRAINED",
                  bytes source=b"\x0a\x00\x00\x01"):
        if len(source) not in (4, 16):
            raise ValueError(f"source has {len(source)} bytes, expected 4 or 16")
        self.machine.version = version
        self.machine.priority = priority
        self.machine.advert_interval = self.machine.master_interval = advert_interval
        self.machine.preempt = preempt
        self.machine.preempt_delay = preempt_delay
        self.machine.down_timer_adverts = down_timer_adverts
        self.machine.lower_prio_no_advert = lower_prio_no_advert
        self.machine.higher_prio_send_advert = higher_prio_send_advert
        self.machine.starts_backup = starts_backup
        self.machine.membership = MEMBERSHIP_NAMES.index(membership)
        self.machine.expired_priority = expired_priority
        self.machine.ignores_adverts = ignores_adverts
        self.machine.restraint = RESTRAINT_NAMES.index(restraint)
        self.machine.address_size = len(source)
        self.machine.state = INIT
        self.machine.deadline = self.machine.preempt_at = NEVER
        memcpy(self.machine.source, <const char *> source, len(source))

    def step(self, event: str, int64_t now, *, int priority=0, bytes source=b"",
             int64_t interval=0, int64_t opens_at=0) -> tuple:
        """Feeds the event of that name; returns the names of the actions to carry out."""
        cdef heard_t heard
        cdef Event number = <Event> <int> EVENT_NAMES.index(event)
        if number != ADVERT:
            return _bits(step(&self.machine, number, NULL, now, opens_at), ACTION_NAMES)
        if len(source) != self.machine.address_size:
            raise ValueError(f"source has {len(source)} bytes")
        heard.interval = interval
        heard.priority = priority
        memcpy(heard.source, <const char *> source, len(source))
        return _bits(step(&self.machine, ADVERT, &heard, now, opens_at), ACTION_NAMES)

    @property
    def state(self) -> str:
        return STATE_NAMES[self.machine.state]

    @property
    def deadline(self) -> int | None:
        """When TIMER is due, None for never."""
        return None if self.machine.deadline == NEVER else self.machine.deadline

    def may_go_on(self, int64_t spoke_at, int64_t now) -> bool:
        """Whether it may go on as master at `now` although its process has died since its last
        advert, at `spoke_at`."""
        return may_go_on(&self.machine, spoke_at, now)

    @property
    def wants_master(self) -> bool:
        """It would be master, but for its sync group."""
        return bool(self.machine.wants_master)

    @property
    def master_interval(self) -> int:
        return self.machine.master_interval

    @property
    def master_priority(self) -> int:
        return self.machine.master_priority

    @property
    def skew_time(self) -> int:
        return skew_time(&self.machine)

    @property
    def master_down_interval(self) -> int:
        return master_down_interval(&self.machine)
