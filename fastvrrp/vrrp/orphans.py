"""Routes and rules of a configuration that ran, which nobody wants any more: after a crash nobody
else would remove them, since the kernel does not say whose they are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping

from fastvrrp.model import Configuration, VirtualRouter
from fastvrrp.vrrp.place import Place
from fastvrrp.vrrp.upkeep import Thing, Upkeep


def orphans(
    ran: Configuration, configuration: Configuration, models: Collection[VirtualRouter]
) -> dict[str | None, tuple[Thing, ...]]:
    """What `ran` had, by the name of its network namespace (None is the daemon's own), and is not
    of `configuration`, whose virtual routers are `models`."""
    found = _things(ran, ran.virtual_routers)
    if not found:
        return {}
    wanted = _things(configuration, models)
    return {
        name: tuple(each for each in things if each not in wanted.get(name, ()))
        for name, things in found.items()
    }


def _things(
    configuration: Configuration, models: Collection[VirtualRouter]
) -> Mapping[str | None, dict[Thing, None]]:
    found: defaultdict[str | None, dict[Thing, None]] = defaultdict(dict)
    for model in models:
        own: tuple[Thing, ...] = (*model.options.routes, *model.options.rules)
        if own:
            found[model.namespace].update(dict.fromkeys(own))
    static: tuple[Thing, ...] = (*configuration.static_routes, *configuration.static_rules)
    if static:
        found[None].update(dict.fromkeys(static))
    return found


def remove(place: Place, things: Collection[Thing]) -> None:
    """Removes them from the kernel, in this thread."""
    if things and place.is_open:
        upkeep = Upkeep(place)
        with place.inside():
            upkeep.clear(things)
            upkeep.finish()
        upkeep.close()
