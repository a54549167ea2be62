"""Stop texts, whichever pieces they come in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.engine.serve_stops import StopTexts


def shown(stops: list[str], pieces: list[str]) -> tuple[str, bool]:
    """All that is let through, and whether a stop text came."""
    texts = StopTexts(stops)
    said = "".join(texts.feed(piece) for piece in pieces)
    return said + ("" if texts.reached else texts.rest()), texts.reached


@pytest.mark.parametrize(
    ("stops", "pieces", "said", "reached"),
    [
        ([], ["a", "b"], "ab", False), (["END"], ["go E", "ND on"], "go ", True), (["END"], ["go E", "N", "x"], "go ENx", False),
        (["END"], ["go EN"], "go EN", False), (["b", "ab"], ["xab"], "x", True), (["aab"], ["aaab"], "a", True),
        (["\n\n"], ["a\n", "b\n", "\nc"], "a\nb", True),
    ],
    ids=["none", "over two pieces", "only its beginning", "a beginning at the end", "two that end together",
         "overlapping itself", "newlines"],
)
def test_text_is_let_through_up_to_the_first_stop_text(stops: list[str], pieces: list[str], said: str, reached: bool) -> None:
    assert shown(stops, pieces) == (said, reached)


def test_what_may_still_become_a_stop_text_is_held_back() -> None:
    texts = StopTexts(["END"])
    assert [texts.feed(piece) for piece in ("a", "E", "N", "Q", "E")] == ["a", "", "", "ENQ", ""]


def test_nothing_comes_after_a_stop_text() -> None:
    texts = StopTexts(["."])
    assert (texts.feed("a.b"), texts.feed("c"), texts.rest()) == ("a", "", "")


@given(st.text("ab", max_size=30), st.lists(st.text("ab", min_size=1, max_size=4), max_size=3), st.integers(1, 4))
def test_pieces_change_nothing(text: str, stops: list[str], size: int) -> None:
    found = [(at + len(stop), at) for stop in stops if (at := text.find(stop)) >= 0]
    whole = text[: min(found)[1]] if found else text
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    assert shown(stops, pieces) == (whole, bool(found))
