# Two that speak as master of one virtual router: when does it begin, when is it over? As C: no
# socket, no clock, no allocation. Times are nanoseconds of one monotonic clock.

from libc.stdint cimport int64_t, uint8_t

cdef enum Turn:
    NO_NEWS = 0
    SPLIT = 1               # two masters: neither yields
    WHOLE = 2               # that is over

# Who speaks, and since when. All zero is nobody.
cdef struct contest_t:
    uint8_t[2][16] speakers     # sources of their adverts
    int64_t[2] heard_at
    int64_t since           # when the second one began to speak; 0: there is no contest
    int64_t interval        # the longest of theirs and ours
    uint8_t turns           # how often the other one spoke next, counted no further than needed
    uint8_t last            # who spoke last, 0 or 1
    uint8_t is_split

# The master that a virtual router follows, which may be itself, was heard at `followed_at`, and now
# `speaker` is heard, another one. Sources have sixteen bytes.
cdef Turn oppose(
    contest_t *contest, const uint8_t *followed, int64_t followed_at, const uint8_t *speaker,
    int64_t interval, int64_t now) noexcept nogil

# `speaker` is heard, where there is a contest.
cdef Turn speak(
    contest_t *contest, const uint8_t *speaker, int64_t interval, int64_t now) noexcept nogil

# Ends it: one of them resigned, or we are in another state.
cdef Turn end(contest_t *contest) noexcept nogil

# Whether `speaker` is one of the two.
cdef bint is_one_of(const contest_t *contest, const uint8_t *speaker) noexcept nogil
