# The IP Authentication Header (RFC 2402) with HMAC-MD5-96 (RFC 2403) around VRRPv2, as keepalived
# speaks it. IPv4 only. The digest is Python's, so all but the layout needs the GIL; AH is rare.

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t

from fastvrrp._packet cimport advert_spec_t

cdef enum:
    AH_SIZE = 24        # RFC 2402 section 2: 12 bytes and an ICV of 12
    AH_ICV_SIZE = 12    # RFC 2403 section 2: HMAC-MD5 truncated to 96 bits

# Writes an IP packet (IP header, AH, VRRP) for `spec` at `out`, which has room for MAX_FRAME - 14
# bytes, and returns its size. `auth_type` is AUTH_AH. The SPI is the source address. The ICV is
# zero until `ah_icv` writes it. `sequence` starts at 1 and rises with every packet (RFC 2402
# section 2.5).
cdef size_t encode_ah(
    const advert_spec_t *spec, uint32_t sequence, uint8_t *out) noexcept nogil

# Computes the ICV of a packet made by `encode_ah`, and writes it into the packet. `password` may be
# padded with zeros or not: HMAC does that itself (RFC 2104 section 2).
cdef int ah_icv(uint8_t *packet, size_t size, bytes password) except -1

# Whether the ICV of a packet that `decode_ipv4` found good, with `has_ah`, is right. Compares in
# constant time.
cdef bint ah_verify(const uint8_t *packet, size_t size, bytes password) except -1
