"""`adopt_run`: takes up an execution in the cloud that bears our tags and that the book does not know."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, JsonValue

from policies import fault
from policies.proposal import Effect, Proposal, Unpriced
from policies.tool import Call, Recall, Result, ToolArgs, ToolFailed
from tools.azure.client import Azure
from tools.azure.place import CloudPlace, PlaceStore, Shape
from tools.azure.prices import Prices
from tools.azure.trouble import AzureTrouble
from tools.engine.spec import TrainSpec
from tools.runs.cloud_orders import EXPIRY_H, cloud_orders
from tools.runs.cloud_reconcile import CloudReconciler
from tools.runs.cloud_row import CloudPlan, CloudRow, Memory, Phase, stamp
from tools.runs.local import LocalRuns
from tools.runs.rid import is_rid
from tools.runs.store import NewRun, RunStore

SPEC_BYTES = 1 << 20
LONGEST_S = 24 * 3600
"""Seconds after which a run is stopped whose own time limit the book has lost."""


class AdoptArgs(ToolArgs):
    """Arguments of adopt_run."""

    execution: str = Field(min_length=1, max_length=60, pattern=r"^luthier-run-[0-9a-z]{10}-[0-9a-z]{1,12}$",
                           description="The execution's name, as list_orphans shows it.")


class AdoptRun:
    """The tool."""

    name: ClassVar[str] = "adopt_run"
    version: ClassVar[str] = "1"
    text: ClassVar[str] = (
        "Take up a run in Azure that this home started and no longer knows: it is shown, stopped at its time limit and downloaded as any "
        "other from then on. Give the execution's name."
    )
    Args: ClassVar[type[ToolArgs]] = AdoptArgs

    def __init__(self, azure: Azure, prepared: PlaceStore, prices: Prices, runs: RunStore, reconciler: CloudReconciler,
                 local: LocalRuns) -> None:
        self._azure, self._prepared, self._prices = azure, prepared, prices
        self._runs, self._cloud, self._local = runs, reconciler, local

    def propose(self, args: AdoptArgs, /) -> Proposal:
        """Writes a row and a folder. Asks, as it costs what no ceiling bounds, and as the orders that stop it come with the yes."""
        run_id = self._run_id(args)
        return Proposal(
            effects=frozenset({Effect.LOCAL}), target=f"run:{run_id}", where="Azure", supersedes=args.execution,
            cost=Unpriced("it was started before; what it costs by the clock counts, and no ceiling was approved for it"),
            card=(("Takes up", f"the execution {args.execution}"), ("Writes", f"runs/{run_id}/ in Luthier's home")),
            orders=cloud_orders(LONGEST_S))

    def _run_id(self, args: AdoptArgs) -> str:
        run_id = args.execution.removeprefix("luthier-run-").partition("-")[0]
        what = f"Adopt {args.execution}"
        if not is_rid(run_id):
            raise ToolFailed(what, "It does not name a run of Luthier's.", "list_orphans shows what can be adopted.", kind="no_such_run")
        known = self._runs.get(run_id)
        if known is not None and self._cloud.store.get(run_id) is not None:
            raise ToolFailed(what, f"Its run {run_id} is in the book already.", "Look at it with run_status.", kind="state")
        return run_id

    def perform(self, args: AdoptArgs, call: Call, /) -> Result:
        """Find the execution and its settings, write the rows; the reconciler does the rest. The same call finds what it adopted."""
        from tools.azure.files import open_share  # it needs the optional libraries
        from tools.azure.jobs import Jobs

        if (mine := self._mine(call.call_id)):
            return mine
        run_id, what = self._run_id(args), f"Adopt {args.execution}"
        for place in self._prepared.all():
            jobs = Jobs(self._azure, place)
            job = next((each for each in jobs.managed() if each.run_id == run_id), None)
            if job is None:
                continue
            found = next((each for each in jobs.executions(job.name) if each.name == args.execution and each.run_id == run_id), None)
            if found is None:
                break
            share = open_share(self._azure, place)
            spec = self._spec(share, run_id, what)
            call.report("Its settings are read", None)
            plan = self._plan(place, job.profile, what)
            fields: dict[str, JsonValue] = {
                "where": plan.place, "steps": spec.max_steps, "method": spec.method, "adopted": args.execution,
                "model_digest": spec.model_digest,
                "cloud": {**plan.as_json(), "region": place.region},
            }
            kept = self._local.make(run_id, partial(self._fill, share, spec))
            fault.point("cloud.adopt.folder")
            if self._runs.get(run_id) is None:  # else an adoption before this one broke off
                self._runs.create(NewRun(run_id, call.person, call.thread, call.call_id, "", spec.model_id, spec.data_digest, spec.method,
                                         fields, spec.predicted_peak_bytes, plan.place))
            self._runs.set_spec(run_id, kept.model_dump(mode="json"))
            fault.point("cloud.adopt.row")
            begun = found.started_at or datetime.now(UTC)
            seen = Memory(uploaded=True, starts=1, times={found.name: (stamp(begun), stamp(found.ended_at))}, live=(found.name,))
            self._cloud.store.create(CloudRow(
                run_id, max(1, found.attempt), call.call_id, place.region, plan, begun + timedelta(hours=EXPIRY_H), Phase.STARTING,
                execution=found.name, seen=seen, requested_at=begun, started_at=begun))
            self._cloud.ready(run_id)
            return adopted(run_id, "queued")
        raise ToolFailed(what, "There is no such execution with our tags.", "list_orphans shows what can be adopted.", kind="no_such_run")

    def _spec(self, share: Any, run_id: str, what: str) -> TrainSpec:
        try:
            spec = TrainSpec.model_validate_json(share.read(f"runs/{run_id}/spec.json", 0, SPEC_BYTES))
        except AzureTrouble:
            raise
        except ValueError as error:
            remedy = f"Stop it with stop_orphan, or delete it with teardown_cloud only=orphans name=luthier-run-{run_id}."
            raise ToolFailed(what, "Its settings on the share cannot be read.", remedy, kind="lost") from error
        if spec.run_id != run_id:
            raise ToolFailed(what, "The settings on the share are another run's.", "Stop it with stop_orphan.", kind="foreign")
        return spec

    def _fill(self, share: Any, spec: TrainSpec, part: Path, final: Path) -> TrainSpec:
        """The data, and the settings with the folders that they would have here."""
        (part / "data").mkdir(mode=0o700)
        for name in ("train", "validation", "test"):
            remote = f"runs/{spec.run_id}/data/{name}.jsonl"
            if share.stat(remote) is not None:
                share.get(remote, part / "data" / f"{name}.jsonl")
        (part / "ask.json").write_text(json.dumps({"system": None}), encoding="utf-8")
        return spec.model_copy(update={"data_dir": str(final / "data"), "base_served_dir": None})

    def _plan(self, place: CloudPlace, profile: str, what: str) -> CloudPlan:
        from tools.azure.quota import shapes

        shape: Shape | None = next((each for each in shapes(self._azure, place.region) if each.name == profile), None)
        if shape is None:
            raise ToolFailed(what, f"{place.region} does not offer {profile[:60]} any more: its rate is unknown.",
                             "Stop it with stop_orphan.", kind="price")
        rate: Decimal = self._prices.rate(shape, place.region, datetime.now(UTC)).per_second
        return CloudPlan(shape, f"{rate:f}", LONGEST_S, 1, 0, place=f"Azure, {place.region}, {shape.gpu or 'CPU'}", image=place.image)

    def recall(self, call_id: str, /) -> Result | Recall:
        """The run that the call adopted, if it came to its end."""
        return self._mine(call_id) or Recall.NOT_STARTED

    def _mine(self, call_id: str) -> Result | None:
        found = next((each for each in self._cloud.store.rows() if each.call_id == call_id), None)
        return None if found is None else adopted(found.run_id, self._runs.wanted(found.run_id).state.value)


def adopted(run_id: str, state: str) -> Result:
    """The result."""
    facts: dict[str, JsonValue] = {"run_id": run_id, "state": state}
    said = f"The run {run_id} is looked after from now on. What it has cost counts; no ceiling was approved for it."
    return Result({**facts, "message": said}, facts)
