"""`fastvrrp show NAME`: everything about one virtual router, or virtual server, of a running
daemon."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from fastvrrp.cli import pools as cli_pools
from fastvrrp.cli.looking import (
    add_command,
    add_name,
    ago,
    duration,
    look,
    say_unknown,
)

if TYPE_CHECKING:
    from fastvrrp.observe.view import View

    Facts = dict[str, Any]


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands,
        "show",
        run,
        help="say everything about one virtual router or virtual server of the running daemon",
        description="Says of one virtual router in which state it is, since when and why, what its"
        " timers will do and when, what it tracks and how that is, its addresses and its counters."
        " Says of one virtual server, by its name, address, mark or group, whether it has its"
        " quorum, and of each of its real servers whether it is up and what its checkers found.",
        examples=("fastvrrp show VI_1", "fastvrrp show 192.0.2.1:80"),
    )
    add_name(parser, "its name", is_optional=False, metavar="NAME")
    parser.add_argument("--json", action="store_true", help="print the same as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Show it; the exit status (looking.STATUSES)."""
    return look(arguments, lambda view: _show(view, arguments))


def _show(view: View, arguments: argparse.Namespace) -> int:
    from fastvrrp._table import kept_name
    from fastvrrp.config.complaints import printable
    from fastvrrp.observe.catalogue import Entry
    from fastvrrp.observe.facts import everything

    names = view.segment.names()
    wanted = kept_name(arguments.name)
    index = next((index for index, name in names.items() if name == wanted), None)
    record = None if index is None else view.router(index)
    if index is None or record is None:
        pools = _pools(view, arguments.name)
        if not pools:
            known = [*names.values(), *(each.words.name for each in view.servers().virtual_servers)]
            return say_unknown(arguments.name, known)
        _print_pools(pools, as_json=arguments.json)
        return 0
    entry = view.catalogue(index).get(index, Entry())
    facts = everything(view, record, entry, view.details())
    if arguments.json:
        print(json.dumps(facts, indent=2, ensure_ascii=False))
    else:
        for line in lines(facts):
            print(printable(line).rstrip())
    return 0


def _pools(view: View, name: str) -> list[Facts]:
    """Virtual servers of that name; one of a group may be there once for each protocol."""
    from fastvrrp.observe.server_facts import facts_of, names_of

    shown = view.servers()
    return [
        facts_of(pool, shown, view.wall_offset)
        for pool in shown.virtual_servers
        if name in names_of(pool.words.name)
    ]


def _print_pools(pools: list[Facts], *, as_json: bool) -> None:
    from fastvrrp.config.complaints import printable

    if as_json:
        said = pools[0] if len(pools) == 1 else pools
        print(json.dumps(said, indent=2, ensure_ascii=False))
        return
    for number, facts in enumerate(pools):
        if number:
            print()
        for line in cli_pools.lines(facts):
            print(printable(line).rstrip())


def lines(facts: Facts) -> Iterator[str]:
    """The facts as text."""
    place = f" in network namespace {facts['namespace']}" if facts["namespace"] else ""
    yield (
        f"{facts['name']}: VRRPv{facts['version']} for {facts['family']}, virtual router"
        f" {facts['vrid']} on {facts['interface']}{place}"
    )
    for title, body in (
        ("State", _state(facts)),
        ("Priority", _priority(facts)),
        ("Timers", _timers(facts["timers"])),
        ("Addresses", (f"{e['address']} on {e['interface']}" for e in facts["addresses"])),
        ("Tracks", _tracked(facts["tracked"])),
        ("Counters", _counters(facts)),
    ):
        found = list(body)
        if found:
            yield ""
            yield title
            for line in found:
                yield f"  {line}"


def _state(facts: Facts) -> Iterator[str]:
    since = f" for {ago(facts['since'])}" if facts["since"] else ""
    yield f"{facts['state']}{since}, because {facts['why']}"
    if facts["split_brain_since"]:
        yield f"split brain for {ago(facts['split_brain_since'])}: another master does not yield"
    if facts["source"]:
        yield f"speaks from {facts['source']}"
    if facts["sync_group"]:
        yield f"member of sync group {facts['sync_group']}"
    if facts["restrained_until"]:
        yield f"does not preempt for {duration(facts['restrained_until'] - time.time())}"
    if not facts["preempts"]:
        yield "does not preempt a master of lower priority"


def _priority(facts: Facts) -> Iterator[str]:
    yield f"{facts['priority']} in force, {facts['configured_priority']} configured"
    if facts["state"] == "BACKUP" and facts["master_priority"] is not None:
        yield f"{facts['master_priority']} of the master, {facts['master']}"


def _timers(timers: Facts) -> Iterator[str]:
    yield f"Adver_Interval {timers['advert_interval']:g} s"
    if timers["next_advert_in"] is not None:
        yield f"next advertisement {_moment(timers['next_advert_in'])}"
    if timers["takes_over_in"] is not None:
        yield (
            f"Master_Down_Interval {timers['master_down_interval']:.3f} s, Skew_Time"
            f" {timers['skew_time']:.3f} s in it"
        )
        yield f"takes over {_moment(timers['takes_over_in'])}, if no master is heard"
    if timers["heard_ago"] is not None:
        yield f"last advertisement heard {timers['heard_ago']:.3f} s ago"
    if timers["sent_ago"] is not None:
        yield f"last advertisement sent {timers['sent_ago']:.3f} s ago"


def _moment(seconds: float) -> str:
    return f"in {seconds:.3f} s" if seconds > 0 else "now"


def _tracked(tracked: list[Facts]) -> Iterator[str]:
    for each in tracked:
        effect = f"weight {each['weight']:+d}" if each["weight"] else "a fault where it is bad"
        yield f"{each['state']} ({effect})"


def _counters(facts: Facts) -> Iterator[str]:
    counters = facts["counters"]
    yield f"advertisements: {counters['adverts_sent']} sent, {counters['adverts_received']} heard"
    if counters["discarded"]:
        yield f"of lower priority, without effect: {counters['discarded']}"
    yield f"priority 0: {counters['resigns_sent']} sent, {counters['resigns_received']} heard"
    yield f"announcements: {counters['announcements_sent']} sent"
    yield (
        f"changes of state: {counters['changes']}; {counters['became_master']} to MASTER,"
        f" {counters['released_master']} from it"
    )
    if counters["split_brains"]:
        yield f"split brains: {counters['split_brains']}"
    for reason, count in facts["refused"].items():
        yield f"refused ({reason}): {count}"
