"""How things of the model are called in a line: by what tells them apart, and in whole.

Secrets are never in it.
"""

from __future__ import annotations

import json
from dataclasses import Field, fields, is_dataclass
from functools import cache
from typing import Any

from fastvrrp.config.arguments import address_text
from fastvrrp.config.as_json import SECRETS, plain, units_of
from fastvrrp.model import (
    CheckTarget,
    Command,
    GarpGroup,
    HmacKey,
    InterfaceDelay,
    LinkbeatInterface,
    Prefix,
    RealServer,
    Route,
    SorryServer,
    Tracked,
    UnicastPeer,
    VirtualAddress,
    VirtualServer,
)

KINDS = {
    "sync_groups": "vrrp_sync_group",
    "track_scripts": "vrrp_script",
    "track_files": "track_file",
    "track_processes": "vrrp_track_process",
    "bfd_instances": "bfd_instance",
    "track_groups": "track_group",
    "static_addresses": "static_ipaddress",
    "static_routes": "static_routes",
    "static_rules": "static_rules",
    "garp_groups": "garp_group",
    "linkbeat_interfaces": "linkbeat_interfaces",
    "interface_delays": "interface_up_down_delays",
    "virtual_server_groups": "virtual_server_group",
    "virtual_servers": "virtual_server",
}
"""Fields of a configuration that are lists of something else than virtual routers, and the keywords
they come from."""
HEADS: dict[type, tuple[str, ...]] = {
    RealServer: ("address", "port"),
    SorryServer: ("address", "port"),
    CheckTarget: ("address", "port"),
    HmacKey: ("number",),
    Route: ("family", "destination"),
}
"""Fields that are said by the name of a thing."""
DEFAULT = "default"
"""What has nothing that is no default."""
KEYED = (RealServer, Tracked, HmacKey)
"""What is the same thing in a list where its name is the same."""


def name_of(thing: object) -> str:
    """What tells a thing apart from others of its kind."""
    if isinstance(thing, VirtualServer):
        return _server_name(thing)
    if isinstance(thing, RealServer | SorryServer | CheckTarget):
        return _socket(thing.address, thing.port)
    if isinstance(thing, Tracked):
        return f"{thing.kind.name.lower()} {thing.name}"
    if isinstance(thing, HmacKey):
        return str(thing.number)
    if isinstance(thing, LinkbeatInterface | InterfaceDelay):
        return thing.interface
    if isinstance(thing, GarpGroup):
        return " ".join(thing.interfaces)
    if isinstance(thing, VirtualAddress):
        where = f" dev {thing.interface}" if thing.interface else ""
        return f"{address_text(thing.address)}/{thing.prefixlen}{where}"
    return str(getattr(thing, "name", None) or text_of(thing))


def text_of(value: object, unit: str = "") -> str:
    """A value in one line, of a thing its name and what is no default; nothing is `none`."""
    if value is None or value in ((), "", b""):
        return "none"
    if isinstance(value, Command):
        user = ":".join(part for part in (value.user, value.group) if part)
        return " ".join(value.arguments) + (f" (as {user})" if user else "")
    if isinstance(value, UnicastPeer):
        bounds = (value.min_ttl, value.max_ttl)
        word = address_text(value.address)
        return word if bounds == (0, 255) else f"{word}[ttl {bounds[0]}-{bounds[1]}]"
    if isinstance(value, VirtualAddress):
        plainest = VirtualAddress(
            value.family,
            value.address,
            value.prefixlen,
            preferred_lifetime=value.preferred_lifetime,
        )
        options = [
            f"{name} {text_of(getattr(value, name), unit)}"
            for name, unit in units_of(VirtualAddress).items()
            if getattr(value, name) != getattr(plainest, name)
        ]
        return _bracketed(f"{address_text(value.address)}/{value.prefixlen}", options)
    if isinstance(value, Tracked):
        weight = f" weight {value.weight}" if value.weight else ""
        return f"{name_of(value)}{weight}{' reverse' if value.is_reversed else ''}"
    if isinstance(value, tuple):
        return " ".join(text_of(item, unit) for item in value)
    if is_dataclass(value) and not isinstance(value, Prefix):
        return _thing(value)
    shown = plain(value, unit)
    return shown if isinstance(shown, str) else json.dumps(shown, ensure_ascii=False)


def _thing(value: Any) -> str:
    """The name of what has one, otherwise its head, and its other fields that are no default."""
    name = getattr(value, "name", None)
    if isinstance(name, str):
        return name
    head = getattr(value, "keyword", "")
    own = HEADS.get(type(value), ())
    if isinstance(value, Route):
        head = text_of(value.destination)
    elif own:
        head = name_of(value)
    options: list[str] = []
    for field, unit in units_of(type(value)).items():
        part = getattr(value, field)
        if field in own or unit in SECRETS or part == _default(type(value), field):
            continue
        text = text_of(part, unit)
        if text != DEFAULT:
            options.append(f"{field} {text}")
    return _bracketed(head, options)


def _bracketed(head: str, options: list[str]) -> str:
    if not options:
        return head or DEFAULT
    return f"{head}[{', '.join(options)}]" if head else ", ".join(options)


def _server_name(server: VirtualServer) -> str:
    if server.mark is not None:
        return f"fwmark {server.mark}"
    protocol = server.protocol.name if server.protocol is not None else ""
    if server.address is None:
        return f"group {server.group} {protocol}"
    return f"{_socket(server.address, server.port)} {protocol}"


def _socket(address: bytes, port: int) -> str:
    text = address_text(address)
    return f"[{text}]:{port}" if ":" in text else f"{text}:{port}"


def _default(model: type, name: str) -> object:
    return _fields(model)[name].default


@cache
def _fields(model: type) -> dict[str, Field[object]]:
    return {field.name: field for field in fields(model)}
