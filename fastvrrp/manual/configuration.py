"""fastvrrp.conf(5), from the table of keywords."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fastvrrp import __version__
from fastvrrp.config.documentation import default_of, shape_of, use_of
from fastvrrp.config.keywords import Keyword
from fastvrrp.config.reasons import reason_of
from fastvrrp.config.table import TOP, Path
from fastvrrp.manual.roff import ManualPage

SUMMARY = "configuration of fastvrrp, and of keepalived"
LANGUAGE = (
    "A configuration is a list of keywords with their arguments, one a line. Some keywords have a"
    " block: what is between { and } belongs to them. Words are separated by blanks; what is"
    ' between " and " is one word. Everything behind ! or # is a comment. The file'
    " is that of keepalived 2.2 and 2.4, as it stands.",
    "include PATTERN reads the files of that name there. $NAME=TEXT defines a parameter, which"
    " $NAME or ${NAME} stands for; one with several lines ends each but the last with a backslash."
    " ~SEQ(NAME, FIRST, LAST, STEP) in a definition repeats what it is in.",
    "A line that begins with @NAME is read only where that is the name of the machine, or the one"
    " that option -i gives; with @^NAME only where it is not.",
    "Durations are seconds, and may have fractions. The first error does not end the reading:"
    " 'fastvrrp check' prints all that is wrong in a file, with line, column and remedy.",
)
SHAPES = (
    "[ ] may be left out, | is a choice, ... repeats. What is in capitals stands for a value. A"
    " version is that of keepalived that brought a keyword. 'fastvrrp keyword KEYWORD' prints the"
    " same of one."
)
EXAMPLE = """\
vrrp_instance VI_1 {
    interface eth0
    virtual_router_id 51
    priority 200
    advert_int 1
    virtual_ipaddress {
        192.0.2.100/24
    }
}
"""
AT_TOP = "Outside of all blocks"


def page() -> ManualPage:
    """The whole page."""
    made = ManualPage("fastvrrp.conf", 5, SUMMARY, f"fastvrrp {__version__}")
    made.section("Description")
    for text in LANGUAGE:
        made.paragraph(text)
    made.section("Example")
    made.paragraph("One virtual router, on the machine that is to be its master:")
    made.example(EXAMPLE)
    made.section("Keywords")
    made.paragraph(SHAPES)
    for path, rows in _blocks((), TOP.rows):
        made.subsection(" / ".join(path) or AT_TOP)
        made.items((shape_of(row), list(_said(path, row))) for row in rows.values())
    made.section("See also")
    made.paragraph("fastvrrp(8), keepalived.conf(5)")
    return made


def _blocks(
    path: Path, rows: Mapping[str, Keyword]
) -> Iterator[tuple[Path, Mapping[str, Keyword]]]:
    yield path, rows
    for row in rows.values():
        if row.block is not None:
            yield from _blocks((*path, row.name), row.block)


def _said(path: Path, row: Keyword) -> Iterator[str]:
    """Paragraphs about one keyword."""
    yield row.documentation
    facts = []
    if default_of(row):
        facts.append(f"Default: {default_of(row)}.")
    if row.since:
        facts.append(f"Since {row.since}.")
    if row.replaced_by or row.is_ours:
        facts.append(f"fastvrrp {use_of(row)}.")
    if facts:
        yield " ".join(facts)
    if not row.is_acted_on:
        yield f"It has no effect: {reason_of((*path, row.name))}."
    if row.items is not None:
        yield f"A line of the block: {row.items.shape}"
