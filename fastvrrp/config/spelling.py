"""The nearest known word to one that is unknown."""

from __future__ import annotations

from collections.abc import Iterable

LONGEST_WORD = 40
"""No keyword is longer by far; measuring the distance of a longer word is waste."""


FULL_WIDTH = {
    "\u3000": "a space",
    "\u00a0": "a space",
    "\uff08": "(",
    "\uff09": ")",
    "\uff0c": ",",
    "\uff0f": "/",
    "\uff1a": "a space, or :,",
    "\uff1b": "nothing",
    "\uff5b": "{",
    "\uff5d": "}",
    "\uff01": "!",
    "\uff03": "#",
    "\u201c": '"',
    "\u201d": '"',
    "\u2018": "'",
    "\u2019": "'",
}
"""Characters that input methods and word processors write where a plain one was meant."""


def slip(word: str) -> str | None:
    """What was probably meant by a word that is no keyword: the remedy for a common slip."""
    if word.startswith(("//", "--", ";", "/*")):
        return "comments start with # or !"
    if word[-1:] in ("=", ";", ",") or (word.endswith(":") and len(word) == 1):
        return f"remove the {word[-1]!r}"
    if "=" in word.strip("="):
        return "write a space for the '=' in it"
    for character in word:
        if character in FULL_WIDTH:
            return f"write {FULL_WIDTH[character]} for the {character!r} in it"
    return None


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word within a third of the letters of `word`, or None.

    A swap of neighbours counts as one change, as does a letter more, less or other.
    """
    if not 2 < len(word) <= LONGEST_WORD:
        return None
    allowed = max(1, len(word) // 3)
    best: str | None = None
    best_changes = allowed + 1
    for candidate in known:
        if abs(len(candidate) - len(word)) > allowed:
            continue
        changes = _distance(word.lower(), candidate.lower())
        if changes < best_changes:
            best, best_changes = candidate, changes
    return best


def _distance(one: str, other: str) -> int:
    """Edits between two words (optimal string alignment)."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        earlier, before, row = before, row, [i]
        for j, against in enumerate(other, 1):
            cost = letter != against
            best = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + cost)
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == against:
                best = min(best, earlier[j - 2] + 1)
            row.append(best)
    return row[-1]
