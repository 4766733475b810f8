"""The parent of all processes of the daemon: `python -m fastvrrp.daemon.supervisor_main FD ...`.

FD is a file with a pickled `Launch`; the words behind it are the command line, for whoever looks at
`ps`. It is a new interpreter, without the modules of a person's packages (-S) and without what it
took to read the command line. Before FD there may be a word of `renewal`: then FD is what another
program has left that was the parent before, in this process, or is to be looked at only.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

from fastvrrp.daemon import renewal
from fastvrrp.daemon.background import leave_terminal
from fastvrrp.daemon.child import TAKEN
from fastvrrp.daemon.holdings import rename
from fastvrrp.daemon.privileges import SUPERVISOR
from fastvrrp.daemon.service_state import ServiceState
from fastvrrp.daemon.supervisor import Supervisor
from fastvrrp.kernel.capabilities import keep_only

if TYPE_CHECKING:
    from fastvrrp.daemon.launch import Launch


def main() -> None:
    """Runs the daemon that the arguments describe, and exits."""
    # Nobody but the loop takes these, and they wait in the kernel until it does.
    signal.pthread_sigmask(signal.SIG_BLOCK, TAKEN)
    match sys.argv[1:]:
        case [renewal.TRY, state, report]:
            renewal.try_with_packages(state, report)
        case [renewal.TRY_BARE, state, report]:
            _try(int(state), int(report))
        case [renewal.GO_ON, state, *_]:
            plain = renewal.read(int(state))
            keep_only(SUPERVISOR)
            sys.exit(Supervisor.go_on(plain).run_on(plain["version"]))
        case [descriptor, *_]:
            sys.exit(_start(int(descriptor)))


def _start(descriptor: int) -> int:
    with os.fdopen(descriptor, "rb") as file:
        launch: Launch = pickle.load(file)
    rename(launch.name)
    caller = None if launch.stays else leave_terminal()
    keep_only(SUPERVISOR)
    return Supervisor(launch, caller, ServiceState.of_environment()).run()


def _try(state: int, report: int) -> NoReturn:
    """Does all that a parent does which goes on, up to the first turn of its loop, in a process of
    which nobody hears, and which changes nothing."""
    try:
        plain = renewal.read(state)
    except renewal.CannotGoOnError as error:
        sys.exit(str(error))
    keep_only(SUPERVISOR)
    Supervisor.go_on(plain)
    renewal.report_to(report)


if __name__ == "__main__":
    main()
