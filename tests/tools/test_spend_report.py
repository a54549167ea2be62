"""`spend_report`: what the ledger says, for whoever asks."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from policies import ledger, tokens
from policies.book import Book, now_text
from policies.cloud_tables import cloud_serving
from policies.deployment_tables import deployments
from policies.limits import MICROS
from policies.people import People
from policies.policy import Policy
from policies.tables import calls, runs
from policies.tool import Call, ToolFailed
from tools.azure.bills import BillStore
from tools.spend_report import SpendArgs, SpendReport, begin_of
from tools.spending import exact

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


@pytest.mark.parametrize(("amount", "text"), [
    (0, "0.00"), (4_000_000, "4.00"), (10_000, "0.01"), (1, "0.000001"), (1_234_567, "1.234567"), (-1_500_000, "-1.50"), (-1, "-0.000001"),
])
def test_money_spent_is_never_rounded(amount: int, text: str) -> None:
    assert exact(amount) == text


def test_without_a_cloud_nothing_runs_up_and_nothing_was_billed(report: SpendReport) -> None:
    found = asked(report, "owner")
    assert (found["accruing"], found["billed"], found["billed_at"], found["difference"]) == ("0.00", None, None, None)
    assert found["month"] == {"month": "2026-11", "cap": "500.00", "settled": "9.00", "accruing": "0.00", "reserved": "20.00",
                              "left": "471.00"}


def test_it_adds_up_by_person_and_by_month(report: SpendReport) -> None:
    found = asked(report, "owner")
    assert [(one["person"], one["reserved"], one["settled"], one["billed"]) for one in found["by_person"]] == [
        ("bob", "20.00", "5.00", None), ("owner", "0.00", "4.00", None)]
    assert found["by_month"] == [{"month": "2026-11", "settled": "9.00", "billed": None},
                                 {"month": "2026-10", "settled": "7.00", "billed": None}]
    mine = asked(report, "owner", "6 weeks")
    assert [one["month"] for one in mine["by_month"]] == ["2026-11", "2026-10"]


def running(report: SpendReport) -> SpendReport:
    """The report while call b runs up money."""
    return SpendReport(report.book, report.limits, report.clock, lambda now: [("run-b", "b", 1_250_001), ("run-b", "b", 1)])


def test_what_runs_up_now_stands_with_its_run_and_is_part_of_what_is_reserved(report: SpendReport) -> None:
    found = asked(running(report), "bob")
    assert (found["accruing"], found["reserved"]) == ("1.26", "20.00")
    assert {line["run_id"]: line["accruing"] for line in found["by_run"]} == {"run-c": "0.00", "run-b": "1.26"}
    assert "Of that, 1.26 USD have run up so far." in found["message"]
    assert asked(running(report), "eve")["month"]["accruing"] == "1.26"


def test_what_others_run_up_is_theirs(report: SpendReport) -> None:
    mine = SpendReport(report.book, report.limits, report.clock, lambda now: [("run-a", "a", 5_000_000)])
    assert asked(mine, "bob")["accruing"] == "0.00"


def billed(report: SpendReport, *rows: tuple[int, str, int]) -> None:
    """Keep a bill: day of November, run, dollars."""
    BillStore(report.book).put({(date(2026, 11, day), run, "m"): amount * MICROS for day, run, amount in rows}, {}, NOON, well=True)


def test_the_bill_is_compared_with_what_was_settled(report: SpendReport) -> None:
    billed(report, (20, "run-a", 5), (14, "run-c", 4), (20, "", 1), (21, "run-b", 2))
    found = asked(report, "owner")
    assert (found["billed"], found["billed_elsewhere"], found["difference"]) == ("12.00", "1.00", "0.00")
    assert {line["run_id"]: (line["billed"], line["difference"]) for line in found["by_run"]} == {
        "run-a": ("5.00", "1.00"), "run-b": ("2.00", None), "run-c": ("4.00", "-1.00")}
    assert found["billed_at"] == now_text(NOON) and "Azure has billed 12.00 USD so far" in found["message"]
    assert [(one["person"], one["billed"]) for one in found["by_person"]] == [("bob", "6.00"), ("owner", "5.00")]
    assert found["by_month"][0] == {"month": "2026-11", "settled": "9.00", "billed": "12.00"}


def test_a_member_sees_the_bill_of_their_own_runs_alone(report: SpendReport) -> None:
    billed(report, (20, "run-a", 5), (14, "run-c", 4), (20, "", 1))
    found = asked(report, "bob")
    assert (found["billed"], found["billed_elsewhere"], found["difference"]) == ("4.00", None, "-1.00")
    assert found["by_month"][0]["billed"] == "4.00"


def test_a_run_that_was_billed_after_the_time_it_was_settled_in_still_has_a_line(report: SpendReport) -> None:
    billed(report, (20, "run-d", 8), (20, "unknown-run", 3))
    lines = {line["run_id"]: line for line in asked(report, "owner")["by_run"]}
    assert (lines["run-d"]["settled"], lines["run-d"]["billed"], lines["run-d"]["difference"]) == ("0.00", "8.00", "1.00")
    assert (lines["unknown-run"]["person"], lines["unknown-run"]["billed"], lines["unknown-run"]["difference"]) == ("", "3.00", None)


def test_a_run_that_was_resumed_is_billed_once_and_compared_with_both_calls(report: SpendReport) -> None:
    def resume(conn: Connection) -> None:
        conn.execute(calls.insert().values(
            call_id="a2", person="owner", key="a2", args_digest="", tool="resume_run", caller_json="{}", args_json='{"run_id": "run-a"}',
            status="done", created_at=now_text(NOON)))
        ledger.reserve(conn, LIMITS, call_id="a2", person="owner", ceiling=6 * MICROS, basis="", now=NOON)
        ledger.settle(conn, call_id="a2", person="owner", actual=2 * MICROS, basis="clock", now=NOON)

    report.book.write(resume)
    billed(report, (20, "run-a", 7))
    lines = {line["call_id"]: line for line in asked(report, "owner")["by_run"]}
    assert (lines["a2"]["run_id"], lines["a2"]["billed"], lines["a2"]["difference"]) == ("run-a", "7.00", "1.00")
    assert lines["a"]["billed"] is None


def test_a_deployment_has_lines_and_a_bill_of_its_own(report: SpendReport) -> None:
    def deploy(conn: Connection) -> None:
        for call, tool, actual in (("e1", "deploy_inference", 2), ("e2", "redeploy", 1)):
            conn.execute(calls.insert().values(call_id=call, person="bob", key=call, args_digest="", tool=tool, caller_json="{}",
                                               args_json="{}", status="done", created_at=now_text(NOON)))
            conn.execute(cloud_serving.insert().values(call_id=call, deployment_id="served", revision=int(call[1]), region="r",
                                                       per_second="0.1", began_at=now_text(NOON)))
            ledger.reserve(conn, LIMITS, call_id=call, person="bob", ceiling=6 * MICROS, basis="", now=NOON)
            ledger.settle(conn, call_id=call, person="bob", actual=actual * MICROS, basis="clock", now=NOON)
        conn.execute(deployments.insert().values(id="served", owner="bob", call_id="e1", where="Azure", state="stopped", revision_call="e2",
                                                 model_id="bundled", plan_json="{}", created_at=now_text(NOON), expires_at=now_text(NOON)))

    report.book.write(deploy)
    billed(report, (20, "deployment:served", 4), (20, "deployment:unknown", 1), (20, "", 1))
    found = asked(report, "owner")
    lines = {line["call_id"]: line for line in found["by_run"] if line["deployment_id"]}
    assert (lines["e2"]["deployment_id"], lines["e2"]["name"], lines["e2"]["state"]) == ("served", "bundled", "stopped")
    assert (lines["e2"]["billed"], lines["e2"]["difference"], lines["e1"]["billed"]) == ("4.00", "1.00", None)
    assert (lines[""]["deployment_id"], lines[""]["run_id"], lines[""]["billed"]) == ("unknown", None, "1.00")
    assert (found["billed"], found["billed_elsewhere"]) == ("6.00", "1.00")
    mine = asked(report, "bob")
    assert (mine["billed"], mine["by_month"][0]["billed"], mine["by_person"][0]["billed"]) == ("4.00", "4.00", "4.00")


def test_a_look_that_found_nothing_is_a_bill_of_zero(report: SpendReport) -> None:
    billed(report)
    assert asked(report, "owner")["billed"] == "0.00"
