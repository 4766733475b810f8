from typing import Final

REASONS: Final[tuple[str, ...]]
