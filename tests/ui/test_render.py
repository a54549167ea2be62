"""What the page shows of an event, as far as it needs no page."""

import pytest

from agent.events import ToolEnded
from ui.render import card_id, fenced, outcome_text, screen_id
from ui.screens import held


def test_text_from_elsewhere_cannot_close_its_code_block():
    shown = fenced("a\n````\n<b>![x](http://leak.invalid)")
    fence = shown.splitlines()[0].removesuffix("text")
    assert fence == "`````" and shown.endswith(f"\n{fence}") and shown.count(fence) == 2


@pytest.mark.parametrize(("status", "words"), [
    ("done", '{\n  "rows": 3\n}'), ("waiting", "It asks."), ("refused", "It asks. Do this."), ("failed", "It asks. Do this."),
])
def test_a_tools_step_says_what_became_of_it(status: str, words: str):
    event = ToolEnded("t", "1", "c", "x", status, {"rows": 3}, "It asks.", "Do this.")  # pyright: ignore[reportArgumentType]
    assert outcome_text(event) == words


def test_the_same_thing_has_the_same_id_on_every_tab_and_another_thing_another():
    assert screen_id("t", "approval", "a") == screen_id("t", "approval", "a") != screen_id("t", "approval", "b")
    assert card_id("t", "a") != card_id("u", "a")


def test_an_element_whose_message_was_lost_in_a_kill_does_not_count_as_shown():
    thread = {"steps": [{"id": "m1"}], "elements": [{"id": "e1", "forId": "m1"}, {"id": "e2", "forId": "m2"}, {"id": "e3"}]}
    assert held(thread) == {"e1"}  # pyright: ignore[reportArgumentType]
    assert held({"steps": [], "elements": None}) == frozenset()  # pyright: ignore[reportArgumentType]
