"""Split brain, as adverts show it: two that speak as master of one virtual router, and neither
yields.

In every ordinary change of the master two are heard for a moment. A better one takes over, and the
old one yields when it hears that, perhaps after one more advert. One that comes back from a cut
link speaks once, is answered and yields. A master dies without a word, and then its
Master_Down_Interval passes before another one speaks. None of these has both of them speak for
long, turn by turn.

So a contest begins when a second one is heard, and is a split brain when both have been heard again
two intervals later or more, after at least four turns. It begins anew when one was silent for more
than three intervals, as a master that another one took over from, and it is over when one has been
silent for so long, has resigned, or the router that watches has changed its own state.

The router that watches may be one of the two: a master's own adverts are its speech.
"""

from libc.string cimport memcmp, memcpy, memset

cdef enum:
    # How long both have to speak on, in 25ths of an interval: two, less what adverts may go early.
    LONG_PARTS = 49
    PARTS = 25
    PATIENCE = 3            # intervals of silence that end it
    TURNS = 4


cdef bint is_one_of(const contest_t *contest, const uint8_t *speaker) noexcept nogil:
    return (memcmp(contest.speakers[0], speaker, 16) == 0
            or memcmp(contest.speakers[1], speaker, 16) == 0)


cdef Turn oppose(
        contest_t *contest, const uint8_t *followed, int64_t followed_at, const uint8_t *speaker,
        int64_t interval, int64_t now) noexcept nogil:
    cdef Turn news = NO_NEWS
    if contest.since != 0:
        if is_one_of(contest, followed) and is_one_of(contest, speaker):
            return speak(contest, speaker, interval, now)
        if not is_stale(contest, now):
            return NO_NEWS              # a third one: two at a time are enough to tell
        news = end(contest)
    memset(contest, 0, sizeof(contest_t))
    memcpy(contest.speakers[0], followed, 16)
    memcpy(contest.speakers[1], speaker, 16)
    contest.heard_at[0] = followed_at
    contest.heard_at[1] = now
    contest.since = now
    contest.interval = interval
    contest.turns = 1
    contest.last = 1
    return news


cdef Turn speak(
        contest_t *contest, const uint8_t *speaker, int64_t interval, int64_t now) noexcept nogil:
    cdef int who
    cdef Turn news
    if memcmp(contest.speakers[0], speaker, 16) == 0:
        who = 0
    elif memcmp(contest.speakers[1], speaker, 16) == 0:
        who = 1
    else:
        return end(contest) if is_stale(contest, now) else NO_NEWS
    contest.interval = max(contest.interval, interval)
    if now - contest.heard_at[1 - who] > PATIENCE * contest.interval:
        return end(contest)             # the other one is silent
    if now - contest.heard_at[who] > PATIENCE * contest.interval:
        news = end(contest)             # this one was, and begins again
        contest.since = now
        contest.turns = 0
        contest.last = 1 - who
    else:
        news = NO_NEWS
    contest.heard_at[who] = now
    if contest.last != who:
        contest.last = who
        contest.turns = min(contest.turns + 1, TURNS)
    if not contest.is_split and contest.turns == TURNS and lasts(contest, 0) and lasts(contest, 1):
        contest.is_split = True
        return SPLIT
    return news


cdef Turn end(contest_t *contest) noexcept nogil:
    cdef bint was_split = contest.is_split
    contest.is_split = False
    contest.since = 0
    return WHOLE if was_split else NO_NEWS


cdef inline bint lasts(const contest_t *contest, int who) noexcept nogil:
    return (contest.heard_at[who] - contest.since) * PARTS >= LONG_PARTS * contest.interval


cdef inline bint is_stale(const contest_t *contest, int64_t now) noexcept nogil:
    return now - min(contest.heard_at[0], contest.heard_at[1]) > PATIENCE * contest.interval
