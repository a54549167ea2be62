"""A run in a terminal: the panel, and the lines where there is none."""

import io

from rich.console import Console

from tests.ui.fakes_run import FakeRun
from ui.run_screen import LOSSES_KEPT, RunScreen, spark

DONE = FakeRun(started=0).as_json()
GOING = DONE | {
    "state": "running", "phase": "train", "step": 30, "steps": 60, "scores": {}, "eta_s": 135.0, "eta_low_s": 120.0, "eta_high_s": 180.0,
    "memory_bytes": 2**30, "cores_busy": 1.9,
}


def view(**changes: object) -> dict[str, object]:
    """A line of `watch` with a view."""
    return {"watch": {"kind": "view", "view": GOING | changes}}


def drawn(screen: RunScreen, width: int = 100) -> str:
    """What a console shows of it."""
    console = Console(file=io.StringIO(), width=width)
    console.print(screen.render())
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_run_is_shown_with_all_that_its_card_has():
    screen = RunScreen()
    assert screen.add({"watch": {"kind": "curves", "train": [[1, 3.0], [2, 2.0]], "eval": [[1, 2.5], [2, 2.2]]}})
    assert screen.add({"watch": {"kind": "step", "step": 3, "loss": 1.0}}) and screen.add({"log": [f"line {n}" for n in range(20)]})
    assert not screen.add({"watch": {"kind": "checkpoint"}}) and not screen.add({"progress": {}})
    screen.add(view(warnings=["the disk is nearly full"], reason=""))
    text = drawn(screen)
    for words in ("Running: training", "30 of 60", "epoch 0.75", "0.415", "held out 0.365", "2 – 3 min", "likely 2 min", "212", "1.3 GiB",
                  "now 1.0 GiB, predicted 1.4 GiB", "1.9 cores", "gradient norm 1.10", "█▅▁  training loss", "█▁  held-out loss",
                  "! the disk is nearly full", "line 19", "line 14"):
        assert words in text, words
    assert "line 13" not in text


def test_the_end_shows_the_scores_and_the_reason():
    screen = RunScreen()
    screen.add(view(state="failed", reason="It ran out of memory.", scores=DONE["scores"]))
    text = drawn(screen)
    assert "Failed" in text and "It ran out of memory." in text and "After, served file: 60% of 40 held-out answers exact (int8)" in text


def test_text_that_looks_like_markup_stays_text():
    screen = RunScreen()
    screen.add(view(reason="[red]not red[/red]", name="[b]x[/b]"))
    screen.add({"log": ["[/] [link=http://leak.invalid]"]})
    assert "[red]not red[/red]" in drawn(screen) and "[link=http://leak.invalid]" in drawn(screen)


def test_without_a_terminal_only_what_is_new_is_worth_a_line():
    screen = RunScreen()
    assert screen.news() == []
    early = {"loss": None, "eval_loss": None, "eta_low_s": None, "eta_s": None}
    screen.add(view(**early, step=0, state="queued", phase="", place=2, expected_start_s=300.0))
    assert screen.news() == ["Waiting to start · step 0 of 60 · loss – · number 2 in the line, begins in about 5 min"]
    screen.add(view(step=30))
    assert screen.news() == ["Running: training · step 30 of 60 · loss 0.415 · held out 0.365 · 2 – 3 min left"]
    screen.add(view(step=31, tokens_per_s=100.0))
    assert screen.news() == [], "a step more is not worth a line"
    screen.add(view(step=31, eval_loss=0.2))
    assert len(screen.news()) == 1
    screen.add(view(step=31, eval_loss=0.2, warnings=["short rows"]))
    assert screen.news() == ["Warning: short rows"]
    screen.add(view(state="cancelled", step=31, eval_loss=0.2, warnings=["short rows"], reason="Stopped by its owner."))
    assert screen.news() == ["Stopped · step 31 of 60 · loss 0.415 · held out 0.200", "Stopped by its owner."]
    assert screen.news() == []


def test_a_long_run_is_held_in_little_memory_and_no_number_breaks_it():
    screen = RunScreen()
    for step in range(3 * LOSSES_KEPT):
        screen.add({"watch": {"kind": "step", "step": step, "loss": 1.0}})
    for odd in (None, float("nan"), float("inf"), "1", True):
        screen.add({"watch": {"kind": "step", "step": 1, "loss": odd}})
    assert len(screen.train) <= LOSSES_KEPT and set(screen.train) == {1.0}


def test_a_curve_of_one_value_or_of_equal_values_is_drawn_without_failing():
    assert spark([1.0]) == "" and spark([1.0, 1.0]) == "▁▁" and len(spark([float(n) for n in range(500)])) <= 60
