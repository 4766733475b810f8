"""A vrrpd begins where another one has ended, or stands still: what it takes over, and when.

Who goes on, and how, is the rule of vrrp/adoption.py; what can be trusted is daemon/adoption.py's.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable

from fastvrrp._table import kept_name
from fastvrrp.daemon.adoption import Inheritance
from fastvrrp.daemon.assembly import Assembly
from fastvrrp.model import SECOND, Configuration, State, VirtualRouter, Vrrp
from fastvrrp.vrrp.adoption import Predecessor
from fastvrrp.vrrp.instance import PRIORITY_OWNER, Instance
from fastvrrp.vrrp.orphans import orphans

log = logging.getLogger(__name__)


def choose(
    rooms: Assembly,
    found: Inheritance,
    models: Collection[VirtualRouter],
    configuration: Configuration,
) -> Predecessor:
    """The predecessor of which something was found; it knows then who is to go on where it was.
    `models` are those virtual routers of `configuration` that can run."""
    before = found.predecessor
    before.choose(models, configuration.sync_groups, rooms.driver.now())
    rooms.tracking.presume(found.trackers)
    return before


def take_over(rooms: Assembly, before: Predecessor, masters: Iterable[Instance]) -> None:
    """Takes over what masters have in the kernel, after the adverts that are due."""
    rooms.engine.send_due(rooms.driver.now())
    for instance in masters:
        rooms.transitions.resume(
            instance,
            rooms.table.changed_at(instance.index),
            rooms.places.found.get(instance.place, {}),
        )
    for instance in rooms.roster.instances.values():
        # An owner's address may be its interface's own.
        is_owner = instance.model.priority == PRIORITY_OWNER
        if instance.model.name in before.too_late and not is_owner:
            rooms.transitions.remove_left(instance)
    for remove in before.leftovers:
        try:
            remove()
        except Exception:  # the others are ours to remove still, and adverts ours to send
            log.exception("What was left behind cannot be removed")
        rooms.engine.send_due(rooms.driver.now())
    try:
        _disown_routes(rooms, before)
    except Exception:  # masters are ours to keep, whatever is in a file
        log.exception("Routes and rules that were left behind cannot be removed")
    log.info("%s", before.describe())


def _disown_routes(rooms: Assembly, before: Predecessor) -> None:
    """Finds out which routes and rules nobody wants any more; they are removed in the other thread,
    when everything else is taken over."""
    left = rooms.routes_file.left_by(before.segment.pid)
    if not left:
        return
    now = rooms.driver.now()
    were = before.segment.left(now)
    masters = {each.name for each in were if each.state == State.MASTER}
    there = [
        each
        for each in left
        if before.is_there(each.namespace)
        and (each.router is None or kept_name(each.router) in masters)
    ]
    found = orphans(
        there,
        rooms.places.own_name,
        rooms.routes_file.wanted(),
        lambda: rooms.engine.send_due(rooms.driver.now()),
    )
    for place in rooms.places:
        things = found.get(place.name)
        if things and place.is_open:
            log.info("removing %d routes and rules that were left behind", len(things))
            rooms.routings.of(place).disown(things)


def delay_masters(rooms: Assembly, vrrp: Vrrp, before: Predecessor | None) -> None:
    """Lets nobody become master for a while: links may not carry anything yet. A successor waits
    for what is left of that."""
    since_boot, now = time.clock_gettime_ns(time.CLOCK_BOOTTIME), rooms.driver.now()
    if before is None:
        opens_at = now + startup_delay(vrrp, since_boot)
    else:
        opens_at = max(before.segment.opens_at, now + vrrp.delay_after_boot - since_boot)
    if opens_at > now:
        log.info("Delaying startup for %g seconds", (opens_at - now) / SECOND)
        rooms.engine.open_at(opens_at)


def startup_delay(vrrp: Vrrp, since_boot: int) -> int:
    """How long nobody becomes master, at `since_boot` of the machine; both in nanoseconds."""
    return max(vrrp.startup_delay, vrrp.delay_after_boot - since_boot, 0)
