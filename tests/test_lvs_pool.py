"""Which real servers get connections: the manual page's rules as a table, and what always holds."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastvrrp.lvs.check import Verdict
from fastvrrp.lvs.news import CheckerNews, News, Occasion, QuorumNews, ServerNews, SorryNews
from fastvrrp.lvs.pool import Pool, key_of
from fastvrrp.model import (
    CheckTarget,
    CheckTiming,
    FileCheck,
    MiscCheck,
    PingCheck,
    RealServer,
    SorryServer,
    TcpCheck,
    VirtualServer,
)
from fastvrrp.model import Command as Program

GOOD = Verdict(True)
BAD = Verdict(False, "connection refused")
SORRY = SorryServer(socket.inet_aton("10.0.0.99"), 80)


def address(number: int) -> bytes:
    return socket.inet_aton(f"10.0.0.{number}")


def tcp(number: int, *, alpha: bool = False) -> TcpCheck:
    timing = CheckTiming(is_down_at_first=alpha)
    return TcpCheck(CheckTarget(address(number), 80), timing)


def real(
    number: int, weight: int = 1, *, alpha: bool = False, inhibits: bool = False
) -> RealServer:
    return RealServer(
        address(number), 80, weight, inhibits=inhibits, checkers=(tcp(number, alpha=alpha),)
    )


def virtual(
    *servers: RealServer,
    quorum: int = 1,
    hysteresis: int = 0,
    sorry_server: SorryServer | None = None,
) -> VirtualServer:
    return VirtualServer(
        address(100),
        80,
        quorum=quorum,
        hysteresis=hysteresis,
        sorry_server=sorry_server,
        real_servers=servers,
    )


def brief(news: list[News]) -> list[str]:
    """What happened, in words as short as the table's."""
    words = []
    for each in news:
        match each:
            case ServerNews(server, is_up, occasion, is_quiet):
                sign = "+" if is_up else "-"
                quiet = "(quiet)" if is_quiet else ""
                why = "" if occasion is Occasion.CHECK else f" {occasion.name.lower()}"
                words.append(f"{sign}{server.address[-1]}{quiet}{why}")
            case QuorumNews(is_up):
                words.append("quorum" if is_up else "no quorum")
            case SorryNews(server, is_in):
                words.append(f"sorry {server.address[-1]} {'in' if is_in else 'out'}")
            case CheckerNews():
                pass
            case _:
                words.append(f"{each.server.address[-1]}: {each.before} -> {each.after}")
    return words


def weights(pool: Pool) -> dict[int, int]:
    """Weights of the wanted destinations, by the last octet of their addresses."""
    return {key.address[-1]: weight for key, (_, weight) in pool.wanted.items()}


def say(pool: Pool, number: int, verdict: Verdict) -> list[str]:
    server = next(s for s in pool.model.real_servers if s.address == address(number))
    return brief(pool.take(key_of(server), server.checkers[0], verdict))


@pytest.mark.parametrize(
    ("model", "steps"),
    [
        pytest.param(
            virtual(real(1), real(2)),
            [
                (None, GOOD, ["quorum"], {1: 1, 2: 1}),
                (1, BAD, ["-1"], {2: 1}),
                (2, BAD, ["-2", "no quorum"], {}),
                (1, GOOD, ["+1", "quorum"], {1: 1}),
            ],
            id="a server without its checker's consent is removed",
        ),
        pytest.param(
            virtual(real(1, alpha=True), real(2, alpha=True)),
            [
                (None, GOOD, [], {}),
                (1, BAD, ["-1 first_check"], {}),
                (1, BAD, [], {}),
                (2, GOOD, ["+2", "quorum"], {2: 1}),
                (2, BAD, ["-2", "no quorum"], {}),
            ],
            id="alpha: down until a check has succeeded",
        ),
        pytest.param(
            virtual(real(1, 2, alpha=True), quorum=2, sorry_server=SORRY),
            [
                (None, GOOD, ["no quorum", "sorry 99 in"], {99: 1}),
                (1, GOOD, ["+1", "quorum", "sorry 99 out"], {1: 2}),
            ],
            id="alpha: the sorry server begins",
        ),
        pytest.param(
            virtual(real(1, 2), quorum=2, hysteresis=1),
            [(None, GOOD, [], {1: 2})],
            id="at the start the quorum is to be gained",
        ),
        pytest.param(
            virtual(real(1, 2), real(2, 2), quorum=3, hysteresis=1, sorry_server=SORRY),
            [
                (None, GOOD, ["quorum"], {1: 2, 2: 2}),
                (1, BAD, ["-1"], {2: 2}),
                (2, BAD, ["-2", "no quorum", "sorry 99 in"], {99: 1}),
                (1, GOOD, ["+1"], {99: 1}),
                (2, GOOD, ["+2", "quorum", "sorry 99 out"], {1: 2, 2: 2}),
            ],
            id="hysteresis on both sides of the quorum, and a sorry server",
        ),
        pytest.param(
            virtual(real(1, 2), real(2, 2), quorum=4),
            [
                (None, GOOD, ["quorum"], {1: 2, 2: 2}),
                (1, BAD, ["-1", "no quorum"], {2: 2}),
            ],
            id="without a sorry server those that are up go on",
        ),
        pytest.param(
            virtual(
                real(1, 2, inhibits=True),
                real(2, 2, inhibits=True),
                quorum=3,
                sorry_server=replace(SORRY, inhibits=True),
            ),
            [
                (None, GOOD, ["quorum"], {1: 2, 2: 2, 99: 0}),
                (1, BAD, ["-1", "no quorum", "sorry 99 in"], {1: 0, 2: 0, 99: 1}),
                (1, GOOD, ["+1", "quorum", "sorry 99 out"], {1: 2, 2: 2, 99: 0}),
            ],
            id="inhibit_on_failure is weight 0, also for the sorry server",
        ),
        pytest.param(
            virtual(real(1, 0), quorum=0),
            [(None, GOOD, ["quorum"], {1: 0}), (1, BAD, ["-1"], {})],
            id="weight 0 and a quorum of 0",
        ),
    ],
)
@pytest.mark.keywords(
    "virtual_server/quorum",
    "virtual_server/hysteresis",
    "virtual_server/sorry_server",
    "virtual_server/sorry_server_inhibit",
    "virtual_server/inhibit_on_failure",
    "virtual_server/weight",
    "real_server/weight",
    "real_server/inhibit_on_failure",
)
def test_follows_the_manual_page(
    model: VirtualServer,
    steps: list[tuple[int | None, Verdict, list[str], dict[int, int]]],
) -> None:
    pool = Pool(model)
    for number, verdict, news, wanted in steps:
        found = brief(pool.start()) if number is None else say(pool, number, verdict)
        assert found == news
        assert weights(pool) == wanted


def test_a_server_without_a_checker_is_always_up() -> None:
    pool = Pool(virtual(RealServer(address(1), 80)))
    pool.start()
    assert weights(pool) == {1: 1}


@pytest.mark.keywords("global_defs/rs_init_notifies")
def test_servers_that_start_up_are_told_where_that_is_wanted() -> None:
    pool = Pool(virtual(real(1), real(2, alpha=True)), notifies_at_start=True)
    assert brief(pool.start()) == ["+1 start", "quorum"]


def test_all_checkers_of_a_server_must_be_good() -> None:
    ping = PingCheck(CheckTarget(address(1), 0), CheckTiming())
    server = replace(real(1), checkers=(tcp(1), ping))
    pool = Pool(virtual(server))
    pool.start()
    key = key_of(server)
    assert brief(pool.take(key, ping, BAD)) == ["-1", "no quorum"]
    news = pool.take(key, tcp(1), BAD)
    assert news == [CheckerNews(server, tcp(1), False, False, False)]
    assert brief(pool.take(key, ping, GOOD)) == []
    assert brief(pool.take(key, tcp(1), GOOD)) == ["+1", "quorum"]


def test_weights_of_dynamic_checkers_are_added() -> None:
    """As keepalived 2.2.7 was seen to: 3 from one script that asks for 5 and one for 7 is 9."""
    first, second = (
        MiscCheck(CheckTiming(), Program((f"/bin/{name}",)), 10**9, True) for name in "ab"
    )
    file = FileCheck("load", is_dynamic=True)
    server = replace(real(1, 3), checkers=(first, second, file))
    pool = Pool(virtual(server, quorum=2, sorry_server=SORRY))
    pool.start()
    key = key_of(server)
    assert brief(pool.take(key, first, Verdict(True, weight=5))) == ["1: 3 -> 5"]
    assert brief(pool.take(key, second, Verdict(True, weight=7))) == ["1: 5 -> 9"]
    assert brief(pool.take(key, file, Verdict(True, weight=-4))) == ["1: 9 -> 5"]
    assert brief(pool.take(key, second, GOOD)) == ["1: 5 -> 1", "no quorum", "sorry 99 in"]
    assert brief(pool.take(key, file, Verdict(True, weight=-400))) == ["1: 1 -> 0"]
    assert brief(pool.take(key, file, Verdict(True))) == [
        *("1: 0 -> 5", "quorum", "sorry 99 out"),
    ]
    assert brief(pool.take(key, first, BAD)) == ["-1", "no quorum", "sorry 99 in"]
    # What a script asks for counts when it brings the server up.
    assert brief(pool.take(key, first, Verdict(True, weight=9))) == [
        *("1: 3 -> 9", "+1", "quorum", "sorry 99 out"),
    ]


def scripted(weight: int = 1, delay: int = 1, *, is_dynamic: bool = True) -> RealServer:
    """A real server with a script that may ask for a weight."""
    script = MiscCheck(CheckTiming(interval=delay * 10**9), Program(("/bin/a",)), 10**9, is_dynamic)
    return replace(real(1, weight), checkers=(script,))


@pytest.mark.parametrize("after", [scripted(10), scripted(1, delay=2), scripted(3, delay=2)])
@pytest.mark.keywords("MISC_CHECK/misc_dynamic")
def test_what_a_script_asks_for_holds_over_a_reload(after: RealServer) -> None:
    pool = Pool(virtual(scripted()))
    pool.start()
    say(pool, 1, Verdict(True, weight=50))
    assert brief(pool.change(virtual(after))) == []
    assert weights(pool) == {1: 50}


def test_a_script_that_asks_for_nothing_any_more_has_no_say_after_a_reload() -> None:
    pool = Pool(virtual(scripted()))
    pool.start()
    say(pool, 1, Verdict(True, weight=50))
    pool.change(virtual(scripted(2, is_dynamic=False)))
    assert weights(pool) == {1: 2}


def test_adopts_the_weight_that_a_script_has_asked_for() -> None:
    pool = Pool(virtual(scripted()))
    pool.adopt({key_of(scripted()): 50})
    assert weights(pool) == {1: 50}
    assert say(pool, 1, Verdict(True, weight=7)) == ["1: 50 -> 7"]


def test_adopts_a_real_server_that_is_the_sorry_server_too() -> None:
    pool = Pool(virtual(real(1), real(99), sorry_server=SORRY))
    pool.adopt({key_of(real(1)): 1, key_of(SORRY): 1})
    assert weights(pool) == {1: 1, 99: 1}


def test_a_reload_changes_weights_and_leaves_states() -> None:
    pool = Pool(virtual(real(1), real(2)))
    pool.start()
    say(pool, 2, BAD)
    assert brief(pool.change(virtual(real(1, 5), real(2, 7)))) == ["1: 1 -> 5", "2: 1 -> 7"]
    assert weights(pool) == {1: 5}


def test_a_reload_that_changes_nothing_is_not_told() -> None:
    model = virtual(real(1), real(2), sorry_server=SORRY)
    pool = Pool(model, notifies_at_start=True)
    pool.start()
    say(pool, 2, BAD)
    before = pool.wanted
    assert pool.change(model) == []
    assert pool.wanted == before


def test_a_reload_removes_and_adds_servers() -> None:
    pool = Pool(virtual(real(1), real(2), real(4)))
    pool.start()
    say(pool, 4, BAD)
    assert brief(pool.change(virtual(real(2), real(3)))) == ["-1 removal"]
    assert weights(pool) == {2: 1, 3: 1}
    assert brief(pool.take(key_of(real(1)), tcp(1), BAD)) == []


@pytest.mark.parametrize(
    ("checkers", "news"),
    [
        ((replace(tcp(1), timing=CheckTiming(retry=5)),), []),
        ((), ["+1", "quorum"]),
        ((tcp(1), PingCheck(CheckTarget(address(1), 0), CheckTiming())), []),
    ],
    ids=["changed", "gone", "one more"],
)
def test_a_server_that_is_down_stays_so_when_its_checkers_change(
    checkers: tuple[TcpCheck, ...], news: list[str]
) -> None:
    pool = Pool(virtual(real(1)))
    pool.start()
    say(pool, 1, BAD)
    changed = replace(real(1), checkers=checkers)
    assert brief(pool.change(virtual(changed))) == news
    for checker in checkers:
        news += brief(pool.take(key_of(changed), checker, GOOD))
    assert news == ["+1", "quorum"]


def test_alpha_does_not_apply_to_servers_that_were_there_before_a_reload() -> None:
    pool = Pool(virtual(real(1)))
    pool.start()
    assert brief(pool.change(virtual(real(1, alpha=True), real(2, alpha=True)))) == []
    assert weights(pool) == {1: 1}


def test_a_reload_moves_the_quorum() -> None:
    pool = Pool(virtual(real(1, 5), real(2, 5)))
    pool.start()
    say(pool, 2, BAD)
    assert brief(pool.change(virtual(real(1, 5), real(2, 5), quorum=6))) == ["no quorum"]
    assert brief(pool.change(virtual(real(1, 5), real(2, 5), quorum=5))) == ["quorum"]


@pytest.mark.parametrize("is_served", [True, False])
def test_a_reload_changes_the_sorry_server(is_served: bool) -> None:
    pool = Pool(virtual(real(1)))
    pool.start()
    if not is_served:
        say(pool, 1, BAD)
    other = replace(SORRY, port=81)
    news = [
        brief(pool.change(virtual(real(1), sorry_server=each)))
        for each in (SORRY, other, replace(other, inhibits=True), None)
    ]
    if is_served:
        assert news == [[], [], [], []]
    else:
        assert news == [["sorry 99 in"], ["sorry 99 out", "sorry 99 in"], [], ["sorry 99 out"]]


@pytest.mark.keywords("virtual_server/omega")
def test_at_the_end_omega_tells_of_what_goes_down() -> None:
    model = virtual(real(1, 2), real(2, 2), real(3, 2), quorum=3, hysteresis=1, sorry_server=SORRY)
    for omega, news in (
        (True, ["-1 end", "-2 end", "no quorum", "-3(quiet) end"]),
        (False, ["-1(quiet) end", "-2(quiet) end", "-3(quiet) end"]),
    ):
        pool = Pool(replace(model, runs_scripts_at_end=omega))
        pool.start()
        say(pool, 3, BAD)
        assert brief(pool.end()) == news


def test_a_virtual_server_that_a_reload_removes_is_told_without_omega() -> None:
    pool = Pool(virtual(real(1), real(2)))
    pool.start()
    say(pool, 2, BAD)
    assert brief(pool.remove()) == ["-1 removal", "no quorum"]


def test_adopts_what_another_process_left_in_the_kernel() -> None:
    model = virtual(
        *(real(1, alpha=True), real(2, inhibits=True), real(3), real(4, 0)),
        sorry_server=SORRY,
    )
    pool = Pool(model, notifies_at_start=True)
    left = {key_of(real(1)): 1, key_of(real(2)): 0, key_of(real(4)): 0}
    pool.adopt(left)
    assert weights(pool) == {1: 1, 2: 0, 4: 0}
    assert say(pool, 3, GOOD) == ["+3"]
    pool = Pool(model)
    pool.adopt({key_of(SORRY): 1, key_of(real(2)): 0})
    assert weights(pool) == {99: 1, 2: 0}
    assert say(pool, 3, GOOD) == ["+3", "quorum", "sorry 99 out"]


NUMBERS = range(1, 4)
SERVERS = st.tuples(
    *(
        st.builds(
            real,
            st.just(number),
            st.integers(0, 4),
            alpha=st.booleans(),
            inhibits=st.booleans(),
        )
        for number in NUMBERS
    )
)
MODELS = st.builds(
    lambda servers, size, quorum, hysteresis, sorry: virtual(
        *servers[:size],
        quorum=quorum,
        hysteresis=min(hysteresis, max(quorum - 1, 0)),
        sorry_server=sorry,
    ),
    SERVERS,
    st.integers(0, 3),
    st.integers(0, 6),
    st.integers(0, 3),
    st.sampled_from([None, SORRY, replace(SORRY, inhibits=True)]),
)
STEPS = st.lists(st.one_of(st.tuples(st.sampled_from(NUMBERS), st.booleans()), MODELS), max_size=30)


@given(MODELS, STEPS)
def test_what_always_holds(
    model: VirtualServer, steps: list[tuple[int, bool] | VirtualServer]
) -> None:
    pool = Pool(model)
    told: dict[bytes, bool] = {}
    quorum = False
    sorry: SorryServer | None = None
    for step in (None, *steps):
        before = pool.wanted
        if step is None:
            news = pool.start()
        elif isinstance(step, VirtualServer):
            kept = {server.address for server in step.real_servers}
            told = {address: is_up for address, is_up in told.items() if address in kept}
            news = pool.change(step)
        else:
            number, is_good = step
            known = [s for s in pool.model.real_servers if s.address == address(number)]
            if not known:
                continue
            server = known[0]
            news = pool.take(key_of(server), server.checkers[0], Verdict(is_good))
        for each in news:
            if isinstance(each, ServerNews) and each.occasion is Occasion.CHECK:
                assert told.get(each.server.address) is not each.is_up
                told[each.server.address] = each.is_up
            elif isinstance(each, QuorumNews):
                assert each.occasion is Occasion.START or each.is_up is not quorum
                quorum = each.is_up
            elif isinstance(each, SorryNews):
                assert each.is_in is (sorry is None)
                sorry = each.server if each.is_in else None
        now = pool.model
        assert quorum is pool.has_quorum
        assert (sorry is not None) is (now.sorry_server is not None and not quorum)
        limit = now.quorum + (-now.hysteresis if quorum else now.hysteresis)
        assert quorum is (pool.weight >= limit)
        wanted = pool.wanted
        for server in now.real_servers:
            is_up, entry = pool.is_up(key_of(server)), wanted.get(key_of(server))
            serves = is_up and (quorum or now.sorry_server is None)
            if serves:
                assert entry == (server, server.weight)
            elif server.inhibits:
                assert entry == (server, 0)
            else:
                assert entry is None
        if not news and isinstance(step, tuple):
            assert wanted == before
    for each in pool.end():
        assert isinstance(each, ServerNews)
        assert each.is_quiet
    assert all(isinstance(server, SorryServer) for server, _ in pool.wanted.values())
