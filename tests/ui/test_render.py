"""What the page shows of an event, as far as it needs no page."""

import pytest

from agent.events import ToolEnded
from ui.render import card_id, fenced, outcome_text, screen_id


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
