# The virtual router's state machine (RFC 9568 section 6.4), as C: no socket, no clock, no memory of
# its own. `step` is the whole of it: (virtual router, event, now) -> actions.
#
# Times are nanoseconds of one monotonic clock, addresses are in network order.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t

cdef enum:
    NEVER = 0x7FFFFFFFFFFFFFFF      # a deadline that does not come

cdef enum:
    PRIORITY_RESIGN = 0             # RFC 9568 section 5.2.4: the master leaves
    PRIORITY_OWNER = 255            # the same section: the router owns the addresses

cdef enum State:
    INIT = 0
    BACKUP = 1
    MASTER = 2                      # "Active" in RFC 9568
    FAULT = 3                       # keepalived's: cannot take part (an interface is down)

cdef enum Event:
    START = 0                       # everything it needs is there: take part
    TIMER = 1                       # the deadline has come
    ADVERT = 2                      # an advert passed every check
    FAIL = 3                        # something it needs is gone
    STOP = 4                        # the administrator ends it
    PROMOTE = 5                     # its sync group becomes master: every member would
    DEMOTE = 6                      # another member of its sync group is master no more
    RESIGN = 7                      # a master goes back to BACKUP, and says so
    EVENT_COUNT = 8

# Whether others decide with it.
cdef enum Membership:
    ALONE = 0
    MEMBER = 1                      # of a sync group: it becomes master when every member would
    OWNING_MEMBER = 2               # of one whose members are all owners: it starts as master

# What keeps it from being master though it could be: an administrator's wish.
cdef enum Restraint:
    UNRESTRAINED = 0
    YIELDING = 1                    # it takes nothing from a master of lower priority
    ABSTAINING = 2                  # nor from one that is silent

# What the caller has to do, as bits, in this order.
cdef enum Action:
    SEND_ADVERT = 1
    SEND_RESIGN = 2                 # an advert of priority 0
    SET_TIMER = 4                   # `deadline` changed
    CHANGE = 8                      # `state` changed
    ACQUIRE = 16                    # take the addresses and announce them
    RELEASE = 32                    # give the addresses back
    REANNOUNCE = 64                 # announce again: somebody of lower priority spoke as master
    DISCARD = 128                   # the advert had no effect
    WANT = 256                      # `wants_master` is set: see whether the sync group agrees

# What the protocol knows of a virtual router: first its configuration, then its state.
cdef struct machine_t:
    int64_t advert_interval         # Adver_Interval
    int64_t preempt_delay           # 0: none
    uint8_t version
    uint8_t priority                # effective
    uint8_t preempt
    uint8_t down_timer_adverts      # 3 in every RFC
    uint8_t lower_prio_no_advert
    uint8_t higher_prio_send_advert
    uint8_t address_size            # 4 or 16
    uint8_t state
    uint8_t master_priority         # of the last advert that counted, 0 before any
    uint8_t starts_backup           # an owner that waits like everybody: `state BACKUP`
    uint8_t membership              # Membership
    uint8_t wants_master            # BACKUP: the master is silent, and the sync group is waited for
    uint8_t expired_priority        # `timer_expired_backup`, 0: not written
    uint8_t ignores_adverts         # an owner that is strict: nobody can be better
    uint8_t uses_old_checksum       # in unicast VRRPv3, because its master did (engine.pyx)
    uint8_t restraint               # Restraint
    int64_t master_interval         # Active_Adver_Interval: learned in VRRPv3
    int64_t deadline                # MASTER: next advert; BACKUP: Master_Down; else NEVER
    int64_t preempt_at              # when a running preempt delay ends, NEVER when none runs
    int64_t changed_at              # when `state` last changed
    uint8_t source[16]              # our own address, as our adverts carry it
    uint8_t master_address[16]      # source of the last advert that counted

# What an advert says to the machine.
cdef struct heard_t:
    int64_t interval
    uint8_t priority
    uint8_t source[16]

cdef int64_t skew_time(const machine_t *machine) noexcept nogil
cdef int64_t master_down_interval(const machine_t *machine) noexcept nogil

# Whether a master whose last advert left at `spoke_at`, and whose process has died since, may go on
# as master: no backup's patience is over.
cdef bint may_go_on(const machine_t *machine, int64_t spoke_at, int64_t now) noexcept nogil

# Feeds one event. `heard` is NULL but for ADVERT. Nobody becomes master by silence before
# `opens_at` (`vrrp_startup_delay`). Returns Action bits.
cdef uint32_t step(
    machine_t *machine, Event event, const heard_t *heard, int64_t now,
    int64_t opens_at) noexcept nogil
