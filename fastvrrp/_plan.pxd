# What only the engine needs of a virtual router: whom it hears, what it sends, what it announces.
# Declarations alone; there is no module of this name.

from cpython.ref cimport PyObject
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t

from fastvrrp._contest cimport contest_t

# `old_unicast_checksum`, numbered as model.OldChecksum.
cdef enum:
    DETECTED_OLD = 0
    ALWAYS_OLD = 1
    NEVER_OLD = 2

cdef struct peer_t:
    uint8_t address[16]
    uint8_t min_ttl
    uint8_t max_ttl

cdef struct target_t:
    # One address to announce, and where.
    uint8_t family          # 4 or 6
    uint8_t router_flag     # the R of a neighbour advertisement
    uint8_t mac[6]
    int32_t ifindex
    uint8_t address[16]

cdef struct auth_t:
    uint8_t password[8]
    PyObject *authenticator     # owned; NULL without `auth_hmac`
    uint32_t ah_sequence    # of the last AH packet sent
    uint32_t ah_heard       # of the last one accepted, from `ah_master`
    uint8_t ah_master[4]

# What only the engine needs of a virtual router. It is one allocation with what `addresses`,
# `frames` and `peers` point to.
cdef struct plan_t:
    uint8_t *addresses      # as advertised, in the configuration's order
    uint8_t *frames         # `copies` of them, `stride` apart: Ethernet header and IP packet
    peer_t *peers
    target_t *targets       # its own allocation: changes when an interface does
    auth_t *auth            # its own allocation; NULL without authentication
    contest_t *contest      # its own allocation; NULL while there is one master at most
    uint32_t target_count
    uint8_t address_count
    uint8_t trailer         # bytes behind the message in our adverts: 0 or TRAILER_SIZE
    uint16_t stride
    uint16_t frame_size
    uint16_t copies         # one, or one a unicast peer
    int32_t ifindex         # where adverts leave; 0: the routing table decides
    uint8_t ready           # frames are built: the router can send
    uint8_t unicast
    uint8_t auth_type
    uint8_t checksum_as_v2
    uint8_t old_checksum    # model.OldChecksum
    uint8_t checksum_for_group  # speaks the old checksum now
    uint8_t ttl
    uint8_t skips_known_addresses
    uint8_t checks_source
    uint8_t frame_priority  # the priority that stands in the frames
    uint8_t group[16]
    uint32_t queued_in      # `flushes` when its frames were last handed to the sender
