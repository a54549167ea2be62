"""A run's view in words: one projection for the page, the list and the terminal."""

import re

import pytest

from tests.ui.served import ROOT
from ui.figures import PHASES, STATES, figures, part_done, score_rows, state_words, time_left, tone


@pytest.mark.parametrize(("view", "words", "colour"), [
    ({"state": "queued", "phase": ""}, "Waiting to start", ""),
    ({"state": "running", "phase": "train"}, "Running: training", "wait"),
    ({"state": "running", "phase": "<b>"}, "Running", "wait"),
    ({"state": "finished", "phase": "done"}, "Finished", "good"),
    ({"state": "failed", "phase": "train"}, "Failed", "bad"),
    ({"state": "cancelled"}, "Stopped", ""),
    ({"state": "lost"}, "Lost", "bad"),
    ({}, "", ""),
], ids=str)
def test_a_state_has_one_word_and_one_colour(view: dict[str, str], words: str, colour: str):
    assert state_words(view) == words and tone(view) == colour


def test_the_card_uses_the_same_words():
    card = (ROOT / "public/elements/Run.jsx").read_text("utf-8")
    for words in (*STATES.values(), *PHASES.values()):
        assert re.search(rf"""['"]{re.escape(words)}['"]""", card), words


@pytest.mark.parametrize(("view", "words"), [
    ({"eta_low_s": 120, "eta_high_s": 180, "eta_s": 135}, "2 – 3 min"), ({"eta_low_s": 10, "eta_high_s": 12, "eta_s": 11}, "11 s"),
    ({"eta_s": None}, "–"), ({"eta_s": float("nan")}, "–"), ({}, "–"),
], ids=str)
def test_time_left_is_a_range_where_it_is_wide(view: dict[str, float], words: str):
    assert time_left(view) == words


@pytest.mark.parametrize("odd", [None, "text", [], {}, True, float("nan"), float("inf"), 10**400, -1], ids=str)
def test_no_value_of_any_shape_breaks_a_figure(odd: object):
    names = ("step", "steps", "epoch", "loss", "eval_loss", "learning_rate", "grad_norm", "tokens_per_s", "eta_s", "eta_low_s",
             "eta_high_s",
             "memory_bytes", "peak_memory_bytes", "predicted_memory_bytes", "cores_busy", "gpu_use", "place", "expected_start_s", "scores")
    view = {"state": "running"} | dict.fromkeys(names, odd)
    assert len(figures(view)) == 7 and score_rows(view) == [] and 0 <= part_done(view) <= 1
    assert score_rows({"scores": {"tuned": {"exact_match": odd, "rows": odd, "loss": odd, "precision": odd}}})


def test_a_score_is_a_row_and_its_text_is_a_short_word_or_nothing():
    tuned = {"exact_match": 0.63, "rows": 40, "loss": 0.42, "precision": "fp32"}
    scores = {"tuned": tuned, "baseline": {"precision": "<b>int8</b>"}, "x": {}}
    rows = score_rows({"scores": scores})
    assert [(row["label"], row["exact"], row["rows"], row["loss"], row["precision"]) for row in rows] == [
        ("Before, checkpoint", "–", "–", "–", "–"), ("After, checkpoint", "63%", "40", "0.420", "fp32"),
    ]


@pytest.mark.parametrize(("view", "words"), [
    ({"gpu_use": 0.93, "cores_busy": 1.0}, "GPU 93%"), ({"gpu_use": None, "cores_busy": 1.87}, "1.9 cores"), ({}, "–"),
], ids=str)
def test_device_use_is_the_gpus_share_or_the_cores(view: dict[str, float], words: str):
    assert next(each["value"] for each in figures(view) if each["name"] == "device") == words


@pytest.mark.parametrize(("view", "words"), [
    ({"state": "queued", "phase": "uploading"}, "Waiting to start: uploading"),
    ({"state": "queued", "phase": "starting"}, "Waiting to start: waiting for a machine"),
    ({"state": "running", "phase": "over_budget"}, "Running: stopping at its cap"),
])
def test_a_run_in_azure_says_what_it_waits_for(view: dict[str, str], words: str):
    assert state_words(view) == words


@pytest.mark.parametrize(("view", "label", "value", "note"), [
    ({"state": "running", "where": "Azure, T4 in eastus", "spent": "0.31", "currency": "USD"}, "Time left", "–", "0.31 USD so far"),
    ({"state": "queued", "where": "Azure, T4 in eastus", "spent": "0.00", "currency": "USD"}, "Time left", "–", "0.00 USD so far"),
    ({"state": "finished", "where": "Azure, T4 in eastus", "spent": "0.42", "currency": "USD"}, "Spent", "0.42 USD", ""),
    ({"state": "finished", "where": "this machine", "spent": "0.00"}, "Spent", "free", ""),
    ({"state": "running", "where": "Azure, T4 in eastus", "spent": "0.31", "currency": "USD", "cloud": {"ceiling": "3.10"}},
     "Time left", "–", "0.31 USD so far, at most 3.10 USD"),
], ids=["running", "waiting", "ended", "here", "with its ceiling"])
def test_money_runs_up_before_the_eyes_of_a_person(view: dict[str, object], label: str, value: str, note: str):
    left = next(each for each in figures(view) if each["name"] == "left")
    assert (left["label"], left["value"], left["note"]) == (label, value, note)
