"""The IP Authentication Header around VRRPv2, as keepalived speaks it.

    +-------------------------------+
    | IPv4, protocol 51             |   20 bytes
    +---------------+---------------+
    | Next: 112     | Length: 4     |
    | Reserved: 0                   |
    | SPI: the source address       |
    | Sequence number               |
    | ICV                           |   12 bytes: HMAC-MD5 of the packet, truncated
    +-------------------------------+
    | VRRPv2, auth type 2           |   its eight bytes of authentication data are zero
    +-------------------------------+

The ICV covers the whole IP packet, with the ICV itself and the fields that change on the way as
zeros. RFC 2402 section 3.3.3.1.1 counts TOS, flags, fragment offset, TTL and header checksum among
these. keepalived 2.2.7 does so for a unicast packet, but leaves the TTL of a multicast one as it
is. That was found on the wire: of all choices of fields only this one gives the recorded ICVs, and
of packets made either way keepalived accepts these (flags and fragment offset were told apart so).

The identification is covered. The kernel puts its own into a packet of a raw socket that says 0 and
may be fragmented, so it is written here, never 0, from the sequence number, as keepalived does.
"""

import hmac

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint16_t
from libc.string cimport memcpy, memset

from fastvrrp._packet cimport PROTO_AH, PROTO_VRRP, write_ipv4, write_vrrp

cdef enum:
    IPV4_HEADER = 20
    ICV = IPV4_HEADER + 12      # where it stands in the packet


cdef size_t encode_ah(
        const advert_spec_t *spec, uint32_t sequence, uint8_t *out) noexcept nogil:
    cdef uint8_t *ah = out + IPV4_HEADER
    cdef size_t size = IPV4_HEADER + AH_SIZE + write_vrrp(spec, ah + AH_SIZE)
    cdef uint16_t identification = <uint16_t> (sequence & 0xFFFF)
    write_ipv4(spec, out, size, PROTO_AH, identification if identification else 1, 0)
    memset(ah, 0, AH_SIZE)
    ah[0] = PROTO_VRRP
    ah[1] = AH_SIZE // 4 - 2    # RFC 2402 section 2.2: in words, less two
    memcpy(ah + 4, spec.source, 4)
    ah[8] = <uint8_t> (sequence >> 24)
    ah[9] = <uint8_t> (sequence >> 16 & 0xFF)
    ah[10] = <uint8_t> (sequence >> 8 & 0xFF)
    ah[11] = <uint8_t> (sequence & 0xFF)
    return size


cdef bytes compute_icv(const uint8_t *packet, size_t size, bytes password):
    cdef size_t total = packet[2] << 8 | packet[3]
    cdef bytes covered = PyBytes_FromStringAndSize(<const char *> packet, min(size, total))
    cdef uint8_t *copy = <uint8_t *> PyBytes_AS_STRING(covered)     # nobody else has it yet
    copy[1] = 0                 # TOS
    memset(copy + 6, 0, 2)      # flags and fragment offset
    if copy[16] & 0xF0 != 0xE0:
        copy[8] = 0             # TTL, unless multicast
    memset(copy + 10, 0, 2)     # header checksum
    memset(copy + ICV, 0, AH_ICV_SIZE)
    return hmac.digest(password, covered, "md5")[:AH_ICV_SIZE]


cdef int ah_icv(uint8_t *packet, size_t size, bytes password) except -1:
    cdef bytes icv = compute_icv(packet, size, password)
    memcpy(packet + ICV, PyBytes_AS_STRING(icv), AH_ICV_SIZE)
    return 0


cdef bint ah_verify(const uint8_t *packet, size_t size, bytes password) except -1:
    cdef bytes icv = (<const char *> packet)[ICV:ICV + AH_ICV_SIZE]
    return hmac.compare_digest(icv, compute_icv(packet, size, password))
