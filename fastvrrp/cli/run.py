"""`fastvrrp run`: the daemon."""

from __future__ import annotations

import argparse
import errno
import logging
import signal
import socket
import sys
from contextlib import ExitStack
from logging.handlers import SysLogHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from fastvrrp import __version__
from fastvrrp.model import Configuration, DynamicInterfaces, GlobalDefinitions, Tracker
from fastvrrp.observe.files import DEFAULT_PID_FILE

if TYPE_CHECKING:
    from fastvrrp.config import Reading
    from fastvrrp.daemon.background import Caller
    from fastvrrp.daemon.options import Half, Options
    from fastvrrp.daemon.pid_files import PidFiles
    from fastvrrp.daemon.reading import Aside

DEFAULT_FILE = Path("/etc/keepalived/keepalived.conf")
NAMED_PID_FILE = "/run/fastvrrp-{}.pid"
"""In a network namespace of that name (`net_namespace` of `global_defs`)."""
DEFAULT_METRICS = ":9165"
"""The port of keepalived-exporter, so that who asked that one goes on."""
CONFIG_TEST_FAILED = 5  # this and the next as keepalived -t
CONFIG_TEST_DOUBTFUL = 6
NOTHING_TO_RUN = 2  # as keepalived
MACHINE_FAILED = 1
ANY_INTERFACE = "*"
RIGHTS = "run it as root, or with the capabilities CAP_NET_RAW and CAP_NET_ADMIN"
SIGNALS = (
    *(signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2),
    *(signal.SIGRTMIN + 2, signal.SIGRTMAX - 1),
)
"""What the daemon's event loop takes, once it runs."""
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
    "remarks": (),
    "umask": None,
    "version": False,
    "vrrp": False,
}
"""What the options of keepalived choose and those of `fastvrrp run` do not, or the other way."""
FACILITIES = ("user", "daemon", *(f"local{number}" for number in range(8)))

log = logging.getLogger(__name__)


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
        f" {NAMED_PID_FILE.format('NAME')})",
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
    """Exit status: 0 after a clean stop, that of config_test_status or NOTHING_TO_RUN where the
    configuration is to blame, MACHINE_FAILED where the machine is.

    Without -n the caller's process returns it too, when the daemon has started or could not.

    As keepalived does, the daemon runs what is right in a configuration and says what is not.
    """
    if arguments.version:
        print(f"fastvrrp {__version__}")
        return 0
    if arguments.config_test:
        return config_test(arguments, sys.stderr)
    # Only now, and what follows later still: a check needs none of this, and it takes its time.
    from fastvrrp.daemon.reading import ReaderError, read_aside
    from fastvrrp.daemon.sealing import servers_of

    try:
        aside = read_aside(
            str(arguments.use_file),
            arguments.config_id,
            lambda complaint: print(complaint, file=sys.stderr),
            _half(arguments),
        )
    except ReaderError as error:
        print(f"fastvrrp: {arguments.use_file}: {error}", file=sys.stderr)
        return MACHINE_FAILED
    configuration = aside.configuration
    if aside.has_errors and not (configuration.virtual_routers or servers_of(configuration)):
        print("fastvrrp: no virtual router and no virtual server is left to run", file=sys.stderr)
        return NOTHING_TO_RUN
    return _serve(arguments, aside)


def config_test(arguments: argparse.Namespace, output: TextIO) -> int:
    """Only checks the configuration, says to `output` what there is to say, and returns the exit
    status."""
    from fastvrrp.cli.kernel_check import kernel_complaints
    from fastvrrp.config import read

    reading = read(str(arguments.use_file), arguments.config_id)
    for complaint in reading.complaints + kernel_complaints(reading):
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


def _serve(arguments: argparse.Namespace, reading: Aside) -> int:
    # Only now: a check needs none of this, and it takes a tenth of a second to import.
    from fastvrrp.daemon.background import AlreadyRunning, PidFile, leave_terminal

    arguments.use_file = arguments.use_file.absolute()  # the daemon goes to another folder
    namespace = reading.configuration.definitions.namespaces.network
    files = _pid_files(arguments, reading.configuration.definitions)
    caller: Caller | None = None
    try:
        if namespace is not None:
            enter(namespace)
        if not arguments.dont_fork:
            caller = leave_terminal()
        # uvloop delivers no signal that came before it ran: until then they wait in the kernel.
        # The threads inherit the mask, so it is always the loop's thread that a signal wakes.
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        with ExitStack() as held:
            for path in filter(None, (files.main, files.vrrp)):
                held.enter_context(PidFile(path))
            _run_daemon(arguments, reading, files, caller)
    except (AlreadyRunning, OSError) as error:
        print(f"fastvrrp: {_explain(error)}", file=sys.stderr)
        if caller is not None:
            caller.tell(MACHINE_FAILED)
        return MACHINE_FAILED
    return 0


def default_pid_file(namespace: str | None) -> Path:
    """Each network namespace may have a daemon of its own."""
    return DEFAULT_PID_FILE if namespace is None else Path(NAMED_PID_FILE.format(namespace))


def enter(name: str) -> None:
    """Has this process be in a network namespace from now on. Raises OSError."""
    from fastvrrp.kernel.netns import Namespace

    try:
        namespace = Namespace(name)
    except FileNotFoundError as error:
        raise OSError(
            error.errno, f"net_namespace {name} does not exist: make it with ip netns add {name}"
        ) from None
    try:
        namespace.enter()
    finally:
        namespace.close()


def _pid_files(arguments: argparse.Namespace, definitions: GlobalDefinitions) -> PidFiles:
    from fastvrrp.daemon.pid_files import FOLDER, PidFiles

    if not arguments.is_keepalived:
        pid_file = arguments.pid or default_pid_file(definitions.namespaces.network)
        return PidFiles(pid_file.absolute())
    files = PidFiles(*(path and path.absolute() for path in arguments.pid_files(definitions)))
    for path in filter(None, files):
        if path.is_relative_to(FOLDER):
            path.parent.mkdir(parents=True, exist_ok=True)
    return files


def _options(
    arguments: argparse.Namespace, files: PidFiles, definitions: GlobalDefinitions
) -> Options:
    from fastvrrp.daemon.logs import Destination, Idents
    from fastvrrp.daemon.options import Options

    to_console = arguments.log_console
    namespace = arguments.network_namespace or definitions.namespaces.network
    is_keepalived = arguments.is_keepalived
    return Options(
        log=Destination(
            to_console,
            # keepalived logs to syslog too; ours does where there is no console.
            not arguments.no_syslog and (is_keepalived or not to_console),
            arguments.log_detail,
            arguments.log_facility,
            arguments.log_file and str(arguments.log_file.absolute()),
            arguments.flush_log_file,
            arguments.log_format == "json",
            Idents.of_keepalived(namespace, definitions.processes.instance)
            if is_keepalived
            else Idents.of_namespace(namespace),
        ),
        metrics=arguments.metrics,
        half=_half(arguments),
        releases_ipvs=not arguments.dont_release_ipvs,
        releases_addresses=not arguments.keeps_addresses,
        umask=arguments.umask,
        checkers_pid=files.checkers,
        dumps_configuration=arguments.dump_conf,
        process_name="keepalived" if is_keepalived else None,
        network_namespace=arguments.network_namespace,
    )


def _run_daemon(
    arguments: argparse.Namespace, reading: Aside, files: PidFiles, caller: Caller | None
) -> None:
    from fastvrrp.daemon.background import segment_path
    from fastvrrp.daemon.logs import set_up
    from fastvrrp.daemon.vrrpd import Vrrpd

    def on_started() -> None:
        if caller is not None:
            caller.tell(0)

    options = _options(arguments, files, reading.configuration.definitions)
    segment = segment_path(files.main)
    with set_up(options.log):
        for remark in arguments.remarks:
            log.info("%s", remark)
        try:
            Vrrpd(reading, arguments.use_file, arguments.config_id, segment, options).run(
                on_started
            )
        except OSError as error:
            if not arguments.log_console:  # which reads it as our last word on stderr
                log.error("%s", _explain(error))
            raise
        finally:
            # The loop is closed, so one more would kill us before the rest is tidied up.
            signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def _explain(error: Exception) -> str:
    """What went wrong, with what, and what to do about it."""
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    if error.errno == errno.EPERM:
        thing = "cannot open raw sockets and netlink" if error.filename is None else error.filename
        return f"{thing}: {error.strerror}: {RIGHTS}"
    if error.filename is None:
        return str(error)
    remedy = ": run it as root, or name a file elsewhere with --pid"
    return (
        f"{error.filename}: {error.strerror}{remedy if isinstance(error, PermissionError) else ''}"
    )
