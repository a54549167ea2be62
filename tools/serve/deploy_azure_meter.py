"""What deployments in the cloud have cost so far: the seconds in which a replica was seen, by the call that pays for them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, RowMapping, select, update
from sqlalchemy.dialects.sqlite import insert

from policies import ledger
from policies.book import Book, now_text
from policies.cloud_tables import cloud_serving
from tools.azure.ceiling import accrued
from tools.settlement import Settlement

BLIND_S = 900
"""A longer time between two looks, both of which saw it asleep, is told as not watched."""


@dataclass(frozen=True, slots=True)
class Metered:
    """One call's part of a deployment."""

    call_id: str
    deployment_id: str
    revision: int
    region: str
    per_second: Decimal
    """US dollars a replica and second."""
    sent_at: str | None
    """When the app was sent; None while it may still be unsent."""
    looked_at: str | None
    replicas: int
    replica_ms: int
    unseen_s: int
    """Seconds nobody watched, asleep before and after."""
    ended_at: str | None
    settled: bool

    @property
    def micros(self) -> int:
        """Cost so far."""
        return accrued(self.per_second, self.replica_ms / 1000)

    @property
    def basis(self) -> str:
        """How the amount was found."""
        hours = f", {self.unseen_s / 3600:.1f} hours of it not watched" if self.unseen_s else ""
        return f"replicas of {self.deployment_id} were seen for {self.replica_ms // 1000} s at {self.per_second:f} USD a second{hours}"


class ServingMeter:
    """The one owner of the table `cloud_serving`."""

    def __init__(self, book: Book, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._book, self._clock = book, clock

    def begin(self, call_id: str, deployment_id: str, revision: int, region: str, per_second: Decimal) -> None:
        """From now on this call pays for its revision; the same call again changes nothing."""
        at = now_text(self._clock())
        row = {"call_id": call_id, "deployment_id": deployment_id, "revision": revision, "region": region, "per_second": f"{per_second:f}",
               "began_at": at}
        self._book.write(lambda db: db.execute(insert(cloud_serving).values(**row).on_conflict_do_nothing()) and None)

    def sent(self, call_id: str) -> None:
        """The app is about to be sent: from here on it may cost money."""
        at = now_text(self._clock())
        mine = (cloud_serving.c.call_id == call_id, cloud_serving.c.sent_at.is_(None))
        self._book.write(lambda db: db.execute(update(cloud_serving).where(*mine).values(sent_at=at, looked_at=at)) and None)

    def saw(self, call_id: str, replicas: int) -> None:
        """Count the time since the last look by the most replicas that were there at either end of it."""
        now = self._clock()

        def write(db: Connection) -> None:
            row = db.execute(select(cloud_serving).where(cloud_serving.c.call_id == call_id)).mappings().one_or_none()
            if row is None or row["ended_at"] is not None:
                return
            since = max(0.0, (now - _time(row["looked_at"])).total_seconds()) if row["looked_at"] else 0.0
            most = max(row["replicas"], replicas)
            changed: dict[str, Any] = {"looked_at": now_text(now), "replicas": replicas,
                                       "replica_ms": row["replica_ms"] + round(most * since * 1000)}
            if not most and since > BLIND_S:
                changed["unseen_s"] = row["unseen_s"] + round(since)
            db.execute(update(cloud_serving).where(cloud_serving.c.call_id == call_id).values(**changed))

        self._book.write(write)

    def saw_all(self, deployment_id: str, replicas: Mapping[int, int]) -> None:
        """Count the time since the last look: each revision's replicas by the newest call that is not newer than the revision."""
        parts = [each for each in self.of_deployment(deployment_id) if each.ended_at is None]
        shares = dict.fromkeys((each.call_id for each in parts), 0)
        for revision, count in replicas.items():
            paying = [each.call_id for each in parts if each.revision <= revision] or list(shares)[:1]
            if paying:
                shares[paying[-1]] += count
        for call, count in shares.items():
            self.saw(call, count)

    def end_call(self, call_id: str) -> None:
        """This call pays for nothing any more."""
        mine = (cloud_serving.c.call_id == call_id, cloud_serving.c.ended_at.is_(None))
        at = now_text(self._clock())
        self._book.write(lambda db: db.execute(update(cloud_serving).where(*mine).values(ended_at=at, replicas=0)) and None)

    def end(self, deployment_id: str) -> None:
        """Nothing of it is paid for any more."""
        mine = (cloud_serving.c.deployment_id == deployment_id, cloud_serving.c.ended_at.is_(None))
        at = now_text(self._clock())
        self._book.write(lambda db: db.execute(update(cloud_serving).where(*mine).values(ended_at=at, replicas=0)) and None)

    def of_call(self, call_id: str) -> Metered | None:
        """A call's part."""
        found = self._rows(cloud_serving.c.call_id == call_id)
        return found[0] if found else None

    def of_deployment(self, deployment_id: str) -> list[Metered]:
        """Every part of a deployment, the first revision first."""
        return self._rows(cloud_serving.c.deployment_id == deployment_id)

    def open(self) -> list[Metered]:
        """What may still cost money."""
        return self._rows(cloud_serving.c.ended_at.is_(None))

    def accruing(self) -> list[tuple[str, str, int]]:
        """Deployment, call and micro-units of what has cost money that is not settled yet."""
        return [(each.deployment_id, each.call_id, each.micros) for each in self._rows(cloud_serving.c.settled == 0) if each.micros]

    def covers(self, call_id: str) -> bool:
        """Whether the ceiling that a call's approval reserved still stands, and more of it than has been used so far."""
        held = self._book.read(lambda db: ledger.used(db, call_id=call_id).reserved)
        mine = self.of_call(call_id)
        return mine is not None and mine.ended_at is None and held > mine.micros

    def settlements(self) -> list[Settlement]:
        """What has ended and is not settled in the ledger yet. Stable until it is: the gateway settles each call once."""
        found = []
        for each in self._rows(cloud_serving.c.ended_at.is_not(None), cloud_serving.c.settled == 0):
            if self._book.read(lambda db, each=each: ledger.is_settled(db, each.call_id)):
                mine = cloud_serving.c.call_id == each.call_id
                self._book.write(lambda db, mine=mine: db.execute(update(cloud_serving).where(mine).values(settled=1)) and None)
            else:
                found.append(Settlement(each.call_id, each.micros, each.basis))
        return found

    def _rows(self, *which: Any) -> list[Metered]:
        query = select(cloud_serving).where(*which).order_by(cloud_serving.c.deployment_id, cloud_serving.c.revision)
        return self._book.read(lambda db: [_metered(row) for row in db.execute(query).mappings()])


def _metered(row: RowMapping) -> Metered:
    kept = {name: row[name] for name in Metered.__dataclass_fields__}
    return Metered(**{**kept, "per_second": Decimal(row["per_second"]), "settled": bool(row["settled"])})


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
