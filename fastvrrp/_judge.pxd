# Whether a virtual router takes an advert.

from libc.stdint cimport uint8_t, uint16_t, uint32_t

from fastvrrp._packet cimport Reason, advert_t
from fastvrrp._plan cimport peer_t, plan_t
from fastvrrp._table cimport router_t

# Whether the destination is this router's, whose addresses have `size` bytes. Where it is not
# `alone` with its VRID, its unicast peers tell.
cdef bint is_for(
    const plan_t *plan, const advert_t *advert, int size, bint alone) noexcept nogil

# What only this virtual router can say against the advert in `packet`; OK where nothing. Remembers
# the sequence number of an advert whose digest is right. Needs the GIL for digests.
cdef Reason judge(
    plan_t *plan, const router_t *router, const advert_t *advert, const uint8_t *packet,
    uint32_t size) except *
