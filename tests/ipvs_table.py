"""The kernel's IPVS table for tests: as ipvsadm(8) shows it, and as fastvrrp makes it of a
configuration whose real servers are all well."""

from __future__ import annotations

import subprocess
from pathlib import Path

from fastvrrp.config import read
from fastvrrp.lvs.services import Services, destination_of, services_of
from fastvrrp.model import Configuration


def ipvsadm(*arguments: str) -> str:
    """What ipvsadm prints in the namespace of this thread."""
    return subprocess.run(
        ["ipvsadm", *arguments], check=True, capture_output=True, text=True
    ).stdout


def saved() -> list[str]:
    """Services and destinations as `ipvsadm -S` has them, sorted: the kernel's order is that of a
    hash table."""
    return sorted(ipvsadm("-S", "-n").splitlines())


def thresholds() -> list[str]:
    """The destinations' thresholds, which `saved` has not."""
    lines = ipvsadm("-L", "-n", "--thresholds").splitlines()[3:]
    return sorted(" ".join(line.split()) for line in lines if line.startswith("  ->"))


def configured(text: str, folder: Path) -> Configuration:
    """What a configuration says."""
    path = folder / "keepalived.conf"
    path.write_text(text)
    return read(str(path), "test").configuration


def want(services: Services, configuration: Configuration) -> None:
    """Has every real server be there with its weight."""
    groups = {group.name: group for group in configuration.virtual_server_groups}
    for server in configuration.virtual_servers:
        found = [destination_of(real, real.weight) for real in server.real_servers]
        group = groups.get(server.group or "")
        for service in services_of(server, group, services.mark_of(server)):
            services.want(service, {destination.key: destination for destination in found})
