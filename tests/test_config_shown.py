"""The part of docs/keywords.md that says which test shows what."""

from __future__ import annotations

from pathlib import Path as FilePath

import pytest

from fastvrrp.config.documentation import pages
from fastvrrp.config.reasons import REASONS, reason_of
from fastvrrp.config.shown import markers, paths_of
from fastvrrp.config.table import rows

ROWS = list(rows())

MARKED = """
import pytest
OPTIONS = ("virtual_ipaddress/scope", "virtual_ipaddress/brd")

@pytest.mark.keywords("vrrp_instance/priority", *OPTIONS)
def test_one() -> None: ...

@pytest.mark.keywords("priority")
class TestTwo:
    @pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.keywords("vrrp_script/rise"))])
    def test_three(self, x: int) -> None: ...

@pytest.mark.timeout(3)
def test_four() -> None: ...
"""


def test_markers_are_read_from_the_text_of_the_tests(tmp_path: FilePath) -> None:
    (tmp_path / "test_some.py").write_text(MARKED)
    (tmp_path / "test_all.py").write_text("pytestmark = [pytest.mark.keywords('track_file')]\n")
    (tmp_path / "other.py").write_text(MARKED)
    assert markers(tmp_path) == {
        "track_file": ["test_all"],
        "vrrp_instance/priority": ["test_some::test_one"],
        "virtual_ipaddress/scope": ["test_some::test_one"],
        "virtual_ipaddress/brd": ["test_some::test_one"],
        "priority": ["test_some::TestTwo"],
        "vrrp_script/rise": ["test_some::TestTwo::test_three"],
    }


def test_a_word_names_the_rows_whose_path_ends_with_it() -> None:
    assert paths_of("vrrp_script/rise", ROWS) == [("vrrp_script", "rise")]
    assert paths_of("auth_hmac/key", ROWS) == [("vrrp_instance", "auth_hmac", "key")]
    assert paths_of("virtual_ipaddress/scope", ROWS) == [
        ("vrrp_instance", "virtual_ipaddress", "scope")
    ]
    assert paths_of("track_file", ROWS) == [("track_file",)], "the whole path before any other"
    assert paths_of("vrrp_instance/nosuch", ROWS) == []
    assert paths_of("virtual_ipaddress/nosuch", ROWS) == []


@pytest.mark.parametrize("word", markers(FilePath(__file__).parent))
def test_every_marker_names_a_row(word: str) -> None:
    assert paths_of(word, ROWS), f"{word} is neither a row nor an option of a line"


def test_the_page_says_of_every_keyword_who_shows_it_or_why_nobody_does(tmp_path: FilePath) -> None:
    (tmp_path / "test_some.py").write_text(MARKED)
    page = "\n".join(pages(tmp_path))
    assert "| `vrrp_instance / priority` | `test_some::test_one`" in page
    assert "| `vrrp_instance / virtual_ipaddress / scope` | `test_some::test_one` |" in page
    assert "| `vrrp_instance / track_bfd` | not acted on: BFD is not there yet |" in page
    shown = page.partition("## What shows it")[2]
    for path, _ in ROWS:
        assert f"| `{' / '.join(path)}` |" in shown, path


def test_without_tests_the_page_ends_before_that(tmp_path: FilePath) -> None:
    assert "## What shows it" not in "\n".join(pages(tmp_path / "none"))


def test_every_reason_is_that_of_a_row() -> None:
    paths = [".".join(path) for path, _ in ROWS]
    for pattern, _ in REASONS:
        assert any(pattern.fullmatch(path) for path in paths), pattern.pattern
    assert reason_of(("global_defs", "config_save_dir")).startswith("one process reads the file")
    assert reason_of(("vrrp_instance", "vrf")) == "it is not there yet"
