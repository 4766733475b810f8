"""What holds of every reading, whatever the file: the judge of the fuzzers."""

from __future__ import annotations

from pathlib import Path

from fastvrrp.config import Place, Reading


def check(reading: Reading) -> None:
    """Every complaint is one line that can be printed, at a place that is inside its file."""
    lengths: dict[str, list[int]] = {}
    for complaint in reading.complaints:
        text = str(complaint)
        assert text.isprintable(), text
        assert complaint.text, complaint
        text.encode()
        for place in (complaint.place, complaint.definition):
            if place is not None:
                assert _is_inside(place, lengths), f"{text}: no such place"


def _is_inside(place: Place, lengths: dict[str, list[int]]) -> bool:
    """Whether a line and a column are of the file; the end of a line is a column, too."""
    if place.line < 1 or place.column < 1:
        return False
    if place.file not in lengths:
        path = Path(place.file)
        if not path.is_file() or b"\0" in path.read_bytes():
            return place.line == place.column == 1
        lines = path.read_bytes().decode("utf-8-sig", "surrogateescape").split("\n")
        lengths[place.file] = [len(line) for line in lines]
    lines_of_file = lengths[place.file]
    return place.line <= len(lines_of_file) and place.column <= lines_of_file[place.line - 1] + 1
