"""`start_finetune`: plans a run on this machine, and starts it once it was approved."""

import json
from pathlib import Path
from typing import ClassVar, Literal, Protocol

from pydantic import Field, JsonValue

from policies.proposal import Effect, Proposal, Trait
from policies.tool import Call, Recall, Result, ToolArgs, ToolFailed
from tools.engine.spec import TrainSpec
from tools.hardware import Machine
from tools.models import ModelFolder
from tools.outlook import DatasetFacts
from tools.places import Accelerator
from tools.runs.local import LocalRuns
from tools.runs.plan import SEED, Plan, Wish, make_plan, spec_of
from tools.runs.reconcile import Reconciler
from tools.runs.rid import rid_of
from tools.runs.state import ALIVE, RunState
from tools.runs.store import NewRun, RunRow, RunStore, one_at_a_time

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
    gpu: str | None = Field(default=None, max_length=100, description="For cloud runs only.")
    provider: Literal["local", "azure"] = Field(default="local", description="Where it runs; this version trains on this machine.")
    budget_usd: float | None = Field(default=None, ge=0, le=1_000_000, description="Upper bound of money; local runs cost nothing.")
    name: str = Field(default="", max_length=64, pattern=rf"^$|{NAME}", description="A short name for the run.")
    sweep: dict[str, JsonValue] | None = Field(default=None, description="Not in this version.")


class StartFinetune:
    """The tool."""

    name: ClassVar[str] = "start_finetune"
    version: ClassVar[str] = "1"
    text: ClassVar[str] = (
        "Fine-tune a model on a dataset, on this machine: QLoRA unless asked otherwise, scored before and after on held-out rows and "
        "exported for answering. A person must approve the plan first. Give `model` and `dataset`; leave the rest out unless the person "
        "asked for it."
    )
    Args: ClassVar[type[ToolArgs]] = StartArgs

    def __init__(self, planning: Planning, store: RunStore, local: LocalRuns, reconciler: Reconciler) -> None:
        self._planning, self._store, self._local, self._reconciler = planning, store, local, reconciler

    def propose(self, args: StartArgs, /) -> Proposal:
        """The plan of the run. Nothing is written."""
        plan = self._plan(args)
        busy = self._store.alive()
        if busy:
            raise one_at_a_time(busy[0])
        return Proposal(
            effects=frozenset({Effect.LOCAL}), target=f"model:{args.model}", where=plan.where,
            traits=frozenset({Trait.OCCUPIES}), supersedes=args.name or f"start:{args.dataset}+{args.model}",
            card=plan.card(), stop_rules=plan.stop_rules(), plan=plan.as_json(),
        )

    def _plan(self, args: StartArgs) -> Plan:
        refuse_elsewhere(args.provider)
        if args.sweep is not None:
            raise ToolFailed("Start a sweep", "Sweeps are not in this version.", "Start one run; then another with other settings.",
                             kind="not_in_this_version")
        self._planning.check_engine()
        wish = Wish(args.model, args.dataset, args.method, args.epochs, args.learning_rate, args.max_steps, args.name)
        model = self._planning.model(args.model)
        facts = self._planning.facts(args.dataset, args.model)
        return make_plan(wish, model, facts, self._planning.machine(), self._planning.accelerator)

    def perform(self, args: StartArgs, call: Call, /) -> Result:
        """Create the run and send it off; the same call finds the run it started."""
        plan = dict(call.plan) if call.plan.get("settings") else self._plan(args).as_json()
        run_id = rid_of(call.call_id)
        row = self._store.create(NewRun(
            run_id, call.person, call.thread, call.call_id, args.name, args.model, args.dataset, args.method, plan, _likely(plan),
        ))
        if row.state is not RunState.QUEUED:
            return started(row)
        try:
            call.report("Preparing the data", None)
            spec = self._local.make(run_id, lambda part, final: self._fill(args, plan, run_id, part, final))
            self._store.set_spec(run_id, spec.model_dump(mode="json"))
            call.report("Starting the training process", None)
            limit = plan.get("limit_s")
            self._local.start(run_id, row.attempt, call.person, spec.threads, float(limit) if isinstance(limit, int | float) else 0)
        except ToolFailed as error:
            self._store.set_state(run_id, RunState.FAILED, f"{error.because} {error.try_next}", outcome={"kind": error.kind})
            raise
        self._reconciler.settle(row)
        return started(self._store.wanted(run_id))

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
        """What became of a call: the run that it created, or that nothing was started."""
        row = self._store.of_call(call_id)
        if row is None:
            return Recall.NOT_STARTED
        if not (self._local.folder(row.id) / "attempt-1.lock").exists():
            if row.state in ALIVE:
                self._store.set_state(row.id, RunState.FAILED, "Luthier stopped before the training process was started. Start it again.",
                                      outcome={"kind": "start"})
            return Recall.NOT_STARTED
        self._reconciler.settle(row)
        return started(self._store.wanted(row.id))


def refuse_elsewhere(provider: str | None) -> None:
    """Only this machine, in this version."""
    if provider == "azure":
        raise ToolFailed("Run on Azure", "Cloud runs are not in this version.", "Leave provider out to train on this machine.",
                         kind="not_in_this_version")


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
    return Result({**facts, "name": row.name, "attempt": row.attempt, "plan": dict(row.plan)}, {**facts, "steps": row.plan.get("steps")})


def _likely(plan: dict[str, JsonValue]) -> int | None:
    memory = plan.get("memory")
    likely = memory.get("likely_bytes") if isinstance(memory, dict) else None
    return likely if isinstance(likely, int) else None


