"""`start_finetune`: plans a run on this machine, and starts it once it was approved."""

import json
from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Protocol

from pydantic import BeforeValidator, Field, JsonValue

from policies.proposal import Effect, Proposal, Trait
from policies.tool import Call, Recall, Result, ToolArgs, ToolFailed
from tools.azure.place import plain
from tools.engine.spec import TrainSpec
from tools.hardware import Machine
from tools.models import ModelFolder
from tools.outlook import DatasetFacts
from tools.places import Accelerator
from tools.runs.afterwards import when_free
from tools.runs.local import LocalRuns
from tools.runs.plan import SEED, Wish, as_seconds, deadline_order, likely_bytes, make_plan, spec_of
from tools.runs.reconcile import Reconciler
from tools.runs.rid import rid_of
from tools.runs.start_cloud import CloudStart, budget, new_run
from tools.runs.state import RunState
from tools.runs.store import HERE, NewRun, RunRow, RunStore
from tools.runs.sweep import as_text, members, read_sweep, sweep_card, sweep_json

NAME = r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}$"


class Planning(Protocol):
    """What a plan is made from: the other parts of the toolbox, as this tool needs them."""

    def model(self, model: str) -> ModelFolder:
        """The checked folder of a model; ToolFailed when it is unknown or not here."""
        ...

    def facts(self, dataset: str, model: str) -> DatasetFacts:
        """Rows and token lengths of a dataset; ToolFailed with what is wrong with it."""
        ...

    def prepare(self, dataset: str, out: Path, seed: int) -> str:
        """Write train, validation and test rows into `out`; give the digest of the data."""
        ...

    def machine(self) -> Machine:
        """The machine as it is now."""
        ...

    def base_served(self, model: ModelFolder) -> Path:
        """Where the untuned model lies, or will lie, as served."""
        ...

    def longest_hours(self) -> int:
        """How long a run on this machine may last, by the limits in force."""
        ...

    def check_engine(self) -> None:
        """ToolFailed when the engine's environment is not installed."""
        ...

    @property
    def accelerator(self) -> Accelerator:
        """Which engine environment is used."""
        ...


class StartArgs(ToolArgs):
    """Arguments of start_finetune."""

    model: str = Field(min_length=1, max_length=200, description="Model id, e.g. `bundled`.")
    dataset: str = Field(min_length=1, max_length=300, description="Registered dataset id, or a path below an allowed folder.")
    method: Literal["lora", "qlora", "full"] = Field(default="qlora", description="qlora (default), lora or full.")
    epochs: float | None = Field(default=None, gt=0, le=1000, description="Passes over the data; left out, chosen for the machine.")
    learning_rate: float | None = Field(default=None, gt=0, le=1, description="Left out, chosen for method and size.")
    max_steps: int | None = Field(default=None, ge=1, le=1_000_000, description="Upper bound of optimizer steps.")
    gpu: str | None = Field(default=None, max_length=100, description="On Azure: T4, A100 or cpu; left out, the cheapest that fits.")
    provider: Literal["local", "azure"] = Field(default="local", description="Where it runs: local (this machine) or azure.")
    region: Annotated[str, BeforeValidator(lambda text: plain(text) if isinstance(text, str) else text)] = Field(
        default="", max_length=64, pattern=r"^$|^[a-z0-9]{2,40}$", description="On Azure: a prepared region.")
    budget_usd: float | None = Field(default=None, ge=0, le=1_000_000, description="On Azure: the most it may cost; local runs are free.")
    name: str = Field(default="", max_length=64, pattern=rf"^$|{NAME}", description="A short name for the run.")
    sweep: Annotated[str, BeforeValidator(as_text)] = Field(
        default="", max_length=200, description="One setting and 2 to 8 values, e.g. `r=8,16,32` or `lr=0.0003,0.001`: a run for each.")
    lora_r: int | None = Field(default=None, ge=1, le=1024, description="Rank of the adapter; left out, 8.")
    batch_size: int | None = Field(default=None, ge=1, le=1024, description="Rows at a time; left out, what fits.")
    max_time: Annotated[int | None, BeforeValidator(as_seconds)] = Field(
        default=None, ge=60, le=8760 * 3600,
        description="Stop it after this time, keeping the last checkpoint: `90m`, `2h`, or seconds; left out, a generous guess.")
    max_length: int | None = Field(default=None, ge=8, le=131_072, description="Tokens of a row; longer rows are left out.")


class StartFinetune:
    """The tool."""

    name: ClassVar[str] = "start_finetune"
    version: ClassVar[str] = "1"
    text: ClassVar[str] = (
        "Fine-tune a model on a dataset, on this machine or with provider=azure on a rented GPU: QLoRA unless asked otherwise, scored "
        "before and after on held-out rows and exported for answering. A person must approve the plan first. While another run has this "
        "machine it is queued. With `sweep` one plan makes several runs. Give `model` and `dataset`; leave the rest out unless the person "
        "asked for it."
    )
    Args: ClassVar[type[ToolArgs]] = StartArgs

    def __init__(self, planning: Planning, store: RunStore, local: LocalRuns, reconciler: Reconciler,
                 cloud: CloudStart | None = None) -> None:
        self._planning, self._store, self._local, self._reconciler, self._cloud = planning, store, local, reconciler, cloud

    def propose(self, args: StartArgs, /) -> Proposal:
        """The plan of the run, or of the runs of a sweep. Nothing is written."""
        if args.provider == "azure":
            return self._in_cloud(args)
        card, rules, plan, where = self._plan(args)
        return Proposal(
            effects=frozenset({Effect.LOCAL}), target=f"model:{args.model}", where=where, traits=frozenset({Trait.OCCUPIES}),
            supersedes=args.name or f"start:{args.dataset}+{args.model}", card=card, stop_rules=rules, plan=plan,
            orders=(deadline_order(float(str(plan["limit_s"]))),),
        )

    def _plan(self, args: StartArgs) -> "tuple[tuple[tuple[str, str], ...], tuple[str, ...], dict[str, JsonValue], str]":
        """Card, stop rules, the plan as data, and where it runs."""
        sweep = read_sweep(args.sweep) if args.sweep else None
        self._planning.check_engine()
        wish = _wish(args)
        model, facts = self._planning.model(args.model), self._planning.facts(args.dataset, args.model)
        machine, accelerator = self._planning.machine(), self._planning.accelerator
        holder = self._reconciler.line.holder()
        if holder is not None:
            threads = holder.spec.get("threads")
            machine = when_free(machine, holder.predicted_memory_bytes or 0, threads if isinstance(threads, int) else 0, accelerator)
        longest = self._planning.longest_hours()
        plans = [make_plan(each, model, facts, machine, accelerator, longest) for each in (sweep.wishes(wish) if sweep else [wish])]
        first = plans[0]
        card, plan = (sweep_card(sweep, plans), sweep_json(sweep, plans)) if sweep else (first.card(), first.as_json())
        if holder is not None:
            waiting = len(self._reconciler.line.waiting())
            card = (*card, ("Begins", f"when its turn comes: the run {holder.id} has the machine, {waiting} wait"))
        return card, first.stop_rules(), plan, first.where

    def _in_cloud(self, args: StartArgs) -> Proposal:
        cloud = there(self._cloud)
        if args.sweep:
            raise ToolFailed("Run a sweep on Azure", "A sweep runs on this machine only, one run after the other.",
                             "Leave provider out, or start single runs on Azure.", kind="usage")
        # Whether anything is prepared at all comes first: it costs nothing to know, and nothing else matters without it.
        cloud.place(args.region)
        model, facts = self._planning.model(args.model), self._planning.facts(args.dataset, args.model)
        chosen = cloud.choose(_wish(args), model, facts, args.region, args.gpu or "", budget(args.budget_usd))
        return cloud.proposal(chosen, args.dataset, args.model, args.name)

    def _begin_in_cloud(self, cloud: CloudStart, args: StartArgs, call: Call) -> Result:
        plan = dict(call.plan) if call.plan.get("cloud") else dict(self._in_cloud(args).plan)
        new = new_run(call, args.name, args.model, args.dataset, args.method, plan)
        return launched(cloud.begin(new, call, partial(self._fill, args, plan, new.id)))

    def perform(self, args: StartArgs, call: Call, /) -> Result:
        """Create the run, or those of a sweep, and send the first off or let it wait for its turn; the same call finds what it started."""
        if args.provider == "azure":
            return self._begin_in_cloud(there(self._cloud), args, call)
        plan = dict(call.plan) if call.plan.get("settings") else self._plan(args)[2]
        plans = members(plan, rid_of(f"{call.call_id} sweep"))
        calls = [call.call_id, *(f"{call.call_id}#{number}" for number in range(1, len(plans)))]
        row = self._store.create(*(
            NewRun(rid_of(each), call.person, call.thread, each, args.name, args.model, args.dataset, args.method, one, likely_bytes(one))
            for each, one in zip(calls, plans, strict=True)
        ))
        if not row.waits or row.line.get("ready"):
            return launched(*self._store.of_call(call.call_id))
        ids = [rid_of(each) for each in calls]
        with self._reconciler.preparing(ids):
            try:
                call.report("Preparing the data", None)
                for run_id, one in zip(ids, plans, strict=True):
                    spec = self._local.make(run_id, partial(self._fill, args, one, run_id))
                    self._store.set_spec(run_id, spec.model_dump(mode="json"))
            except ToolFailed as error:
                for run_id in ids:
                    self._store.set_state(run_id, RunState.FAILED, f"{error.because} {error.try_next}", outcome={"kind": error.kind})
                raise
            call.report("Starting the training process", None)
            self._reconciler.line.ready(ids)
        self._reconciler.send_off(row.id)
        return launched(*self._store.of_call(call.call_id))

    def _fill(self, args: StartArgs, plan: dict[str, JsonValue], run_id: str, part: Path, final: Path) -> TrainSpec:
        data = part / "data"
        data.mkdir(mode=0o700)
        digest = self._planning.prepare(args.dataset, data, SEED)
        model = self._planning.model(args.model)
        refuse_changes(plan, model.digest, digest)
        system = shared_system(data / "train.jsonl")
        (part / "ask.json").write_text(json.dumps({"system": system}, ensure_ascii=False), encoding="utf-8")
        return spec_of(plan, run_id=run_id, model=model, data_dir=final / "data", data_digest=digest,
                       base_served=self._planning.base_served(model))

    def recall(self, call_id: str, /) -> Result | Recall:
        """What became of a call: the runs that it created, or that nothing was started."""
        rows = self._store.of_call(call_id)
        if rows and rows[0].where != HERE:
            return there(self._cloud).recall(rows[0]) or launched(self._store.wanted(rows[0].id))
        forsaken = [self._forsaken(row) for row in rows]  # each of a sweep is asked
        if all(forsaken):
            return Recall.NOT_STARTED
        self._reconciler.settle(rows[0])
        return launched(*self._store.of_call(call_id))

    def _forsaken(self, row: RunRow) -> bool:
        """Whether nothing of a run will ever begin because Luthier stopped in between; then it is taken out of the line."""
        if (self._local.folder(row.id) / f"attempt-{row.attempt}.lock").exists():
            return False
        return row.state is not RunState.QUEUED or self._reconciler.line.forsake(row)


def there(cloud: CloudStart | None) -> CloudStart:
    """The part that runs things on Azure. ToolFailed where a toolbox was made without it."""
    if cloud is None:
        raise ToolFailed("Run on Azure", "This toolbox was made for this machine only.", "Leave provider out to train on this machine.",
                         kind="not_in_this_version")
    return cloud


def _wish(args: StartArgs) -> Wish:
    return Wish(args.model, args.dataset, args.method, args.epochs, args.learning_rate, args.max_steps, args.name, args.lora_r,
                args.batch_size, args.max_length, args.max_time)


def refuse_changes(plan: dict[str, JsonValue], model_digest: str, data_digest: str) -> None:
    """The model and the data must be those that the plan named."""
    dataset = plan.get("dataset")
    planned = {"the model": plan.get("model_digest"), "the dataset": dataset.get("digest") if isinstance(dataset, dict) else None}
    for what, now in (("the model", model_digest), ("the dataset", data_digest)):
        before = planned[what]
        if isinstance(before, str) and before and before != now:
            raise ToolFailed("Start the run", f"Since the plan was made, {what} has changed ({before[:12]} became {now[:12]}).",
                             "Ask for a new plan.", kind="changed")


def shared_system(train: Path) -> str | None:
    """The system message that all training rows have in common; None when they have none or differ."""
    shared: str | None = None
    with train.open(encoding="utf-8") as rows:
        for number, line in enumerate(rows):
            messages = json.loads(line).get("messages") or []
            first = messages[0] if messages else {}
            system = first.get("content") if first.get("role") == "system" else None
            if number and system != shared:
                return None
            shared = system
    return shared


def started(row: RunRow) -> Result:
    """The result of a start or a resume."""
    facts: dict[str, JsonValue] = {"run_id": row.id, "state": row.state.value}
    there: dict[str, JsonValue] = {} if row.where == HERE else {"cloud": True, "where": row.where}
    return Result({**facts, "name": row.name, "attempt": row.attempt, "plan": dict(row.plan)},
                  {**facts, "steps": row.plan.get("steps"), **there})


def launched(*rows: RunRow) -> Result:
    """The result of a call that sent a run off or let it join the line. ToolFailed when its turn came and it could not be started."""
    row = rows[0]
    if row.state is RunState.FAILED and "evidence" not in row.outcome:
        raise ToolFailed(f"Start the run {row.id}", row.reason, "", kind=str(row.outcome.get("kind", "start")))
    done = started(row)
    more: dict[str, JsonValue] = {"waits": True} if row.waits else {}
    if len(rows) > 1:
        more |= {"sweep": row.sweep, "run_ids": [each.id for each in rows]}
    return Result({**done.result, **more}, {**done.for_brain, **more})
