"""A curve with bounded memory."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.runs.curve import POINTS, Curve, curves, decimate


@given(st.lists(st.floats(-1e6, 1e6), max_size=3000), st.integers(4, 600))
def test_a_curve_keeps_its_ends_its_extremes_and_its_order(values: list[float], limit: int) -> None:
    points = list(enumerate(values))
    kept = decimate(points, limit)
    assert len(kept) <= max(limit, 4) and kept == sorted(kept) and set(kept) <= set(points)
    if points:
        assert (kept[0], kept[-1]) == (points[0], points[-1])
        assert {min(v for _, v in kept), max(v for _, v in kept)} == {min(values), max(values)}


def test_a_hundred_thousand_steps_are_held_as_two_thousand_points_at_most() -> None:
    curve, most = Curve(), 0
    for step in range(100_000):
        curve.add(step, 9.0 if step == 50_000 else 1.0 / (step + 1))
        most = max(most, len(curve._points))  # pyright: ignore[reportPrivateUsage]
    kept = curve.points()
    assert most <= 4 * POINTS + 1 and len(kept) <= POINTS and (50_000, 9.0) in kept and kept[-1][0] == 99_999


@pytest.mark.parametrize("value", [None, "1", float("nan"), float("inf"), True, [1]])
def test_what_is_no_finite_number_is_left_out(value: object) -> None:
    curve = Curve()
    curve.add(1, value)
    curve.add("1", 1.0)
    assert curve.points() == []


def test_a_resumed_run_replaces_the_steps_that_it_repeats() -> None:
    steps = [(1, 3.0), (2, 2.0), (3, 1.5), (2, 2.1), (3, 1.4)]
    drawn = curves([{"kind": "step", "step": s, "loss": v} for s, v in steps] + [{"kind": "eval", "eval_loss": 1.0}, {"kind": "odd"}])
    assert drawn == {"loss": [(1, 3.0), (2, 2.1), (3, 1.4)], "eval_loss": [(3, 1.0)]}
