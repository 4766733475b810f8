"""The trailer of `auth_hmac` (keepalived 2.4), behind the VRRP message.

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +---------------+---------------+-------------------------------+
    | Type: 1       | Key's number  | Reserved: 0                   |
    +---------------+---------------+-------------------------------+
    | Sequence: seconds of UTC                                      |
    | Sequence: fraction of a second| Sequence: counter             |
    +-------------------------------+-------------------------------+
    | HMAC-SHA256, its first 16 bytes                               |
    +---------------------------------------------------------------+

It is part of the message for length and checksum, and the same in VRRPv2 and VRRPv3, IPv4 and IPv6.
The digest covers a pseudo-header, so that an advert cannot be moved to another sender or virtual
router, then the message with its checksum as zero, the trailer up to the digest, and zeros in the
digest's place:

    +---------------+---------------+---------------+---------------+
    | Family: 4, 6  | Version       | Virtual Rtr ID| 0             |
    +---------------+---------------+---------------+---------------+
    |            Source address, 16 bytes, IPv4 in the first 4      |
    +---------------------------------------------------------------+

The destination is not covered: one digest serves all unicast peers.

A sender's sequence is the larger of its clock and the last one plus one, so a restart needs no
memory as long as the clock does not go back. A receiver takes from each sender only what is above
the last (RFC 1982 arithmetic, which goes on where the seconds run over in 2106), and with a window
only what is near its own clock: an advert that was held back, or recorded while this receiver was
not there, is refused. The sequence is judged before the digest, which costs most, but remembered
only behind a right digest.
"""

import hmac
import time

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.string cimport memcpy, memset

from fastvrrp._packet cimport (
    HMAC_DIGEST, HMAC_KEY, HMAC_MISSING, HMAC_REPLAY, HMAC_TIME, OK, TRAILER_SIZE, TRAILER_TYPE)

cdef enum:
    SECOND = 1_000_000_000
    VRRP_HEADER = 8
    CHECKSUM_AT = 6
    SEQUENCE_AT = 4             # in the trailer
    DIGEST_AT = 12
    DIGEST_SIZE = 16
    PSEUDO_HEADER = 20

SHORTEST_KEY = 32               # bytes
LONGEST_KEY = 64


cdef class Authenticator:
    """Signs the adverts of one virtual router and judges those that it hears.

    `keys` are (number, 32 to 64 bytes); the one of number `active_key` signs. Adverts without a
    trailer are refused where it `is_required`. A sequence may be `window` nanoseconds away from
    `clock` (nanoseconds of UTC); with 0 it only has to rise. Raises ValueError for keys that cannot
    be.
    """

    def __init__(self, keys, int active_key, *, bint is_required=True, window=0,
                 clock=time.time_ns):
        self.heard = {}
        self.clock = clock
        self.configure(keys, active_key, is_required=is_required, window=window)

    def configure(self, keys, int active_key, *, bint is_required=True, window=0) -> None:
        """Has other keys and other rules from now on; what was sent and heard stays known."""
        found = dict(keys)
        for number, key in found.items():
            if not 1 <= number <= 255:
                raise ValueError(f"the key's number {number} is outside 1-255")
            if not SHORTEST_KEY <= len(key) <= LONGEST_KEY:
                raise ValueError(f"key {number} has {len(key)} bytes, not {SHORTEST_KEY} to "
                                 f"{LONGEST_KEY}")
        if active_key not in found:
            raise ValueError(f"there is no key {active_key} to sign with")
        self.keys = found
        self.active_key = active_key
        self.is_required = is_required
        self.window = (window << 32) // SECOND

    cdef int sign(self, uint8_t *packet, uint32_t header, uint32_t size) except -1:
        cdef uint8_t *message = packet + header
        cdef uint8_t *trailer = packet + size - TRAILER_SIZE
        cdef uint64_t sequence = sequence_of(self.clock()) & ~<uint64_t> 0xFFFF
        cdef uint8_t source[16]
        cdef bytes digest
        if self.sent and is_above(self.sent + 1, sequence):
            sequence = self.sent + 1
        self.sent = sequence
        memset(source, 0, 16)
        if header == 20:
            memcpy(source, packet + 12, 4)
        else:
            memcpy(source, packet + 8, 16)
        memset(trailer, 0, TRAILER_SIZE)
        trailer[0] = TRAILER_TYPE
        trailer[1] = <uint8_t> self.active_key
        write64(trailer + SEQUENCE_AT, sequence)
        digest = digest_of(
            self.keys[self.active_key], 4 if header == 20 else 6, source, message, trailer)
        memcpy(trailer + DIGEST_AT, PyBytes_AS_STRING(digest), DIGEST_SIZE)
        return 0

    cdef Reason check(self, const advert_t *advert) except *:
        cdef const uint8_t *trailer = advert.trailer
        cdef uint64_t sequence
        cdef int64_t distance
        if trailer == NULL:
            return HMAC_MISSING if self.is_required else OK
        key = self.keys.get(trailer[1])
        if key is None:
            return HMAC_KEY
        sequence = read64(trailer + SEQUENCE_AT)
        if self.window:
            distance = <int64_t> (sequence - sequence_of(self.clock()))
            if not -self.window <= distance <= self.window:
                return HMAC_TIME
        cdef bytes source = (<const char *> advert.source)[:16]
        last = self.heard.get(source)
        if last is not None and not is_above(sequence, <uint64_t> last):
            return HMAC_REPLAY
        cdef bytes expected = digest_of(
            key, advert.family, advert.source, advert.addresses - VRRP_HEADER, trailer)
        if not hmac.compare_digest(expected, (<const char *> trailer)[DIGEST_AT:TRAILER_SIZE]):
            return HMAC_DIGEST
        self.heard[source] = sequence
        return OK


cdef bint is_above(uint64_t sequence, uint64_t other) noexcept:
    """Serial number arithmetic (RFC 1982 section 3.2) with 64 bits."""
    return <int64_t> (sequence - other) > 0


cdef uint64_t sequence_of(nanoseconds) except? 0:
    """A time of UTC in units of 2 ** -32 s, the seconds modulo 2 ** 32."""
    cdef uint64_t whole = nanoseconds // SECOND
    cdef uint64_t rest = nanoseconds % SECOND
    return whole << 32 | (rest << 32) // SECOND


cdef bytes digest_of(
        bytes key, uint8_t family, const uint8_t *source, const uint8_t *message,
        const uint8_t *trailer):
    """What stands in the trailer of `message`, which ends where the trailer begins."""
    cdef size_t size = trailer + DIGEST_AT - message
    cdef bytes covered = PyBytes_FromStringAndSize(NULL, PSEUDO_HEADER + size + DIGEST_SIZE)
    cdef uint8_t *out = <uint8_t *> PyBytes_AS_STRING(covered)      # nobody else has it yet
    out[0] = family
    out[1] = message[0] >> 4
    out[2] = message[1]
    out[3] = 0
    memcpy(out + 4, source, 16)
    out += PSEUDO_HEADER
    memcpy(out, message, size)
    memset(out + CHECKSUM_AT, 0, 2)
    memset(out + size, 0, DIGEST_SIZE)
    return hmac.digest(key, covered, "sha256")[:DIGEST_SIZE]


cdef uint64_t read64(const uint8_t *data) noexcept:
    cdef uint64_t value = 0
    cdef int i
    for i in range(8):
        value = value << 8 | data[i]
    return value


cdef void write64(uint8_t *out, uint64_t value) noexcept:
    cdef int i
    for i in range(8):
        out[i] = <uint8_t> (value >> (56 - 8 * i) & 0xFF)
