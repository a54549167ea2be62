"""`spend_report`: money reserved, running up, spent and billed, beside the budgets, and the tokens of a hosted brain; all from the book."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ClassVar

from pydantic import Field, JsonValue
from sqlalchemy import Connection

from policies import ledger, tokens
from policies.book import Book, now_text
from policies.limits import Limits, dollars, micros
from policies.people import SEES_ALL, find_person
from policies.proposal import Effect, Proposal
from policies.tool import Call, Recall, Result, ToolArgs, ToolFailed
from tools.azure.bills import billed_by_run, last_look
from tools.spending import Line, billed_total, by_month, by_person, exact, lines_of

MOST_RUNS = 200
TOLD = ("run_id", "deployment_id", "reserved", "accruing", "settled", "billed")
"""What the brain hears of each line."""
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
    accruing: Callable[[datetime], Iterable[tuple[str, str, int]]] = lambda now: ()
    """Run, call and micro-units of what costs money at this moment."""

    name: ClassVar[str] = "spend_report"
    version: ClassVar[str] = "1"
    text: ClassVar[str] = (
        "What was spent, what is still reserved, what runs up now and what Azure has billed, in total, by run, person and month; what the "
        "budgets leave, and the tokens of a hosted brain. "
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
        up = dict[str, int]()
        for _, call_id, amount in self.accruing(now):
            up[call_id] = up.get(call_id, 0) + amount
        return self.book.read(lambda conn: self._report(conn, call.person, begin_of(args.since, now), now, up))

    def recall(self, call_id: str, /) -> Result | Recall:
        """Reading leaves nothing behind: it may be done again."""
        return Recall.NOT_STARTED

    def _report(self, conn: Connection, person: str, since: str, now: datetime, up: Mapping[str, int]) -> Result:
        found, limits = find_person(conn, person), self.limits()
        everybody = found is not None and found.role in SEES_ALL
        who = None if everybody else person
        total = ledger.used(conn, person=who, since=since)
        lines = lines_of(conn, who, since, up)
        used = tokens.used_today(conn, person, now)
        token: dict[str, JsonValue] = {"today": used.total, "cap": limits.tokens.per_person_day,
                                       "left": max(0, limits.tokens.per_person_day - used.total)}
        facts: dict[str, JsonValue] = {
            "reserved": dollars(total.reserved), "accruing": dollars(sum(line.accruing for line in lines)), "settled": exact(total.settled),
            **bill(conn, lines, since, everybody), "currency": "USD", "since": since, "whose": "everybody" if everybody else "yours",
        }
        shown = [line.as_json() for line in lines[:MOST_RUNS]]
        result: dict[str, JsonValue] = {
            **facts, "by_run": [*shown], "more": max(0, len(lines) - MOST_RUNS), "by_person": [*by_person(lines)],
            "by_month": [*by_month(conn, who)], "month": month_of(conn, limits, person, now, sum(up.values())),
            "budgets": [*budgets(conn, limits, person, now)], "spending": limits.budget.spending, "tokens": token,
        }
        ids: list[JsonValue] = [{key: line[key] for key in TOLD} for line in shown[:20]]
        named: list[JsonValue] = [{key: one[key] for key in ("name", "cap", "left")} for one in budgets(conn, limits, person, now)]
        return Result({**result, "message": words(facts, len(lines), token)},
                      {**facts, "by_run": ids, "budgets": named, "tokens": token, "spending": limits.budget.spending})


def bill(conn: Connection, lines: list[Line], since: str, everybody: bool) -> dict[str, JsonValue]:
    """What Azure has billed, by when it was asked, and how far that is from what was settled; nothing where it never was asked."""
    look = last_look(conn)
    if look is None:
        return {"billed": None, "billed_at": None, "billed_elsewhere": None, "difference": None}
    apart = [line.difference for line in lines if line.difference is not None]
    return {
        "billed": exact(billed_total(conn, lines, since, everybody=everybody)), "billed_at": look.at,
        "billed_elsewhere": exact(billed_by_run(conn, since).get("", 0)) if everybody else None,
        "difference": exact(sum(apart)) if apart else None,
    }


def month_of(conn: Connection, limits: Limits, person: str, now: datetime, up: int) -> dict[str, JsonValue]:
    """Everybody's month against its cap: spent, running up within what is reserved, the rest of that, and what is left."""
    (_, cap, used), = ledger.budgets(conn, limits, person, now)[1:]
    return {"month": now.astimezone(UTC).strftime("%Y-%m"), "cap": dollars(cap), "settled": exact(used.settled), "accruing": dollars(up),
            "reserved": dollars(used.reserved), "left": exact(max(0, cap - used.total))}


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
    if facts["accruing"] != "0.00":
        said += f" Of that, {facts['accruing']} USD have run up so far."
    if facts["billed"] is not None:
        said += f" Azure has billed {facts['billed']} USD so far; its bill comes a day late and is not final."
    return f"{said} Tokens of a hosted brain today: {token['today']} of {token['cap']}." if token["today"] else said
