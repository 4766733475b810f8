"""When in the second each virtual router speaks.

Nobody chooses that: it follows from when each became master. Routers that became master together
speak together, and how much together depends on how fast their daemon started. So that it is the
same for every daemon, it can be made even: somebody preferred speaks once as each virtual router,
one after the other over exactly one advert interval, and is never heard again. The daemon gives way
to each, and takes each over after its Master_Down_Interval, so they are spread as evenly as they
were spoken to.
"""

from __future__ import annotations

import time

from fastvrrp._generator import Generator
from fastvrrp.bench.case import Case
from fastvrrp.bench.crowd import Speech, VirtualRouter, ports_of
from fastvrrp.bench.network import Network

PREFERRED = 254
IN_FLIGHT = 0.2
"""Seconds within which what was sent has been heard and answered."""


def spread_evenly(network: Network, case: Case) -> None:
    """Makes the masters on side a give way; they come back after their Master_Down_Interval."""
    with network.b.entered():
        ports = ports_of([f"eth{number}" for number in range(case.interfaces)])
        generator = Generator()
    try:
        for number, port in enumerate(ports):
            for vrid in case.vrids(number):
                address = case.virtual_address(number, vrid).partition("/")[0]
                speech = Speech(case.version, case.interval, {case.family: address})
                router = VirtualRouter(port, number, case.family, vrid)
                generator.add(port.ifindex, speech.frame(router, PREFERRED))
        generator.send(0, case.routers, 0, case.routers, case.adverts_a_second, time.monotonic_ns())
    finally:
        generator.close()
    time.sleep(IN_FLIGHT)
