"""What one virtual router of a configuration would do here, as facts for people and programs.

Every value is one that JSON has. Times are seconds; what is said in words is a sentence.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from socket import AF_INET6
from typing import Any

from fastvrrp._fsm import Machine
from fastvrrp.config.arguments import address_text
from fastvrrp.config.hmac_keys import KeyFault, key_bytes
from fastvrrp.kernel import routes, rules
from fastvrrp.model import (
    SECOND,
    Authentication,
    Command,
    Configuration,
    State,
    SyncGroup,
    Tracked,
    Tracker,
    VirtualAddress,
    VirtualRouter,
)
from fastvrrp.track.priority import MOST_ADDED, OWNER, Contribution, effective, of_state
from fastvrrp.vrrp.instance import VMAC_IS_COMING, Instance, Lack, link_of
from fastvrrp.vrrp.place import Place
from fastvrrp.vrrp.routing import needs_of, static_of
from fastvrrp.vrrp.tracking import tracked_in_all, tracking_groups
from fastvrrp.vrrp.upkeep import Thing, describe

Facts = dict[str, Any]

GOOD = {
    Tracker.INTERFACE: ("is up", "is down"),
    Tracker.SCRIPT: ("succeeds", "fails"),
    Tracker.PROCESS: ("has its quorum", "has not its quorum"),
    Tracker.BFD: ("is up", "is down"),
}
"""What good and bad are, for each kind that is one or the other."""
NOWHERE = Place(lambda run, then: None)
"""Of a virtual router that is only thought of."""


def facts_of(configuration: Configuration, router: VirtualRouter, place: Place | None) -> Facts:
    """Everything about one virtual router. `place` is its network namespace on this machine, where
    that can be looked at."""
    groups = [group for group in configuration.sync_groups if router.name in group.members]
    tracked = _tracked(configuration, router)
    lowest, highest = _range(router.priority, tracked)
    return {
        "name": router.name,
        "interface": router.interface,
        "namespace": router.namespace,
        "vrid": router.vrid,
        "version": router.version,
        "family": "IPv6" if router.family == AF_INET6 else "IPv4",
        "adverts": _adverts(router),
        "timers": _timers(router, lowest, highest),
        "election": _election(router),
        "priority": {
            "configured": router.priority,
            "lowest": lowest,
            "highest": highest,
            "moved_by": [_mover(router.priority, each) for each in tracked if each.weight],
        },
        "sync_groups": [group.name for group in groups],
        "faults": [
            *_faults(router),
            *_tracked_faults(tracked),
            *_lost_faults(configuration, router),
            *_group_faults(router, groups),
        ],
        "now": _now(configuration, router, tracked, place),
        "brings": {
            "addresses": [_address(router, each, True) for each in router.addresses]
            + [_address(router, each, False) for each in router.excluded_addresses],
            "vmac": _vmac(router),
            "ipvlan": _ipvlan(router),
            "routes": [routes.describe(route) for route in router.options.routes],
            "rules": [rules.describe(rule) for rule in router.options.rules],
        },
        "tells": [*_told(configuration, router, groups)],
    }


def seconds(nanoseconds: float) -> float:
    """A time in seconds, to the microsecond."""
    return round(nanoseconds / SECOND, 6)


# --- timers and election --------------------------------------------------------------------------


def _machine(router: VirtualRouter, priority: int) -> Machine:
    return Machine(
        version=router.version,
        priority=priority,
        advert_interval=router.advert_interval,
        down_timer_adverts=router.down_timer_adverts,
    )


def _timers(router: VirtualRouter, lowest: int, highest: int) -> Facts:
    """Of RFC 9568 section 6.1, as backup of a master with the same interval."""
    machine = _machine(router, router.priority)
    found: Facts = {
        "Advertisement_Interval": seconds(router.advert_interval),
        "Skew_Time": seconds(machine.skew_time),
        "Master_Down_Interval": seconds(machine.master_down_interval),
        "preempt_delay": seconds(router.preempt_delay),
    }
    if lowest != highest:
        ends = (_machine(router, highest), _machine(router, lowest))
        found["Master_Down_Interval_range"] = [seconds(each.master_down_interval) for each in ends]
    return found


def _election(router: VirtualRouter) -> Facts:
    priority = router.priority
    is_owner = priority == OWNER
    starts_as_master = is_owner and router.state == State.MASTER
    return {
        "wins_against": _span(1, priority - 1),
        "loses_to": _span(priority + 1, OWNER),
        "tie": "of two masters of the same priority the one with the higher source address stays"
        " master; a backup leaves a master of its own priority alone",
        "starts_as": "MASTER" if starts_as_master else "BACKUP",
        "preempts": router.preempt,
        "answers_lower_priority": not router.lower_prio_no_advert,
        "answers_higher_priority": router.higher_prio_send_advert,
    }


def _span(first: int, last: int) -> str | None:
    """Priorities from one to another; None where there are none."""
    if first > last:
        return None
    return str(first) if first == last else f"{first}-{last}"


def _adverts(router: VirtualRouter) -> Facts:
    hmac = router.options.hmac
    kind = router.authentication.name if router.authentication != Authentication.NONE else None
    if hmac is not None:
        kind = f"HMAC-SHA256, mode {hmac.mode.name.lower().replace('_', '-')}"
    peers = [address_text(peer.address) for peer in router.unicast_peers]
    return {
        "to": peers or [address_text(router.multicast_group)],
        "is_unicast": bool(peers),
        "source": address_text(router.source_address) if router.source_address else None,
        "authentication": kind,
    }


# --- priority and faults --------------------------------------------------------------------------


def _tracked(configuration: Configuration, router: VirtualRouter) -> tuple[Tracked, ...]:
    """What counts for a virtual router, as the daemon has it."""
    group = tracking_groups(configuration).get(router.name)
    if group is None:
        return tracked_in_all(router)
    members = [each for each in configuration.virtual_routers if each.name in group.members]
    return tracked_in_all(router, group, members)


def _contributions(tracked: Tracked) -> tuple[Contribution, Contribution]:
    """What it adds when it is good, and when it is bad; of a file the most and the least."""
    if tracked.kind is Tracker.FILE:
        return MOST_ADDED, -MOST_ADDED
    return (
        of_state(True, tracked.weight, tracked.is_reversed),
        of_state(False, tracked.weight, tracked.is_reversed),
    )


def _range(configured: int, tracked: Iterable[Tracked]) -> tuple[int, int]:
    """The lowest and the highest effective priority without a fault."""
    pairs = [_contributions(each) for each in tracked if each.weight]
    known = [[value for value in pair if value is not None] for pair in pairs]
    lowest = effective(configured, [min(values) for values in known])
    highest = effective(configured, [max(values) for values in known])
    assert lowest is not None
    assert highest is not None
    return lowest, highest


def _mover(configured: int, tracked: Tracked) -> Facts:
    """One thing that moves the priority, and to where if nothing else does."""
    found: Facts = {
        "kind": tracked.kind.name.lower(),
        "name": tracked.name,
        "weight": tracked.weight,
        "reverse": tracked.is_reversed,
    }
    if tracked.kind is Tracker.FILE:
        sign = "-" if tracked.is_reversed else ""
        found["adds"] = f"the number in the file times {sign}{tracked.weight}"
        found["fault_below"] = -MOST_ADDED
        return found
    good, bad = _contributions(tracked)
    words = GOOD[tracked.kind]
    found["values"] = {
        words[0]: effective(configured, [good]),
        words[1]: effective(configured, [bad]),
    }
    return found


def _faults(router: VirtualRouter) -> Iterator[str]:
    """What every virtual router of this kind needs."""
    if router.namespace is not None:
        yield f"network namespace {router.namespace} does not exist"
    if router.interface:
        yield f"interface {router.interface} is missing"
    elif router.options.vrf is not None:
        yield f"VRF {router.options.vrf} is down or missing"
    if router.interface and router.tracks_interface:
        yield f"interface {router.interface} is down"
    instance = Instance(router, 0, NOWHERE)
    if router.options.ipvlan is not None and router.vmac is not None:
        if instance.is_ipvlan_without_source:
            yield f"ipvlan {router.vmac.name} has no address, so it stays in FAULT"
        yield f"ipvlan {router.vmac.name} cannot be made, or somebody sets it down"
    elif router.source_address is None:
        kind = "link-local" if router.family == AF_INET6 else "IPv4"
        yield f"interface {router.interface} has no {kind} address to send from"
    elif router.options.tracks_source:
        yield f"no interface has {address_text(router.source_address)}"
    if not router.unicast_peers:
        yield f"the multicast group cannot be joined on {router.interface}"
        if router.options.faults_without_peer:
            yield "there is no unicast peer (unicast_fault_no_peer)"
    if router.vmac is not None and router.options.ipvlan is None:
        yield f"VMAC {router.vmac.name} cannot be made, or somebody sets it down"
    if router.options.hmac is not None:
        yield "a key of auth_hmac cannot be read, or has not 32 to 64 bytes"
    for name in dict.fromkeys(instance.other_links()):
        yield f"interface {name}, which is to have an address, is down or missing"


def _tracked_faults(tracked: Iterable[Tracked]) -> Iterator[str]:
    for each in tracked:
        kind = each.kind.name.lower()
        if each.kind is Tracker.FILE:
            if each.weight:
                yield f"the number in file {each.name} times its weight is below -{MOST_ADDED}"
            else:
                what = "0" if each.is_reversed else "another number than 0"
                yield f"file {each.name} has {what} in it"
        elif not each.weight:
            yield f"{kind} {each.name} {GOOD[each.kind][0 if each.is_reversed else 1]}"


def _lost_faults(configuration: Configuration, router: VirtualRouter) -> Iterator[str]:
    """What becomes of it when something has gone that comes with it, or that its track group
    tracks."""
    static = _static(configuration, router)
    for name in sorted(needs_of(router, static)):
        yield f"interface {name}, of a route or rule that it tracks, is down or missing"
    for thing in static:
        yield f"static {describe(thing)} has gone and cannot be put back"


def _static(configuration: Configuration, router: VirtualRouter) -> list[Thing]:
    """What stays, and is tracked by a group that it is a member of. That is of the daemon's own
    namespace, and keeps nobody elsewhere from anything."""
    if router.namespace is not None:
        return []
    groups = {each.name for each in configuration.track_groups if router.name in each.members}
    return [each for each in static_of(configuration) if each.track_group in groups]


def _group_faults(router: VirtualRouter, groups: Iterable[SyncGroup]) -> Iterator[str]:
    for group in groups:
        others = [name for name in group.members if name != router.name]
        if others:
            yield f"sync group {group.name}: {' or '.join(others)} is in FAULT"


def _now(
    configuration: Configuration,
    router: VirtualRouter,
    tracked: Iterable[Tracked],
    place: Place | None,
) -> Facts | None:
    """What is so on this machine at this moment; None where nobody could look."""
    if place is None:
        return None
    links = place.links
    instance = Instance(router, 0, place)
    instance.vmac_ifindex = VMAC_IS_COMING  # it would be made
    lack = instance.find_lack(links)
    faults = []
    # An ipvlan of IPv6 has its address when it has been made.
    if lack is not None and not (lack is Lack.ADDRESS and router.options.ipvlan is not None):
        instance.lack = lack
        faults.append(instance.describe_lack())
    if place.fault is None:
        needed = {each.name for each in tracked if _needs_link(each)}
        needed |= needs_of(router, _static(configuration, router))
        for name in sorted(needed):
            link = links.by_name(name)
            if link is None or not link.is_up:
                faults.append(f"interface {name} {'does not exist' if link is None else 'is down'}")
    if router.options.hmac is not None:
        for key in router.options.hmac.keys:
            try:
                key_bytes(key.key)
            except KeyFault as fault:
                faults.append(f"key {key.number} of auth_hmac cannot be used: {fault}")
    source = instance.source(links)
    return {
        "faults": list(dict.fromkeys(faults)),
        "source": address_text(source) if source is not None else None,
    }


def _needs_link(tracked: Tracked) -> bool:
    """Whether it is an interface of the same namespace, without which there is a fault."""
    return (
        tracked.kind is Tracker.INTERFACE
        and not tracked.weight
        and not tracked.is_reversed
        and tracked.namespace is None
    )


# --- what it brings -------------------------------------------------------------------------------


def _address(router: VirtualRouter, address: VirtualAddress, is_advertised: bool) -> Facts:
    return {
        "address": f"{address_text(address.address)}/{address.prefixlen}",
        "interface": link_of(router, address),
        "advertised": is_advertised,
    }


def _ipvlan(router: VirtualRouter) -> Facts | None:
    ipvlan = router.options.ipvlan
    if ipvlan is None or router.vmac is None:
        return None
    address = None if ipvlan.address is None else address_text(ipvlan.address)
    return {"name": router.vmac.name, "address": address, "mode": ipvlan.mode.name.lower()}


def _vmac(router: VirtualRouter) -> Facts | None:
    if router.vmac is None or router.options.ipvlan is not None:
        return None
    return {
        "name": router.vmac.name,
        "mac": router.vmac.mac.hex(":"),
        "adverts_from_parent": router.vmac.transmit_on_parent,
    }


# --- who is told ----------------------------------------------------------------------------------


def _told(
    configuration: Configuration, router: VirtualRouter, groups: Iterable[SyncGroup]
) -> Iterator[Facts]:
    """Who is told of what: of the instance, and of its groups."""
    for of, notifications in (
        ("instance", router.notifications),
        *((f"sync group {group.name}", group.notifications) for group in groups),
    ):
        for when, command in (
            ("MASTER", notifications.master),
            ("BACKUP", notifications.backup),
            ("FAULT", notifications.fault),
            ("STOP", notifications.stop),
            ("DELETED", notifications.deleted),
            ("every change", notifications.any_state),
            ("an advert of lower priority", notifications.master_rx_lower_priority),
            ("split brain", notifications.split_brain if of == "instance" else None),
        ):
            if command is not None:
                yield {"of": of, "when": when, "how": "script", "whom": _command_text(command)}
        if notifications.sends_mail:
            recipients = configuration.definitions.mail.recipients
            yield {
                "of": of,
                "when": "every change",
                "how": "mail",
                "whom": ", ".join(recipients) or "nobody: there is no notification_email",
            }
    fifos = configuration.definitions.fifos
    for fifo in (fifos.all, fifos.vrrp):
        if fifo is not None:
            yield {"of": "instance", "when": "every change", "how": "fifo", "whom": fifo.path}


def _command_text(command: Command) -> str:
    text = shlex.join(command.arguments)
    if command.user is None:
        return text
    return f"{text} (as {':'.join(part for part in (command.user, command.group) if part)})"
