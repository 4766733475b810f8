"""`fastvrrp explain FILE NAME`: what one virtual router would do on this machine."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastvrrp.model import Configuration, VirtualRouter
    from fastvrrp.vrrp.place import Place

    Facts = dict[str, Any]

UNKNOWN = 1


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "explain",
        help="say what a virtual router would do on this machine",
        description="Reads a configuration and prints, for one vrrp_instance: its timers in"
        " seconds, against which priorities it wins, what is a fault for it, what moves its"
        " priority and to where, what it brings as master, and who is told. Nothing is changed or"
        " sent."
        " Exits with 1 where the configuration has no such instance.",
        epilog="example: fastvrrp explain /etc/keepalived/keepalived.conf VI_1",
    )
    parser.add_argument("file", metavar="FILE", help="the configuration, as keepalived.conf")
    name = parser.add_argument("name", metavar="NAME", help="the name of a vrrp_instance")
    # argcomplete looks for this name.
    name.completer = lambda prefix, parsed_args, **_: names(  # type: ignore[attr-defined]
        parsed_args.file, prefix
    )
    parser.add_argument(
        "-i",
        "--config-id",
        metavar="ID",
        help="read lines that start with @ID (default: the host's name)",
    )
    parser.add_argument("--json", action="store_true", help="print the same as JSON")
    parser.set_defaults(run=run)


def names(path: str, prefix: str) -> list[str]:
    """Instances of a configuration whose names start with `prefix`."""
    from fastvrrp.config import read

    routers = read(path).configuration.virtual_routers
    return [router.name for router in routers if router.name.startswith(prefix)]


def run(arguments: argparse.Namespace) -> int:
    """Explain one instance; the exit status."""
    from fastvrrp.cli.explain_facts import facts_of
    from fastvrrp.config import Severity, read
    from fastvrrp.config.complaints import printable
    from fastvrrp.config.spelling import nearest

    reading = read(arguments.file, arguments.config_id)
    for complaint in reading.complaints:
        if complaint.severity == Severity.ERROR:
            print(complaint, file=sys.stderr)
    routers = {router.name: router for router in reading.configuration.virtual_routers}
    router = routers.get(arguments.name)
    if router is None:
        text = f"{arguments.file} has no vrrp_instance {arguments.name}"
        suggestion = nearest(arguments.name, routers)
        if suggestion is not None:
            text += f"; did you mean {suggestion}?"
        print(f"fastvrrp: {printable(text)}", file=sys.stderr)
        return UNKNOWN
    place = look(reading.configuration, router)
    try:
        facts = facts_of(reading.configuration, router, place)
    finally:
        if place is not None:
            place.close()
    if arguments.json:
        print(json.dumps(facts, indent=2, ensure_ascii=False))
    else:
        for line in lines(facts):
            print(printable(line).rstrip())
    return 0


def look(configuration: Configuration, router: VirtualRouter) -> Place | None:
    """The links and addresses of this machine, in the network namespace of a virtual router; None
    where the kernel does not tell."""
    from fastvrrp.vrrp.place import Place

    own = configuration.definitions.namespaces.network
    name = router.namespace or own
    place = Place(lambda run, then: None, name, 0 if name is None else 1)
    place.virtual_addresses.update(
        (address.family, address.address)
        for each in configuration.virtual_routers
        if (each.namespace or own) == name
        for address in each.all_addresses
    )
    try:
        place.open()
        with place.inside():
            place.links.open()
    except FileNotFoundError:
        return place
    except OSError:
        place.close()
        return None
    if router.source_address is not None:
        # Whether it is there is known of those that are expected only.
        place.links.expect((router.family, router.source_address), router.name, lambda: None)
    place.links.begin()
    place.fault = None
    return place


# --- for a person ---------------------------------------------------------------------------------


def lines(facts: Facts) -> Iterator[str]:
    """The facts as text."""
    namespace = facts["namespace"]
    where = "" if namespace is None else f" in network namespace {namespace}"
    yield (
        f"{facts['name']}: VRRPv{facts['version']} for {facts['family']}, virtual router"
        f" {facts['vrid']} on {facts['interface']}{where}"
    )
    for title, body in (
        ("Now, on this machine", _now(facts["now"])),
        ("Adverts", _adverts(facts)),
        ("Timers", _timers(facts["timers"])),
        ("Who is master", _election(facts)),
        ("What moves its priority", _priority(facts["priority"])),
        ("What is a fault", iter(facts["faults"])),
        ("What it brings as master", _brings(facts["brings"])),
        ("Who is told", _told(facts["tells"])),
    ):
        said = list(body)
        if said:
            yield ""
            yield title
            for line in said:
                yield f"    {line}"


def _now(now: Facts | None) -> Iterator[str]:
    if now is None:
        return
    for fault in now["faults"]:
        yield f"FAULT: {fault}"
    if not now["faults"]:
        source = now["source"] or "the link-local address of its ipvlan"
        yield f"it can take part, and sends from {source}"


def _adverts(facts: Facts) -> Iterator[str]:
    adverts = facts["adverts"]
    how = "to unicast peers" if adverts["is_unicast"] else "to the group"
    yield f"{how} {', '.join(adverts['to'])}"
    if adverts["source"] is not None:
        yield f"from {adverts['source']}"
    yield f"authentication: {adverts['authentication'] or 'none'}"


def _timers(timers: Facts) -> Iterator[str]:
    yield f"Advertisement_Interval {timers['Advertisement_Interval']:g} s"
    yield (
        f"Skew_Time {timers['Skew_Time']:g} s: so long after a master has resigned it takes over"
    )
    yield (
        f"Master_Down_Interval {timers['Master_Down_Interval']:g} s: so long after the last advert"
        " of a master with the same interval it takes over"
    )
    if "Master_Down_Interval_range" in timers:
        first, last = timers["Master_Down_Interval_range"]
        yield f"    {first:g} to {last:g} s, as its priority is moved"
    if timers["preempt_delay"]:
        yield (
            f"preempt_delay {timers['preempt_delay']:g} s: so long it leaves a master of lower"
            " priority alone"
        )


def _election(facts: Facts) -> Iterator[str]:
    election = facts["election"]
    yield f"starts as {election['starts_as']} with priority {facts['priority']['configured']}"
    if election["wins_against"] is not None:
        yield f"wins against priority {election['wins_against']}"
    if election["loses_to"] is not None:
        yield f"loses to priority {election['loses_to']}"
    yield f"on a tie: {election['tie']}"
    if election["wins_against"] is not None:
        yield (
            "takes over from a master of lower priority"
            if election["preempts"]
            else "leaves a master of lower priority alone (nopreempt), until that one has gone"
        )
    if not election["answers_lower_priority"]:
        yield "as master it does not answer an advert of lower priority"
    if election["answers_higher_priority"]:
        yield "sends one more advert before it yields to a higher priority"
    if facts["sync_groups"]:
        yield f"changes its state together with sync group {', '.join(facts['sync_groups'])}"


def _priority(priority: Facts) -> Iterator[str]:
    for mover in priority["moved_by"]:
        what = f"{mover['kind']} {mover['name']}"
        if "adds" in mover:
            yield f"{what}: adds {mover['adds']}"
            continue
        values = ", ".join(f"{value} while it {when}" for when, value in mover["values"].items())
        yield f"{what}: {values}"
    if priority["moved_by"]:
        yield f"all together: {priority['lowest']} to {priority['highest']}"


def _brings(brings: Facts) -> Iterator[str]:
    if brings["vmac"] is not None:
        vmac = brings["vmac"]
        suffix = "; adverts have its parent's MAC" if vmac["adverts_from_parent"] else ""
        yield f"VMAC {vmac['name']} with {vmac['mac']}{suffix}"
    if brings["ipvlan"] is not None:
        ipvlan = brings["ipvlan"]
        address = "" if ipvlan["address"] is None else f" with {ipvlan['address']}"
        yield f"ipvlan {ipvlan['name']}{address} in {ipvlan['mode']} mode"
    for address in brings["addresses"]:
        suffix = "" if address["advertised"] else ", which is not in the adverts"
        yield f"address {address['address']} on {address['interface']}{suffix}"
    for kind in ("route", "rule"):
        for text in brings[f"{kind}s"]:
            yield f"{kind} {text}"


def _told(tells: list[Facts]) -> Iterator[str]:
    for each in tells:
        of = "" if each["of"] == "instance" else f" of {each['of']}"
        yield f"{each['when']}{of}: {each['how']} {each['whom']}"
