"""How a server stands with a checker: retries, several questions, coming back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fastvrrp.lvs.standing import Standing

SEEN_FROM_9101 = "abcabbbbbbabca"
"""What a server with three URLs got from keepalived 2.2.7: the second URL fails for a while."""


def test_a_good_server_is_bad_after_its_retries() -> None:
    standing = Standing(2)
    assert standing.take(True)
    assert standing.pause.name == "LOOP"
    for _ in range(2):
        assert not standing.take(False)
        assert standing.is_good
        assert standing.pause.name == "RETRY"
    assert standing.take(False)
    assert not standing.is_good
    assert standing.pause.name == "LOOP"


def test_a_success_ends_the_retries() -> None:
    standing = Standing(1)
    standing.take(True)
    for _ in range(5):
        assert not standing.take(False)
        assert not standing.take(True)
        assert standing.pause.name == "LOOP"
    assert standing.is_good


def test_one_that_is_not_known_is_bad_at_once() -> None:
    for is_good in (True, False):
        standing = Standing(3, is_good=is_good)
        assert standing.take(False)
        assert not standing.is_good


def test_smtp_is_tried_again_in_any_standing() -> None:
    standing = Standing(1, always_retries=True)
    assert not standing.take(False)
    assert standing.pause.name == "RETRY"
    assert standing.take(False)
    for _ in range(3):
        assert standing.pause.name == "LOOP"
        assert not standing.take(False)
        assert standing.pause.name == "RETRY"
        assert not standing.take(False)


def test_a_bad_server_is_asked_every_delay_loop_and_is_good_at_once() -> None:
    standing = Standing(5)
    standing.take(False)
    for _ in range(3):
        assert not standing.take(False)
        assert standing.pause.name == "LOOP"
    assert standing.take(True)
    assert standing.is_good


def asked(standing: Standing, is_good: list[bool]) -> str:
    """Which question each answer was for."""
    questions = ""
    for each in is_good:
        questions += "abc"[standing.question]
        standing.take(each)
    return questions


def test_urls_are_asked_in_turn_and_all_again_before_it_is_good() -> None:
    standing = Standing(2, 3, confirms=True)
    answers = [True] * 4 + [False] * 5 + [True] * 5
    assert asked(standing, answers) == SEEN_FROM_9101
    assert standing.is_good


def test_with_one_url_it_takes_two_answers() -> None:
    standing = Standing(0, confirms=True)
    standing.take(True)
    assert standing.take(False)
    assert not standing.take(True)
    assert standing.pause.name == "LOOP"
    assert standing.take(True)


def test_fast_recovery_leaves_no_pause_while_it_is_not_good() -> None:
    standing = Standing(0, 3, is_good=False, confirms=True, is_hasty=True)
    pauses = []
    for is_good in (True, True, True, True, False, True, True, True, True, True):
        standing.take(is_good)
        pauses.append(standing.pause.name)
    assert pauses == ["NONE", "NONE", "LOOP", "LOOP", "LOOP", *["NONE"] * 3, "LOOP", "LOOP"]


@given(
    st.lists(st.booleans(), max_size=60),
    st.integers(0, 4),
    st.integers(1, 4),
    st.booleans(),
    st.booleans(),
)
def test_any_history(
    history: list[bool], retry: int, questions: int, is_good: bool, confirms: bool
) -> None:
    standing = Standing(retry, questions, is_good, confirms)
    for answer in history:
        before = standing.is_good, standing.is_known
        changed = standing.take(answer)
        assert changed == (before != (standing.is_good, standing.is_known))
        assert 0 <= standing.question < questions
        assert 0 <= standing.tried <= retry
        if changed:
            assert standing.is_good is answer
    for _ in range(retry + 1):
        standing.take(False)
    assert not standing.is_good
    for _ in range(questions + 1):
        standing.take(True)
    assert standing.is_good
