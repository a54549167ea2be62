"""The next attempt of a run on Azure, from the checkpoint it has there or here; and the way back to this machine."""

import math
from datetime import UTC, datetime

from pydantic import JsonValue

from policies.limits import dollars
from policies.proposal import Effect, Proposal
from policies.tool import Call, Recall, ToolFailed
from tools.azure.ceiling import ATTEMPTS, SHORTEST_S, ceiling
from tools.azure.jobs import MARGIN_S
from tools.azure.place import CloudPlace, Shape
from tools.azure.rates import Rate
from tools.azure.seat import room_bytes, where_of
from tools.engine.spec import TrainSpec
from tools.hardware import GIB
from tools.runs.cloud_orders import cloud_orders
from tools.runs.cloud_row import CloudPlan, CloudRow, Memory, Phase
from tools.runs.cloud_store import settlement
from tools.runs.line import likely_seconds
from tools.runs.local import LocalRuns
from tools.runs.start_cloud import CloudStart
from tools.runs.store import HERE, RunRow, RunStore


class CloudResume:
    """What `resume_run` does where a run goes to Azure, or comes back from there."""

    def __init__(self, start: CloudStart, runs: RunStore, local: LocalRuns) -> None:
        self._start, self._runs, self._local = start, runs, local

    def proposal(self, row: RunRow, spec: TrainSpec, card: tuple[tuple[str, str], ...], step: int) -> Proposal:
        """The consent card of the next attempt there: the settings as recorded, the price as it is now."""
        account, place = self._start.place(self._region(row))
        shape, rate = self._shape(row, spec, place)
        self._start.check_allowed(place, shape)
        timeout = self._timeout(row)
        money = ceiling(rate, timeout, ATTEMPTS, self._gib(row), likely_s=likely_seconds(row.plan))
        kept = {**self._start.kept(place, shape, rate, money, timeout), "first": row.attempt + 1}
        cost: dict[str, JsonValue] = {"likely": dollars(money.likely_micros), "ceiling": dollars(money.ceiling_micros), "currency": "USD",
                                      "price_date": money.price_date, "per_hour": rate.hourly(), "basis": money.basis}
        kept_lines = tuple((label, value) for label, value in card if label not in {"Cost", "Writes", "Memory"})
        where, lines = where_of(shape, place.region), self._start.lines(account, place, rate, money, timeout)
        return Proposal(
            effects=frozenset({Effect.SPEND}), target=f"run:{row.id}", where=where, cost=money.cost, owner=row.owner, supersedes=row.id,
            card=(("Where", where), *lines, *kept_lines),
            plan={**row.plan, "resume": row.id, "attempt": row.attempt + 1, "from_step": step, "where": where,
                  "cost": cost, "cloud": kept, "limit_s": timeout - MARGIN_S},
            orders=cloud_orders(timeout), region=place.region, sku=shape.name, max_minutes=math.ceil(timeout / 60),
            leaves=self._start.leaves(place, f"the run's rows, its model and its last checkpoint (step {step})"),
        )

    def begin(self, row: RunRow, call: Call, plan: dict[str, JsonValue]) -> RunRow:
        """Begin the next attempt there under this call. The same call finds what it began."""
        kept = plan["cloud"]
        assert isinstance(kept, dict)
        store = self._start.cloud.store
        before = store.get(row.id)
        if before is not None and before.call_id == call.call_id:
            return row
        attempt = row.attempt + 1
        owed = () if before is None else before.seen.owed
        if before is not None and not before.settled:
            cost = settlement(before)
            owed = (*owed, (cost.call_id, cost.micros, cost.basis))
        made = CloudRow(row.id, attempt, call.call_id, str(kept["region"]), CloudPlan.read(kept), self._start.expiry(),
                        seen=Memory(owed=owed))
        row = self._runs.next_attempt(row.id, attempt, "resumed by its owner", where=str(plan["where"]))
        found = store.create(made) if before is None else store.again(before, made)
        if found is None:
            raise ToolFailed(f"Resume the run {row.id}", "It was changed in this moment.", "Look at it with run_status.", kind="state")
        self._local.prepare_attempt(row.id, attempt, call.call_id)
        self._start.cloud.ready(row.id)
        return row

    def knows(self, row: RunRow, call_id: str) -> bool:
        """Whether this call began the attempt that a run in the cloud is at."""
        found = self._start.cloud.store.get(row.id)
        return found is not None and found.call_id == call_id

    def recall(self, row: RunRow, call_id: str) -> Recall | None:
        """What became of a call that a crash cut off: NOT_STARTED, or None when the attempt goes on."""
        found = self._start.cloud.store.get(row.id)
        if found is None or found.call_id != call_id:
            return Recall.NOT_STARTED
        if found.phase is Phase.APPROVED:
            self._start.forsake(row.id, "Luthier was stopped before anything was sent. Resume it again.", "start")
            return Recall.NOT_STARTED
        return None

    def bring_back(self, row: RunRow, call: Call) -> None:
        """Download what the next attempt here goes on from. Raises AzureTrouble; nothing has begun then."""
        from tools.azure.files import open_share
        from tools.runs.container import fetch_checkpoints

        before = self._start.cloud.store.get(row.id)
        place = None if before is None else self._start.prepared.get(before.region)
        if row.where == HERE or before is None:
            return
        if place is None:
            raise ToolFailed(f"Resume the run {row.id} here", f"{before.region} is not prepared any more: its checkpoints are out of "
                             "reach.", "Prepare the cloud there again, or start a new run.", kind="not_prepared")
        call.report("Downloading its last checkpoint", None)
        fetch_checkpoints(open_share(self._start.azure, place), row.id, self._local.folder(row.id), call.report)

    def _region(self, row: RunRow) -> str:
        before = self._start.cloud.store.get(row.id)
        return "" if before is None else before.region

    def _shape(self, row: RunRow, spec: TrainSpec, place: CloudPlace) -> tuple[Shape, Rate]:
        """The shape it had there; else the cheapest of the recorded device with room for what the plan foretold."""
        before = self._start.cloud.store.get(row.id)
        now, need = datetime.now(UTC), row.predicted_memory_bytes or 0
        fit = [each for each in self._start.offered(place, "" if spec.device == "cuda" else "cpu") if room_bytes(each) >= need]
        if before is not None:
            fit = [each for each in fit if each.name == before.plan.shape.name] or fit
        rated = sorted(((self._start.prices.rate(each, place.region, now), each) for each in fit),
                       key=lambda one: (one[0].per_second, one[1].name))
        if not rated:
            raise ToolFailed(f"Resume the run {row.id} in {place.region}", f"No {spec.device} there has {need / GIB:.1f} GiB for it.",
                             "Resume it where it was, or start a new run.", kind="memory")
        return rated[0][1], rated[0][0]

    def _timeout(self, row: RunRow) -> int:
        limit = row.plan.get("limit_s")
        longest = 3600 * self._start.limits().places.max_hours
        wanted = int(limit) + MARGIN_S if isinstance(limit, int | float) and limit else 4 * SHORTEST_S
        return max(SHORTEST_S, min(wanted, longest))

    @staticmethod
    def _gib(row: RunRow) -> float:
        disk = row.plan.get("disk_bytes")
        return round((disk if isinstance(disk, int | float) else 0) / GIB + 1, 1)

