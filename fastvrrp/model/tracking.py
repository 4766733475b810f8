"""What is tracked, and with which weight it counts."""

from __future__ import annotations

from enum import IntEnum

from fastvrrp.model.frozen import dataclass
from fastvrrp.model.scripts import Command
from fastvrrp.model.units import Nanoseconds

OWN_NAMESPACE = ""
"""The daemon's own, as seen from another one."""


class Tracker(IntEnum):
    """Kinds of what can be tracked."""

    INTERFACE = 1
    SCRIPT = 2
    FILE = 3
    PROCESS = 4
    BFD = 5


@dataclass(frozen=True, slots=True)
class Tracked:
    """One thing that an instance or a sync group tracks."""

    kind: Tracker
    name: str
    """Of the interface, or of the block that gives the tracker, which exists."""
    weight: int = 0
    """Added to the priority; 0 is FAULT where it fails. The tracker's own where none was written,
    and 0 in a member of a sync group that does not allow weights."""
    is_reversed: bool = False
    namespace: str | None = None
    """Of an interface, where it is in another network namespace than what tracks it; OWN_NAMESPACE
    is the daemon's."""


@dataclass(frozen=True, slots=True)
class TrackScript:
    """`vrrp_script`."""

    name: str
    command: Command
    interval: Nanoseconds
    """Between two runs."""
    timeout: Nanoseconds
    """After which a run failed; `interval` where none was written."""
    weight: int = 0
    is_reversed: bool = False
    rise: int = 1
    """Successes in a row until it counts as good."""
    fall: int = 1
    """Failures in a row until it counts as bad."""
    fails_at_first: bool = False
    """`init_fail`: bad until it was good."""


@dataclass(frozen=True, slots=True)
class TrackFile:
    """`track_file`: a file with a number, which is multiplied by the weight."""

    name: str
    path: str
    weight: int = 1
    is_reversed: bool = False
    initial_value: int | None = None
    """`init_file`: written at the start; None writes nothing."""
    overwrites: bool = False
    """The initial value is also written over what is there."""


class ParameterMatch(IntEnum):
    """How the parameters of a process are compared with those that were written."""

    ANY = 0
    """Not at all."""
    EXACT = 1
    PARTIAL = 2
    """The process may have more after them. Where none is written, any."""
    INITIAL = 3
    """The last one may go on, and more may come after it."""


@dataclass(frozen=True, slots=True)
class TrackProcess:
    """`vrrp_track_process`."""

    name: str
    process: str
    parameters: tuple[str, ...] = ()
    match: ParameterMatch = ParameterMatch.ANY
    weight: int = 1
    is_reversed: bool = False
    quorum: int = 1
    """Fewest processes."""
    quorum_max: int | None = None
    """Most processes; None is any number."""
    fork_delay: Nanoseconds = 0
    """How long there must be enough (or too many), after a fork, to count."""
    terminate_delay: Nanoseconds = 0
    """How long there must be too few, after one has ended, to count."""
    full_command: bool = False
    """The first word of the command line is compared, not the name of the process; where there are
    parameters it always is."""
