"""What Azure has billed, as far as it has told: kept by day, run and meter, and never taken for final."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects.sqlite import insert

from policies.book import Book, now_text
from policies.cloud_tables import cloud_bills

_LOOK = ""
"""The day of the rows that tell of looks and not of money: their meter is the scope that was asked, empty for the look as a whole."""
OF_DEPLOYMENT = "deployment:"
"""Before the id of a deployment, where else a run's stands."""
WATCH = timedelta(days=45)
"""How long a resource group is asked for its bill after it was last prepared: bills come late, and teardown is not their end."""


@dataclass(frozen=True, slots=True)
class Look:
    """The last time that Azure was asked for its bill."""

    at: str
    well: bool


class BillStore:
    """The one owner of the table `cloud_bills`."""

    def __init__(self, book: Book) -> None:
        self._book = book

    def put(self, lines: Mapping[tuple[date, str, str], int], scopes: Mapping[str, bool], now: datetime, *, well: bool) -> None:
        """Keep what a look found: micro-units by day, whose they are and meter; and each scope that was asked, with whether it is in use.

        A line that was found again is corrected; where not every scope answered, a line that belongs to no run only grows.
        """
        at = now_text(now)

        def write(db: Connection) -> None:
            for (day, run_id, meter), amount in lines.items():
                new = insert(cloud_bills).values(day=day.isoformat(), run_id=run_id, meter=meter, micros=amount, fetched_at=at)
                kept = new.excluded.micros if well or run_id else func.max(cloud_bills.c.micros, new.excluded.micros)
                db.execute(new.on_conflict_do_update(index_elements=["day", "run_id", "meter"], set_={
                    "micros": kept, "fetched_at": new.excluded.fetched_at}))
            marks = {"": well, **{scope: True for scope, used in scopes.items() if used}}
            for meter, good in marks.items():
                mark = insert(cloud_bills).values(day=_LOOK, run_id="", meter=meter, micros=int(good), fetched_at=at)
                db.execute(mark.on_conflict_do_update(index_elements=["day", "run_id", "meter"], set_={
                    "micros": mark.excluded.micros, "fetched_at": mark.excluded.fetched_at}))

        self._book.write(write)

    def last_look(self) -> Look | None:
        """None when Azure was never asked."""
        return self._book.read(last_look)

    def scopes(self, now: datetime) -> list[str]:
        """The resource groups that are asked still, though they may be gone."""
        wanted = select(cloud_bills.c.meter).where(cloud_bills.c.day == _LOOK, cloud_bills.c.meter != "",
                                                   cloud_bills.c.fetched_at >= now_text(now - WATCH))
        return self._book.read(lambda db: list(db.execute(wanted).scalars()))


def last_look(db: Connection) -> Look | None:
    """When Azure was last asked, and whether every part answered; None when never."""
    found = db.execute(select(cloud_bills.c.fetched_at, cloud_bills.c.micros).where(
        cloud_bills.c.day == _LOOK, cloud_bills.c.meter == "")).one_or_none()
    return None if found is None else Look(str(found[0]), bool(found[1]))


def billed_by_run(db: Connection, since: str = "") -> dict[str, int]:
    """Micro-units by run, or by `deployment:` and its id, of the days from `since` (ISO 8601) on; what belongs to neither under ""."""
    total = func.sum(cloud_bills.c.micros)
    rows = db.execute(select(cloud_bills.c.run_id, total).where(cloud_bills.c.day != _LOOK, cloud_bills.c.day >= since[:10])
                      .group_by(cloud_bills.c.run_id))
    return {str(run_id): int(amount) for run_id, amount in rows}


def billed_by_month(db: Connection) -> dict[tuple[str, str], int]:
    """Micro-units by month (`2026-11`) and run, or `deployment:` and its id."""
    month = func.substr(cloud_bills.c.day, 1, 7)
    rows = db.execute(select(month, cloud_bills.c.run_id, func.sum(cloud_bills.c.micros)).where(cloud_bills.c.day != _LOOK)
                      .group_by(month, cloud_bills.c.run_id))
    return {(str(when), str(run_id)): int(amount) for when, run_id, amount in rows}
