"""`spend_report`: what the ledger says, for whoever asks."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from policies import ledger, tokens
from policies.book import Book, now_text
from policies.limits import MICROS
from policies.people import People
from policies.policy import Policy
from policies.tables import calls, runs
from policies.tool import Call, ToolFailed
from tools.spend_report import SpendArgs, SpendReport, begin_of, exact

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
LIMITS = Policy.load().limits


def spend(conn: Connection, call_id: str, person: str, held: int, actual: int | None = None, at: datetime = NOON) -> None:
    """A call that reserved dollars and perhaps cost some, with a run."""
    conn.execute(calls.insert().values(
        call_id=call_id, person=person, key=call_id, args_digest="", tool="start_finetune", caller_json="{}", args_json="{}",
        status="done", created_at=now_text(at)))
    conn.execute(runs.insert().values(id=f"run-{call_id}", owner=person, call_id=call_id, name=f"of {person}", state="running",
                                      created_at=now_text(at)))
    ledger.reserve(conn, LIMITS, call_id=call_id, person=person, ceiling=held * MICROS, basis="", now=at)
    if actual is not None:
        ledger.settle(conn, call_id=call_id, person=person, actual=actual * MICROS, basis="bill", now=at)


@pytest.fixture
def report(tmp_path: Path) -> Iterator[SpendReport]:
    """A book in which three people spent."""
    book = Book.open(tmp_path / "book.sqlite")
    people = People(book)
    people.ensure_owner()
    people.add("bob", "Bob", "member")
    people.add("eve", "Eve", "auditor")

    def write(conn: Connection) -> None:
        spend(conn, "a", "owner", 10, 4)
        spend(conn, "b", "bob", 20)
        spend(conn, "c", "bob", 5, 5, NOON - timedelta(days=10))
        spend(conn, "d", "bob", 7, 7, NOON - timedelta(days=40))
        tokens.reserve(conn, LIMITS, turn="t", person="bob", model="m", most=900, now=NOON)
        tokens.settle(conn, turn="t", actual=300, now=NOON)

    book.write(write)
    yield SpendReport(book, lambda: LIMITS, lambda: NOON)
    book.close()


def asked(report: SpendReport, person: str, since: str = "") -> Any:
    """What a person is told."""
    return report.perform(SpendArgs(since=since), Call("c", person)).result


def test_the_owner_and_an_auditor_see_everybodys_money_and_others_their_own(report: SpendReport) -> None:
    for person in ("owner", "eve"):
        found = asked(report, person)
        assert (found["reserved"], found["settled"], found["currency"], found["whose"]) == ("20.00", "9.00", "USD", "everybody")
    mine = asked(report, "bob")
    assert (mine["reserved"], mine["settled"], mine["whose"]) == ("20.00", "5.00", "yours")
    assert {line["person"] for line in mine["by_run"]} == {"bob"}


def test_each_run_is_a_line_newest_first(report: SpendReport) -> None:
    lines = [(line["run_id"], line["reserved"], line["settled"]) for line in asked(report, "owner")["by_run"]]
    assert lines == [("run-c", "0.00", "5.00"), ("run-b", "20.00", "0.00"), ("run-a", "0.00", "4.00")]


@pytest.mark.parametrize(("since", "settled"), [("today", "4.00"), ("month", "9.00"), ("2d", "4.00"), ("6 weeks", "16.00"),
                                                ("2026-11-20", "4.00"), ("2026-10-01T00:00:00Z", "16.00")])
def test_since_when(report: SpendReport, since: str, settled: str) -> None:
    assert asked(report, "owner", since)["settled"] == settled


def test_a_word_that_names_no_time_is_refused_with_those_that_do(report: SpendReport) -> None:
    with pytest.raises(ToolFailed, match="7d"):
        report.propose(SpendArgs(since="long ago"))
    assert begin_of("7d", NOON) == "2026-11-17T12:00:00.000000Z"


def test_budgets_and_tokens_stand_beside_it(report: SpendReport) -> None:
    found = asked(report, "bob")
    assert found["budgets"] == [
        {"name": "one run", "cap": "50.00", "used": None, "left": None},
        {"name": "your day", "cap": "100.00", "used": "20.00", "left": "80.00"},
        {"name": "everybody's month", "cap": "500.00", "used": "29.00", "left": "471.00"},
    ]
    assert found["tokens"] == {"today": 300, "cap": 2_000_000, "left": 1_999_700}
    assert found["message"] == (
        "Since 2026-11-01, 5.00 USD were spent by you and 20.00 USD are reserved, in 2 calls. "
        "Tokens of a hosted brain today: 300 of 2000000.")


def test_the_brain_hears_no_name_that_somebody_gave(report: SpendReport) -> None:
    heard = report.perform(SpendArgs(), Call("c", "owner")).for_brain
    assert "of bob" not in str(heard) and "run-b" in str(heard)


@pytest.mark.parametrize(("amount", "text"), [(0, "0.00"), (4_000_000, "4.00"), (10_000, "0.01"), (1, "0.000001"), (1_234_567, "1.234567")])
def test_money_spent_is_never_rounded(amount: int, text: str) -> None:
    assert exact(amount) == text
