# The Internet checksum (RFC 1071), in C, without the GIL.

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint16_t, uint32_t

# Adds `size` bytes to a running ones' complement sum. The result is not folded: up to 65,535 bytes
# can be added before `fold`. Only the last block added may have an odd size.
cdef uint32_t add(uint32_t total, const uint8_t *data, size_t size) noexcept nogil

# Folds and complements a running sum. The result is in network order as it stands in memory.
cdef uint16_t fold(uint32_t total) noexcept nogil
