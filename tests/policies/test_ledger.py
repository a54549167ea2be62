"""The ledger: reserved plus spent never passes a cap, whatever order things come in."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy import Connection, create_engine

from policies import ledger
from policies.limits import MICROS, Limits
from policies.policy import SHIPPED
from policies.tables import metadata

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
LIMITS = Limits.parse((SHIPPED / "limits.toml").read_text())


@pytest.fixture
def conn() -> Connection:
    """An empty ledger in memory."""
    made = create_engine("sqlite://").connect()
    metadata.create_all(made)
    return made


def reserve(conn: Connection, call: str, usd: float, person: str = "ann", now: datetime = NOON, limits: Limits = LIMITS) -> None:
    """Reserve dollars for a call."""
    ledger.reserve(conn, limits, call_id=call, person=person, ceiling=int(usd * MICROS), basis="b", now=now)


def settle(conn: Connection, call: str, usd: float, person: str = "ann", now: datetime = NOON) -> int:
    """Settle dollars."""
    return ledger.settle(conn, call_id=call, person=person, actual=int(usd * MICROS), basis="b", now=now)


def test_what_is_free_reserves_nothing_and_passes_even_with_the_kill_switch(conn: Connection) -> None:
    off = LIMITS.model_copy(update={"budget": LIMITS.budget.model_copy(update={"spending": False})})
    reserve(conn, "a", 0, limits=off)
    assert ledger.used(conn) == ledger.Used(0, 0)
    with pytest.raises(ledger.OverBudget, match="switched off"):
        reserve(conn, "a", 1, limits=off)


def test_a_reservation_is_settled_once_and_the_rest_is_free_again(conn: Connection) -> None:
    reserve(conn, "a", 40)
    assert ledger.room(conn, LIMITS, "ann", NOON) == 50 * MICROS
    reserve(conn, "b", 40)
    assert ledger.room(conn, LIMITS, "ann", NOON) == 20 * MICROS
    assert settle(conn, "a", 10) == 0
    assert ledger.used(conn) == ledger.Used(40 * MICROS, 10 * MICROS)
    assert ledger.room(conn, LIMITS, "ann", NOON) == 50 * MICROS


def test_an_overrun_is_reported_and_counts(conn: Connection) -> None:
    reserve(conn, "a", 40)
    assert settle(conn, "a", 45) == 5 * MICROS
    assert ledger.used(conn).total == 45 * MICROS


def test_what_did_not_start_is_released(conn: Connection) -> None:
    reserve(conn, "a", 40)
    assert ledger.release(conn, call_id="a", person="ann", basis="not_started", now=NOON) == 40 * MICROS
    assert ledger.release(conn, call_id="a", person="ann", basis="not_started", now=NOON) == 0
    assert ledger.used(conn) == ledger.Used(0, 0)


@pytest.mark.parametrize(("usd", "word"), [(50.000001, "one run"), (50, "")], ids=["above", "exactly"])
def test_the_cap_of_one_run(conn: Connection, usd: float, word: str) -> None:
    if not word:
        return reserve(conn, "a", usd)
    with pytest.raises(ledger.OverBudget, match=word):
        reserve(conn, "a", usd)
    return None


def test_the_caps_of_a_persons_day_and_the_teams_month(conn: Connection) -> None:
    reserve(conn, "a", 50)
    reserve(conn, "b", 50)
    with pytest.raises(ledger.OverBudget, match=r"the day leaves 0\.00"):
        reserve(conn, "c", 1)
    for number in range(8):
        reserve(conn, f"p{number}", 50, person=f"p{number}")
    with pytest.raises(ledger.OverBudget, match="the month"):
        reserve(conn, "d", 1, person="zoe")


def test_spent_money_of_yesterday_is_free_today_and_what_is_still_reserved_is_not(conn: Connection) -> None:
    reserve(conn, "a", 50)
    settle(conn, "a", 50)
    reserve(conn, "b", 40)
    tomorrow = NOON + timedelta(days=1)
    assert ledger.room(conn, LIMITS, "ann", tomorrow) == 50 * MICROS
    reserve(conn, "c", 50, now=tomorrow)
    with pytest.raises(ledger.OverBudget):
        reserve(conn, "d", 11, now=tomorrow)
    assert ledger.room(conn, LIMITS, "ann", NOON.replace(year=2027)) == 10 * MICROS


def test_negative_money_is_a_bug(conn: Connection) -> None:
    for wrong in (lambda: reserve(conn, "a", -1), lambda: settle(conn, "a", -1)):
        with pytest.raises(ValueError, match="never negative"):
            wrong()


class LedgerMachine(RuleBasedStateMachine):
    """Any order of reserving, settling within the reservation, releasing and the passing of time."""

    def __init__(self) -> None:
        super().__init__()
        self.conn = create_engine("sqlite://").connect()
        metadata.create_all(self.conn)
        self.now = NOON
        self.open: dict[str, tuple[str, int]] = {}
        self.count = 0

    @rule(person=st.sampled_from(["ann", "bob"]), cents=st.integers(0, 6000))
    def reserve(self, person: str, cents: int) -> None:
        self.count += 1
        call = f"c{self.count}"
        try:
            with self.conn.begin_nested():
                ledger.reserve(self.conn, LIMITS, call_id=call, person=person, ceiling=cents * 10_000, basis="", now=self.now)
        except ledger.OverBudget:
            assert cents * 10_000 > ledger.room(self.conn, LIMITS, person, self.now)
        else:
            self.open[call] = (person, cents * 10_000)

    @rule(share=st.integers(0, 100), data=st.data())
    def settle(self, share: int, data: st.DataObject) -> None:
        if self.open:
            call = data.draw(st.sampled_from(sorted(self.open)))
            person, held = self.open.pop(call)
            assert ledger.settle(self.conn, call_id=call, person=person, actual=held * share // 100, basis="", now=self.now) == 0

    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        if self.open:
            call = data.draw(st.sampled_from(sorted(self.open)))
            person, held = self.open.pop(call)
            assert ledger.release(self.conn, call_id=call, person=person, basis="", now=self.now) == held

    @rule(hours=st.integers(1, 30))
    def wait(self, hours: int) -> None:
        self.now += timedelta(hours=hours)

    @invariant()
    def what_is_reserved_is_what_is_open(self) -> None:
        assert ledger.used(self.conn).reserved == sum(held for _, held in self.open.values())

    @invariant()
    def no_cap_is_ever_passed(self) -> None:
        for person in ("ann", "bob"):
            for name, left in ledger._left(self.conn, LIMITS, person, self.now):
                assert left >= 0, name

    def teardown(self) -> None:
        self.conn.close()


def test_no_order_of_events_passes_a_cap() -> None:
    limits = settings(max_examples=25, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    run_state_machine_as_test(LedgerMachine, settings=limits)
