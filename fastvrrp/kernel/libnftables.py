"""libnftables(3): commands of nft, carried out in this process."""

from __future__ import annotations

import ctypes
import errno
import os
from functools import cache

LIBRARY = "libnftables.so.1"


class Nft:
    """A context of libnftables, in the network namespace of the calling thread."""

    def __init__(self) -> None:
        self._library = _library()
        self._context = self._library.nft_ctx_new(0)
        if not self._context:
            raise OSError(errno.ENOMEM, "nftables cannot begin")
        self._library.nft_ctx_buffer_error(self._context)

    def run(self, script: str) -> None:
        """Carries out commands of nft, all or none."""
        library, context = self._library, self._context
        if library.nft_run_cmd_from_buffer(context, os.fsencode(script)):
            said = library.nft_ctx_get_error_buffer(context).decode(errors="replace")
            raise OSError(errno.EINVAL, f"nftables: {_first_error(said)}")

    def close(self) -> None:
        self._library.nft_ctx_free(self._context)


def _first_error(said: str) -> str:
    """The first error of what nft says, with the name that it is about, in one line."""
    lines = said.splitlines()
    return lines[0].partition("Error: ")[2] or lines[0] if lines else "no reason given"


def give_back() -> None:
    """Gives free memory back to the machine: 4,080 elements take 4 MB, which would stay with the
    thread's arena."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:  # glibc's
        trim(0)


@cache
def _library() -> ctypes.CDLL:
    """libnftables(3) with the types of what is used of it."""
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError:
        raise OSError(
            errno.ENOENT, f"{LIBRARY} is missing: install libnftables1, as Debian names it"
        ) from None
    library.nft_ctx_new.argtypes = [ctypes.c_uint32]
    library.nft_ctx_new.restype = ctypes.c_void_p
    library.nft_ctx_free.argtypes = [ctypes.c_void_p]
    library.nft_ctx_buffer_error.argtypes = [ctypes.c_void_p]
    library.nft_ctx_get_error_buffer.argtypes = [ctypes.c_void_p]
    library.nft_ctx_get_error_buffer.restype = ctypes.c_char_p
    library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    return library
