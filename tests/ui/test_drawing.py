"""The curve as a picture without any script."""

import re

import pytest

from ui.pages.drawing import DOTS, HEIGHT, WIDTH, draw, points, rounded


def test_a_curve_lies_within_its_frame_and_its_scale_is_round():
    found = draw([[1, 3.1], [30, 1.0], [60, 0.4]], [[30, 1.2]], 60)
    assert found is not None
    numbers = [float(each) for each in re.findall(r"[\d.]+", found["train"])]
    assert all(0 <= x <= WIDTH for x in numbers[::2]) and all(0 <= y <= HEIGHT for y in numbers[1::2])
    assert [mark["text"] for mark in found["losses"]] == ["0", "1", "2", "3", "4"]
    assert [mark["text"] for mark in found["steps"]] == ["0", "15", "30", "45", "60"] and len(found["dots"]) == 1


@pytest.mark.parametrize("nothing", [[], None, "text", [[1]], [["1", "2"]], [[1, float("nan")]], 7], ids=str)
def test_nothing_is_drawn_of_nothing(nothing: object):
    assert draw(nothing, nothing, 60) is None


def test_many_evaluations_become_few_dots_and_steps_may_be_unknown():
    found = draw([[n, 1.0] for n in range(500)], [[n, 0.5] for n in range(500)], None)
    assert found is not None and len(found["dots"]) <= DOTS and found["steps"][-1]["text"] == "499"


@pytest.mark.parametrize(("value", "scale"), [(0.9, 1), (1.2, 2), (2.2, 2.5), (3, 5), (7, 10), (0.03, 0.05), (1e-9, 1e-9)])
def test_a_scale_is_one_that_a_person_reads(value: float, scale: float):
    assert rounded(value) == pytest.approx(scale)


def test_points_are_pairs_of_finite_numbers():
    assert points([[1, 2], (3, 4.0), [5], [6, None], "ab", [7, 10**400]]) == [(1, 2), (3, 4.0)]
