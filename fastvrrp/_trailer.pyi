from collections.abc import Callable, Iterable
from typing import Final

SHORTEST_KEY: Final[int]
LONGEST_KEY: Final[int]

class Authenticator:
    def __init__(
        self,
        keys: Iterable[tuple[int, bytes]],
        active_key: int,
        *,
        is_required: bool = True,
        window: int = 0,
        clock: Callable[[], int] = ...,
    ) -> None: ...
    def configure(
        self,
        keys: Iterable[tuple[int, bytes]],
        active_key: int,
        *,
        is_required: bool = True,
        window: int = 0,
    ) -> None: ...
