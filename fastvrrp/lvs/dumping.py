"""keepalived_check.data, on a signal: how all virtual servers stand, written between checks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from socket import AF_INET
from time import monotonic
from typing import TYPE_CHECKING

from fastvrrp.lvs.naming import real_name, virtual_name
from fastvrrp.lvs.pool import key_of
from fastvrrp.model import Configuration, GlobalDefinitions, VirtualServerGroup
from fastvrrp.observe.dumps.as_check_data import CheckerFacts, MemberFacts, PoolFacts, document
from fastvrrp.observe.dumps.facts import Whole
from fastvrrp.observe.dumps.files import DumpFile

if TYPE_CHECKING:
    from fastvrrp.lvs.balancer import Work

log = logging.getLogger(__name__)

SLICE = 0.005
"""Seconds of writing in one turn of the loop."""


async def write(
    path: Path,
    umask: int,
    definitions: GlobalDefinitions,
    groups: Iterable[VirtualServerGroup],
    works: Iterable[Work],
) -> None:
    """Writes the file; where it cannot be written the log says so."""
    log.info("Printing checker data for process on signal")
    whole = Whole(Configuration(definitions=definitions))
    pools = [facts_of(work) for work in works]
    file: DumpFile | None = None
    try:
        file = DumpFile(path, umask)
        until = monotonic() + SLICE
        for piece in document(whole, groups, pools):
            file.write(piece)
            if monotonic() > until:
                await asyncio.sleep(0)
                until = monotonic() + SLICE
        file.finish()
        file = None
    except OSError as error:
        log.error("Can't write %s: %s", path, error.strerror)
    finally:
        if file is not None:
            file.give_up()


def facts_of(work: Work) -> PoolFacts:
    """How a virtual server stands now."""
    model = work.model
    sorry = model.sorry_server
    family = work.services[0].key.family if work.services else model.family
    return PoolFacts(
        model,
        virtual_name(model),
        family or AF_INET,
        "" if sorry is None else real_name(model, sorry),
        work.pool.has_quorum,
        work.is_suspended,
        tuple(_members(work)),
    )


def _members(work: Work) -> Iterator[MemberFacts]:
    wanted = work.pool.wanted
    standings = work.pool.standings
    for model, (key, is_up, weight) in zip(work.model.real_servers, standings, strict=True):
        checkers = []
        for checker in model.checkers:
            watch = work.watches[key_of(model), checker]
            standing = watch.round.standing
            checkers.append(
                CheckerFacts(checker, standing.is_good, standing.is_known, standing.tried)
            )
        name = real_name(work.model, model)
        yield MemberFacts(model, name, is_up, weight, key in wanted, tuple(checkers))
