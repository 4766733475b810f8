"""`fastvrrp keyword KEYWORD`: what the table of keywords says of one."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastvrrp.config.keywords import Keyword
    from fastvrrp.config.table import Path

UNKNOWN = 1


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "keyword",
        help="say what a keyword of the configuration means",
        description="Prints a keyword's arguments with their ranges, its default, the version of"
        " keepalived that brought it and what fastvrrp does with it, for every block that has it."
        " Without a keyword it lists the blocks. Exits with 1 where there is no such keyword.",
        epilog="example: fastvrrp keyword vrrp_instance.priority",
    )
    keyword = parser.add_argument(
        "keyword",
        metavar="KEYWORD",
        nargs="?",
        help="the keyword, or BLOCK.KEYWORD, or with more of the blocks around it",
    )
    # argcomplete looks for this name.
    keyword.completer = lambda prefix, **_: names(prefix)  # type: ignore[attr-defined]
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Explain one keyword, or list the blocks; the exit status."""
    if arguments.keyword is None:
        print("\n".join(_blocks()))
        return 0
    found = _matching(arguments.keyword)
    if not found:
        print(f"fastvrrp: {_unknown(arguments.keyword)}", file=sys.stderr)
        return UNKNOWN
    print("\n\n".join("\n".join(_explained(paths, keyword)) for paths, keyword in found))
    return 0


def names(prefix: str) -> list[str]:
    """What may be written after `keyword` and starts with `prefix`."""
    from fastvrrp.config.table import rows

    if "." in prefix:
        known = {".".join(path[start:]) for path, _ in rows() for start in range(len(path))}
    else:
        known = {path[-1] for path, _ in rows()}
    return sorted(name for name in known if name.startswith(prefix))


def _blocks() -> Iterator[str]:
    from fastvrrp.config.table import rows

    for path, keyword in rows():
        if keyword.is_block:
            yield f"{'.'.join(path)}: {keyword.documentation}"


def _matching(name: str) -> list[tuple[list[Path], Keyword]]:
    """Rows whose path ends with the words of `name`, each with all its paths."""
    from fastvrrp.config.table import rows

    end = tuple(name.split("."))
    found: dict[int, tuple[list[Path], Keyword]] = {}
    for path, keyword in rows():
        if path[-len(end) :] == end:
            found.setdefault(id(keyword), ([], keyword))[0].append(path)
    return list(found.values())


def _explained(paths: list[Path], keyword: Keyword) -> Iterator[str]:
    from fastvrrp.config.documentation import default_of, shape_of, use_of

    yield shape_of(keyword)
    yield f"    {keyword.documentation}"
    places = [".".join(path[:-1]) or "the top" for path in paths]
    yield f"    in: {', '.join(places)}"
    if default_of(keyword):
        yield f"    default: {default_of(keyword)}"
    if keyword.is_repeatable:
        yield "    may be repeated"
    if keyword.since:
        yield f"    since: keepalived {keyword.since}"
    yield f"    fastvrrp: {use_of(keyword)}"
    if keyword.items is not None:
        yield f"    a line of it: {keyword.items.shape}"
    if keyword.block is not None:
        yield f"    inside: {' '.join(keyword.block)}"


def _unknown(name: str) -> str:
    """A complaint about a name that fits no row, with the nearest that does."""
    from fastvrrp.config.spelling import nearest
    from fastvrrp.config.table import rows

    block, _, word = name.rpartition(".")
    inside = [path[-1] for path, _ in rows() if not block or block.split(".")[-1] in path[:-1]]
    suggestion = nearest(word, inside)
    text = f"{name} is no keyword"
    if suggestion is None:
        return f"{text}; 'fastvrrp keyword' lists the blocks"
    return f"{text}; did you mean {f'{block}.{suggestion}' if block else suggestion}?"
