"""The Internet checksum (RFC 1071).

The ones' complement sum does not care in which order the bytes of a word stand, as long as every
word is read the same way (RFC 1071 section 2 B), nor how wide the words are, because 2 to the 16,
32 and 64 are all 1 modulo 65,535. So eight bytes are read at a time, in the machine's own order,
and the result, stored as it is, stands in network order on any machine.

Each word of 64 bits is added as two halves of 32, so that no carry is lost and none has to be
looked for: the sum of four gigabytes fits.
"""

from libc.stdint cimport uint64_t
from libc.string cimport memcpy


cdef uint32_t add(uint32_t total, const uint8_t *data, size_t size) noexcept nogil:
    cdef uint64_t accumulator = total
    cdef uint64_t word
    cdef uint32_t half
    cdef uint16_t pair
    while size >= 8:
        memcpy(&word, data, 8)
        accumulator += <uint32_t> word + (word >> 32)
        data += 8
        size -= 8
    # What is left, by constant sizes: copying a variable size is a call, dearer than all else here.
    if size & 4:
        memcpy(&half, data, 4)
        accumulator += half
        data += 4
    if size & 2:
        memcpy(&pair, data, 2)
        accumulator += pair
        data += 2
    if size & 1:
        pair = 0            # an odd last byte counts as if a zero followed (RFC 1071 section 1)
        memcpy(&pair, data, 1)
        accumulator += pair
    accumulator = <uint32_t> accumulator + (accumulator >> 32)
    accumulator = <uint32_t> accumulator + (accumulator >> 32)
    return <uint32_t> accumulator


cdef uint16_t fold(uint32_t total) noexcept nogil:
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return <uint16_t> (~total)


cdef uint16_t update(uint16_t checksum, uint16_t before, uint16_t after) noexcept nogil:
    return fold(<uint32_t> <uint16_t> (~checksum) + <uint16_t> (~before) + after)


# --- the Python face, for tests and tools ---------------------------------------------------------

def checksum(const unsigned char[::1] data not None) -> int:
    """The Internet checksum of `data` (any buffer of bytes), as the number that RFC 1071 writes.

    Over data that already holds its right checksum it is 0.
    """
    return checksum_of_parts((data,))


def checksum_of_parts(parts) -> int:
    """The checksum of several buffers one behind the other; all but the last of even size.

    Raises ValueError for an odd size before the last.
    """
    cdef uint32_t total = 0
    cdef bint is_odd = False
    cdef const unsigned char[::1] data
    for data in parts:
        if is_odd:
            raise ValueError("only the last part may have an odd size")
        if data.shape[0]:
            total = add(total, &data[0], data.shape[0])
        is_odd = data.shape[0] & 1
    return in_host_order(fold(total))


def updated_checksum(unsigned short checksum, unsigned short before, unsigned short after) -> int:
    """`checksum` after a 16-bit word under it changed from `before` to `after` (RFC 1624)."""
    # Ones' complement sums work in either byte order alike.
    return update(checksum, before, after)


cdef int in_host_order(uint16_t value) noexcept:
    cdef const uint8_t *raw = <const uint8_t *> &value
    return raw[0] << 8 | raw[1]
