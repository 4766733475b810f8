"""What a virtual router says of an advert that the decoder found good: is it for me, is it right?

The order of the questions is the order in which their answers cost least; digests come last. Every
refusal has its reason, which is counted.
"""

from libc.string cimport memcmp, memcpy

from fastvrrp._ah cimport ah_verify
from fastvrrp._fsm cimport BACKUP
from fastvrrp._packet cimport (
    ADDRESS_COUNT, ADDRESS_LIST, AH_ICV, AH_REPLAY, AUTH_AH, AUTH_PASS, AUTH_TYPE, CHECKSUM,
    INTERVAL, OK, PASSWORD, SOURCE, TTL, VERSION)
from fastvrrp._plan cimport NEVER_OLD
from fastvrrp._trailer cimport Authenticator


cdef bint is_for(
        const plan_t *plan, const advert_t *advert, int size, bint alone) noexcept nogil:
    if not plan.unicast:
        return memcmp(advert.destination, plan.group, size) == 0
    if advert.family == 4 and advert.destination[0] & 0xF0 == 0xE0:
        return False
    if advert.family == 6 and advert.destination[0] == 0xFF:
        return False
    return alone or find_peer(plan, advert, size) != NULL


cdef Reason judge(
        plan_t *plan, const router_t *router, const advert_t *advert, const uint8_t *packet,
        uint32_t size) except *:
    cdef int address_size = router.machine.address_size
    cdef const peer_t *peer
    cdef bint known
    if memcmp(advert.source, router.machine.source, address_size) == 0:
        return SOURCE                       # our own, come back to us
    if plan.unicast:
        peer = find_peer(plan, advert, address_size)
        if peer == NULL:
            if plan.checks_source:
                return SOURCE
        elif advert.ttl < peer.min_ttl or advert.ttl > peer.max_ttl:
            return TTL
    elif advert.ttl != 255:                 # RFC 9568 section 5.1.1.3
        return TTL
    if advert.version != router.machine.version:
        return VERSION
    if advert.checksum_for_group and plan.old_checksum == NEVER_OLD:
        return CHECKSUM
    if advert.trailer != NULL and (plan.auth == NULL or plan.auth.authenticator == NULL):
        return AUTH_TYPE
    if advert.version == 2:
        if advert.auth_type != plan.auth_type or advert.has_ah != (plan.auth_type == AUTH_AH):
            return AUTH_TYPE
        if plan.auth_type == AUTH_PASS and memcmp(advert.auth_data, plan.auth.password, 8) != 0:
            return PASSWORD
        if advert.interval != router.machine.advert_interval:
            return INTERVAL                 # RFC 3768 section 7.1
    known = (plan.skips_known_addresses and router.machine.state == BACKUP and
             memcmp(advert.source, router.machine.master_address, address_size) == 0)
    if not known:
        if advert.address_count != plan.address_count:
            return ADDRESS_COUNT
        if memcmp(advert.addresses, plan.addresses, advert.address_count * address_size) != 0:
            if not same_set(advert.addresses, plan.addresses, advert.address_count,
                            address_size):
                return ADDRESS_LIST
    if plan.auth == NULL:
        return OK
    if plan.auth_type == AUTH_AH:
        # The sequence counts for each sender; only what is authentic may begin a new count.
        if (memcmp(advert.source, plan.auth.ah_master, 4) == 0
                and advert.ah_sequence <= plan.auth.ah_heard):
            return AH_REPLAY
        if not ah_verify(packet, size, (<const char *> plan.auth.password)[:8]):
            return AH_ICV
        memcpy(plan.auth.ah_master, advert.source, 4)
        plan.auth.ah_heard = advert.ah_sequence
    if plan.auth.authenticator != NULL:
        return (<Authenticator> plan.auth.authenticator).check(advert)
    return OK


cdef const peer_t *find_peer(
        const plan_t *plan, const advert_t *advert, int size) noexcept nogil:
    cdef int i
    for i in range(plan.copies):
        if memcmp(plan.peers[i].address, advert.source, size) == 0:
            return &plan.peers[i]
    return NULL


cdef bint same_set(
        const uint8_t *heard, const uint8_t *ours, uint16_t count, int size) noexcept nogil:
    """Whether every address heard is one of ours: the same number of them, in another order."""
    cdef int i
    cdef int j
    for i in range(count):
        for j in range(count):
            if memcmp(heard + i * size, ours + j * size, size) == 0:
                break
        else:
            return False
    return True
