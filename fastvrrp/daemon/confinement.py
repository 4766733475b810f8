"""A process that gives up all but what it holds already: files, rights, other users' eyes."""

from __future__ import annotations

import ctypes
import os
import struct
import tempfile
from contextlib import suppress
from pathlib import Path

NOBODY = 65534
PR_SET_DUMPABLE = 4
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
LAST_CAPABILITY = 63
CAPABILITY_VERSION_3 = 0x20080522  # linux/capability.h

_libc = ctypes.CDLL(None, use_errno=True)


def confine() -> None:
    """Leaves the process with what is open: its root is an empty folder that is no more, it is
    nobody, has no capability and gets none by any program. What it is still to import must have
    been imported. A process that is not root keeps its user, and the root that it has.

    Raises OSError where the rights cannot be given up.
    """
    if os.geteuid() == 0:
        with suppress(PermissionError):  # no CAP_SYS_CHROOT
            _leave_files()
        for capability in range(LAST_CAPABILITY + 1):
            _libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)  # the last ones do not exist
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    header = struct.pack("=Ii", CAPABILITY_VERSION_3, 0)
    if _libc.capset(header, bytes(24)) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"capabilities cannot be given up: {os.strerror(error)}")
    _libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    if _libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"no_new_privs cannot be set: {os.strerror(error)}")


def _leave_files() -> None:
    """Makes a folder that has been removed the root of this process: nothing can be in it."""
    folder = Path(tempfile.mkdtemp(prefix="fastvrrp-"))
    os.chdir(folder)
    folder.rmdir()
    os.chroot(".")
