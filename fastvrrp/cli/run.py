"""`fastvrrp run`: the daemon."""

from __future__ import annotations

import argparse
import socket
import sys
from logging.handlers import SysLogHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from fastvrrp import __version__
from fastvrrp.model import Configuration, DynamicInterfaces, Tracker
from fastvrrp.observe.files import DEFAULT_PID_FILE

if TYPE_CHECKING:
    from fastvrrp.config import Reading
    from fastvrrp.daemon.launch import Launch
    from fastvrrp.daemon.options import Half

DEFAULT_FILE = Path("/etc/keepalived/keepalived.conf")
DEFAULT_METRICS = ":9165"
"""The port of keepalived-exporter, so that who asked that one goes on."""
CONFIG_TEST_FAILED = 5  # this and the next as keepalived -t
CONFIG_TEST_DOUBTFUL = 6
MACHINE_FAILED = 1
ANY_INTERFACE = "*"
OWN_DEFAULTS: dict[str, Any] = {
    "check": False,
    "config_test": False,
    "dont_release_ipvs": False,
    "dump_conf": False,
    "flush_log_file": False,
    "is_keepalived": False,
    "keeps_addresses": False,
    "log_file": None,
    "log_format": "text",
    "metrics": None,
    "network_namespace": None,
    "no_syslog": False,
    "pid_files": None,
    "remarks": (),
    "umask": None,
    "version": False,
    "vrrp": False,
}
"""What the options of keepalived choose and those of `fastvrrp run` do not, or the other way."""
FACILITIES = ("user", "daemon", *(f"local{number}" for number in range(8)))


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "run",
        help="run the daemon",
        description="Run a configuration until SIGTERM or SIGINT.",
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
        "-S",
        "--log-facility",
        type=_facility,
        default="daemon",
        metavar="NAME",
        help="facility of syslog: user, daemon or local0 to local7 (default: %(default)s)",
    )
    parser.add_argument(
        "--log-format",
        choices=("text", "json"),
        default="text",
        help="of the lines on the console: json is an object each (default: %(default)s)",
    )
    parser.add_argument(
        "-p",
        "--pid",
        type=Path,
        metavar="FILE",
        help=f"where to write the process id (default: {DEFAULT_PID_FILE}, and with net_namespace"
        f" {DEFAULT_PID_FILE.with_stem('fastvrrp-NAME')})",
    )
    parser.add_argument("-P", "--vrrp", action="store_true", help="run virtual routers alone")
    parser.add_argument(
        "-C", "--check", action="store_true", help="run virtual servers and their checks alone"
    )
    parser.add_argument(
        "-I",
        "--dont-release-ipvs",
        action="store_true",
        help="leave virtual servers in the kernel at the end",
    )
    parser.add_argument(
        "-t", "--config-test", action="store_true", help="only check the configuration"
    )
    parser.add_argument(
        "-i",
        "--config-id",
        metavar="ID",
        help="read lines that start with @ID (default: the host's name)",
    )
    parser.add_argument(
        "-u",
        "--umask",
        type=umask,
        metavar="MASK",
        help="rights that nobody gets to what is created, as in 027; instead of the keyword umask",
    )
    parser.add_argument(
        "--metrics",
        nargs="?",
        type=listen_address,
        const=DEFAULT_METRICS,
        metavar="[ADDRESS]:PORT",
        help="tell Prometheus of everything there, at /metrics; without an address on loopback"
        " (default: as metrics_listen in the configuration; without a value %(const)s)",
    )
    parser.add_argument("-v", "--version", action="store_true", help="print the version")
    given = {action.dest for action in parser._actions}
    parser.set_defaults(
        run=run, **{name: value for name, value in OWN_DEFAULTS.items() if name not in given}
    )


def _facility(word: str) -> int:
    if word not in FACILITIES:
        raise argparse.ArgumentTypeError(f"{word} is none of {', '.join(FACILITIES)}")
    return SysLogHandler.facility_names[word]


def listen_address(word: str) -> str:
    """[ADDRESS]:PORT, as metrics_listen has it. Raises argparse.ArgumentTypeError."""
    from fastvrrp.config.arguments import ArgumentError
    from fastvrrp.config.daemon_keywords import LISTEN

    try:
        return LISTEN.read(word)
    except ArgumentError as error:
        raise argparse.ArgumentTypeError(f"{word} {error}") from None


def run(arguments: argparse.Namespace) -> int:
    """Exit status of a check, or of what keeps the daemon from starting here and now. Otherwise
    this process becomes the daemon's parent, and the status is 0 after a clean stop, NOTHING_TO_RUN
    where the configuration is to blame and MACHINE_FAILED where the machine is (daemon/failures).

    Without -n the caller's process returns it too, when the daemon has started or could not.

    As keepalived does, the daemon runs what is right in a configuration and says what is not.
    """
    if arguments.version:
        print(f"fastvrrp {__version__}")
        return 0
    if arguments.config_test:
        return config_test(arguments, sys.stderr)
    # Only now: a check needs none of this, and it takes its time.
    from fastvrrp.daemon.launch import become_parent

    try:
        become_parent(launch(arguments))
    except OSError as error:
        print(f"fastvrrp: {error}", file=sys.stderr)
        return MACHINE_FAILED


def launch(arguments: argparse.Namespace) -> Launch:
    """What the command line says, for the daemon."""
    from fastvrrp.daemon.launch import Launch

    main, vrrp, checkers = arguments.pid_files or (arguments.pid, None, None)
    return Launch(
        file=str(arguments.use_file),
        config_id=arguments.config_id,
        folder=str(Path.cwd()),
        words=tuple(sys.argv[1:]),
        half=_half(arguments).value,
        is_keepalived=arguments.is_keepalived,
        stays=arguments.dont_fork,
        console=arguments.log_console,
        no_syslog=arguments.no_syslog,
        detail=arguments.log_detail,
        facility=arguments.log_facility,
        log_file=arguments.log_file and str(arguments.log_file.absolute()),
        flushes=arguments.flush_log_file,
        is_json=arguments.log_format == "json",
        metrics=arguments.metrics,
        releases_ipvs=not arguments.dont_release_ipvs,
        releases_addresses=not arguments.keeps_addresses,
        umask=arguments.umask,
        dumps_configuration=arguments.dump_conf,
        network_namespace=arguments.network_namespace,
        pid_file=main and str(main),
        vrrp_pid_file=vrrp and str(vrrp),
        checkers_pid_file=checkers and str(checkers),
        remarks=tuple(arguments.remarks),
    )


def config_test(arguments: argparse.Namespace, output: TextIO) -> int:
    """Only checks the configuration, says to `output` what there is to say, and returns the exit
    status."""
    from fastvrrp.config import read

    reading = read(str(arguments.use_file), arguments.config_id)
    for complaint in reading.complaints:
        print(complaint, file=output)
    missing = missing_interfaces(reading.configuration)
    for what in missing:
        print(
            f"fastvrrp: {what} does not exist on this machine; create it, or write"
            " dynamic_interfaces in global_defs",
            file=output,
        )
    return config_test_status(reading) or (CONFIG_TEST_FAILED if missing else 0)


def _half(arguments: argparse.Namespace) -> Half:
    """What of the configuration is run."""
    from fastvrrp.daemon.options import Half

    if arguments.vrrp == arguments.check:
        return Half.BOTH
    return Half.VRRP if arguments.vrrp else Half.CHECKERS


def umask(written: str) -> int:
    """A umask as C writes numbers: octal after 0, hexadecimal after 0x. Raises ValueError."""
    is_octal = written.startswith("0") and written[:2].lower() != "0x"
    mask = int(written, 8 if is_octal else 0)
    if not 0 <= mask <= 0o777:
        raise ValueError(f"{written} is outside 0-0777")
    return mask


def missing_interfaces(configuration: Configuration) -> list[str]:
    """Interfaces that this machine does not have, and who uses or tracks them, where keepalived
    minds. The daemon waits for them."""
    if configuration.definitions.vrrp.dynamic_interfaces != DynamicInterfaces.NO:
        return []
    routers = configuration.virtual_routers
    known = _Known(configuration)
    users = [(f"vrrp_instance {each.name}", each.namespace, each.tracked) for each in routers]
    users += [
        (f"vrrp_sync_group {group.name}", None, group.tracked)
        for group in configuration.sync_groups
    ]
    return [
        f"interface {router.interface} of vrrp_instance {router.name}"
        for router in routers
        if not known.has(router.interface, router.namespace)
    ] + [
        f"interface {each.name} that {user} tracks"
        for user, namespace, tracked in users
        for each in tracked
        if each.kind == Tracker.INTERFACE and not known.has(each.name, each.namespace or namespace)
    ]


class _Known:
    """The interfaces of this machine, and those that the daemon would make, by network
    namespace."""

    def __init__(self, configuration: Configuration) -> None:
        self._own = configuration.definitions.namespaces.network
        self._routers = configuration.virtual_routers
        self._found: dict[str | None, set[str]] = {}

    def has(self, interface: str, namespace: str | None) -> bool:
        """Whether one is there; those of a namespace that we may not enter are taken to be."""
        names = self._found.get(namespace)
        if names is None:
            names = self._found[namespace] = self._look(namespace)
        return interface in names or ANY_INTERFACE in names

    def _look(self, namespace: str | None) -> set[str]:
        made = {
            router.vmac.name
            for router in self._routers
            if router.vmac is not None and router.namespace == namespace
        }
        there = namespace or self._own
        if there is None:
            return made | {name for _, name in socket.if_nameindex()}
        from fastvrrp.kernel.netns import inside

        try:
            with inside(there):
                return made | {name for _, name in socket.if_nameindex()}
        except FileNotFoundError:
            return made
        except OSError:
            return {ANY_INTERFACE}


def config_test_status(reading: Reading) -> int:
    """Exit status of -t, as keepalived has it: any complaint that it would make too is a failure,
    a warning like an error; scripts that nothing secures and included files that are missing have a
    status of their own, whatever else there is.
    """
    if reading.has_insecure_scripts or reading.misses_files:
        return CONFIG_TEST_DOUBTFUL
    return 0 if reading.satisfies_keepalived else CONFIG_TEST_FAILED
