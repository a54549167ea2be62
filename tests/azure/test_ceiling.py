"""The ceiling: above everything that can be billed, never below zero, and inverse to the time limit that a budget allows."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.azure.ceiling import START_S, accrued, app_ceiling, ceiling, kept_ceiling, minutes, timeout_within, up
from tools.azure.rates import Part, Rate

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def rate(per_second: str = "0.000433") -> Rate:
    """A rate of one part."""
    return Rate("Consumption-GPU-NC8as-T4", "eastus", Decimal(per_second), (Part("m", Decimal(1), Decimal(per_second), "2026-08-01"),),
                "2026-08-01", NOW)


rates = st.decimals("0.000001", "0.02", places=9).map(lambda each: rate(str(each)))
limits = st.integers(1, 86_400)
attempts_ = st.integers(1, 5)
sizes = st.floats(0, 500).map(lambda each: round(each, 2))


def test_an_hour_on_a_t4_costs_at_most_an_hour_and_its_start_for_each_attempt() -> None:
    once, thrice = ceiling(rate(), 3600), ceiling(rate(), 3600, 3)
    assert once.ceiling_micros == up(Decimal("0.000433") * (3600 + START_S)) + 200_000
    assert thrice.ceiling_micros == 3 * once.ceiling_micros
    assert once.cost.price_date == "2026-08-01" and "0.000433 USD a second × (3600 s + 600 s to start) × 1 attempt" in once.cost.basis


def test_the_assumptions_are_sentences_that_say_what_is_counted() -> None:
    said = ceiling(rate(), 5400, 2, 10, likely_s=600).assumptions
    assert all(line.endswith(".") for line in said)
    assert "Each of at most 2 attempts is cut off by Azure after 1 hour 30 minutes; up to 10 minutes more are counted for starting." in said
    assert any("10.0 GiB on the share for 30 days" in line for line in said) and "The free monthly grant is not subtracted." in said


@given(rates, limits, attempts_, sizes, st.floats(0, 200_000), st.integers(0, 3), st.integers(1, 3))
def test_the_likely_is_never_above_the_ceiling_nor_the_ceiling_below_what_can_be_billed(
    one: Rate, timeout_s: int, attempts: int, gib: float, likely_s: float, retries: int, replicas: int,
) -> None:
    found = ceiling(one, timeout_s, attempts, gib, likely_s=likely_s, retries=retries, replicas=replicas)
    worst = sum(accrued(one.per_second * replicas, timeout_s * (1 + retries)) for _ in range(attempts))
    assert 0 < found.likely_micros <= found.ceiling_micros and worst <= found.ceiling_micros + attempts


@given(rates, limits, attempts_, sizes, st.integers(0, 50_000_000), st.integers(0, 3), st.integers(1, 3))
def test_the_time_limit_of_a_budget_fits_it_and_a_second_more_does_not(
    one: Rate, wanted_s: int, attempts: int, gib: float, budget: int, retries: int, replicas: int,
) -> None:
    found = timeout_within(one, wanted_s, budget, attempts, gib, retries=retries, replicas=replicas)
    assert 0 <= found <= wanted_s
    if found:
        assert ceiling(one, found, attempts, gib, retries=retries, replicas=replicas).ceiling_micros <= budget
    if found < wanted_s:
        assert ceiling(one, found + 1, attempts, gib, retries=retries, replicas=replicas).ceiling_micros > budget


@given(rates, limits, attempts_, sizes)
def test_more_of_anything_never_costs_less(one: Rate, timeout_s: int, attempts: int, gib: float) -> None:
    base = ceiling(one, timeout_s, attempts, gib).ceiling_micros
    assert base <= ceiling(one, timeout_s + 1, attempts, gib).ceiling_micros
    assert base < ceiling(one, timeout_s, attempts + 1, gib).ceiling_micros
    assert base < ceiling(one, timeout_s, attempts, gib + 1).ceiling_micros


@given(rates, st.floats(0.1, 400), st.integers(1, 4))
def test_an_endpoint_that_never_sleeps_stays_below_its_ceiling(one: Rate, hours: float, replicas: int) -> None:
    found = app_ceiling(one, hours, replicas)
    assert 0 < found.likely_micros <= found.ceiling_micros and accrued(one.per_second * replicas, hours * 3600) <= found.ceiling_micros


@given(rates, st.floats(0, 1_000_000), st.floats(0, 1_000_000))
def test_what_has_accrued_grows_with_time_and_is_whole(one: Rate, first: float, second: float) -> None:
    early, late = sorted((first, second))
    assert 0 <= accrued(one.per_second, early) <= accrued(one.per_second, late)
    assert accrued(one.per_second, -5) == 0


@pytest.mark.parametrize(("timeout_s", "attempts", "gib", "replicas"), [
    (0, 1, 0, 1), (60, 0, 0, 1), (60, 1, -1, 1), (60, 1, 0, 0), (-1, 1, 0, 1),
])
def test_a_figure_that_would_make_it_cheap_is_refused(timeout_s: int, attempts: int, gib: float, replicas: int) -> None:
    with pytest.raises(ValueError, match="at least one"):
        ceiling(rate(), timeout_s, attempts, gib, replicas=replicas)
    with pytest.raises(ValueError, match="above zero"):
        app_ceiling(rate(), 0)


def test_a_budget_below_the_start_allowance_buys_no_time() -> None:
    assert timeout_within(rate(), 3600, 100_000) == 0
    assert timeout_within(rate(), 3600, 50_000_000) == 3600


def test_what_is_merely_kept_is_an_allowance_with_its_basis() -> None:
    found = kept_ceiling(1, 0.1, 30)
    assert (found.likely_micros, found.ceiling_micros) == (250_000, 500_000) and "1.0 GiB kept for 30 days" in found.basis


@pytest.mark.parametrize(("seconds", "words"), [
    (1, "1 minute"), (60, "1 minute"), (2700, "45 minutes"), (3600, "1 hour"), (9000, "2 hours 30 minutes"),
])
def test_a_time_limit_in_words(seconds: int, words: str) -> None:
    assert minutes(seconds) == words
