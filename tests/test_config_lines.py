"""Statements: words, braces, quotes, comments, and where each word stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastvrrp.config.complaints import Complaints
from fastvrrp.config.lines import Lines
from fastvrrp.config.source import Reach, expand_braces, matching_files
from fastvrrp.config.spelling import nearest
from fastvrrp.config.statement import Statement
from fastvrrp.config.tokens import unquote


def statements_of(tmp_path: Path, text: str) -> list[Statement]:
    path = tmp_path / "x.conf"
    path.write_text(text)
    return list(Lines(Complaints()).of_file(str(path)))


def shown(statement: Statement) -> str:
    """Words with bars between them, and the brace that ends the statement."""
    brace = "{" if statement.opens else "}" if not statement.words else ""
    return "|".join(statement.words) + brace


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("a b", ["a|b"]),
        ("a b {", ["a|b{"]),
        ("a{", ["a{"]),
        ("}", ["}"]),
        ("a { b } c", ["a{", "b", "}", "c"]),
        ("{ a", ["{", "a"]),
        ("} }", ["}", "}"]),
        ("a # b {", ["a"]),
        ("a!b", ["a"]),
        ('a "b # c" d', ["a|b # c|d"]),
        ('a "b{" }', ["a|b{", "}"]),
        ('a"b c"d', ["ab cd"]),
        ("a ''", ["a|"]),
        ("a ${B}.c", ["a|${B}.c"]),
        ("\ta\r", ["a"]),
        ("a\u00a0b", ["a\u00a0b"]),
        ("# a", []),
        ("", []),
    ],
)
def test_a_line_is_split_into_statements(tmp_path: Path, line: str, expected: list[str]) -> None:
    assert [shown(statement) for statement in statements_of(tmp_path, line)] == expected


@pytest.mark.parametrize(
    ("word", "meaning"),
    [
        ('"a b"', "a b"),
        ("'a b'", "a b"),
        ('a" b "c', "a b c"),
        (r'"\t\n\r\a\b\E\f\v"', "\t\n\r\a\b\x1b\f\v"),
        (r'"\x41\x4\101\7"', "A\x04A\x07"),
        (r'"\cA\cZ"', "\x01\x1a"),
        (r'"\\ \" \q"', '\\ " q'),
        (r"a\b", r"a\b"),
        (r"\"a", '"a'),
        ('"a\\"', "a\\"),
    ],
)
def test_quotes_and_escapes(word: str, meaning: str) -> None:
    assert unquote(word) == meaning


@pytest.mark.parametrize(
    ("line", "columns"),
    [
        ("  ab cd", [3, 6, 8]),
        ("ab { cd } ef", [1, 4, 6, 9, 11]),
        ('ab "c d" # e', [1, 4]),
    ],
)
def test_columns_are_found_again(tmp_path: Path, line: str, columns: list[int]) -> None:
    found = []
    for statement in statements_of(tmp_path, line):
        count = len(statement.words) or 1
        found += [statement.place(index).column for index in range(count)]
    assert set(found) <= set(columns)
    assert found[0] == columns[0]


def test_past_the_last_word_is_the_end(tmp_path: Path) -> None:
    (statement,) = statements_of(tmp_path, "  ab cd  ")
    assert statement.place(2).column == 8


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("a", ["a"]),
        ("a{b,c}", ["ab", "ac"]),
        ("{a,b{c,d}}e", ["ae", "bce", "bde"]),
        ("x{,y}", ["x", "xy"]),
    ],
)
def test_brace_expressions_of_includes(name: str, names: list[str]) -> None:
    assert sorted(expand_braces(name)) == sorted(names)


def test_wildcards_match_no_hidden_files(tmp_path: Path) -> None:
    for name in ("b.conf", "a.conf", ".hidden.conf", "c.txt"):
        (tmp_path / name).touch()
    found = [Path(path).name for path in matching_files("*.conf", str(tmp_path), Reach())]
    assert found == ["a.conf", "b.conf"]


def test_wildcards_of_directories(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.conf").touch()
    assert len(matching_files(f"{tmp_path}/*/x.conf", "/nowhere", Reach())) == 2


@pytest.mark.parametrize(
    ("word", "known"),
    [
        ("virtual_ruter_id", "virtual_router_id"),
        ("prioirty", "priority"),
        ("state_", "state"),
        ("zork", None),
        ("x", None),
        ("a" * 100, None),
    ],
)
def test_nearest_word(word: str, known: str | None) -> None:
    assert nearest(word, ["priority", "state", "virtual_router_id"]) == known
