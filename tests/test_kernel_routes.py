"""Routes and rules as the kernel takes them and gives them back, in namespaces of their own."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from errno import EEXIST, ENETUNREACH, ENOENT
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from fastvrrp._rtnetlink import Overrun
from fastvrrp.config import read
from fastvrrp.kernel import routes, rules
from fastvrrp.kernel.rtsockets import Requests, Watch
from fastvrrp.model import InstanceOptions, NextHop, Prefix, Route, Rule
from kernel_namespace import add_veth, inside_namespace, ip, needs_root
from policy_configuration import (
    ADDRESSES_4,
    ADDRESSES_6,
    OURS_ROUTES,
    OURS_RULES,
    ROUTES_4,
    ROUTES_6,
    RULES_4,
    RULES_6,
    instance,
)

pytestmark = needs_root
FAMILIES = (int(socket.AF_INET), int(socket.AF_INET6))


def prefix(text: str) -> Prefix:
    network = ip_network(text)
    return Prefix(network.network_address.packed, network.prefixlen)


def plain(destination: str, gateway: str = "10.0.1.9") -> Route:
    hop = NextHop(ip_address(gateway).packed, "eth1")
    return Route(socket.AF_INET, prefix(destination), next_hops=(hop,))


def ifindex(name: str) -> int:
    try:
        return socket.if_nametoindex(name)
    except OSError:
        raise LookupError(f"interface {name} does not exist") from None


@pytest.fixture
def requests() -> Iterator[Requests]:
    with inside_namespace():
        ip("link set lo up")
        add_veth("eth0", "peer0")
        add_veth("eth1", "peer1")
        for number in (0, 1):
            ip(f"address add 10.0.{number}.1/24 dev eth{number}")
            ip(f"address add 10.0.{number}.100/24 dev eth{number}")
            ip(f"address add fd00:{number}::1/64 dev eth{number} nodad")
        ip("address add fd00::100/64 dev eth0 nodad")
        opened = Requests()
        yield opened
        opened.close()


def written(tmp_path: Path, name: str, vrid: int, *texts: str) -> InstanceOptions:
    """The routes and rules of an instance, as the configuration's reader makes them."""
    path = tmp_path / f"{name}.conf"
    path.write_text(instance(name, vrid, *texts))
    (router,) = read(str(path)).configuration.virtual_routers
    return router.options


@pytest.fixture
def things(tmp_path: Path) -> list[InstanceOptions]:
    return [
        written(tmp_path, "V4", 4, ADDRESSES_4, ROUTES_4, RULES_4),
        written(tmp_path, "V6", 6, ADDRESSES_6, ROUTES_6, RULES_6),
        written(tmp_path, "ours", 7, "10.0.0.101/24", OURS_ROUTES, OURS_RULES),
    ]


def encoded(*wanted: Route, add: bool = True, **more: bool) -> list[bytes]:
    return [routes.encode(one, add, ifindex, ifindex, **more) for one in wanted]


def errors(requests: Requests, messages: list[bytes]) -> list[int]:
    return [refusal.errno for refusal in requests.apply(messages)]


def there(requests: Requests) -> set[object]:
    """The keys of all routes and rules of our protocol, and of another that the tests have."""
    found: set[object] = set()
    for family in FAMILIES:
        for protocol in (18, 77):
            found |= {routes.key_in(body) for body in requests.dump_routes(family, protocol)}
        found |= {rules.key_in(body) for body in requests.dump_rules(family)}
    return found


def test_the_kernel_gives_back_every_route_by_the_same_key(
    requests: Requests, things: list[InstanceOptions]
) -> None:
    before = there(requests)
    every = [route for options in things for route in options.routes]
    refused = requests.apply(encoded(*every))
    # `add` is for where there is no other; and two differ in what only one of them can have.
    assert {refusal.errno for refusal in refused} == {EEXIST}
    left_out = {refusal.position for refusal in refused}
    found = there(requests)
    for position, route in enumerate(every):
        ways = routes.hops_of(route)
        if position in left_out or len(ways) != 1 or ways[0].interface is None:
            continue
        if route.destination in (prefix("2001:db8:2f::/64"), prefix("2001:db8:30::/64")):
            continue  # the kernel makes one of two ways of them
        assert routes.key_of(route, ifindex, ifindex) in found, routes.describe(route)
    again = {refusal.errno for refusal in requests.apply(encoded(*every))}
    assert again == {EEXIST}
    assert errors(requests, encoded(*every, add=False)).count(EEXIST) == 0
    assert there(requests) == before


def test_the_kernel_gives_back_every_rule_by_the_same_key(
    requests: Requests, things: list[InstanceOptions]
) -> None:
    before = there(requests)
    every = list(dict.fromkeys(rule for options in things[:2] for rule in options.rules))
    assert errors(requests, [rules.encode(rule, True) for rule in every]) == []
    found = there(requests)
    for rule in every:
        assert rules.key_of(rule) in found, rules.describe(rule)
    twice = errors(requests, [rules.encode(rule, True) for rule in every])
    assert twice == [EEXIST] * len(every)
    assert errors(requests, [rules.encode(rule, False) for rule in every]) == []
    assert there(requests) == before
    assert errors(requests, [rules.encode(every[0], False)]) == [ENOENT]


def test_a_route_takes_the_place_of_another(requests: Requests) -> None:
    old, new = plain("10.20.0.0/16"), plain("10.20.0.0/16", "10.0.1.8")
    assert errors(requests, encoded(old)) == []
    assert errors(requests, encoded(new, replace=True)) == []
    assert "10.0.1.8" in ip("route show 10.20.0.0/16")
    assert "10.0.1.9" not in ip("route show 10.20.0.0/16")


def test_refusals_have_their_positions_and_the_kernels_words(requests: Requests) -> None:
    many = [plain(f"10.{i}.{j}.0/24") for i in (20, 21) for j in range(100)]
    bad = plain("10.30.0.0/16", "10.99.0.1")
    messages = encoded(*many[:70], bad, *many[70:], many[0])
    refused = requests.apply(messages)
    assert [(one.position, one.errno) for one in refused] == [(70, ENETUNREACH), (201, EEXIST)]
    assert refused[0].reason == "Network is unreachable: Nexthop has invalid gateway"
    assert refused[1].reason == "File exists"
    assert len(requests.dump_routes(socket.AF_INET)) == 200


def test_what_names_no_interface_is_said(requests: Requests) -> None:
    elsewhere = replace(plain("10.20.0.0/16"), next_hops=(NextHop(None, "eth9"),))
    with pytest.raises(LookupError, match="interface eth9 does not exist"):
        routes.encode(elsewhere, True, ifindex, ifindex)


def test_only_removals_of_ours_are_told(requests: Requests) -> None:
    watch = Watch()
    ours, rule = plain("10.20.0.0/16"), Rule(socket.AF_INET, prefix("10.20.0.0/16"), table=9)
    theirs = replace(plain("10.21.0.0/16"), protocol=99)
    requests.apply([*encoded(ours, theirs), rules.encode(rule, True)])
    ip("route del 10.20.0.0/16")
    ip("route del 10.21.0.0/16")
    ip("rule del from 10.20.0.0/16")
    assert [message.kind for message in watch.read(10)] == [25, 33]
    requests.apply([*encoded(ours), *encoded(ours, add=False)])
    (message,) = watch.read(10)
    assert message.port == requests.port
    assert routes.key_in(message.body) == routes.key_of(ours, ifindex, ifindex)
    watch.close()


def test_notifications_that_were_dropped_are_an_overrun(requests: Requests) -> None:
    watch = Watch(2048)
    many = [plain(f"10.{i}.{j}.0/24") for i in (20, 21) for j in range(200)]
    requests.apply([*encoded(*many), *encoded(*many, add=False)])
    with pytest.raises(Overrun):
        watch.read(1000)
    watch.close()


def test_routes_and_rules_are_described_in_the_words_of_ip(things: list[InstanceOptions]) -> None:
    described = [routes.describe(route) for route in things[0].routes]
    assert "10.20.0.0/16 via 10.0.1.9 dev eth1" in described
    assert "10.20.4.1 dev eth1 src 10.0.1.100 metric 7" in described
    assert "throw 10.20.8.0/24 table 120" in described
    assert "default via 10.0.1.9 dev eth1 table 123" in described
    ways = "nexthop via 10.0.1.9 dev eth1 weight 3 nexthop via 10.0.0.9 dev eth0 weight 2"
    assert f"10.20.20.0/24 {ways}" in described
    said = [rules.describe(rule) for options in things for rule in options.rules]
    assert "501: not from 10.20.2.0/24 to 10.20.3.0/24 lookup 131" in said
    assert "506: from all fwmark 0x10/0xf0 lookup 134" in said
    assert "509: from 10.20.4.0/24 goto 600" in said
    assert "514: from 10.20.8.0/24 lookup [l3mdev-table]" in said
    assert "511: from 10.20.5.0/24 blackhole" in said
    assert "-6 500: from 2001:db8:20::/64 lookup 130" in said
