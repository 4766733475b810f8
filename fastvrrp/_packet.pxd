# VRRP on the wire: decoding and encoding in C, on caller's memory, without the GIL.
#
# A packet starts with its IP header for IPv4 (a raw socket delivers it) and with the VRRP header for
# IPv6 (a raw socket does not; source, destination and hop limit come as arguments).
# Addresses are in network order, lengths in bytes, intervals in nanoseconds.

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t

cdef enum:
    PROTO_VRRP = 112        # RFC 9568 section 5.1.1.4
    PROTO_AH = 51           # RFC 2402
    TYPE_ADVERTISEMENT = 1  # RFC 9568 section 5.2.2
    AUTH_NONE = 0           # RFC 2338 section 5.3.6
    AUTH_PASS = 1
    AUTH_AH = 2
    MAX_ADDRESSES = 255
    # Longest advert: IPv6, 255 addresses, with Ethernet and IPv6 headers: 14 + 40 + 8 + 255 * 16.
    MAX_FRAME = 4142

# Why a packet was refused; OK is 0. Every reason has a name in `REASONS` (Python) at its index.
cdef enum Reason:
    OK = 0
    TRUNCATED           # shorter than its header or its address count says
    IP_HEADER           # not IPv4, or an IHL below 5
    VERSION             # not the version the virtual router speaks, or neither 2 nor 3
    TYPE                # not ADVERTISEMENT
    CHECKSUM
    TTL                 # TTL or hop limit not 255 (or outside a unicast peer's range)
    VRID_ZERO
    VRID_UNKNOWN        # no virtual router with this VRID on this interface and family
    ADDRESS_COUNT       # not the number of addresses configured
    ADDRESS_LIST        # not the addresses configured
    INTERVAL            # VRRPv2: not the interval configured; VRRPv3: 0
    AUTH_TYPE           # not the authentication type configured
    PASSWORD
    AH_HEADER           # AH missing, malformed or with a wrong next header or SPI
    AH_REPLAY           # AH sequence number not above the last one
    AH_ICV              # AH integrity check value does not match
    SOURCE              # unicast: not a peer; or our own address
    DESTINATION         # neither the multicast group nor a unicast address of ours
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

# What an advert to be sent says.
cdef struct advert_spec_t:
    uint8_t family          # 4 or 6
    uint8_t version
    uint8_t vrid
    uint8_t priority
    uint8_t auth_type
    uint8_t checksum_as_v2
    uint8_t ttl
    uint16_t address_count
    int64_t interval
    const uint8_t *source
    const uint8_t *destination
    const uint8_t *addresses    # address_count of 4 or 16 bytes each
    const uint8_t *password     # eight bytes, zero padded, or NULL

# Decodes an IPv4 packet (starting at the IP header, protocol 112 or 51) into `advert`. Everything
# that can be judged from the packet alone is: truncation, version, type, checksum, VRID 0, v3 interval
# 0. TTL, addresses, password and AH are the caller's, who knows the virtual router.
cdef Reason decode_ipv4(const uint8_t *packet, size_t size, advert_t *advert) noexcept nogil

# The same for IPv6: `payload` starts at the VRRP header.
cdef Reason decode_ipv6(
    const uint8_t *payload, size_t size, const uint8_t *source, const uint8_t *destination,
    uint8_t hop_limit, advert_t *advert) noexcept nogil

# Writes an IP packet (IP header, VRRP) for `spec` at `out`, which has room for MAX_FRAME - 14 bytes;
# returns its size. AH is not among these: see `encode_ah`.
cdef size_t encode(const advert_spec_t *spec, uint8_t *out) noexcept nogil

# Changes the priority in an IP packet made by `encode`, and its checksum, in place (RFC 1624).
cdef void set_priority(uint8_t *packet, size_t size, uint8_t priority) noexcept nogil

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

# Writes an unsolicited neighbour advertisement for `address` (sixteen bytes) to all nodes, as a whole
# frame of NA_SIZE bytes; O set, S clear, R as `router` (RFC 4861 section 4.4, RFC 9568 section 6.4.2).
cdef void write_na(
    uint8_t *out, const uint8_t *mac, const uint8_t *address, bint router) noexcept nogil
