"""Whom a virtual router hears beside the master that it follows, which may be itself.

The record of a contest (contest.pyx) is made when a second master is heard, and freed when that is
over: most virtual routers never have one. Where there is no memory for it, nothing is noticed.
"""

from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.string cimport memcpy, memset

from fastvrrp._contest cimport NO_NEWS, contest_t, end, is_one_of, oppose, speak
from fastvrrp._fsm cimport BACKUP, MASTER, PRIORITY_RESIGN, machine_t


cdef enum:
    LONGEST = 10            # intervals of the master, which another one's interval is at most


cdef news_t heard(
        plan_t *plan, const router_t *router, const advert_t *advert, int64_t now) noexcept:
    cdef const machine_t *machine = &router.machine
    cdef bint is_master = machine.state == MASTER
    cdef const uint8_t *followed = machine.master_address
    cdef int64_t followed_at = router.sent_at if is_master else router.heard_at
    cdef int64_t usual = machine.advert_interval if is_master else machine.master_interval
    # What an advert says of its interval may be false: a contest must not last for its sake.
    cdef int64_t interval = max(min(advert.interval, LONGEST * usual), usual)
    cdef news_t news
    memset(&news, 0, sizeof(news_t))
    if is_master:
        followed = machine.source
    elif machine.state != BACKUP or machine.master_priority == 0:
        return news                     # there is none that it follows
    if advert.priority == PRIORITY_RESIGN:
        if plan.contest == NULL or not is_one_of(plan.contest, advert.source):
            return news
        begin(&news, plan.contest, followed)
        news.turn = end(plan.contest)
    elif memcmp(advert.source, followed, 16) == 0:
        if plan.contest == NULL:
            return news
        begin(&news, plan.contest, followed)
        news.turn = speak(plan.contest, advert.source, interval, now)
    else:
        if plan.contest == NULL:
            plan.contest = <contest_t *> PyMem_Calloc(1, sizeof(contest_t))
            if plan.contest == NULL:
                return news
        begin(&news, plan.contest, followed)
        news.turn = oppose(plan.contest, followed, followed_at, advert.source, interval, now)
    return finished(plan, news)


cdef news_t spoke(plan_t *plan, const router_t *router, int64_t now) noexcept:
    cdef news_t news
    begin(&news, plan.contest, router.machine.source)
    news.turn = speak(plan.contest, router.machine.source, router.machine.advert_interval, now)
    return finished(plan, news)


cdef news_t changed(plan_t *plan, const router_t *router) noexcept:
    cdef news_t news
    begin(&news, plan.contest, router.machine.source)
    news.turn = end(plan.contest)
    return finished(plan, news)


cdef void begin(news_t *news, const contest_t *contest, const uint8_t *followed) noexcept:
    """Remembers what a contest is about that may be over afterwards."""
    cdef bint is_first = memcmp(contest.speakers[0], followed, 16) == 0
    news.turn = NO_NEWS
    news.since = contest.since
    memcpy(news.rival, contest.speakers[1 if is_first else 0], 16)


cdef news_t finished(plan_t *plan, news_t news) noexcept:
    if plan.contest.since == 0:
        PyMem_Free(plan.contest)
        plan.contest = NULL
    return news
