"""The file that says which virtual routers are not to be master for now.

The daemon writes it, because its next process has to know after a crash, and whoever looks reads
it, to say for how long. Its first line names the boot of the machine, whose clock the times are of;
each line after that is a piece of JSON, written at the end of the file when something begins:
`{"drained": 250.0}` (masters a second), `{"resigned": "VI_1", "until": 12345}` (nanoseconds). When
nothing of it holds any more the file is empty.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass
class Maintenance:
    """What the file says."""

    drain_rate: float | None = None
    """Every virtual router abstains; so many masters a second were to be given away."""
    until: dict[str, int] = field(default_factory=dict)
    """When each of those that have resigned may preempt again, by its name; nanoseconds of the
    monotonic clock, and over if that time has passed."""


def head() -> bytes:
    """The first line of the file."""
    return BOOT_ID.read_bytes()


def drained(rate: float) -> bytes:
    """The line that says so of all."""
    return json.dumps({"drained": rate}).encode() + b"\n"


def resigned(name: str, until: int) -> bytes:
    """The line that says so of one."""
    return json.dumps({"resigned": name, "until": until}).encode() + b"\n"


def read(path: Path) -> Maintenance:
    """What a file says; nothing where there is none, or it is of an earlier boot. A last line that
    is not whole was cut off by a crash. Raises OSError where it cannot be read."""
    found = Maintenance()
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return found
    start = head()
    if not data.startswith(start):
        return found
    for line in data[len(start) :].split(b"\n")[:-1]:
        said = json.loads(line)
        if "drained" in said:
            found.drain_rate = said["drained"]
        else:
            found.until[said["resigned"]] = said["until"]
    return found
