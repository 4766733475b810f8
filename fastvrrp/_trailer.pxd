# The trailer of `auth_hmac`: HMAC-SHA256 behind the VRRP message. The digest is Python's, so all of
# it needs the GIL. Only virtual routers with `auth_hmac` have an Authenticator.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from fastvrrp._packet cimport Reason, advert_t

cdef class Authenticator:
    cdef dict keys              # bytes, by number
    cdef int active_key         # number of the one that signs
    cdef bint is_required       # adverts without a trailer are refused
    cdef int64_t window         # 2 ** -32 s: how far from our clock a sequence may be; 0: any
    cdef dict heard             # last sequence accepted, by source (sixteen bytes)
    cdef uint64_t sent          # last sequence signed
    cdef object clock           # () -> nanoseconds of UTC

    # Writes the trailer into the last TRAILER_SIZE bytes of an IP packet of `size` bytes made by
    # `encode`, whose header has `header` bytes. Its checksum has to be renewed afterwards.
    cdef int sign(self, uint8_t *packet, uint32_t header, uint32_t size) except -1

    # What there is against the trailer of an advert that is otherwise right; OK where nothing.
    # Remembers the sequence number of one that it takes.
    cdef Reason check(self, const advert_t *advert) except *
