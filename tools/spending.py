"""Money as the book knows it: each call's reserved, accruing, settled and billed amounts, added up by person and by month."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from pydantic import JsonValue
from sqlalchemy import Connection, case, func, select

from policies.cloud_tables import cloud_serving
from policies.deployment_tables import deployments
from policies.limits import MICROS, dollars
from policies.tables import calls, runs
from policies.tables import ledger as entries
from tools.azure.bills import OF_DEPLOYMENT, billed_by_month, billed_by_run

MONTHS = 12
"""How many months are told apart."""


@dataclass(frozen=True, slots=True)
class Line:
    """One call that holds money or cost some, in micro-units; or, without a call, a run or deployment that was only billed."""

    call_id: str
    run_id: str | None
    name: str
    tool: str
    person: str
    state: str | None
    at: str
    held: int = 0
    spent: int = 0
    """Settled in the time that is reported."""
    whole: int = 0
    """Settled at any time."""
    accruing: int = 0
    billed: int | None = None
    """None where no bill names its run."""
    difference: int | None = None
    """What was billed of the run or deployment above what was settled, at any time; None until both are there."""
    deployment_id: str | None = None

    @property
    def whose(self) -> str:
        """What a bill calls it: a run, or `deployment:` and its id; empty for neither."""
        return f"{OF_DEPLOYMENT}{self.deployment_id}" if self.deployment_id else self.run_id or ""

    def as_json(self) -> dict[str, JsonValue]:
        """One of `by_run[]`."""
        return {
            "run_id": self.run_id, "deployment_id": self.deployment_id, "call_id": self.call_id, "name": self.name, "tool": self.tool,
            "person": self.person,
            "state": self.state, "since": self.at, "reserved": dollars(self.held), "accruing": dollars(self.accruing),
            "settled": exact(self.spent),
            "billed": None if self.billed is None else exact(self.billed),
            "difference": None if self.difference is None else exact(self.difference), "currency": "USD",
        }


def lines_of(conn: Connection, person: str | None, since: str, accruing: Mapping[str, int]) -> list[Line]:
    """A line for each call that matters since then, newest first. `accruing` is micro-units by call; `person` None is everybody."""
    found = _ledger(conn, person, since)
    owners = _owners(conn)
    owned = {whose for whose, owner in owners.items() if owner[0] == person}
    recent, ever = ({whose: amount for whose, amount in some.items() if whose and (person is None or whose in owned)}
                    for some in (billed_by_run(conn, since), billed_by_run(conn)))
    settled, open_ = dict[str, int](), set[str]()
    for line in found:
        if line.whose:
            settled[line.whose] = settled.get(line.whose, 0) + line.whole
            if line.held:
                open_.add(line.whose)
    told, shown = set[str](), list[Line]()
    for line in found:
        whose = line.whose
        billed = recent.get(whose) if whose not in told else None
        told |= {whose}
        sure = billed is not None and whose in ever and whose not in open_ and settled.get(whose, 0) > 0
        runs_up = accruing.get(line.call_id, 0)
        if line.held or line.spent or runs_up or billed:
            shown.append(replace(line, accruing=runs_up, billed=billed, difference=ever[whose] - settled[whose] if sure else None))
    for whose in sorted(recent.keys() - told):
        owner, name, state = owners.get(whose, ("", "", None))
        kind, _, ident = whose.rpartition(":")
        shown.append(Line("", None if kind else ident, name, "", owner, state, "", billed=recent[whose],
                          deployment_id=ident if kind else None))
    return shown


def by_person(lines: Iterable[Line]) -> list[dict[str, JsonValue]]:
    """The four amounts of each person, most money first."""
    sums: dict[str, list[int]] = {}
    billed: set[str] = set()
    for line in lines:
        mine = sums.setdefault(line.person, [0, 0, 0, 0])
        for at, amount in enumerate((line.held, line.accruing, line.spent, line.billed or 0)):
            mine[at] += amount
        if line.billed is not None:
            billed.add(line.person)
    sums.pop("", None)
    ordered = sorted(sums.items(), key=lambda each: (-each[1][0] - each[1][2], each[0]))
    return [{"person": who, "reserved": dollars(held), "accruing": dollars(runs_up), "settled": exact(spent),
             "billed": exact(paid) if who in billed else None} for who, (held, runs_up, spent, paid) in ordered]


def by_month(conn: Connection, person: str | None) -> list[dict[str, JsonValue]]:
    """What was settled and billed in each of the last months, newest first."""
    month = func.substr(entries.c.at, 1, 7)
    wanted = select(month, func.sum(entries.c.micros)).where(entries.c.kind == "settle").group_by(month)
    if person is not None:
        wanted = wanted.where(entries.c.person == person)
    settled = {str(when): int(amount) for when, amount in conn.execute(wanted)}
    owners = _owners(conn) if person is not None else {}
    billed: dict[str, int] = {}
    for (when, whose), amount in billed_by_month(conn).items():
        if person is None or owners.get(whose, ("",))[0] == person:
            billed[when] = billed.get(when, 0) + amount
    newest = sorted(settled.keys() | billed.keys(), reverse=True)[:MONTHS]
    return [{"month": when, "settled": exact(settled.get(when, 0)), "billed": exact(billed[when]) if when in billed else None}
            for when in newest]


def billed_total(conn: Connection, lines: Iterable[Line], since: str, *, everybody: bool) -> int:
    """What was billed since then: of what the lines name, and for everybody also what belongs to no run and no deployment."""
    of_runs = sum(line.billed or 0 for line in lines)
    return of_runs + (billed_by_run(conn, since).get("", 0) if everybody else 0)


def exact(amount: int) -> str:
    """Micro-units as a decimal text: two places, or as many as the amount has."""
    value = Decimal(amount) / MICROS
    return str(value.quantize(Decimal("0.01"))) if amount % 10_000 == 0 else format(value.normalize(), "f")


def _ledger(conn: Connection, person: str | None, since: str) -> list[Line]:
    kind, amount = entries.c.kind, entries.c.micros
    held = func.sum(case((kind == "reserve", amount), (kind == "release", -amount), else_=0))
    spent = func.sum(case(((kind == "settle") & (entries.c.at >= since), amount), else_=0))
    whole = func.sum(case((kind == "settle", amount), else_=0))
    wanted = select(
        entries.c.call_id, entries.c.person, func.min(entries.c.at).label("at"), held.label("held"), spent.label("spent"),
        whole.label("whole"), calls.c.tool, calls.c.args_json, runs.c.id.label("run_id"), runs.c.name, runs.c.state,
        deployments.c.id.label("deployment_id"), deployments.c.model_id, deployments.c.state.label("serving"),
    ).join(calls, calls.c.call_id == entries.c.call_id).outerjoin(runs, runs.c.call_id == entries.c.call_id).outerjoin(
        cloud_serving, cloud_serving.c.call_id == entries.c.call_id).outerjoin(
        deployments, deployments.c.id == cloud_serving.c.deployment_id)
    if person is not None:
        wanted = wanted.where(entries.c.person == person)
    wanted = wanted.group_by(entries.c.call_id).order_by(func.min(entries.c.id).desc())
    return [Line(row.call_id, row.run_id or _resumed(row.tool, row.args_json), row.name or row.model_id or "", row.tool, row.person,
                 row.state or row.serving, row.at, int(row.held), int(row.spent), int(row.whole), deployment_id=row.deployment_id)
            for row in conn.execute(wanted)]


def _resumed(tool: str, args_json: str) -> str | None:
    """The run that a call continued: its money is that of the run."""
    if tool != "resume_run":
        return None
    try:
        run = json.loads(args_json).get("run_id")
    except (ValueError, AttributeError):
        return None
    return run if isinstance(run, str) else None


def _owners(conn: Connection) -> dict[str, tuple[str, str, str | None]]:
    """Owner, name and state by run, or by `deployment:` and its id."""
    of_runs = {row.id: (row.owner, row.name, row.state) for row in conn.execute(select(runs.c.id, runs.c.owner, runs.c.name, runs.c.state))}
    wanted = select(deployments.c.id, deployments.c.owner, deployments.c.model_id, deployments.c.state)
    return of_runs | {f"{OF_DEPLOYMENT}{row.id}": (row.owner, row.model_id, row.state) for row in conn.execute(wanted)}
