"""The split: nothing that says nearly the same lies on two sides, and the same rows always fall the same way."""

import random
from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.datasets.split import HELD_OUT_ROWS, Division, Item, divide, item, jaccard

WORDS = st.lists(st.sampled_from(["red", "green", "blue", "round", "flat", "old", "new", "big"]), min_size=1, max_size=8).map(" ".join)
ROWS = st.lists(
    st.builds(item, WORDS, st.sampled_from(["", "", "a", "b", "c"]), st.sampled_from([None, None, None, "train", "validation", "test"])),
    max_size=40,
)


def distinct(count: int) -> list[Item]:
    """Rows with nothing in common."""
    return [item(f"one{n} two{n} three{n} four{n} five{n}") for n in range(count)]


@settings(max_examples=60, deadline=None)
@given(ROWS, st.integers(0, 3))
def test_no_group_lies_on_two_sides(items: list[Item], seed: int) -> None:
    sides = defaultdict(set)
    for row, side in zip(items, divide(items, seed).sides, strict=True):
        if row.group:
            sides[row.group].add(side)
    assert all(len(found) == 1 for found in sides.values())


@settings(max_examples=60, deadline=None)
@given(ROWS, st.integers(0, 3))
def test_no_two_near_duplicates_lie_on_two_sides(items: list[Item], seed: int) -> None:
    placed = list(zip(items, divide(items, seed).sides, strict=True))
    for row, side in placed:
        for other, other_side in placed:
            if row.key == other.key or jaccard(row.shingles, other.shingles) >= 0.6:
                assert side == other_side


@settings(max_examples=60, deadline=None)
@given(ROWS, st.integers(0, 3), st.randoms(use_true_random=False))
def test_a_row_falls_on_the_same_side_in_any_order(items: list[Item], seed: int, rng: random.Random) -> None:
    order = list(range(len(items)))
    rng.shuffle(order)
    sides, shuffled = divide(items, seed).sides, divide([items[i] for i in order], seed).sides
    assert shuffled == tuple(sides[i] for i in order)


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_a_held_out_row_is_never_trained_on(items: list[Item]) -> None:
    for row, side in zip(items, divide(items).sides, strict=True):
        assert row.split != "test" or side == "test"
        assert row.split != "validation" or side != "train"


@pytest.mark.parametrize(
    ("rows", "train", "validation", "test"),
    [(4, 2, 1, 1), (10, 6, 2, 2), (50, 40, 5, 5), (100, 81, 9, 10), (400, 324, 36, 40), (5000, 4600, HELD_OUT_ROWS, HELD_OUT_ROWS)],
)
def test_about_a_tenth_goes_to_each_held_out_side(rows: int, train: int, validation: int, test: int) -> None:
    division = divide(distinct(rows))
    assert [division.count(side) for side in ("train", "validation", "test")] == [train, validation, test]


def test_another_seed_draws_other_rows() -> None:
    items = distinct(60)
    assert divide(items, 0) == divide(items, 0)
    assert divide(items, 0).sides != divide(items, 1).sides


def test_the_files_own_split_is_honoured_and_validation_is_taken_from_its_training_rows() -> None:
    items = [Item(row.key, row.shingles, "", "test" if n % 4 == 0 else "train") for n, row in enumerate(distinct(40))]
    division = divide(items)
    assert [side == "test" for side in division.sides] == [n % 4 == 0 for n in range(40)]
    assert division.count("validation") == 3
    assert division.moved == 0


def test_where_every_row_is_marked_train_some_are_held_out_all_the_same() -> None:
    division = divide([Item(row.key, row.shingles, "", "train") for row in distinct(40)])
    assert (division.count("test"), division.moved) == (4, 0)


def test_a_training_row_that_repeats_a_test_row_moves_to_its_side() -> None:
    text = "the old printer on the second floor does not answer any more since monday"
    items = [item(text, split="test"), item(text + " morning", split="train"), *distinct(10)]
    division = divide(items)
    assert division.sides[:2] == ("test", "test")
    assert (division.moved, division.near_duplicates) == (1, 1)


def test_near_duplicates_chain() -> None:
    words = [f"w{n}" for n in range(24)]
    chain = [item(" ".join(words[n : n + 18])) for n in range(0, 7, 3)]
    assert jaccard(chain[0].shingles, chain[2].shingles) < 0.6 <= jaccard(chain[0].shingles, chain[1].shingles)
    assert divide([*chain, *distinct(10)]).groups == 11


@pytest.mark.parametrize("other", ["The printer is BROKEN!", "  the printer, is broken "])
def test_case_blanks_and_punctuation_make_no_difference(other: str) -> None:
    assert item("the printer is broken").key == item(other).key


def test_rows_that_all_say_the_same_cannot_be_held_out() -> None:
    assert divide([item("the same words again and again")] * 12) == Division(("train",) * 12, 1, 11, 0)


def test_two_groups_leave_one_to_learn_from_and_one_to_test_on() -> None:
    division = divide([item(row, group) for group, row in (("a", "one"), ("a", "two"), ("a", "three"), ("b", "four"))])
    assert sorted(division.sides) == ["test", "train", "train", "train"]


def test_no_rows_give_no_sides() -> None:
    assert divide([]) == Division((), 0, 0, 0)


def test_texts_without_words_are_told_apart() -> None:
    assert item("???").key != item("!!!").key


def test_thousands_of_rows_from_one_template_are_divided_with_bounded_work() -> None:
    items = [item(f"please reset the password of user number{n} in the office of city{n % 97} before noon") for n in range(3000)]
    division = divide(items)
    assert len(division.sides) == 3000
