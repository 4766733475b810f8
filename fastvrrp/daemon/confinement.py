"""A process that gives up all but what it holds already: files, rights, other users' eyes."""

from __future__ import annotations

import ctypes
import os
import tempfile
from contextlib import suppress
from pathlib import Path

from fastvrrp.kernel.capabilities import Sets, close_bounds, gain_no_more, set_own

NOBODY = 65534
PR_SET_DUMPABLE = 4  # linux/prctl.h


def confine() -> None:
    """Leaves the process with what is open: its root is an empty folder that is no more, it is
    nobody, has no capability and gets none by any program. What it is still to import must have
    been imported. A process that is not root keeps its user, and the root that it has.

    Raises OSError where the rights cannot be given up.
    """
    if os.geteuid() == 0:
        with suppress(PermissionError):  # no CAP_SYS_CHROOT
            _leave_files()
        close_bounds()
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    set_own(Sets(0, 0, 0))
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    gain_no_more()


def _leave_files() -> None:
    """Makes a folder that has been removed the root of this process: nothing can be in it."""
    folder = Path(tempfile.mkdtemp(prefix="fastvrrp-"))
    os.chdir(folder)
    folder.rmdir()
    os.chroot(".")
