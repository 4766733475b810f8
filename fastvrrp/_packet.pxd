# VRRP on the wire: decoding and encoding in C, on caller's memory, without the GIL.
#
# A packet starts with its IP header for IPv4 (a raw socket delivers it) and with the VRRP header
# for IPv6 (a raw socket does not; source, destination and hop limit come as arguments).
# Addresses are in network order, lengths in bytes, intervals in nanoseconds.
#
# AH (RFC 2402) is in _ah.pxd: it needs a digest, and that is Python's. The face of both for Python,
# on bytes, is fastvrrp._wire.

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t

cdef enum:
    PROTO_VRRP = 112        # RFC 9568 section 5.1.1.4
    PROTO_AH = 51           # RFC 2402
    TYPE_ADVERTISEMENT = 1  # RFC 9568 section 5.2.2
    AUTH_NONE = 0           # RFC 2338 section 5.3.6
    AUTH_PASS = 1
    AUTH_AH = 2
    TRAILER_SIZE = 28       # trailer.pyx
    TRAILER_TYPE = 1
    MAX_ADDRESSES = 255
    # Longest advert: IPv6, 255 addresses, with Ethernet and IPv6 headers: 14 + 40 + 8 + 255 * 16.
    MAX_FRAME = 4142

# Why a packet was refused; OK is 0. Every reason has a name in `REASONS` (Python) at its index.
# (D) is said by the decoder, from the packet alone; (C) by the caller, who knows the virtual
# router; (A) by `ah_verify`'s caller; (H) by an Authenticator.
cdef enum Reason:
    OK = 0
    TRUNCATED           # (D) shorter than its header or its address count says
    IP_HEADER           # (D) not IPv4, an IHL below 5, or neither protocol 112 nor 51
    VERSION             # (D) neither 2 nor 3, or 2 over IPv6; (C) not what the router speaks
    TYPE                # (D) not ADVERTISEMENT
    CHECKSUM            # (D)
    TTL                 # (C) TTL or hop limit not 255 (or outside a unicast peer's range)
    VRID_ZERO           # (D)
    VRID_UNKNOWN        # (C) no virtual router with this VRID on this interface and family
    ADDRESS_COUNT       # (C) not the number of addresses configured
    ADDRESS_LIST        # (C) not the addresses configured
    INTERVAL            # (D) VRRPv3: 0; (C) VRRPv2: not the interval configured
    AUTH_TYPE           # (D) VRRPv2: none of RFC 2338's; VRRPv3 in AH; (C) not as configured
    PASSWORD            # (C)
    AH_HEADER           # (D) AH missing or not announced, malformed, wrong next header or SPI
    AH_REPLAY           # (C) AH sequence number not above the last one
    AH_ICV              # (A) AH integrity check value does not match
    SOURCE              # (C) unicast: not a peer; or our own address
    DESTINATION         # (C) neither the multicast group nor a unicast address of ours
    HMAC_MISSING        # (H) no trailer, where one is required
    HMAC_KEY            # (H) signed with a key that is not configured
    HMAC_TIME           # (H) made too long ago, or not yet
    HMAC_REPLAY         # (H) sequence number not above the last one of its sender
    HMAC_DIGEST         # (H) changed on the way, or signed with another key of that number
    REASON_COUNT

# What a decoded advert says. `addresses` and `auth_data` point into the packet.
cdef struct advert_t:
    uint8_t family          # 4 or 6
    uint8_t version         # 2 or 3
    uint8_t vrid
    uint8_t priority
    uint8_t auth_type       # VRRPv2 only
    uint8_t ttl
    uint8_t checksum_as_v2  # VRRPv3 over IPv4: 1 where only the sum without pseudo-header is right
    uint8_t checksum_for_group  # VRRPv3 over IPv4, unicast: 1 where the sum is as if to 224.0.0.18
    uint8_t has_ah
    uint16_t address_count
    int64_t interval        # nanoseconds
    uint8_t source[16]      # IPv4 in the first four
    uint8_t destination[16]
    const uint8_t *addresses
    const uint8_t *auth_data    # VRRPv2: eight bytes, else NULL
    uint32_t ah_spi         # host order
    uint32_t ah_sequence    # host order
    const uint8_t *ah_icv   # twelve bytes, else NULL
    const uint8_t *trailer  # TRAILER_SIZE bytes that the checksum covers, else NULL

# What an advert to be sent says.
cdef struct advert_spec_t:
    uint8_t family          # 4 or 6
    uint8_t version
    uint8_t vrid
    uint8_t priority
    uint8_t auth_type
    uint8_t checksum_as_v2
    uint8_t checksum_for_group  # VRRPv3 over IPv4: as if to 224.0.0.18, like keepalived to 1.3.6
    uint8_t ttl
    uint8_t trailer         # bytes of room behind the message, as zeros: 0 or TRAILER_SIZE
    uint16_t address_count
    int64_t interval
    const uint8_t *source
    const uint8_t *destination
    const uint8_t *addresses    # address_count of 4 or 16 bytes each
    const uint8_t *password     # eight bytes, zero padded, or NULL

# Decodes an IPv4 packet (starting at the IP header, protocol 112 or 51) into `advert`, and says
# everything marked (D) above. Of a refused packet `advert` holds as much as was read: family
# always, source, destination and TTL behind a good IP header, `vrid` behind two bytes of VRRP,
# zeros else. No byte at or behind `size` is read. The IP header's own checksum is the kernel's: a
# raw socket is never given a packet where it is wrong.
cdef Reason decode_ipv4(const uint8_t *packet, size_t size, advert_t *advert) noexcept nogil

# The same for IPv6: `payload` starts at the VRRP header.
cdef Reason decode_ipv6(
    const uint8_t *payload, size_t size, const uint8_t *source, const uint8_t *destination,
    uint8_t hop_limit, advert_t *advert) noexcept nogil

# Writes an IP packet (IP header, VRRP) for `spec` at `out`, which has room for MAX_FRAME - 14
# bytes; returns its size. At most MAX_ADDRESSES addresses; no VRRPv2 for IPv6; the interval is
# rounded down to what the version can say (seconds in a byte, hundredths in twelve bits). An IPv4
# packet has DF set and ID 0 (an atomic datagram, RFC 6864 section 4), so that a frame can be built
# once and sent for ever. AH is not among these: see `encode_ah`.
cdef size_t encode(const advert_spec_t *spec, uint8_t *out) noexcept nogil

# The two halves of `encode`, for `encode_ah`: the VRRP part alone (returns its size), and an IPv4
# header without options for a packet of `total` bytes.
cdef size_t write_vrrp(const advert_spec_t *spec, uint8_t *out) noexcept nogil
cdef void write_ipv4(
    const advert_spec_t *spec, uint8_t *out, size_t total, uint8_t protocol,
    uint16_t identification, uint16_t fragment) noexcept nogil

# Changes the priority in an IP packet made by `encode`, and its checksum, in place (RFC 1624). Of a
# packet with AH nothing may change without a new ICV, so there it does nothing.
cdef void set_priority(uint8_t *packet, size_t size, uint8_t priority) noexcept nogil

# Computes the checksum of an IP packet made by `encode` anew, after anything in it has changed.
cdef void renew_checksum(
    uint8_t *packet, size_t size, bint checksum_as_v2, bint for_group) noexcept nogil

# Writes a 14-byte Ethernet header. `destination` and `source` are six bytes.
cdef void write_ethernet(
    uint8_t *out, const uint8_t *destination, const uint8_t *source,
    uint16_t ethertype) noexcept nogil

# The group MAC of an IPv4 (RFC 1112 section 6.4) or IPv6 (RFC 2464 section 7) multicast address.
cdef void multicast_mac(uint8_t family, const uint8_t *group, uint8_t *out) noexcept nogil

cdef enum:
    GARP_SIZE = 42      # Ethernet 14 + ARP 28 (RFC 826, RFC 5227)
    NA_SIZE = 86        # Ethernet 14 + IPv6 40 + NA 24 + target link-layer address option 8

# Writes a gratuitous ARP request for `address` (four bytes) as a whole frame of GARP_SIZE bytes.
cdef void write_garp(uint8_t *out, const uint8_t *mac, const uint8_t *address) noexcept nogil

# Writes an unsolicited neighbour advertisement for `address` (sixteen bytes) to all nodes, as a
# whole frame of NA_SIZE bytes; O set, S clear, R as `router` (RFC 4861 section 4.4, RFC 9568
# section 6.4.2).
cdef void write_na(
    uint8_t *out, const uint8_t *mac, const uint8_t *address, bint router) noexcept nogil
