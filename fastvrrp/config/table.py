"""The whole table: what may stand at the top of a configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fastvrrp.config import daemon_keywords, lvs_keywords, route_keywords, tracking_keywords
from fastvrrp.config.arguments import Text
from fastvrrp.config.keywords import FLAG, Keyword, Table
from fastvrrp.config.syntax import One
from fastvrrp.config.vrrp_keywords import GLOBAL_DEFINITIONS, INSTANCE

TOP = Table().add(
    Keyword(
        "global_defs",
        FLAG,
        "What holds for the whole daemon.",
        block={**GLOBAL_DEFINITIONS.rows, **daemon_keywords.DAEMON.rows},
        is_repeatable=True,
    ),
    *daemon_keywords.AT_TOP,
    *route_keywords.STATIC,
    *tracking_keywords.BLOCKS,
    Keyword(
        "vrrp_instance",
        One(Text("NAME")),
        "One virtual router.",
        block=INSTANCE.rows,
        is_repeatable=True,
    ),
    *lvs_keywords.BLOCKS,
)

Path = tuple[str, ...]
"""Names of blocks from the outermost on, and of a keyword in the last of them."""


def rows(
    table: Mapping[str, Keyword] = TOP.rows, path: Path = ()
) -> Iterator[tuple[Path, Keyword]]:
    """Every row of a table, a block before what is inside it."""
    for name, keyword in table.items():
        yield (*path, name), keyword
        if keyword.block is not None:
            yield from rows(keyword.block, (*path, name))
