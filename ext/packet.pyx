"""VRRP on the wire.

VRRPv2 (RFC 3768 section 5.1), IPv4 only. RFC 3768 dropped authentication, but kept its field and
its data, which RFC 2338 section 5.3.6 had defined and keepalived still speaks:

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +-------+-------+---------------+---------------+---------------+
    |Version| Type  | Virtual Rtr ID|   Priority    | Count IP Addrs|
    +-------+-------+---------------+---------------+---------------+
    |   Auth Type   | Adver Int (s) |           Checksum            |
    +---------------+---------------+-------------------------------+
    |                  IPv4 addresses, 4 bytes each                 |
    +---------------------------------------------------------------+
    |                  Authentication data, 8 bytes                 |
    +---------------------------------------------------------------+

VRRPv3 (RFC 9568 section 5.1), IPv4 and IPv6:

    +-------+-------+---------------+---------------+---------------+
    |Version| Type  | Virtual Rtr ID|   Priority    |IPvX Addr Count|
    +-------+-------+---------------+---------------+---------------+
    | (rsvd)| Max Advertise Int (cs)|           Checksum            |
    +-------+-----------------------+-------------------------------+
    |              IPvX addresses, 4 or 16 bytes each               |
    +---------------------------------------------------------------+

The checksum of VRRPv2 is over that alone. The checksum of VRRPv3 is also over a pseudo-header of
source, destination, protocol and length (RFC 9568 section 5.2.8). Over IPv4 that is not what
everyone sends. Implementers read RFC 5798 both ways, so a checksum without pseudo-header is heard
too, and spoken when asked (`v3_checksum_as_v2`). And old keepalived took the multicast group for
the destination also where it sent to a unicast peer; 2.2.7 still does with `old_unicast_checksum`,
and hears it (seen on the wire). So that is heard here, but never spoken.

How long the VRRP part is, its own address count says. What stands behind it is not looked at,
because a short frame is padded by Ethernet and because RFC 9568 section 7.1 only wants the message
complete. The one exception is the trailer of `auth_hmac` (trailer.pyx): where the checksum covers
it, it belongs to the message.

Everything here works on memory of the caller, allocates nothing, and is called without the GIL.
"""

from libc.string cimport memcmp, memcpy, memset

from fastvrrp._checksum cimport add, fold, update

# Names of `Reason`, in its order.
REASONS = (
    "OK", "TRUNCATED", "IP_HEADER", "VERSION", "TYPE", "CHECKSUM", "TTL", "VRID_ZERO",
    "VRID_UNKNOWN", "ADDRESS_COUNT", "ADDRESS_LIST", "INTERVAL", "AUTH_TYPE", "PASSWORD",
    "AH_HEADER", "AH_REPLAY", "AH_ICV", "SOURCE", "DESTINATION", "HMAC_MISSING", "HMAC_KEY",
    "HMAC_TIME", "HMAC_REPLAY", "HMAC_DIGEST",
)
assert len(REASONS) == REASON_COUNT

cdef enum:
    SECOND = 1_000_000_000
    CENTISECOND = 10_000_000

    ETHERTYPE_IPV4 = 0x0800
    ETHERTYPE_IPV6 = 0x86DD
    ETHERTYPE_ARP = 0x0806
    ETHERNET = 14

    IPV4_HEADER = 20            # RFC 791 section 3.1, without options
    IPV6_HEADER = 40            # RFC 8200 section 3
    INTERNETWORK_CONTROL = 0xC0  # precedence 6 (RFC 791), class selector 6 (RFC 2474 section 4.2.2)
    DONT_FRAGMENT = 0x4000      # RFC 791 section 3.1

    VRRP_HEADER = 8
    AUTH_DATA = 8               # RFC 3768 section 5.3.10
    MAX_INTERVAL = 0x0FFF       # RFC 9568 section 5.2.7: twelve bits

    AH_HEADER_SIZE = 24         # RFC 2402 section 2: 12 bytes and an ICV of 12
    AH_LENGTH = AH_HEADER_SIZE // 4 - 2     # RFC 2402 section 2.2: in words, less two

    ICMPV6 = 58                 # RFC 8200; next header
    NEIGHBOUR_ADVERTISEMENT = 136           # RFC 4861 section 4.4
    NA_ROUTER = 0x80
    NA_OVERRIDE = 0x20
    TARGET_LINK_LAYER_ADDRESS = 2           # RFC 4861 section 4.6.1


# RFC 9568 section 5.1.1.2
cdef const char *DEFAULT_GROUP = b"\xe0\x00\x00\x12"


# --- reading and writing network order ------------------------------------------------------------

cdef inline uint16_t read16(const uint8_t *data) noexcept nogil:
    return <uint16_t> (data[0] << 8 | data[1])


cdef inline uint32_t read32(const uint8_t *data) noexcept nogil:
    return <uint32_t> read16(data) << 16 | read16(data + 2)


cdef inline void write16(uint8_t *out, uint16_t value) noexcept nogil:
    out[0] = <uint8_t> (value >> 8)
    out[1] = <uint8_t> (value & 0xFF)


cdef inline uint32_t add_pseudo_header(
        uint32_t total, const uint8_t *source, const uint8_t *destination, size_t address_size,
        size_t size, uint8_t protocol) noexcept nogil:
    """IPv6's (RFC 8200 section 8.1) has the same words as IPv4's (RFC 768), with more zeros."""
    cdef uint8_t words[4]
    words[0] = 0
    words[1] = protocol
    write16(words + 2, <uint16_t> size)
    total = add(total, source, address_size)
    total = add(total, destination, address_size)
    return add(total, words, 4)


# --- decoding -------------------------------------------------------------------------------------

cdef Reason decode_ipv4(const uint8_t *packet, size_t size, advert_t *advert) noexcept nogil:
    cdef size_t header
    cdef size_t total
    cdef uint8_t protocol
    memset(advert, 0, sizeof(advert_t))
    advert.family = 4
    if size < IPV4_HEADER:
        return TRUNCATED
    header = (packet[0] & 0x0F) * 4
    if packet[0] >> 4 != 4 or header < IPV4_HEADER:
        return IP_HEADER
    # What stands behind the total length is padding of a short Ethernet frame.
    total = read16(packet + 2)
    if total < size:
        size = total
    if size < header:
        return TRUNCATED
    protocol = packet[9]
    if protocol != PROTO_VRRP and protocol != PROTO_AH:
        return IP_HEADER
    advert.ttl = packet[8]
    memcpy(advert.source, packet + 12, 4)
    memcpy(advert.destination, packet + 16, 4)
    packet += header
    size -= header
    if protocol == PROTO_AH:
        if size < AH_HEADER_SIZE:
            return TRUNCATED
        # keepalived sends no options with AH; which of them an ICV covers would be a page of RFC
        # 2402. The SPI names no security association: keepalived writes its address there, and
        # expects it.
        if (packet[0] != PROTO_VRRP or packet[1] != AH_LENGTH or header != IPV4_HEADER or
                memcmp(packet + 4, advert.source, 4) != 0):
            return AH_HEADER
        advert.has_ah = 1
        advert.ah_spi = read32(packet + 4)
        advert.ah_sequence = read32(packet + 8)
        advert.ah_icv = packet + 12
        packet += AH_HEADER_SIZE
        size -= AH_HEADER_SIZE
    return decode_vrrp(packet, size, advert)


cdef Reason decode_ipv6(
        const uint8_t *payload, size_t size, const uint8_t *source, const uint8_t *destination,
        uint8_t hop_limit, advert_t *advert) noexcept nogil:
    memset(advert, 0, sizeof(advert_t))
    advert.family = 6
    advert.ttl = hop_limit
    memcpy(advert.source, source, 16)
    memcpy(advert.destination, destination, 16)
    return decode_vrrp(payload, size, advert)


cdef Reason decode_vrrp(const uint8_t *vrrp, size_t size, advert_t *advert) noexcept nogil:
    cdef size_t address_size = 4 if advert.family == 4 else 16
    cdef size_t expected
    cdef uint32_t total
    if size < 2:
        return TRUNCATED
    advert.version = vrrp[0] >> 4
    advert.vrid = vrrp[1]
    if size < VRRP_HEADER:
        return TRUNCATED
    if advert.version != 3 and (advert.version != 2 or advert.family != 4):
        return VERSION
    if vrrp[0] & 0x0F != TYPE_ADVERTISEMENT:
        return TYPE
    expected = VRRP_HEADER + vrrp[3] * address_size
    if advert.version == 2:
        expected += AUTH_DATA
    if size < expected:
        return TRUNCATED
    advert.priority = vrrp[2]
    advert.address_count = vrrp[3]
    advert.addresses = vrrp + VRRP_HEADER
    total = add(0, vrrp, expected)
    if (size == expected + TRAILER_SIZE and vrrp[expected] == TRAILER_TYPE
            and is_sum_right(add(total, vrrp + expected, TRAILER_SIZE), size, advert)):
        advert.trailer = vrrp + expected
    elif not is_sum_right(total, expected, advert):
        return CHECKSUM
    if advert.version == 2:
        advert.auth_type = vrrp[4]
        advert.auth_data = vrrp + expected - AUTH_DATA
        advert.interval = <int64_t> vrrp[5] * SECOND
        if advert.vrid == 0:
            return VRID_ZERO
        if advert.auth_type > AUTH_AH:
            return AUTH_TYPE
        if (advert.auth_type == AUTH_AH) != advert.has_ah:
            return AH_HEADER
        return OK
    advert.interval = <int64_t> (read16(vrrp + 4) & MAX_INTERVAL) * CENTISECOND
    if advert.vrid == 0:
        return VRID_ZERO
    if advert.has_ah:
        return AUTH_TYPE        # RFC 9568 section 9: VRRPv3 has no authentication
    if advert.interval == 0:
        return INTERVAL
    return OK


cdef bint is_sum_right(uint32_t total, size_t size, advert_t *advert) noexcept nogil:
    """Whether `total` over `size` bytes of message makes a right checksum, and of which kind."""
    cdef size_t address_size = 4 if advert.family == 4 else 16
    if advert.version == 2:
        return fold(total) == 0
    if fold(add_pseudo_header(
            total, advert.source, advert.destination, address_size, size, PROTO_VRRP)) == 0:
        return True
    if advert.family == 6:
        return False
    if fold(total) == 0:
        advert.checksum_as_v2 = 1
    elif fold(add_pseudo_header(
            total, advert.source, <const uint8_t *> DEFAULT_GROUP, 4, size, PROTO_VRRP)) == 0:
        advert.checksum_for_group = 1
    else:
        return False
    return True


# --- encoding -------------------------------------------------------------------------------------

cdef size_t encode(const advert_spec_t *spec, uint8_t *out) noexcept nogil:
    cdef size_t size
    if spec.family == 4:
        size = IPV4_HEADER + write_vrrp(spec, out + IPV4_HEADER)
        write_ipv4(spec, out, size, PROTO_VRRP, 0, DONT_FRAGMENT)
        return size
    size = write_vrrp(spec, out + IPV6_HEADER)
    memset(out, 0, 4)
    out[0] = 0x60 | INTERNETWORK_CONTROL >> 4
    out[1] = (INTERNETWORK_CONTROL & 0x0F) << 4
    write16(out + 4, <uint16_t> size)
    out[6] = PROTO_VRRP
    out[7] = spec.ttl
    memcpy(out + 8, spec.source, 16)
    memcpy(out + 24, spec.destination, 16)
    return IPV6_HEADER + size


cdef void write_ipv4(
        const advert_spec_t *spec, uint8_t *out, size_t total, uint8_t protocol,
        uint16_t identification, uint16_t fragment) noexcept nogil:
    cdef uint16_t checksum
    out[0] = 0x40 | IPV4_HEADER // 4
    out[1] = INTERNETWORK_CONTROL
    write16(out + 2, <uint16_t> total)
    write16(out + 4, identification)
    write16(out + 6, fragment)
    out[8] = spec.ttl
    out[9] = protocol
    write16(out + 10, 0)
    memcpy(out + 12, spec.source, 4)
    memcpy(out + 16, spec.destination, 4)
    checksum = fold(add(0, out, IPV4_HEADER))
    memcpy(out + 10, &checksum, 2)


cdef size_t write_vrrp(const advert_spec_t *spec, uint8_t *out) noexcept nogil:
    cdef size_t address_size = 4 if spec.family == 4 else 16
    cdef size_t size = VRRP_HEADER + spec.address_count * address_size
    cdef uint16_t checksum
    cdef bint has_pseudo_header = False
    cdef const uint8_t *destination = spec.destination
    out[0] = <uint8_t> (spec.version << 4) | TYPE_ADVERTISEMENT
    out[1] = spec.vrid
    out[2] = spec.priority
    out[3] = <uint8_t> spec.address_count
    write16(out + 6, 0)
    if spec.address_count:
        memcpy(out + VRRP_HEADER, spec.addresses, size - VRRP_HEADER)
    if spec.version == 2:
        out[4] = spec.auth_type
        out[5] = <uint8_t> (spec.interval // SECOND)
        if spec.auth_type == AUTH_PASS and spec.password != NULL:
            memcpy(out + size, spec.password, AUTH_DATA)
        else:
            memset(out + size, 0, AUTH_DATA)
        size += AUTH_DATA
    else:
        write16(out + 4, <uint16_t> (spec.interval // CENTISECOND) & MAX_INTERVAL)
        has_pseudo_header = spec.family == 6 or not spec.checksum_as_v2
        if spec.family == 4 and spec.checksum_for_group:
            destination = <const uint8_t *> DEFAULT_GROUP
    memset(out + size, 0, spec.trailer)
    size += spec.trailer
    checksum = sum_of(out, size, spec.source, destination,
                      address_size if has_pseudo_header else 0)
    memcpy(out + 6, &checksum, 2)
    return size


cdef uint16_t sum_of(
        const uint8_t *message, size_t size, const uint8_t *source, const uint8_t *destination,
        size_t address_size) noexcept nogil:
    """The checksum of a message, with a pseudo-header where `address_size` is not 0."""
    cdef uint32_t total = 0
    if address_size:
        total = add_pseudo_header(0, source, destination, address_size, size, PROTO_VRRP)
    return fold(add(total, message, size))


cdef void renew_checksum(
        uint8_t *packet, size_t size, bint checksum_as_v2, bint for_group) noexcept nogil:
    cdef bint is_ipv4 = packet[0] >> 4 == 4
    cdef size_t header = IPV4_HEADER if is_ipv4 else IPV6_HEADER
    cdef size_t address_size = 4 if is_ipv4 else 16
    cdef uint8_t *message = packet + header
    cdef const uint8_t *source = message - 2 * address_size     # both headers end with the two
    cdef const uint8_t *destination = source + address_size
    cdef uint16_t checksum
    if is_ipv4 and for_group:
        destination = <const uint8_t *> DEFAULT_GROUP
    write16(message + 6, 0)
    if is_ipv4 and (checksum_as_v2 or message[0] >> 4 == 2):
        checksum = sum_of(message, size - header, source, destination, 0)
    else:
        checksum = sum_of(message, size - header, source, destination, address_size)
    memcpy(message + 6, &checksum, 2)


cdef void set_priority(uint8_t *packet, size_t size, uint8_t priority) noexcept nogil:
    cdef size_t header = IPV4_HEADER if packet[0] >> 4 == 4 else IPV6_HEADER
    cdef uint16_t checksum
    cdef uint16_t before
    cdef uint16_t after
    if size < header + VRRP_HEADER or (header == IPV4_HEADER and packet[9] != PROTO_VRRP):
        return
    packet += header
    memcpy(&before, packet + 2, 2)      # the word of priority and address count
    packet[2] = priority
    memcpy(&after, packet + 2, 2)
    memcpy(&checksum, packet + 6, 2)
    checksum = update(checksum, before, after)
    memcpy(packet + 6, &checksum, 2)


# --- frames ---------------------------------------------------------------------------------------

cdef void write_ethernet(
        uint8_t *out, const uint8_t *destination, const uint8_t *source,
        uint16_t ethertype) noexcept nogil:
    memcpy(out, destination, 6)
    memcpy(out + 6, source, 6)
    write16(out + 12, ethertype)


cdef void multicast_mac(uint8_t family, const uint8_t *group, uint8_t *out) noexcept nogil:
    if family == 4:
        out[0] = 0x01
        out[1] = 0x00
        out[2] = 0x5E
        out[3] = group[1] & 0x7F        # 23 bits of the group
        out[4] = group[2]
        out[5] = group[3]
    else:
        out[0] = 0x33
        out[1] = 0x33
        memcpy(out + 2, group + 12, 4)


cdef void write_garp(uint8_t *out, const uint8_t *mac, const uint8_t *address) noexcept nogil:
    cdef uint8_t *arp = out + ETHERNET
    cdef uint8_t broadcast[6]
    memset(broadcast, 0xFF, 6)
    write_ethernet(out, broadcast, mac, ETHERTYPE_ARP)
    write16(arp, 1)                     # hardware: Ethernet
    write16(arp + 2, ETHERTYPE_IPV4)
    arp[4] = 6
    arp[5] = 4
    write16(arp + 6, 1)                 # a request, as RFC 5227 section 3 recommends
    memcpy(arp + 8, mac, 6)
    memcpy(arp + 14, address, 4)
    memset(arp + 18, 0xFF, 6)           # nobody reads a request's target MAC; keepalived's way
    memcpy(arp + 24, address, 4)


cdef void write_na(
        uint8_t *out, const uint8_t *mac, const uint8_t *address, bint router) noexcept nogil:
    cdef uint8_t *ip = out + ETHERNET
    cdef uint8_t *na = ip + IPV6_HEADER
    cdef uint8_t group_mac[6]
    cdef uint16_t checksum
    cdef uint32_t total
    memset(out, 0, NA_SIZE)
    ip[0] = 0x60
    write16(ip + 4, NA_SIZE - ETHERNET - IPV6_HEADER)
    ip[6] = ICMPV6
    ip[7] = 255                         # RFC 4861 section 7.1.2: else it is not accepted
    memcpy(ip + 8, address, 16)
    ip[24] = 0xFF                       # ff02::1, all nodes
    ip[25] = 0x02
    ip[39] = 0x01
    multicast_mac(6, ip + 24, group_mac)
    write_ethernet(out, group_mac, mac, ETHERTYPE_IPV6)
    na[0] = NEIGHBOUR_ADVERTISEMENT
    na[4] = NA_OVERRIDE | (NA_ROUTER if router else 0)
    memcpy(na + 8, address, 16)
    na[24] = TARGET_LINK_LAYER_ADDRESS
    na[25] = 1                          # in units of eight bytes
    memcpy(na + 26, mac, 6)
    total = add_pseudo_header(
        0, address, ip + 24, 16, NA_SIZE - ETHERNET - IPV6_HEADER, ICMPV6)
    checksum = fold(add(total, na, NA_SIZE - ETHERNET - IPV6_HEADER))
    memcpy(na + 2, &checksum, 2)
