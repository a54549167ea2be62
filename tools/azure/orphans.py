"""What carries our tags in Azure and is not in the book: shown with its cost so far, and never touched by itself."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from pydantic import JsonValue

from policies.limits import dollars
from tools.azure.apps import Apps, ManagedApp
from tools.azure.ceiling import accrued
from tools.azure.client import Azure
from tools.azure.jobs import Execution, Jobs, ManagedJob
from tools.azure.place import CloudPlace, PlaceStore, Shape
from tools.azure.prices import Prices
from tools.azure.quota import shapes
from tools.azure.trouble import AzureTrouble

KEEP_S = 60.0
"""How long a look is good."""


@dataclass(frozen=True, slots=True)
class Orphan:
    """One job or app that the book does not know."""

    kind: Literal["job", "app"]
    name: str
    of: str
    """The run or deployment that its tag names; untrusted."""
    region: str
    group: str
    profile: str
    running: tuple[str, ...]
    """Executions that may cost money now; of an app its own name while it is not stopped."""
    spent_micros: int | None
    """What they have cost so far; None where nobody knows."""
    expires: str = ""

    @property
    def remedy(self) -> str:
        """What a person can do about it."""
        adopt = f"take it up with adopt_run execution={self.running[0]}, " if self.kind == "job" and self.running else ""
        stop = f"end it with stop_orphan name={self.name}, " if self.running else ""
        return f"You can {adopt}{stop}or delete it with teardown_cloud only=orphans name={self.name}."

    def as_json(self) -> dict[str, JsonValue]:
        """For results."""
        spent = "unknown" if self.spent_micros is None else dollars(self.spent_micros)
        return {"kind": self.kind, "name": self.name, "of": self.of, "region": self.region, "resource_group": self.group,
                "sku": self.profile,
                "running": list(self.running), "spent": {"amount": spent, "currency": "USD"}, "expires_at": self.expires,
                "note": f"Not in the book. {self.remedy}"}


class Orphans:
    """Looks for them in every prepared place."""

    def __init__(self, azure: Azure, places: PlaceStore, prices: Prices, knows_run: Callable[[str], bool],
                 knows_deployment: Callable[[str], bool], clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._azure, self._places, self._prices, self._clock = azure, places, prices, clock
        self._knows_run, self._knows_deployment = knows_run, knows_deployment
        self._lock = threading.Lock()
        self._found: tuple[Orphan, ...] = ()
        self._looked = -KEEP_S

    def known(self) -> tuple[Orphan, ...]:
        """What the last look found; asks nobody."""
        return self._found

    def look(self, fresh: bool = False) -> tuple[Orphan, ...]:
        """All of them, at most a minute old unless `fresh`. Asks nobody while nothing is prepared. Raises AzureTrouble."""
        with self._lock:
            if fresh or time.monotonic() - self._looked > KEEP_S:
                self._found = tuple(each for place in self._places.all() for each in self._in(place))
                self._looked = time.monotonic()
            return self._found

    def _in(self, place: CloudPlace) -> list[Orphan]:
        jobs, apps = Jobs(self._azure, place), Apps(self._azure, place)
        found = [self._job(place, jobs, each) for each in jobs.managed() if not self._knows_run(each.run_id)]
        return found + [self._app(place, each) for each in apps.managed() if not self._knows_deployment(each.deployment_id)]

    def _job(self, place: CloudPlace, jobs: Jobs, job: ManagedJob) -> Orphan:
        executions = jobs.executions(job.name)
        return Orphan("job", job.name, job.run_id, place.region, place.group, job.profile, tuple(e.name for e in executions if e.live),
                      self._spent(place, job.profile, executions), job.expires)

    def _spent(self, place: CloudPlace, profile: str, executions: tuple[Execution, ...]) -> int | None:
        now = self._clock()
        spans = [(each.started_at, each.ended_at or now) for each in executions if each.started_at is not None]
        seconds = sum(max(0.0, (end - begun).total_seconds()) for begun, end in spans)
        if not executions:
            return 0
        shape = self._shape(place.region, profile)
        rate = self._prices.shown(shape, place.region, now) if shape is not None else None
        return None if rate is None else accrued(rate.per_second, seconds)

    def _shape(self, region: str, profile: str) -> Shape | None:
        try:
            return next((each for each in shapes(self._azure, region) if each.name == profile), None)
        except AzureTrouble:
            return None

    def _app(self, place: CloudPlace, app: ManagedApp) -> Orphan:
        running = () if app.running in ("stopped", "suspended") else (app.name,)
        return Orphan("app", app.name, app.deployment_id, place.region, place.group, app.profile, running, None if running else 0,
                      app.expires)
