# Two masters of a virtual router, as that router sees them: what is new when somebody speaks.

from libc.stdint cimport int64_t, uint8_t

from fastvrrp._contest cimport Turn
from fastvrrp._packet cimport advert_t
from fastvrrp._plan cimport plan_t
from fastvrrp._table cimport router_t

cdef struct news_t:
    Turn turn
    int64_t since           # when the contest began
    uint8_t[16] rival       # whom the router does not follow, or who is not itself

# An advert is heard, before the state machine has it; or one is refused that another master of the
# same virtual router could have sent.
cdef news_t heard(
    plan_t *plan, const router_t *router, const advert_t *advert, int64_t now) noexcept

# The router has spoken as master.
cdef news_t spoke(plan_t *plan, const router_t *router, int64_t now) noexcept

# The router is in another state than before: what it saw of others is over.
cdef news_t changed(plan_t *plan, const router_t *router) noexcept

# Whether `heard` has anything to do: the ordinary advert of the ordinary master has no contest.
cdef inline bint concerns(
        const plan_t *plan, const router_t *router, const advert_t *advert) noexcept:
    return plan.contest != NULL or memcmp(
        advert.source, router.machine.master_address, 16) != 0

cdef extern from "<string.h>" nogil:
    int memcmp(const void *a, const void *b, size_t size)
