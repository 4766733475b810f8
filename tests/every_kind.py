"""A configuration with a virtual router of each kind: what must not be lost with any of them.

The scripts that it names are written into a folder: `record`, which adds its arguments to `told`,
and `fails`. The FIFO is `fifo` there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastvrrp._table import Segment
from fastvrrp.observe import details
from lab import Fastvrrp, wait_until

INTERVAL = 2
"""Seconds between adverts: a slow machine starts a process in less than three of these."""
PATIENCE = 3 * INTERVAL + 156 / 256
"""Seconds that the backup has, whose priority is 100."""
INIT, BACKUP, MASTER, FAULT = range(4)

HEAD = """
global_defs {
    script_user root
    vrrp_notify_fifo FOLDER/fifo
}
vrrp_script fails {
    script "/bin/false"
    interval 1
    weight -20
    rise 2
    fall 1
}
vrrp_script forbids {
    script "/bin/false"
    interval 1
    fall 1
}
vrrp_track_file number {
    file "FOLDER/number"
    weight 1
}
vrrp_track_process missing {
    process nobody_is_called_so
    weight 10
}
static_ipaddress {
    192.0.2.77/32 dev lo
}
static_routes {
    198.51.100.0/24 via 127.0.0.1 dev lo
}
static_rules {
    from 198.51.100.0/24 lookup 210
}
"""

PRIORITIES = {"tracks": -20, "counts": +3}
"""What trackers make of the master's priorities."""
VRIDS = {
    name: number
    for number, name in enumerate(
        (
            *("plain", "three", "six", "unicast", "pass", "ah", "signed", "left", "right"),
            *("tracks", "routes", "refuses", "excludes", "counts"),
        ),
        1,
    )
}
HELD = "held"
"""The name of one that a script keeps in FAULT."""


def instance(
    name: str,
    vrid: int,
    *lines: str,
    priority: int = 200,
    addresses: str = "",
    interval: float = INTERVAL,
    namespace: str | None = None,
) -> str:
    place = f"net_namespace {namespace}\n    " if namespace is not None else ""
    body = "\n    ".join(lines)
    addresses = addresses or f"10.0.0.{100 + vrid}/24"
    return f"""
vrrp_instance {name} {{
    {place}interface eth0
    virtual_router_id {vrid}
    priority {priority}
    advert_int {interval:g}
    {body}
    virtual_ipaddress {{
        {addresses}
    }}
}}
"""


def write_scripts(folder: Path) -> None:
    (folder / "record").write_text(f'#!/bin/sh\necho "$@" >>{folder}/told\n')
    (folder / "record").chmod(0o755)
    (folder / "told").touch()
    (folder / "number").write_text("3\n")


def every_kind(
    folder: Path, here: str, there: str, priority: int, namespace: str | None = None
) -> str:
    """`here` and `there` are the own and the peer's address on eth0; `namespace` is where the
    virtual routers are to be, None is the daemon's own network namespace."""
    records = f'notify "{folder}/record"'
    lines: dict[str, tuple[str, ...]] = {
        "plain": (records,),
        "three": ("version 3", "use_vmac", records),
        "six": ("version 3", "use_vmac"),
        "unicast": ("version 3", f"unicast_src_ip {here}", f"unicast_peer {{\n {there}\n}}"),
        "pass": ("authentication {\n auth_type PASS\n auth_pass s3cret\n}",),
        "ah": ("authentication {\n auth_type AH\n auth_pass s3cret\n}",),
        "signed": ("version 3", "auth_hmac {\n key 1 0123456789abcdef0123456789ABCDEF\n}"),
        "left": (records,),
        "right": (),
        "tracks": ("track_script {\n fails\n}",),
        "routes": (
            "virtual_routes {\n 203.0.113.0/24 dev eth0\n}",
            "virtual_rules {\n from 203.0.113.0/24 lookup 200\n}",
        ),
        "refuses": ("version 3", "use_vmac", "no_accept"),
        "excludes": (
            "virtual_ipaddress_excluded {\n 10.0.0.213/24\n 2001:db8::13/64\n}",
            "promote_secondaries",
        ),
        "counts": ("track_file {\n number\n}", "track_process {\n missing\n}"),
    }
    six = "fe80::103/64\n 2001:db8::3/64"
    instances = [
        instance(
            name,
            vrid,
            *lines[name],
            priority=priority,
            addresses=six if name == "six" else "",
            namespace=namespace,
        )
        for name, vrid in VRIDS.items()
    ]
    held = instance(HELD, 50, "track_script {\n forbids\n}", records, namespace=namespace)
    group = f"vrrp_sync_group both {{\n group {{\n left\n right\n }}\n {records}\n}}\n"
    return HEAD.replace("FOLDER", str(folder)) + "".join((*instances, held, group))


def records(daemon: Fastvrrp) -> dict[str, dict[str, Any]]:
    """Each virtual router by its name, as another process reads it from the segment."""
    path = daemon.folder / "fastvrrp.state"
    return {router["name"]: router for router in Segment(path)} if path.exists() else {}


def wait_all(daemon: Fastvrrp, state: int, *names: str, timeout: float = 60.0) -> None:
    def are() -> bool:
        found = records(daemon)
        return all(name in found and found[name]["state"] == state for name in names)

    wait_until(are, timeout, what=lambda: f"state {state} of all:\n{daemon.log()}")


def wait_known(daemon: Fastvrrp) -> None:
    """Waits until the results of the scripts are where a successor finds them."""

    def are_known() -> bool:
        path = daemon.folder / "fastvrrp.details"
        if not path.exists():
            return False
        try:
            with path.open("rb") as file:
                found = details.read(file.fileno()).trackers
        except ValueError:
            return False  # nothing was written into it yet
        return [each.state for each in found if each.kind == "script"] == [0, 0]

    wait_until(are_known, 30.0, what="the scripts' results in the details")
