"""The fold over a run's events."""

from functools import reduce
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tools.runs.progress import Progress, fold, time_left


def folded(*events: dict[str, Any]) -> Progress:
    return reduce(fold, events, Progress())


def steps(*times: float, total: int = 10, first: int = 1) -> list[dict[str, Any]]:
    shared = {"kind": "step", "steps": total, "tokens_per_s": 100.0}
    return [{**shared, "t": t, "step": first + n, "loss": 5.0 - n} for n, t in enumerate(times)]


def test_the_last_step_gives_the_numbers() -> None:
    now = folded({"kind": "stage", "stage": "train"}, *steps(0, 2, 4))
    assert (now.phase, now.step, now.steps, now.loss, now.tokens_per_s) == ("train", 3, 10, 3.0, 100.0)


def test_the_newest_checkpoint_is_the_one_that_was_kept_last() -> None:
    saved = {"kind": "checkpoint", "step": 8}
    assert folded(saved).checkpoint == 8
    assert folded(saved, {"kind": "diverged", "step": 9, "kept": 4}).checkpoint == 4
    assert folded(saved, {"kind": "diverged", "step": 9, "kept": None}).checkpoint == 0


def test_the_peak_of_memory_never_falls() -> None:
    held = [{"kind": "step", "step": n, "memory_bytes": bytes_} for n, bytes_ in ((1, 900), (2, 500))]
    assert folded(*held).peak_memory_bytes == 900


def test_time_left_is_the_median_pace_with_a_range_around_it() -> None:
    left = time_left(folded(*steps(0, 2, 4, 6, 10)))
    assert left is not None
    low, likely, high = left
    assert likely == 5 * 2 and low <= likely < high


def test_time_left_is_unknown_before_two_paces_are_known() -> None:
    assert time_left(folded(*steps(0, 2))) is None


def test_a_resumed_attempt_does_not_count_the_pause_as_a_slow_step() -> None:
    left = time_left(folded(*steps(0, 1, 2, 3), *steps(5000, 5001, 5002, first=3)))
    assert left is not None and left[2] < 60


def test_scores_are_kept_by_their_name_and_unknown_names_are_not() -> None:
    now = folded({"t": 1, "kind": "score", "which": "tuned", "exact_match": 0.4}, {"kind": "score", "which": "<b>", "exact_match": 1})
    assert now.scores == {"tuned": {"exact_match": 0.4}}


def test_warnings_are_bounded_in_number_and_length() -> None:
    now = folded(*({"kind": "warning", "text": "w" * 1000} for _ in range(100)))
    assert len(now.warnings) == 20 and all(len(w) == 300 for w in now.warnings)


def test_a_new_stage_forgets_the_words_of_the_old_one() -> None:
    now = folded({"kind": "progress", "text": "merging", "fraction": 0.5}, {"kind": "stage", "stage": "score"})
    assert (now.phase, now.said, now.fraction) == ("score", "", None)


values = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.integers(), max_size=2)
names = st.sampled_from(["kind", "t", "step", "steps", "loss", "which", "text", "memory_bytes", "stage", "fraction", "outcome"])
kinds = st.sampled_from(["stage", "step", "eval", "checkpoint", "progress", "score", "warning", "end", "else"])


@given(st.lists(st.builds(lambda k, d: {**d, "kind": k}, kinds, st.dictionaries(names, values))))
def test_no_event_of_any_shape_breaks_it(events: list[dict[str, Any]]) -> None:
    now = folded(*events)
    assert now.events == len(events)
    time_left(now)
