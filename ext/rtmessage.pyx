# rtnetlink's messages about addresses and links: requests encoded, dumps and notifications decoded.
#
# A request is encoded once, when the configuration is loaded, and sent many times.
#
# Everything decoded comes from outside: no length in a message is believed before it was compared
# with what is there. A message that is malformed, or not about a link or an address, is left out.

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy, memset

from collections import namedtuple
from socket import AF_INET, AF_INET6

cdef extern from "<string.h>" nogil:
    size_t strnlen(const char *text, size_t size)

cdef extern from "<linux/rtnetlink.h>" nogil:
    struct rtattr:
        unsigned short rta_len
        unsigned short rta_type
    struct ifa_cacheinfo:
        uint32_t ifa_prefered
        uint32_t ifa_valid
    enum:
        NLMSG_ERROR
        NLMSG_DONE
        NLM_F_REQUEST
        NLM_F_CREATE
        NLM_F_EXCL
        NLM_F_DUMP_INTR
        RTM_NEWLINK
        RTM_DELLINK
        RTM_SETLINK
        RTM_NEWADDR
        RTM_DELADDR
        IFLA_ADDRESS
        IFLA_IFNAME
        IFLA_MTU
        IFLA_LINK
        IFLA_MASTER
        IFLA_WIRELESS
        IFLA_OPERSTATE
        IFLA_LINKINFO
        IFLA_AF_SPEC
        IFLA_GROUP
        IFLA_LINK_NETNSID
        IFLA_INFO_KIND
        IFLA_INFO_DATA
        IFLA_MACVLAN_MODE
        IFLA_IPVLAN_MODE
        IFLA_IPVLAN_FLAGS
        IFLA_IFALIAS
        IFLA_INET6_ADDR_GEN_MODE
        IFA_ADDRESS
        IFA_LOCAL
        IFA_LABEL
        IFA_BROADCAST
        IFA_CACHEINFO
        IFA_FLAGS
        NLA_TYPE_MASK

cdef extern from "<net/if.h>" nogil:
    enum:
        AF_UNSPEC
        IFF_UP
        IFNAMSIZ

cdef enum:
    IFA_PROTO = 11          # linux/if_addr.h since 5.18; older kernels leave the attribute unread
    MAX_MAC = 32            # MAX_ADDR_LEN of linux/netdevice.h
    INFINITE = 0xffffffff   # INFINITY_LIFE_TIME of net/addrconf.h

LinkEvent = namedtuple(
    "LinkEvent",
    "removed ifindex name flags operstate mac parent kind mtu group mode alias master",
    module="fastvrrp._rtmessage",
)
AddressEvent = namedtuple(
    "AddressEvent",
    "removed family ifindex address prefixlen scope flags label protocol",
    module="fastvrrp._rtmessage",
)
cdef object new_tuple = tuple.__new__
cdef int INET = AF_INET
cdef int INET6 = AF_INET6


# --- encoding ------------------------------------------------------------------------------------

cdef void begin(request_t *request, uint16_t kind, uint16_t flags) noexcept nogil:
    cdef nlmsghdr header
    memset(request, 0, sizeof(request_t))
    memset(&header, 0, sizeof(header))
    header.nlmsg_type = kind
    header.nlmsg_flags = NLM_F_REQUEST | flags
    put(request, &header, sizeof(header))


cdef void put(request_t *request, const void *data, size_t size) noexcept nogil:
    memcpy(&request.data[request.size], data, size)
    request.size += (size + 3) & ~<size_t>3


cdef void put_attribute(
    request_t *request, uint16_t kind, const void *data, size_t size
) noexcept nogil:
    cdef rtattr header
    header.rta_len = <unsigned short>(sizeof(header) + size)
    header.rta_type = kind
    put(request, &header, sizeof(header))
    if size:
        put(request, data, size)


cdef void put_u32(request_t *request, uint16_t kind, uint32_t value) noexcept nogil:
    put_attribute(request, kind, &value, sizeof(value))


cdef size_t open_nest(request_t *request, uint16_t kind) noexcept nogil:
    cdef size_t start = request.size
    put_attribute(request, kind, NULL, 0)
    return start


cdef void close_nest(request_t *request, size_t start) noexcept nogil:
    cdef uint16_t size = <uint16_t>(request.size - start)
    memcpy(&request.data[start], &size, sizeof(size))


cdef bytes finish(request_t *request):
    cdef uint32_t size = <uint32_t>request.size
    memcpy(request.data, &size, sizeof(size))
    return PyBytes_FromStringAndSize(<char *>request.data, request.size)


cdef bytes name_bytes(str name):
    cdef bytes encoded = name.encode("utf-8", "surrogateescape")
    if not 0 < len(encoded) < IFNAMSIZ or b"\0" in encoded:
        raise ValueError(f"{name!r} is not an interface name or label: 1 to 15 bytes, none zero")
    return encoded + b"\0"


cdef void put_bytes(request_t *request, uint16_t kind, bytes data):
    put_attribute(request, kind, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))


def encode_address(
    bint add,
    int family,
    uint32_t ifindex,
    bytes address not None,
    uint8_t prefixlen,
    *,
    bytes broadcast=None,
    bytes peer=None,
    scope=None,
    str label=None,
    preferred_lifetime=None,
    uint32_t flags=0,
    uint8_t protocol=0,
):
    cdef request_t request
    cdef ifaddrmsg header
    cdef ifa_cacheinfo lifetimes
    cdef Py_ssize_t size = 4 if family == INET else 16
    if family != INET and family != INET6:
        raise ValueError(f"address family {family} is neither AF_INET nor AF_INET6")
    if len(address) != size or prefixlen > size * 8:
        raise ValueError(f"{address!r}/{prefixlen} is not an address of family {family}")
    if broadcast is not None and len(broadcast) != size:
        raise ValueError(f"broadcast address {broadcast!r} is not of family {family}")
    if peer is not None and len(peer) != size:
        raise ValueError(f"peer address {peer!r} is not of family {family}")
    memset(&header, 0, sizeof(header))
    header.ifa_family = <uint8_t>family
    header.ifa_prefixlen = prefixlen
    header.ifa_index = ifindex
    if scope is not None:
        header.ifa_scope = scope
    # NLM_F_EXCL: an address that is there already is answered with EEXIST and stays as it is.
    begin(
        &request, RTM_NEWADDR if add else RTM_DELADDR, (NLM_F_CREATE | NLM_F_EXCL) if add else 0
    )
    put(&request, &header, sizeof(header))
    put_bytes(&request, IFA_LOCAL, address)
    put_bytes(&request, IFA_ADDRESS, address if peer is None else peer)
    if add:
        if broadcast is not None:
            put_bytes(&request, IFA_BROADCAST, broadcast)
        if label is not None:
            put_bytes(&request, IFA_LABEL, name_bytes(label))
        if preferred_lifetime is not None:
            memset(&lifetimes, 0, sizeof(lifetimes))
            lifetimes.ifa_prefered = preferred_lifetime
            lifetimes.ifa_valid = INFINITE
            put_attribute(&request, IFA_CACHEINFO, &lifetimes, sizeof(lifetimes))
        if flags:
            put_u32(&request, IFA_FLAGS, flags)
        if protocol:
            put_attribute(&request, IFA_PROTO, &protocol, sizeof(protocol))
    return finish(&request)


cdef void begin_link(
    request_t *request, uint16_t kind, uint16_t flags, const ifinfomsg *link
) noexcept nogil:
    begin(request, kind, flags)
    put(request, link, sizeof(ifinfomsg))


def encode_macvlan(
    str name not None, uint32_t parent, bytes mac not None, uint32_t mode, uint32_t group
):
    cdef request_t request
    cdef ifinfomsg link
    cdef size_t info, data
    if not 0 < len(mac) <= MAX_MAC:
        raise ValueError(f"{mac!r} is not a link-layer address")
    memset(&link, 0, sizeof(link))
    begin_link(&request, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &link)
    put_bytes(&request, IFLA_IFNAME, name_bytes(name))
    put_u32(&request, IFLA_LINK, parent)
    put_bytes(&request, IFLA_ADDRESS, mac)
    put_u32(&request, IFLA_GROUP, group)
    info = open_nest(&request, IFLA_LINKINFO)
    put_bytes(&request, IFLA_INFO_KIND, b"macvlan")
    data = open_nest(&request, IFLA_INFO_DATA)
    put_u32(&request, IFLA_MACVLAN_MODE, mode)
    close_nest(&request, data)
    close_nest(&request, info)
    return finish(&request)


def encode_ipvlan(str name not None, uint32_t parent, uint16_t flags, uint32_t group):
    cdef request_t request
    cdef ifinfomsg link
    cdef uint16_t mode = 0      # IPVLAN_MODE_L2
    cdef size_t info, data
    memset(&link, 0, sizeof(link))
    begin_link(&request, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &link)
    put_bytes(&request, IFLA_IFNAME, name_bytes(name))
    put_u32(&request, IFLA_LINK, parent)
    put_u32(&request, IFLA_GROUP, group)
    info = open_nest(&request, IFLA_LINKINFO)
    put_bytes(&request, IFLA_INFO_KIND, b"ipvlan")
    data = open_nest(&request, IFLA_INFO_DATA)
    put_attribute(&request, IFLA_IPVLAN_MODE, &mode, sizeof(mode))
    put_attribute(&request, IFLA_IPVLAN_FLAGS, &flags, sizeof(flags))
    close_nest(&request, data)
    close_nest(&request, info)
    return finish(&request)


def encode_link(int32_t ifindex, *, up=None, group=None, addr_gen_mode=None, str alias=None):
    cdef request_t request
    cdef ifinfomsg link
    cdef size_t families, inet6
    cdef uint8_t mode
    memset(&link, 0, sizeof(link))
    link.ifi_index = ifindex
    if up is not None:
        link.ifi_change = IFF_UP
        link.ifi_flags = IFF_UP if up else 0
    begin_link(&request, RTM_SETLINK, 0, &link)
    if group is not None:
        put_u32(&request, IFLA_GROUP, group)
    if alias is not None:
        put_bytes(&request, IFLA_IFALIAS, name_bytes(alias))
    if addr_gen_mode is not None:
        mode = addr_gen_mode
        families = open_nest(&request, IFLA_AF_SPEC)
        inet6 = open_nest(&request, <uint16_t>INET6)
        put_attribute(&request, IFLA_INET6_ADDR_GEN_MODE, &mode, sizeof(mode))
        close_nest(&request, inet6)
        close_nest(&request, families)
    return finish(&request)


def encode_link_removal(*, int32_t ifindex=0, uint32_t group=0):
    cdef request_t request
    cdef ifinfomsg link
    # A removal of group 0 would take every link that is in none, the machine's own among them.
    if (ifindex > 0) == (group > 0):
        raise ValueError("a removal names an ifindex above 0 or a group above 0, and not both")
    memset(&link, 0, sizeof(link))
    link.ifi_index = ifindex
    begin_link(&request, RTM_DELLINK, 0, &link)
    if group:
        put_u32(&request, IFLA_GROUP, group)
    return finish(&request)


# --- decoding ------------------------------------------------------------------------------------

# A walk over attributes: `next_attribute` leaves kind, value and size of the next one here.
cdef struct attributes_t:
    const uint8_t *data
    size_t left
    uint16_t kind
    const uint8_t *value
    size_t size


cdef bint next_attribute(attributes_t *walk) noexcept nogil:
    cdef rtattr header
    cdef size_t step
    if walk.left < sizeof(header):
        return False
    memcpy(&header, walk.data, sizeof(header))
    if header.rta_len < sizeof(header) or header.rta_len > walk.left:
        return False
    walk.kind = header.rta_type & NLA_TYPE_MASK
    walk.value = walk.data + sizeof(header)
    walk.size = header.rta_len - sizeof(header)
    step = (header.rta_len + 3) & ~<size_t>3
    if step > walk.left:
        step = walk.left
    walk.data += step
    walk.left -= step
    return True


cdef uint32_t read_u32(const attributes_t *walk) noexcept nogil:
    cdef uint32_t value = 0
    if walk.size >= sizeof(value):
        memcpy(&value, walk.value, sizeof(value))
    return value


cdef uint16_t read_u16(const attributes_t *walk) noexcept nogil:
    cdef uint16_t value = 0
    if walk.size >= sizeof(value):
        memcpy(&value, walk.value, sizeof(value))
    return value


cdef str read_str(const attributes_t *walk):
    cdef size_t size = strnlen(<const char *>walk.value, walk.size)
    return PyUnicode_DecodeUTF8(<const char *>walk.value, size, "surrogateescape")


cdef bytes read_bytes(const attributes_t *walk):
    return PyBytes_FromStringAndSize(<const char *>walk.value, walk.size)


cdef object decode_link(bint removed, const uint8_t *data, size_t size):
    cdef ifinfomsg header
    cdef attributes_t walk, info, inner
    cdef str name = "", kind = "", alias = ""
    cdef bytes mac = b""
    cdef uint8_t operstate = 0
    cdef uint32_t mtu = 0, group = 0, mode = 0, parent = 0, master = 0
    cdef bint parent_is_elsewhere = False, is_macvlan
    if size < sizeof(header):
        return None
    memcpy(&header, data, sizeof(header))
    # A bridge tells of its ports in the same group: a port that leaves its bridge is a RTM_DELLINK.
    if header.ifi_family != AF_UNSPEC or header.ifi_index <= 0:
        return None
    walk.data = data + sizeof(header)
    walk.left = size - sizeof(header)
    while next_attribute(&walk):
        if walk.kind == IFLA_IFNAME:
            name = read_str(&walk)
        elif walk.kind == IFLA_ADDRESS and walk.size <= MAX_MAC:
            mac = read_bytes(&walk)
        elif walk.kind == IFLA_OPERSTATE and walk.size:
            operstate = walk.value[0]
        elif walk.kind == IFLA_LINK:
            parent = read_u32(&walk)
        elif walk.kind == IFLA_MASTER:
            master = read_u32(&walk)
        elif walk.kind == IFLA_LINK_NETNSID:
            parent_is_elsewhere = True
        elif walk.kind == IFLA_MTU:
            mtu = read_u32(&walk)
        elif walk.kind == IFLA_GROUP:
            group = read_u32(&walk)
        elif walk.kind == IFLA_IFALIAS:
            alias = read_str(&walk)
        elif walk.kind == IFLA_WIRELESS:
            return None     # a wireless event, with few of the link's attributes
        elif walk.kind == IFLA_LINKINFO:
            info.data = walk.value
            info.left = walk.size
            while next_attribute(&info):
                if info.kind == IFLA_INFO_KIND:
                    kind = read_str(&info)
                elif info.kind == IFLA_INFO_DATA and kind in ("macvlan", "ipvlan"):
                    is_macvlan = kind == "macvlan"
                    inner.data = info.value
                    inner.left = info.size
                    while next_attribute(&inner):
                        if is_macvlan and inner.kind == IFLA_MACVLAN_MODE:
                            mode = read_u32(&inner)
                        elif not is_macvlan and inner.kind == IFLA_IPVLAN_MODE:
                            mode |= read_u16(&inner)
                        elif not is_macvlan and inner.kind == IFLA_IPVLAN_FLAGS:
                            mode |= <uint32_t>read_u16(&inner) << 16
    if not name:
        return None
    if parent_is_elsewhere:
        parent = 0
    return new_tuple(LinkEvent, (
        removed, header.ifi_index, name, header.ifi_flags, operstate, mac, parent, kind, mtu, group,
        mode, alias, master,
    ))


cdef object decode_address(bint removed, const uint8_t *data, size_t size):
    cdef ifaddrmsg header
    cdef attributes_t walk
    cdef size_t address_size
    cdef bytes address = None, local = None
    cdef str label = ""
    cdef uint32_t flags
    cdef uint8_t protocol = 0
    if size < sizeof(header):
        return None
    memcpy(&header, data, sizeof(header))
    if header.ifa_family == INET:
        address_size = 4
    elif header.ifa_family == INET6:
        address_size = 16
    else:
        return None
    flags = header.ifa_flags
    walk.data = data + sizeof(header)
    walk.left = size - sizeof(header)
    while next_attribute(&walk):
        if walk.kind == IFA_LOCAL and walk.size == address_size:
            local = read_bytes(&walk)
        elif walk.kind == IFA_ADDRESS and walk.size == address_size:
            address = read_bytes(&walk)
        elif walk.kind == IFA_LABEL:
            label = read_str(&walk)
        elif walk.kind == IFA_FLAGS and walk.size >= sizeof(uint32_t):
            flags = read_u32(&walk)
        elif walk.kind == IFA_PROTO and walk.size:
            protocol = walk.value[0]
    # IFA_ADDRESS is the peer's where there is one; IFA_LOCAL is always ours (linux/if_addr.h).
    if local is not None:
        address = local
    if address is None or header.ifa_index > 0x7fffffff:
        return None
    return new_tuple(AddressEvent, (
        removed, header.ifa_family, header.ifa_index, address, header.ifa_prefixlen,
        header.ifa_scope, flags, label, protocol,
    ))


cdef int decode_messages(
    const uint8_t *data, size_t size, list events, progress_t *progress
) except -1:
    cdef nlmsghdr header
    cdef int error
    cdef const uint8_t *body
    cdef size_t body_size, step
    cdef object event
    while size >= sizeof(header):
        memcpy(&header, data, sizeof(header))
        if header.nlmsg_len < sizeof(header) or header.nlmsg_len > size:
            return 0
        body = data + sizeof(header)
        body_size = header.nlmsg_len - sizeof(header)
        step = (<size_t>header.nlmsg_len + 3) & ~<size_t>3
        if step > size:
            step = size
        data += step
        size -= step
        if progress.sequence and header.nlmsg_seq != progress.sequence:
            continue
        if header.nlmsg_flags & NLM_F_DUMP_INTR:
            progress.interrupted = True
        event = None
        if header.nlmsg_type == RTM_NEWLINK or header.nlmsg_type == RTM_DELLINK:
            event = decode_link(header.nlmsg_type == RTM_DELLINK, body, body_size)
        elif header.nlmsg_type == RTM_NEWADDR or header.nlmsg_type == RTM_DELADDR:
            event = decode_address(header.nlmsg_type == RTM_DELADDR, body, body_size)
        elif header.nlmsg_type == NLMSG_DONE or header.nlmsg_type == NLMSG_ERROR:
            progress.done = True
            if body_size >= sizeof(error):
                memcpy(&error, body, sizeof(error))
                if -4096 < error < 0:
                    progress.error = -error
        if event is not None:
            events.append(event)
    return 0


def decode(bytes data not None):
    cdef list events = []
    cdef progress_t progress
    memset(&progress, 0, sizeof(progress))
    decode_messages(
        <const uint8_t *>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), events, &progress)
    return events
