"""`spend_report`: money reserved and spent, by run, beside the budgets, and the tokens of a hosted brain; all read from the book."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar

from pydantic import Field, JsonValue
from sqlalchemy import Connection, case, func, select

from policies import ledger, tokens
from policies.book import Book, now_text
from policies.limits import MICROS, Limits, dollars, micros
from policies.people import SEES_ALL, find_person
from policies.proposal import Effect, Proposal
from policies.tables import calls, runs
from policies.tables import ledger as entries
from policies.tool import Call, Recall, Result, ToolArgs, ToolFailed

MOST_RUNS = 200
_AGO = re.compile(r"(\d{1,4})\s*(h|d|w|hours?|days?|weeks?)")
_HOURS = {"h": 1, "d": 24, "w": 168}


class SpendArgs(ToolArgs):
    """Arguments of spend_report."""

    since: str = Field(default="", max_length=40, description=(
        "From when: `today`, `month` (the default: since the first of this month), a span such as `7d`, or a date such as 2026-11-01."))


@dataclass(frozen=True, slots=True)
class SpendReport:
    """The tool."""

    book: Book
    limits: Callable[[], Limits]
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    name: ClassVar[str] = "spend_report"
    version: ClassVar[str] = "1"
    text: ClassVar[str] = (
        "What was spent and what is still reserved, in total and by run, what the budgets leave, and the tokens of a hosted brain. "
        "Use it for every question about money already spent; estimate_cost is for money not spent yet."
    )
    Args: ClassVar[type[ToolArgs]] = SpendArgs

    def propose(self, args: SpendArgs, /) -> Proposal:
        """Only reads; whose money is shown depends on who asks."""
        begin_of(args.since, self.clock())
        return Proposal(effects=frozenset({Effect.READ}), target="ledger")

    def perform(self, args: SpendArgs, call: Call, /) -> Result:
        """Everybody's money for those who look after it, one's own for everybody else."""
        now = self.clock()
        return self.book.read(lambda conn: self._report(conn, call.person, begin_of(args.since, now), now))

    def recall(self, call_id: str, /) -> Result | Recall:
        """Reading leaves nothing behind: it may be done again."""
        return Recall.NOT_STARTED

    def _report(self, conn: Connection, person: str, since: str, now: datetime) -> Result:
        found, limits = find_person(conn, person), self.limits()
        everybody = found is not None and found.role in SEES_ALL
        total = ledger.used(conn, person=None if everybody else person, since=since)
        lines = by_call(conn, None if everybody else person, since)
        used = tokens.used_today(conn, person, now)
        token: dict[str, JsonValue] = {"today": used.total, "cap": limits.tokens.per_person_day,
                                       "left": max(0, limits.tokens.per_person_day - used.total)}
        facts: dict[str, JsonValue] = {
            "reserved": dollars(total.reserved), "settled": exact(total.settled), "currency": "USD", "since": since,
            "whose": "everybody" if everybody else "yours",
        }
        result: dict[str, JsonValue] = {
            **facts, "billed": None, "by_run": [*lines[:MOST_RUNS]], "more": max(0, len(lines) - MOST_RUNS),
            "budgets": [*budgets(conn, limits, person, now)], "spending": limits.budget.spending, "tokens": token,
        }
        ids: list[JsonValue] = [{key: line[key] for key in ("run_id", "reserved", "settled")} for line in lines[:20]]
        named: list[JsonValue] = [{key: one[key] for key in ("name", "cap", "left")} for one in budgets(conn, limits, person, now)]
        return Result({**result, "message": words(facts, len(lines), token)},
                      {**facts, "by_run": ids, "budgets": named, "tokens": token, "spending": limits.budget.spending})


def begin_of(since: str, now: datetime) -> str:
    """The moment that a report begins at. Raises ToolFailed on words that name none."""
    text, now = since.strip().lower(), now.astimezone(UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if text in ("", "month", "this month"):
        return now_text(midnight.replace(day=1))
    if text == "today":
        return now_text(midnight)
    span = _AGO.fullmatch(text)
    if span is not None:
        return now_text(now - timedelta(hours=int(span[1]) * _HOURS[span[2][0]]))
    try:
        at = datetime.fromisoformat(since.strip())
    except ValueError:
        raise ToolFailed("Report the money spent", "`since` names no time.", "Say today, month, 7d, or a date such as 2026-11-01.",
                         kind="malformed") from None
    return now_text(at if at.tzinfo is not None else at.replace(tzinfo=UTC))


def exact(amount: int) -> str:
    """Micro-units spent as a decimal text: two places, or as many as the amount has."""
    value = Decimal(amount) / MICROS
    return str(value.quantize(Decimal("0.01")) if amount % 10_000 == 0 else value.normalize())


def by_call(conn: Connection, person: str | None, since: str) -> list[dict[str, JsonValue]]:
    """One line for each call that still holds money or cost some since then, newest first; with its run where it has one."""
    kind, amount = entries.c.kind, entries.c.micros
    held = func.sum(case((kind == "reserve", amount), (kind == "release", -amount), else_=0))
    spent = func.sum(case(((kind == "settle") & (entries.c.at >= since), amount), else_=0))
    wanted: Any = select(
        entries.c.call_id, entries.c.person, func.min(entries.c.at).label("at"), held.label("held"), spent.label("spent"), calls.c.tool,
        runs.c.id.label("run_id"), runs.c.name, runs.c.state,
    ).join(calls, calls.c.call_id == entries.c.call_id).outerjoin(runs, runs.c.call_id == entries.c.call_id)
    if person is not None:
        wanted = wanted.where(entries.c.person == person)
    wanted = wanted.group_by(entries.c.call_id).having((held > 0) | (spent > 0)).order_by(func.min(entries.c.id).desc())
    return [{
        "run_id": row.run_id, "call_id": row.call_id, "name": row.name or "", "tool": row.tool, "person": row.person, "state": row.state,
        "since": row.at, "reserved": dollars(int(row.held)), "settled": exact(int(row.spent)), "currency": "USD",
    } for row in conn.execute(wanted)]


def budgets(conn: Connection, limits: Limits, person: str, now: datetime) -> list[dict[str, JsonValue]]:
    """Each cap with what is used of it; the cap of one run has no use."""
    one: dict[str, JsonValue] = {"name": "one run", "cap": dollars(micros(limits.budget.per_run_usd)), "used": None, "left": None}
    filled: list[dict[str, JsonValue]] = [
        {"name": name, "cap": dollars(cap), "used": dollars(spent.total), "left": exact(max(0, cap - spent.total))}
        for name, (_, cap, spent) in zip(("your day", "everybody's month"), ledger.budgets(conn, limits, person, now), strict=True)
    ]
    return [one, *filled]


def words(facts: Mapping[str, JsonValue], runs_: int, token: Mapping[str, JsonValue]) -> str:
    """The report in one sentence or two."""
    of = "by everybody" if facts["whose"] == "everybody" else "by you"
    several = f", in {runs_} calls" if runs_ else ""
    said = f"Since {str(facts['since'])[:10]}, {facts['settled']} USD were spent {of} and {facts['reserved']} USD are reserved{several}."
    return f"{said} Tokens of a hosted brain today: {token['today']} of {token['cap']}." if token["today"] else said
