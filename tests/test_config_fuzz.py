"""Configurations made from the table of keywords, right and wrong: reading them never fails.

FASTVRRP_FUZZ_SECONDS lets it go on for so long (`make fuzz`); otherwise it takes a few seconds.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import config_oracle
from fastvrrp.config import read
from fastvrrp.config.keywords import Keyword
from fastvrrp.config.table import TOP

SECONDS = float(os.environ.get("FASTVRRP_FUZZ_SECONDS", "0"))
LONGEST_READING = 5.0
"""Seconds of the processor for a few kB; a reader that is slower hangs."""
DEEPEST = 4
RANGE = re.compile(r"(-?\d+)-(\d+)")
WORDS = {
    "ADDRESS": ["192.0.2.1", "2001:db8::1", "fe80::1", "192.0.2.300", "::g"],
    "ADDRESS[/LENGTH]": ["192.0.2.1/24", "2001:db8::1/64", "192.0.2.1/33"],
    "INTERFACE": ["eth0", "eth0.100", "a-name-too-long-for-it", "br/0"],
    "PASSWORD": ["1111", "'12 34'", '"longer than eight"'],
}
ODD = [
    *("{", "}", '"', "'", "\\", "#", "!", "$", "@", "~", "''", '""', "\\x41", '"a\\x41 b"', "//"),
    *(
        "${A}",
        "$A",
        "${B}",
        "$M",
        "${_PWD}",
        "${_RANDOM 1 9}",
        "${_HASH}",
        "${",
        "\u00e9",
        "\uff5b",
    ),
    *("-1", "0", "999999999999999999999999", "1.5", "on", "off", "\t", "\udcff", "x" * 70),
]
LINES = [
    *("include parts/one.inc", "include parts/*.inc", "includea nothing", "include fuzzed.conf"),
    *("include_check", "include {a,b}", "includem parts/circle.inc", "$A=7", "$A=${B}", "$B=${A}"),
    *("$B=a b", "$M=\\", "a ${A} \\", "$M", "@main $A=2", "@^main x", "@main", "$C=@main", "$C x"),
    *("~SEQ(N,1,3) 192.0.2.${N}", "~SEQ(N,1) ~SEQ(O,5,-1,1) $M", "~LST({A,B},{1,2},{3}) ${A}${B}"),
    *("~SEQ(N,1,99999999) x", "~SEQx(N,0x10,0x20) fe80::${N}", "~SEQ(N", "~LST(A)", "~SEQ($A,2) x"),
]


def shaped(shape: str) -> st.SearchStrategy[str]:
    """Words for what follows a keyword, as its documentation writes it; sometimes others."""
    parts = [_word(part.strip("[]")) for part in shape.split() if part != "..."]
    return st.tuples(*parts).map(" ".join)


def _word(shape: str) -> st.SearchStrategy[str]:
    limits = RANGE.match(shape)
    if limits is not None:
        least, most = int(limits[1]), int(limits[2])
        return st.integers(least - 1, most + 1).map(str) | st.sampled_from(ODD)
    if "|" in shape:
        return st.sampled_from([*shape.split("|"), "nothing"])
    return st.sampled_from(WORDS.get(shape, [shape.lower(), "NAME", *WORDS["ADDRESS"]]))


@st.composite
def block(draw: st.DrawFn, rows: Mapping[str, Keyword], depth: int) -> str:
    """Some lines of a block with these rows, and of what does not belong there."""
    lines = []
    for _ in range(draw(st.integers(0, 5))):
        kind = draw(st.integers(0, 9))
        if kind == 0:
            lines.append(" ".join(draw(st.lists(st.sampled_from(ODD), max_size=4))))
        elif kind == 1:
            lines.append(draw(st.sampled_from(LINES)))
        elif rows:
            lines.append(draw(keyword(rows[draw(st.sampled_from(sorted(rows)))], depth)))
    return draw(st.sampled_from(["\n", "\n", "\r\n", " \n\n"])).join(lines)


@st.composite
def keyword(draw: st.DrawFn, row: Keyword, depth: int) -> str:
    """One keyword with its words, and its block; now and then a brace is missing."""
    text = f"{row.name} {draw(shaped(row.syntax.shape))}"
    if not row.is_block or depth == 0:
        return text
    if row.block is not None:
        inside = draw(block(row.block, depth - 1))
    else:
        assert row.items is not None
        inside = "\n".join(draw(st.lists(shaped(row.items.shape), max_size=3)))
    opening = draw(st.sampled_from([" {\n", " {\n", "\n{\n", " { ", "\n"]))
    closing = draw(st.sampled_from(["\n}", "\n}", " }", ""]))
    return text + opening + inside + closing


def check_text(text: str) -> None:
    """Read a text as fuzzed.conf of the folder of now, and judge what was said of it."""
    Path("fuzzed.conf").write_bytes(text.encode("utf-8", "surrogateescape"))
    began = time.process_time()
    reading = read("fuzzed.conf", config_id="main")
    assert time.process_time() - began < LONGEST_READING
    config_oracle.check(reading)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with files to include."""
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "one.inc").write_text("vrrp_instance ONE {\n")
    (tmp_path / "parts" / "circle.inc").write_text("include circle.inc\n}\n")
    return tmp_path


@pytest.mark.timeout(SECONDS + 180)
def test_whatever_the_table_makes_is_read(folder: Path) -> None:
    @settings(
        max_examples=150,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(block(TOP.rows, DEEPEST))
    def is_read(text: str) -> None:
        check_text(text)

    end = time.monotonic() + SECONDS
    with contextlib.chdir(folder):
        is_read()
        while time.monotonic() < end:
            is_read()


@pytest.mark.timeout(180)
def test_whatever_the_bytes_are_is_read(folder: Path) -> None:
    @settings(max_examples=100, deadline=None, database=None)
    @given(st.binary(max_size=300))
    def is_read(data: bytes) -> None:
        check_text(data.decode("utf-8", "surrogateescape"))

    with contextlib.chdir(folder):
        is_read()
