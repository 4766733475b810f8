"""`keepalived`: the daemon, started with keepalived's options (`fastvrrp keepalived ...`).

What has no meaning here is taken, and the log says so once. Texts and exit statuses that scripts
look at are those of keepalived 2.2.7.
"""

from __future__ import annotations

import argparse
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from logging.handlers import SysLogHandler
from pathlib import Path

from fastvrrp import __version__
from fastvrrp.cli.getopt_long import Option, OptionError, Value, read_options
from fastvrrp.cli.run import DEFAULT_FILE, MACHINE_FAILED, OWN_DEFAULTS, config_test
from fastvrrp.cli.run import run as run_daemon

VERSION = "2.2.7"
"""keepalived's, whose options and files these are."""
FAILED = 1
OPTIONS = (
    Option("use-file", "f", Value.NEEDED),
    Option("vrrp", "P"),
    Option("check", "C"),
    Option("no_bfd", "B"),
    Option("all"),
    Option("log-console", "l"),
    Option("log-detail", "D"),
    Option("log-facility", "S", Value.NEEDED),
    Option("log-file", "g", Value.NEEDED),
    Option("flush-log-file"),
    Option("no-syslog", "G"),
    Option("umask", "u", Value.NEEDED),
    Option("release-vips", "X"),
    Option("dont-release-vrrp", "V"),
    Option("dont-release-ipvs", "I"),
    Option("dont-respawn", "R"),
    Option("dont-fork", "n"),
    Option("dump-conf", "d"),
    Option("pid", "p", Value.NEEDED),
    Option("vrrp_pid", "r", Value.NEEDED),
    Option("checkers_pid", "c", Value.NEEDED),
    Option("bfd_pid", "b", Value.NEEDED),
    Option("genhash", "T"),
    Option("address-monitoring", "a"),
    Option("snmp", "x"),
    Option("snmp-agent-socket", "A", Value.NEEDED),
    Option("namespace", "s", Value.NEEDED),
    Option("core-dump", "m"),
    Option("core-dump-pattern", "M", Value.OPTIONAL),
    Option("all-config", "e"),
    Option("config-id", "i", Value.NEEDED),
    Option("signum", "", Value.NEEDED),
    Option("config-test", "t", Value.OPTIONAL),
    Option("perf", "", Value.OPTIONAL),
    Option("debug", "", Value.OPTIONAL),
    Option("mem-check"),
    Option("no-mem-check"),
    Option("version", "v"),
    Option("help", "h"),
)
MEANINGLESS = {
    "no_bfd": "BFD is not part of fastvrrp",
    "bfd_pid": "BFD is not part of fastvrrp",
    "all": "a process without configuration is never started",
    "release-vips": "virtual addresses are released without it too",
    "dont-respawn": "processes that end are always started again",
    "address-monitoring": "addresses of others are not logged",
    "snmp": "there is no SNMP agent",
    "snmp-agent-socket": "there is no SNMP agent",
    "core-dump-pattern": "the machine's pattern is left alone",
    "all-config": "included files are checked as include_check says",
    "perf": "use perf(1)",
    "debug": "use -D",
    "mem-check": "there is nothing of the kind to check",
    "no-mem-check": "there is nothing of the kind to check",
}
"""Options that are taken for nothing, and why."""
SIGNALS = {
    "STOP": signal.SIGTERM,
    "RELOAD": signal.SIGHUP,
    "DATA": signal.SIGUSR1,
    "STATS": signal.SIGUSR2,
    "STATS_CLEAR": signal.SIGRTMAX - 1,
    "JSON": signal.SIGRTMIN + 2,
}
FACILITIES = {
    "user": SysLogHandler.LOG_USER,
    "daemon": SysLogHandler.LOG_DAEMON,
    **{f"local{number}": SysLogHandler.LOG_LOCAL0 + number for number in range(8)},
    **{f"{number}": SysLogHandler.LOG_LOCAL0 + number for number in range(8)},
}


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    # What follows the word is for `main` below: `cli.main` never comes to parse it.
    commands.add_parser(
        "keepalived",
        help="run the daemon with keepalived's options",
        description=f"Takes the options of keepalived {VERSION}: 'fastvrrp keepalived --help'.",
        add_help=False,
    )


def main(words: Sequence[str]) -> int:
    """Do what keepalived does with these options; returns the exit status."""
    if words[:1] in (["-T"], ["--genhash"]):
        from fastvrrp.cli import main as fastvrrp

        return fastvrrp(["genhash", *words[1:]])
    try:
        arguments = _Arguments(words)
    except OptionError as error:
        print(error, file=sys.stderr)
        return FAILED
    if arguments.answer is not None:
        return arguments.answer()
    if arguments.strays:
        print(f"Unexpected argument(s): {' '.join(arguments.strays)}")
    with ExitStack() as stack:
        if arguments.test is not None:
            if arguments.test:
                output = stack.enter_context(Path(arguments.test).open("w", encoding="utf-8"))
                return config_test(arguments.to_run(), output)
            return config_test(arguments.to_run(), sys.stderr)
        try:
            arguments.enter_namespace(stack)
        except OSError as error:
            print(f"keepalived: {error.strerror or error}", file=sys.stderr)
            return MACHINE_FAILED
        return run_daemon(arguments.to_run())


class _Arguments:
    """What was given on the command line."""

    def __init__(self, words: Sequence[str]) -> None:
        """Raises OptionError."""
        self.answer: Callable[[], int] | None = None
        """What is done instead of running."""
        self.test: str | None = None
        """Only the configuration is checked; where to write what is found, or nothing: stderr."""
        self.strays: list[str] = []
        self._values: dict[str, str] = {}
        self._remarks: dict[str, str] = {}
        for name, value in read_options(words, OPTIONS):
            if not name:
                self.strays.append(value or "")
            else:
                self._take(name, value)

    def _take(self, name: str, value: str | None) -> None:
        if name in MEANINGLESS:
            self._remarks[name] = MEANINGLESS[name]
        if name == "signum":
            self.answer = self.answer or (lambda: _say_signal(value or ""))
        elif name == "version":
            self.answer = self.answer or _say_version
        elif name == "help":
            self.answer = self.answer or _say_help
        elif name == "config-test":
            self.test = value or ""
        self._values[name] = value or ""

    def _has(self, name: str) -> bool:
        return name in self._values

    def _path(self, name: str) -> Path | None:
        return Path(self._values[name]) if self._values.get(name) else None

    def _facility(self) -> int:
        word = self._values.get("log-facility", "daemon")
        if word not in FACILITIES:
            print(f"Invalid log facility '{word}'", file=sys.stderr)
        return FACILITIES.get(word, SysLogHandler.LOG_DAEMON)

    def _umask(self) -> int | None:
        word = self._values.get("umask")
        if word is None:
            return None
        try:
            # As strtol(3) with base 0.
            mask = int(word, 8) if word.startswith("0") and word.isdigit() else int(word, 0)
        except ValueError:
            mask = -1
        if not 0 <= mask <= 0o777:
            print(f"Invalid --umask option {word}", file=sys.stderr)
            return None
        return mask

    def enter_namespace(self, stack: ExitStack) -> None:
        """Goes to the network namespace that was given, if one was. Raises OSError."""
        name = self._values.get("namespace")
        if name is not None:
            from fastvrrp.kernel.netns import inside

            stack.enter_context(inside(name))

    def to_run(self) -> argparse.Namespace:
        """The same for `fastvrrp run`."""
        if self._has("core-dump") or self._has("core-dump-pattern"):
            _allow_core_dumps()
        own = argparse.Namespace(**OWN_DEFAULTS)
        own.use_file = self._path("use-file") or DEFAULT_FILE
        own.config_id = self._values.get("config-id")
        own.dont_fork = self._has("dont-fork")
        own.log_console = self._has("log-console")
        own.log_detail = self._has("log-detail")
        own.log_facility = self._facility()
        own.log_file = self._path("log-file")
        own.no_syslog = self._has("no-syslog")
        own.flush_log_file = self._has("flush-log-file")
        own.is_keepalived = True
        own.vrrp, own.check = self._has("vrrp"), self._has("check")
        own.keeps_addresses = self._has("dont-release-vrrp")
        own.dont_release_ipvs = self._has("dont-release-ipvs")
        own.umask = self._umask()
        own.dump_conf = self._has("dump-conf")
        own.network_namespace = self._values.get("namespace")
        own.pid_files = tuple(map(self._path, ("pid", "vrrp_pid", "checkers_pid")))
        own.remarks = [
            f"keepalived's option --{name} has no meaning here: {why}"
            for name, why in self._remarks.items()
        ]
        return own


def _allow_core_dumps() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except (ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (most, most))


def _say_signal(name: str) -> int:
    number = SIGNALS.get(name)
    if number is None:
        print(f"Unknown sigfunc {name}", file=sys.stderr)
        return FAILED
    print(int(number))
    return 0


def _say_version() -> int:
    # To stderr, and with these words first: keepalived-exporter and others look for them there.
    print(f"Keepalived v{VERSION} (fastvrrp {__version__})", file=sys.stderr)
    print("\nConfig options:  NFTABLES LVS REGEX VRRP VRRP_AUTH VRRP_VMAC JSON", file=sys.stderr)
    return 0


def _say_help() -> int:
    print("Usage: keepalived [OPTION...]", file=sys.stderr)
    for option in OPTIONS:
        short = f"-{option.short}, " if option.short else "    "
        value = {Value.NONE: "", Value.NEEDED: "=VALUE", Value.OPTIONAL: "[=VALUE]"}[option.value]
        text = TEXTS.get(option.long) or f"(taken for nothing: {MEANINGLESS[option.long]})"
        print(f"  {short}--{option.long + value:<26} {text}", file=sys.stderr)
    return 0


TEXTS = {
    "use-file": f"the configuration (default {DEFAULT_FILE})",
    "vrrp": "run the virtual routers and no virtual servers",
    "check": "run the virtual servers and no virtual routers",
    "log-console": "log to the console",
    "log-detail": "log more",
    "log-facility": "facility of syslog: 0 to 7, local0 to local7, user or daemon",
    "log-file": "log to a file too, with _vrrp and _healthcheckers in its name",
    "flush-log-file": "write each line of that file at once",
    "no-syslog": "do not log to syslog",
    "umask": "file mode bits that dumps do not have",
    "dont-release-vrrp": "leave virtual addresses and routes as they are at the end",
    "dont-release-ipvs": "leave IPVS as it is at the end",
    "dont-fork": "stay in the foreground",
    "dump-conf": "write the configuration into the log",
    "pid": "where to write the process id",
    "vrrp_pid": "where to write it for the VRRP process",
    "checkers_pid": "where to write that of the health checkers",
    "genhash": "make the digest of a page, for digest in url (the first option)",
    "namespace": "run in this network namespace",
    "core-dump": "allow core dumps",
    "config-id": "read lines that start with @ID (default: the host's name)",
    "signum": "print the signal for STOP, RELOAD, DATA, STATS, STATS_CLEAR, JSON",
    "config-test": "only check the configuration; what is found goes to a file, or stderr",
    "version": "print the version",
    "help": "print this",
}
