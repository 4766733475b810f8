"""fastvrrp(8), from the parsers of all commands."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator

from fastvrrp import __version__
from fastvrrp.cli import COMMANDS, parser_of
from fastvrrp.manual.roff import ManualPage

SUMMARY = "VRRP router daemon for thousands of virtual routers"
EXAMPLES = re.compile(r"^examples?: ")
END_OF_EXAMPLES = re.compile(r"\. (?=[A-Z]|exit status)")
SIGNALS = (
    ("SIGTERM, SIGINT", "The daemon ends: masters send adverts of priority 0, so that others take"
     " over at once, and what it has put into the kernel is removed."),
    ("SIGHUP", "The configuration is read again. What did not change is not touched; a file with an"
     " error is refused as a whole. 'fastvrrp reload' waits for it and says what was done."),
    ("SIGUSR1", "The configuration and all states are written to keepalived.data."),
    ("SIGUSR2", "Counters are written to keepalived.stats."),
    ("SIGRTMAX-1", "Counters are written to keepalived.stats, and begin anew."),
    ("SIGRTMIN+2", "All states and counters are written to keepalived.json."),
    ("SIGRTMIN+5", "The daemon ends and leaves everything in the kernel as it is, for the one that"
     " is started next (RestartKillSignal= of the unit for systemd)."),
)  # fmt: skip
BESIDE = {
    ".control": "The socket for reload, upgrade, resign, drain and undrain; for root and the user"
    " of the daemon.",
    ".state": "The state of every virtual router, with counters and the last events, in shared"
    " memory; status, show, events, top and the metrics read it.",
    ".details": "What of that has no fixed length.",
    ".routers": "What the configuration says of each virtual router.",
    ".servers": "Virtual servers and real servers.",
    ".server-events": "What has happened to virtual servers.",
    ".maintenance": "Who has resigned or is drained.",
    ".running": "The configuration that runs, for a process that is started after a crash.",
    ".policy": "Which routes and rules the daemon may have in the kernel, for the next one.",
    ".sysctl": "Kernel parameters as they were before; .namespaces has those of other network"
    " namespaces.",
    ".ipvs": "Which services of IPVS are the daemon's; .ipvs_sync has its threads.",
}  # fmt: skip
"""Endings in the place of `.pid`, and what such a file is."""
FILES = (
    ("/etc/keepalived/keepalived.conf", "The configuration, where -f names no other."),
    ("/run/fastvrrp.pid", "The process id of the daemon, where -p names no other file; with"
     " net_namespace NAME /run/fastvrrp-NAME.pid."),
    *((f"/run/fastvrrp{ending}", text) for ending, text in BESIDE.items()),
    ("/tmp/keepalived.data, keepalived.stats, keepalived.json", "What signals write, where no"
     " state_file_location, stats_file_location and json_file_location say otherwise."),
)  # fmt: skip
STATUSES = (
    ("0", "Done; of the daemon, that it has started, or in the foreground ended as it was told."),
    ("1", "It could not be done: an error in the file (check), no rights, a daemon that did not"
     " start, a goal that was missed (bench soak, scrapes, flood)."),
    ("2", "Wrong arguments."),
    ("3", "No daemon runs (status, show, events, top, reload, upgrade, resign, drain, undrain)."),
    ("4", "No virtual router or virtual server of that name."),
    ("5", "The daemon has refused it, and said why; of run -t: keepalived would complain."),
    ("6", "Of run -t: scripts without enable_script_security, or an include that is missing."),
    ("130", "Interrupted (reload, upgrade, resign, drain, undrain, bench); a daemon goes on with"
     " what it was told."),
)  # fmt: skip
ENVIRONMENT = (
    ("NO_COLOR", "With any value: no colour, on a terminal neither."),
    ("TMPDIR", "Where files go that signals write, instead of /tmp."),
    ("NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID", "Of systemd: whom to tell that the daemon is"
     " ready, reloads, stops and lives."),
    ("JOURNAL_STREAM", "Of systemd: where stderr is the journal's, lines go there with fields."),
)  # fmt: skip


def page() -> ManualPage:
    """The whole page."""
    parser = parser_of(COMMANDS)
    made = ManualPage("fastvrrp", 8, SUMMARY, f"fastvrrp {__version__}")
    made.section("Synopsis")
    made.paragraph("fastvrrp COMMAND [ARGUMENT ...]")
    made.section("Description")
    made.paragraph(
        "fastvrrp reads keepalived.conf (see fastvrrp.conf(5)), elects masters by VRRPv2 and VRRPv3"
        " with other routers, moves virtual addresses, and balances load with IPVS. One daemon"
        " carries thousands of virtual routers. Its commands run it, check its configuration, look"
        " at it while it runs, and measure it."
    )
    made.section("Commands")
    for name, command, described in all_commands(parser):
        _describe(made, name, command, described)
    for title, items in (
        ("Exit status", STATUSES),
        ("Signals", SIGNALS),
        ("Environment", ENVIRONMENT),
        ("Files", FILES),
    ):
        made.section(title)
        made.items((name, [text]) for name, text in items)
    made.section("See also")
    made.paragraph("fastvrrp.conf(5), keepalived(8), keepalived.conf(5), ipvsadm(8), nft(8)")
    return made


def all_commands(
    parser: argparse.ArgumentParser,
) -> Iterator[tuple[str, argparse.ArgumentParser, str]]:
    """Every command that is no mere group of others: its words, its parser, what it does."""
    for action in parser._actions:
        if not isinstance(action, argparse._SubParsersAction):
            continue
        helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
        for name, command in action.choices.items():
            below = list(all_commands(command))
            if below:
                yield from ((f"{name} {rest}", *what) for rest, *what in below)  # type: ignore[misc]
            else:
                yield name, command, helps.get(name, "")


def _describe(
    made: ManualPage, name: str, command: argparse.ArgumentParser, described: str
) -> None:
    made.subsection(f"fastvrrp {name}")
    made.paragraph(command.description or f"{described.capitalize()}.")
    formatter = command._get_formatter()
    usage = command.format_usage().removeprefix("usage: ")
    made.paragraph(" ".join(usage.split()))
    for action in command._actions:
        if action.help == argparse.SUPPRESS or isinstance(action, argparse._HelpAction):
            continue
        made.item(formatter._format_action_invocation(action), _help(formatter, action))
    for kind, text in _epilog(command.epilog or ""):
        if kind == "example":
            made.example(text)
        else:
            made.paragraph(text)


def _help(formatter: argparse.HelpFormatter, action: argparse.Action) -> str:
    text = formatter._expand_help(action) if action.help else ""
    return text[:1].upper() + text[1:] + ("." if text and text[-1] not in ".)" else "")


def _epilog(text: str) -> Iterator[tuple[str, str]]:
    """What stands below a command's options: examples, and the rest."""
    if not EXAMPLES.match(text):
        if text:
            yield "text", text
        return
    examples, *rest = END_OF_EXAMPLES.split(EXAMPLES.sub("", text), 1)
    yield "text", "Examples:"
    for example in examples.split("; "):
        yield "example", example.removesuffix(".")
    for remark in rest:
        yield "text", f"{remark[:1].upper()}{remark[1:]}"
