"""Which files an `include` names, and what it minds.

Of a plain `include` nothing is an error: a file that is missing is said, and nothing is included.
The other letters, and `include_check` from where it stands to the end of its file and of those that
the file includes, make errors of it:

    r  readable        what matches must be a file that can be read
    m  match           a name without wildcards must match
    w  wildcard_match  so must one with wildcards
    b  brace_match     so must every name that a brace expression makes
    a                  all of them
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntFlag

from fastvrrp.config.complaints import Complaints
from fastvrrp.config.source import (
    BRACES,
    Reach,
    Source,
    SourceError,
    expand_braces,
    included_source,
    is_pattern,
    matching_files,
)
from fastvrrp.config.statement import Statement


class Checks(IntFlag):
    """What is an error."""

    NONE = 0
    READABLE = 1
    MATCH = 2
    WILDCARD_MATCH = 4
    BRACE_MATCH = 8
    ALL = 15


NAMES = {
    "readable": Checks.READABLE,
    "match": Checks.MATCH | Checks.READABLE,
    "wildcard_match": Checks.WILDCARD_MATCH | Checks.MATCH | Checks.READABLE,
    "brace_match": Checks.BRACE_MATCH | Checks.READABLE,
}
INCLUDES = {
    "include": Checks.NONE,
    "includer": NAMES["readable"],
    "includem": NAMES["match"],
    "includew": NAMES["wildcard_match"],
    "includeb": NAMES["brace_match"],
    "includea": Checks.ALL,
}
INCLUDE_CHECK = "include_check"


def checks_of(statement: Statement, checks: Checks, complaints: Complaints) -> Checks:
    """What `include_check` makes of the checks that held before it."""
    words = statement.words[1:]
    if not words:
        return Checks.ALL
    if not words[0].startswith(("+", "-")):
        checks = Checks.NONE
    for index, word in enumerate(words, 1):
        change = NAMES.get(word.lstrip("+-"))
        if change is None:
            complaints.error(
                statement, index, f"include_check {word} is unknown; write {', '.join(NAMES)}"
            )
        elif word.startswith("-"):
            checks &= ~change | Checks.READABLE
        else:
            checks |= change
    return checks


def included_paths(
    statement: Statement, name: str, checks: Checks, reach: Reach, complaints: Complaints
) -> Iterator[str]:
    """Paths that an include names; a pattern that matches none is complained of."""
    names = expand_braces(name) if reach.left >= 0 else [name]
    for each in names:
        try:
            if is_pattern(each):
                paths = matching_files(each, statement.source.directory, reach)
            else:
                reach.take(1)
                paths = [_beside(each, statement.source)]
        except SourceError as error:
            complaints.error(statement, 1, f"{error}; nothing is included")
            if reach.left < 0:
                return
            continue
        if not paths and checks & Checks.WILDCARD_MATCH:
            complaints.error(statement, 1, f"no file matches {each}")
            complaints.misses_files = True
        yield from paths


def opened(
    path: str, number: int, statement: Statement, checks: Checks, complaints: Complaints
) -> Source | None:
    """A file that a statement includes, or None after a complaint."""
    try:
        return included_source(path, number)
    except SourceError as error:
        minds = Checks.MATCH if error.is_missing else Checks.READABLE
        if error.is_missing and BRACES.search(statement.words[1]) is not None:
            minds = Checks.BRACE_MATCH
        if checks & minds:
            complaints.error(statement, 1, f"{error}; nothing is included")
            complaints.misses_files = True
        else:
            complaints.warning(statement, 1, f"{error}; nothing is included", is_ours=True)
    return None


def _beside(name: str, source: Source) -> str:
    if name.startswith("/") or source.directory == ".":
        return name
    return f"{source.directory}/{name}"
