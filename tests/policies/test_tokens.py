"""Tokens of a hosted brain: the most is reserved, what was used is settled, and a person's day has a cap."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, create_engine, select

from policies import tokens
from policies.limits import Limits
from policies.policy import SHIPPED
from policies.tables import metadata
from policies.tables import tokens as table
from tests.policies.home import Home

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
SHIPPED_LIMITS = Limits.parse((SHIPPED / "limits.toml").read_text())


def capped(cap: int) -> Limits:
    """The shipped limits with another cap."""
    return SHIPPED_LIMITS.model_copy(update={"tokens": SHIPPED_LIMITS.tokens.model_copy(update={"per_person_day": cap})})


LIMITS = capped(1000)


@pytest.fixture
def conn() -> Connection:
    """No entries."""
    made = create_engine("sqlite://").connect()
    metadata.create_all(made)
    return made


def reserve(conn: Connection, turn: str, most: int, person: str = "ann", now: datetime = NOON, limits: Limits = LIMITS) -> None:
    """Reserve for an answer."""
    tokens.reserve(conn, limits, turn=turn, person=person, model="m", most=most, now=now)


def test_what_is_used_counts_and_the_rest_is_free_again(conn: Connection) -> None:
    reserve(conn, "a", 900)
    with pytest.raises(tokens.OverTokens, match="100 of this day's 1000"):
        reserve(conn, "b", 101)
    assert tokens.settle(conn, turn="a", actual=300, now=NOON) == 0
    assert tokens.used_today(conn, "ann", NOON) == tokens.TokensUsed(0, 300)
    reserve(conn, "b", 700)


@pytest.mark.parametrize(("actual", "counts", "over"), [(None, 900, 0), (1200, 1200, 300), (0, 0, 0)], ids=["unknown", "above", "none"])
def test_the_most_counts_when_nobody_knows_and_an_overrun_counts_in_full(
    conn: Connection, actual: int | None, counts: int, over: int,
) -> None:
    reserve(conn, "a", 900)
    assert tokens.settle(conn, turn="a", actual=actual, now=NOON) == over
    assert tokens.used_today(conn, "ann", NOON) == tokens.TokensUsed(0, counts)
    assert tokens.settle(conn, turn="a", actual=5, now=NOON) == 0
    assert tokens.used_today(conn, "ann", NOON).total == counts


def test_each_person_and_each_day_has_its_own(conn: Connection) -> None:
    reserve(conn, "a", 1000)
    reserve(conn, "b", 1000, "bob")
    tokens.settle(conn, turn="a", actual=1000, now=NOON)
    reserve(conn, "c", 1000, now=NOON + timedelta(days=1))


def test_nought_allows_none_and_an_answer_has_a_turn_of_its_own(conn: Connection) -> None:
    with pytest.raises(tokens.OverTokens):
        reserve(conn, "a", 1, limits=capped(0))
    reserve(conn, "a", 1)
    for turn, most in (("a", 1), ("b", 0), ("b", -1)):
        with pytest.raises(ValueError, match="answer"):
            reserve(conn, turn, most)


async def test_what_a_crash_left_open_counts_in_full_at_the_next_start(home: Home) -> None:
    gateway = home.gateway({})
    await gateway.tokens.reserve("t1", "owner", "m", 500)
    later = home.gateway({})
    await later.recover()
    await later.recover()
    assert later.tokens.today("owner")[0] == 500
    assert home.book.read(lambda conn: [row.kind for row in conn.execute(select(table))]) == ["reserve", "settle", "release"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["ann", "bob"]), st.integers(1, 600), st.integers(0, 100), st.booleans()), max_size=25))
def test_no_order_of_answers_passes_the_cap(answers: list[tuple[str, int, int, bool]]) -> None:
    made = create_engine("sqlite://").connect()
    metadata.create_all(made)
    for number, (person, most, share, ends) in enumerate(answers):
        try:
            reserve(made, f"t{number}", most, person)
        except tokens.OverTokens:
            assert most > 1000 - tokens.used_today(made, person, NOON).total
            continue
        if ends:
            tokens.settle(made, turn=f"t{number}", actual=most * share // 100, now=NOON)
        assert all(tokens.used_today(made, one, NOON).total <= 1000 for one in ("ann", "bob"))
    made.close()
