from fastvrrp._table import Segment

FIELDS: tuple[str, ...]
"""What a virtual router has a value of."""

class Snapshot:
    """Every virtual router of a segment at one instant, as lines of Prometheus' text format."""

    count: int
    def __init__(
        self,
        segment: Segment,
        places: dict[int, bytes],
        wall_offset: int,
        as_keepalived: bool = False,
    ) -> None: ...
    def states(self) -> tuple[int, int, int, int]: ...
    def restrained(self) -> tuple[int, int, int]: ...
    def indexes_of(self, start: int, stop: int) -> list[int]: ...
    def labels_of(self, position: int) -> bytes: ...
    def value(self, position: int, field: int, mask: int = 0) -> int: ...
    def lines(
        self,
        name: bytes,
        field: int,
        start: int,
        stop: int,
        mask: int = 0,
        more: bytes = b"",
        only_some: bool = False,
    ) -> bytes: ...
