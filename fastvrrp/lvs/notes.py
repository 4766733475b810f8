"""What of the kernel's IPVS is ours, the marks of groups, and timeouts as they were before us: in a
file beside the state segment.

A process of health checkers that takes over from one that died knows by it what is wanted no more,
gives every group the mark that its service has, and leaves the timeouts as the dead one found them.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

from fastvrrp.kernel.ipvs_messages import Timeouts
from fastvrrp.kernel.netns import status_of
from fastvrrp.lvs.marks import Owner
from fastvrrp.model import IpvsServiceKey, Transport

NAMESPACES = Path("/run/netns")  # ip-netns(8)


class Noted(NamedTuple):
    """What a file has."""

    services: Collection[IpvsServiceKey] = ()
    marks: Mapping[Owner, int] = {}
    timeouts: Timeouts | None = None


class Notes:
    """The file. It may be used by one thread at a time."""

    def __init__(self, path: Path, namespace: str | None) -> None:
        """`namespace` is that of IPVS; None is the process's own."""
        self._path = path
        self._namespace = NAMESPACES / namespace if namespace else Path("/proc/self/ns/net")

    def read(self) -> Noted:
        """What another process has noted of this namespace; nothing where none has."""
        try:
            known = json.loads(self._path.read_text())
            if known["namespace"] == self._inode():
                before = known.get("timeouts")  # which earlier versions do not note
                return Noted(
                    [_key(*words) for words in known["services"]],
                    {(group, _protocol(name)): mark for group, name, mark in known["marks"]},
                    None if before is None else Timeouts(*map(int, before)),
                )
        except (OSError, ValueError, KeyError, TypeError):
            pass  # there is none, or it was cut short
        return Noted()

    def write(
        self,
        services: Collection[IpvsServiceKey],
        marks: Mapping[Owner, int],
        timeouts: Timeouts | None = None,
    ) -> None:
        """Notes that instead of what was noted. Raises OSError."""
        known = {
            "namespace": self._inode(),
            "services": [_words(key) for key in services],
            "marks": [
                (group, None if protocol is None else protocol.name, mark)
                for (group, protocol), mark in marks.items()
            ],
            "timeouts": timeouts and (timeouts.tcp, timeouts.tcp_fin, timeouts.udp),
        }
        # A crash must find the old file or the new one, and never half of one.
        unfinished = self._path.with_suffix(".ipvs_new")
        unfinished.write_text(json.dumps(known))
        unfinished.replace(self._path)

    def remove(self) -> None:
        """Nothing of ours is left. Raises OSError."""
        self._path.unlink(missing_ok=True)

    def _inode(self) -> int:
        return status_of(self._namespace).st_ino


def _words(key: IpvsServiceKey) -> tuple[int, str | None, str, int, int]:
    protocol = None if key.protocol is None else key.protocol.name
    return int(key.family), protocol, key.address.hex(), key.port, key.mark


def _key(family: int, protocol: str | None, address: str, port: int, mark: int) -> IpvsServiceKey:
    return IpvsServiceKey(family, _protocol(protocol), bytes.fromhex(address), port, mark)


def _protocol(name: str | None) -> Transport | None:
    return None if name is None else Transport[name]
