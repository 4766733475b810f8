"""`fastvrrp run`: the daemon."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fastvrrp import __version__
from fastvrrp.config import Reading, read

DEFAULT_FILE = Path("/etc/keepalived/keepalived.conf")
DEFAULT_PID_FILE = Path("/run/fastvrrp.pid")
CONFIG_TEST_FAILED = 5  # as keepalived -t
NOTHING_TO_RUN = 2  # as keepalived


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "run",
        help="run the daemon",
        description="Run the virtual routers of a configuration until SIGTERM or SIGINT.",
        epilog="example: fastvrrp run -f vrrp.conf -n -l",
    )
    parser.add_argument(
        "-f",
        "--use-file",
        type=Path,
        default=DEFAULT_FILE,
        metavar="FILE",
        help="the configuration (default: %(default)s)",
    )
    parser.add_argument("-n", "--dont-fork", action="store_true", help="stay in the foreground")
    parser.add_argument("-l", "--log-console", action="store_true", help="log to the console")
    parser.add_argument("-D", "--log-detail", action="store_true", help="log more")
    parser.add_argument(
        "-p",
        "--pid",
        type=Path,
        default=DEFAULT_PID_FILE,
        metavar="FILE",
        help="where to write the process id (default: %(default)s)",
    )
    parser.add_argument(
        "-t", "--config-test", action="store_true", help="only check the configuration"
    )
    parser.add_argument("-v", "--version", action="store_true", help="print the version")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Exit status: 0 after a clean stop, CONFIG_TEST_FAILED or NOTHING_TO_RUN where the
    configuration is to blame, 1 where the machine is.

    As keepalived does, the daemon runs what is right in a configuration and says what is not.
    """
    if arguments.version:
        print(f"fastvrrp {__version__}")
        return 0
    reading = read(arguments.use_file)
    for complaint in reading.complaints:
        print(complaint, file=sys.stderr)
    if arguments.config_test:
        return CONFIG_TEST_FAILED if reading.has_errors else 0
    if reading.has_errors and not reading.configuration.virtual_routers:
        print("fastvrrp: no virtual router is left to run", file=sys.stderr)
        return NOTHING_TO_RUN
    return _serve(arguments, reading)


def _serve(arguments: argparse.Namespace, reading: Reading) -> int:
    # Only now: a check needs none of this, and it takes a tenth of a second to import.
    from fastvrrp.daemon.background import AlreadyRunning, PidFile, leave_terminal
    from fastvrrp.daemon.logs import set_up
    from fastvrrp.daemon.vrrpd import Vrrpd

    pid_file = PidFile(arguments.pid.absolute())
    try:
        pid_file.check()
        if not arguments.dont_fork:
            leave_terminal()
        set_up(
            console=arguments.log_console,
            syslog=not arguments.log_console,
            detail=arguments.log_detail,
        )
        pid_file.write()
        try:
            Vrrpd(reading.configuration, pid_file.path.with_suffix(".state")).run()
        finally:
            pid_file.remove()
    except (AlreadyRunning, OSError) as error:
        print(f"fastvrrp: {error}", file=sys.stderr)
        return 1
    return 0
