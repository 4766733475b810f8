# The Internet checksum (RFC 1071), in C, without the GIL.

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint16_t, uint32_t

# Adds `size` bytes to a running ones' complement sum. Only the last block added may have an odd
# size. The carries are wrapped around at once, so any number of bytes can be added before `fold`.
cdef uint32_t add(uint32_t total, const uint8_t *data, size_t size) noexcept nogil

# Folds and complements a running sum. The result is in network order as it stands in memory.
cdef uint16_t fold(uint32_t total) noexcept nogil

# The checksum after one aligned 16-bit word under it changed (RFC 1624 section 3, equation 3). All
# three are in network order as they stand in memory.
cdef uint16_t update(uint16_t checksum, uint16_t before, uint16_t after) noexcept nogil
