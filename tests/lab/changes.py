"""What changes in the kernel of a router: watched as it happens, and compared before and after."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.network import Router
from lab.waiting import wait_until

MARKS = "192.18.0."
"""Addresses that are added and removed, so that it is known how far was heard."""


@contextmanager
def kernel_changes(router: Router, *, without: str = MARKS) -> Iterator[Callable[[], list[str]]]:
    """What `ip monitor` says of links, addresses, routes and rules, until it is asked: each line
    begins with its time, in brackets. Lines with `without` are left out."""
    command = ["ip", "netns", "exec", router.namespace, "ip", "-ts", "-o", "monitor"]
    with subprocess.Popen(
        [*command, "link", "address", "route", "rule"], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        output = process.stdout
        os.set_blocking(output.fileno(), False)
        heard = b""
        marks = 0

        def read() -> list[str]:
            nonlocal heard, marks
            marks += 1
            mark = f"{MARKS}{marks}/32"

            def has_come() -> bool:
                nonlocal heard
                router.ip(f"address add {mark} dev lo", f"address delete {mark} dev lo")
                heard += output.read() or b""
                return mark.encode() in heard

            wait_until(has_come, 30.0, what="a mark in what ip monitor says")
            lines = heard.decode().splitlines()
            return [line for line in lines if MARKS not in line and without not in line]

        read()
        try:
            yield read
        finally:
            process.terminate()


@dataclass(frozen=True)
class Kernel:
    """What of a router's kernel a daemon may change."""

    addresses: frozenset[str]
    links: frozenset[tuple[str, int, str]]
    """Names, indexes and hardware addresses."""
    routes: str
    rules: str
    ruleset: str
    """Of nftables."""
    parameters: frozenset[tuple[str, str]]
    """Of IPv4 and IPv6, of the links that there are, by their paths."""


def kernel_of(router: Router) -> Kernel:
    def run(*command: str) -> str:
        return router.run(command).stdout

    links = json.loads(run("ip", "-j", "link", "show"))
    return Kernel(
        frozenset(router.addresses()),
        frozenset((link["ifname"], link["ifindex"], link["address"]) for link in links),
        "".join(
            sorted(
                line + "\n"
                for family in ("-4", "-6")
                for line in run("ip", family, "route", "show", "table", "all").splitlines()
            )
        ),
        run("ip", "-4", "rule") + run("ip", "-6", "rule"),
        run("nft", "list", "ruleset"),
        router.call(_parameters),
    )


def _parameters() -> frozenset[tuple[str, str]]:
    found = set()
    for folder in ("ipv4/conf", "ipv6/conf"):
        for path in Path("/proc/sys/net", folder).glob("*/*"):
            if os.access(path, os.R_OK) and path.name not in UNSTABLE:
                found.add((str(path), path.read_text().strip()))
    return frozenset(found)


UNSTABLE = {"stable_secret"}
"""Parameters that cannot be read where they were never written."""
