"""`fastvrrp bench load`: a crowd of virtual routers against a device under test."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from fastvrrp.cli.bench_guard import guarded, refuse

VIRTUAL_IPV4 = "10.64.{interface}.{vrid}"
VIRTUAL_IPV6 = "fe80::1:{vrid:x}"


def register(kinds: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    load = kinds.add_parser(
        "load",
        help="a load generator against a device under test",
        description="Speak as many virtual routers on interfaces of this machine, and show what the"
        " device behind them answers. 'masters' speak and then say farewell; 'dying' ones fall"
        " silent, and the device takes over; 'flapping' ones change their priority up and down;"
        " 'hostile' ones say what must be refused. Needs root. Not for a network that others use.",
        epilog="example: fastvrrp bench load -i eth1 --kind hostile --hostile checksum"
        " --hostile ttl --routers 200 --rate 50000",
    )
    load.add_argument(
        "-i",
        "--interface",
        action="append",
        required=True,
        metavar="IFACE",
        help="speak there; may be repeated, as one has 255 virtual routers of a family at most",
    )
    load.add_argument(
        "--kind",
        choices=("masters", "dying", "flapping", "hostile"),
        default="masters",
        help="(%(default)s)",
    )
    load.add_argument("--routers", type=int, default=255, metavar="N", help="(%(default)s)")
    load.add_argument(
        "--rate",
        type=float,
        metavar="N",
        help="packets a second, of all together (each virtual router every advert interval)",
    )
    load.add_argument(
        "--duration", type=float, default=10.0, metavar="S", help="seconds to speak (%(default)g)"
    )
    load.add_argument("--version", type=int, choices=(2, 3), default=2, help="(%(default)s)")
    load.add_argument(
        "--family", type=int, choices=(4, 6), action="append", help="may be repeated (4)"
    )
    load.add_argument("--priority", type=int, default=254, metavar="P", help="(%(default)s)")
    load.add_argument(
        "--low-priority",
        type=int,
        default=1,
        metavar="P",
        help="flapping: the other priority (%(default)s)",
    )
    load.add_argument(
        "--flap-interval",
        type=float,
        default=5.0,
        metavar="S",
        help="flapping: keep each priority for so many seconds (%(default)g)",
    )
    load.add_argument(
        "--farewell", action="store_true", help="dying: say so, with priority 0, not in silence"
    )
    load.add_argument(
        "--hostile",
        action="append",
        default=[],
        metavar="WHAT",
        help="hostile: what is wrong; may be repeated: priority (too high), checksum, ttl, vrid"
        " (unknown), version, type, password, interval, addresses, address-count, length",
    )
    load.add_argument(
        "--advert-interval", type=float, default=1.0, metavar="S", help="seconds (%(default)g)"
    )
    for family, default in ((4, VIRTUAL_IPV4), (6, VIRTUAL_IPV6)):
        load.add_argument(
            f"--virtual-ipv{family}",
            default=default,
            metavar="ADDRESS",
            help="a virtual router's address; {interface} is the number of its -i, from 0, and"
            f" {{vrid}} its VRID ({default})",
        )
    load.add_argument(
        "--even-default-route",
        action="store_true",
        help="speak also on an interface that carries the default route",
    )
    load.add_argument("--json", type=Path, metavar="FILE", help="write sent and answered there")
    load.set_defaults(run=lambda arguments: guarded(_load, arguments, ["rich"], needs_root=True))


def _load(arguments: argparse.Namespace) -> int:
    from fastvrrp.bench import screen
    from fastvrrp.bench.crowd import Speech
    from fastvrrp.bench.load import Load, carries_default_route, run
    from fastvrrp.bench.machine import describe

    addresses = {4: arguments.virtual_ipv4, 6: arguments.virtual_ipv6}
    load = Load(
        kind=arguments.kind,
        routers=arguments.routers,
        duration=arguments.duration,
        speech=Speech(arguments.version, arguments.advert_interval, addresses),
        families=tuple(dict.fromkeys(arguments.family or (4,))),
        priority=arguments.priority,
        low_priority=arguments.low_priority,
        flap_interval=arguments.flap_interval,
        says_farewell=arguments.farewell,
        hostile=tuple(dict.fromkeys(arguments.hostile)),
        rate=arguments.rate,
    )
    interfaces = list(dict.fromkeys(arguments.interface))
    for name in interfaces:
        if carries_default_route(name) and not arguments.even_default_route:
            return refuse(
                f"{name} carries the default route, so others may depend on what is behind it; if"
                " they do not, add --even-default-route"
            )
    with screen.progress() as say:
        result = run(load, interfaces, say)
    screen.show_load(load, interfaces, result)
    if arguments.json is not None:
        whole = {"machine": describe(), "load": load.to_json(), "interfaces": interfaces, **result}
        arguments.json.write_text(json.dumps(whole, indent=2) + "\n")
    return 0
