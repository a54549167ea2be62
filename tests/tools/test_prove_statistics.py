"""How sure a gain is."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.prove.statistics import fisher, mcnemar, paired_gain, unpaired_gain, wilson

rows = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60)


@pytest.mark.parametrize(
    ("right", "rows", "low", "high"),
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (18, 40, 0.3071, 0.6017), (81, 263, 0.2553, 0.3662)],
    ids=["none", "all", "eighteen of forty", "Newcombe 1998, 81 of 263"],
)
def test_wilson_gives_the_published_intervals(right: int, rows: int, low: float, high: float) -> None:
    assert wilson(right, rows) == pytest.approx((low, high), abs=1e-4)


@pytest.mark.parametrize(
    ("won", "lost", "p"), [(0, 0, 1.0), (5, 0, 0.0625), (6, 0, 0.03125), (8, 2, 0.109375), (5, 5, 1.0), (18, 0, 2 / 2**18)]
)
def test_mcnemar_is_the_binomial_test_of_the_rows_that_changed(won: int, lost: int, p: float) -> None:
    assert mcnemar(won, lost) == pytest.approx(p) == mcnemar(lost, won)


def test_fisher_gives_the_tea_tasting_lady() -> None:
    assert fisher(3, 1, 1, 3) == pytest.approx(0.4857, abs=1e-4)
    assert fisher(4, 0, 0, 4) == pytest.approx(2 / 70)


def test_newcombes_paired_example() -> None:
    """Newcombe 1998 (Stat. Med. 17:2635), table II, method 10: 36, 12, 2, 0 of 50 gives 0.0569 to 0.3404."""
    before = [True] * 36 + [False] * 12 + [True] * 2
    after = [True] * 36 + [True] * 12 + [False] * 2
    gain = paired_gain(before, after)
    assert (gain.value, gain.ci_low, gain.ci_high) == pytest.approx((0.2, 0.0569, 0.3404), abs=2e-4)


@given(rows)
def test_the_interval_holds_the_gain_and_turns_round_with_it(pairs: list[tuple[bool, bool]]) -> None:
    before, after = [b for b, _ in pairs], [a for _, a in pairs]
    there, back = paired_gain(before, after), paired_gain(after, before)
    assert -1 <= there.ci_low <= there.value <= there.ci_high <= 1 and 0 < there.p <= 1
    assert there.value == -back.value and there.ci_low == pytest.approx(-back.ci_high) and there.p == back.p


@given(rows)
def test_without_rows_the_interval_is_about_the_totals(pairs: list[tuple[bool, bool]]) -> None:
    before, after = sum(b for b, _ in pairs), sum(a for _, a in pairs)
    gain = unpaired_gain(before, len(pairs), after, len(pairs))
    assert gain.ci_low <= gain.value <= gain.ci_high and math.isclose(gain.value, (after - before) / len(pairs)) and 0 < gain.p <= 1


@pytest.mark.parametrize(
    ("won", "lost", "word"), [(18, 0, "better"), (0, 18, "worse"), (1, 0, "no_clear_difference"), (0, 0, "no_clear_difference")]
)
def test_the_verdict_is_what_the_interval_allows(won: int, lost: int, word: str) -> None:
    before = [False] * won + [True] * lost + [False] * (40 - won - lost)
    after = [True] * won + [False] * lost + [False] * (40 - won - lost)
    assert paired_gain(before, after).word == word


def test_the_paired_interval_covers_a_true_gain_about_as_often_as_it_says() -> None:
    dice, covered, tries = random.Random(7), 0, 1500
    for _ in range(tries):
        before = [dice.random() < 0.3 for _ in range(40)]
        after = [b if dice.random() < 0.6 else dice.random() < 0.6 for b in before]
        gain = paired_gain(before, after)
        covered += gain.ci_low <= 0.4 * (0.6 - 0.3) <= gain.ci_high
    assert 0.93 <= covered / tries <= 0.99


def test_unequal_or_missing_rows_are_a_mistake() -> None:
    for before, after in (([True], []), ([], [])):
        with pytest.raises(ValueError, match="paired rows"):
            paired_gain(before, after)
