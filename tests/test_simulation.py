"""Any history of two to five routers ends with exactly one master."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from simulation import SECOND, Link, Router

MASTER = 2

router_options = st.fixed_dictionaries(
    {
        "priority": st.one_of(st.integers(1, 254), st.sampled_from((100, 100, 255))),
        "preempt": st.booleans(),
        "lower_prio_no_advert": st.booleans(),
        "higher_prio_send_advert": st.booleans(),
        "starts_backup": st.booleans(),
        "advert_interval": st.sampled_from((SECOND // 2, SECOND, 2 * SECOND)),
    }
)
events = st.lists(
    st.tuples(
        st.sampled_from(("stop", "start", "fail", "cut", "join", "wait")),
        st.integers(0, 4),
        st.integers(0, 6 * SECOND),
    ),
    max_size=14,
)


@settings(max_examples=150, deadline=None)
@given(
    family=st.sampled_from((4, 6)),
    version=st.sampled_from((2, 3)),
    options=st.lists(router_options, min_size=2, max_size=5),
    history=events,
)
def test_exactly_one_master_within_a_master_down_interval_of_the_last_event(
    family: int,
    version: int,
    options: list[dict[str, object]],
    history: list[tuple[str, int, int]],
) -> None:
    if family == 6:
        version = 3
    # RFC 3768 refuses an advert with another interval. In VRRPv3 a backup learns the interval of
    # whom it hears: from a master's last words, sent because it yields to another, one that is too
    # short for that other, and so it takes over as it should.
    if version == 2 or any(each["higher_prio_send_advert"] for each in options):
        options = [{**each, "advert_interval": SECOND} for each in options]
    routers = [Router(f"r{i}", i + 1) for i in range(len(options))]
    for router, chosen in zip(routers, options, strict=True):
        router.add(51, family=family, version=version, **chosen)  # type: ignore[arg-type]
        router.engine.start(0, 0)
    link = Link(routers)
    running = set(range(len(routers)))
    for event, which, pause in history:
        number = which % len(routers)
        router = routers[number]
        if event in ("stop", "fail") and number in running:
            getattr(router.engine, event)(0, link.now)
            router.engine.flush()
            running.discard(number)
        elif event == "start" and number not in running:
            router.engine.start(0, link.now)
            router.engine.flush()
            running.add(number)
        elif event in ("cut", "join"):
            link.deliver()
            router.is_up = event == "join"
        link.deliver()
        link.run_until(link.now + pause)
    for router in routers:
        router.is_up = True  # the last event: the link is whole again
    # A backup waits by the interval of the master it heard last.
    interval = max(int(str(each["advert_interval"])) for each in options)
    longest = 3 * interval + 255 * interval // 256
    link.run_until(link.now + longest + SECOND // 100)
    masters = [number for number in sorted(running) if routers[number].state(0) == MASTER]
    assert len(masters) == (1 if running else 0)
    # And it stays so.
    before = link.now
    link.run_until(before + 10 * SECOND)
    assert [n for n in sorted(running) if routers[n].state(0) == MASTER] == masters
