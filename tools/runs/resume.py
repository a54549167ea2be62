"""`resume_run`: goes on from the last checkpoint of a run that was stopped, failed or interrupted."""

from typing import ClassVar, Literal

from pydantic import Field

from policies.proposal import Effect, Proposal, Trait
from policies.tool import Call, Recall, Result, ToolArgs, ToolFailed
from tools.engine.spec import TrainSpec
from tools.outlook import gib
from tools.runs.edited import edited
from tools.runs.local import LocalRuns
from tools.runs.look import RUN_ID, named_run
from tools.runs.plan import deadline_order, minutes
from tools.runs.reconcile import Reconciler
from tools.runs.resume_cloud import CloudResume
from tools.runs.start import Planning, launched, started
from tools.runs.state import ALIVE, RESUMABLE, RunState
from tools.runs.store import HERE, RunRow, RunStore
from tools.runs.watch import RunWatch


class ResumeArgs(ToolArgs):
    """Arguments of resume_run."""

    run_id: str = RUN_ID
    provider: Literal["", "local", "azure"] = Field(default="", description="Where it goes on: local or azure; left out, where it was.")


class ResumeRun:
    """The tool."""

    name: ClassVar[str] = "resume_run"
    version: ClassVar[str] = "1"
    text: ClassVar[str] = (
        "Go on with a run that was cancelled, has failed or was interrupted, from its last checkpoint with the same settings and data. "
        "Without run_id: the latest run. A person must approve it."
    )
    Args: ClassVar[type[ToolArgs]] = ResumeArgs

    def __init__(self, planning: Planning, store: RunStore, local: LocalRuns, reconciler: Reconciler,
                 cloud: CloudResume | None = None) -> None:
        self._planning, self._store, self._local, self._reconciler, self._cloud = planning, store, local, reconciler, cloud

    def propose(self, args: ResumeArgs, /) -> Proposal:
        """The next attempt. Refuses a run that lives or has finished, and names what has changed since it began."""
        row = named_run(self._store, args.run_id)
        self._check(row)
        spec = self._unchanged(row)
        if _goes_there(args, row):
            return self._there().proposal(row, spec, self._card(row, spec), self._checkpoint(row))
        if spec.device == "cuda" and self._planning.accelerator != "cuda":
            raise ToolFailed(f"Resume the run {row.id} here", "It was planned for a GPU, and training here is set up for processors.",
                             "Continue it on Azure (provider=azure), or start a new run here with start_finetune.", kind="gpu_missing")
        return Proposal(
            effects=frozenset({Effect.LOCAL}), target=f"run:{row.id}", where=HERE, owner=row.owner,
            traits=frozenset({Trait.OCCUPIES}), supersedes=row.id, card=self._card(row, spec),
            stop_rules=(f"stop after {minutes(self._limit(row))}, keeping the last checkpoint",),
            orders=(deadline_order(self._limit(row)),),
            plan={**row.plan, "resume": row.id, "attempt": row.attempt + 1, "from_step": self._checkpoint(row)},
        )

    def _there(self) -> CloudResume:
        if self._cloud is None:
            raise ToolFailed("Run on Azure", "This toolbox was made for this machine only.", "Say provider=local.",
                             kind="not_in_this_version")
        return self._cloud

    @staticmethod
    def _check(row: RunRow) -> None:
        if row.state in ALIVE:
            raise ToolFailed(f"Resume the run {row.id}", f"It is still {row.state.value}.", "Look at it with run_status.", kind="state")
        if row.state is RunState.FINISHED:
            raise ToolFailed(f"Resume the run {row.id}", "It has finished: there is nothing left to do.",
                             "Ask it with ask_model, or start a new run with more steps.", kind="state")
        if row.state not in RESUMABLE:
            raise ToolFailed(f"Resume the run {row.id}", f"It is {row.state.value}.", "Start a new run with start_finetune.", kind="state")

    def _unchanged(self, row: RunRow) -> TrainSpec:
        if not self._local.is_ours(row.id):
            raise ToolFailed(f"Resume the run {row.id}", "The folder with its name was made by another Luthier home.",
                             "Put its own folder back, or start a new run with start_finetune.", kind="foreign")
        spec = self._local.spec(row.id)
        if changes := edited(row.spec, spec):
            raise ToolFailed(f"Resume the run {row.id}", f"Its spec.json was edited: {'; '.join(changes)}.",
                             "Put the old settings back, or start a new run with start_finetune.", kind="changed")
        model = self._planning.model(row.model_id)
        differs = []
        if model.digest != spec.model_digest:
            differs.append(f"the model {row.model_id} ({spec.model_digest[:12]} became {model.digest[:12]})")
        # The run trains on its own copy of the rows; an edited file would make the same words mean another run.
        data = self._planning.facts(row.dataset_ref, row.model_id).digest
        if data != spec.data_digest:
            differs.append(f"the dataset {row.dataset_ref} ({spec.data_digest[:12]} became {data[:12]})")
        if differs:
            raise ToolFailed(f"Resume the run {row.id}", f"Since it began, {' and '.join(differs)} has changed.",
                             "Put the old one back, or start a new run with start_finetune.", kind="changed")
        return spec

    def _checkpoint(self, row: RunRow) -> int:
        """The step of the newest complete checkpoint here; of a run that was elsewhere, as it told. 0 when there is none."""
        folder = self._local.folder(row.id)
        numbers = [seal.parent.name.removeprefix("checkpoint-") for seal in (folder / "checkpoints").glob("checkpoint-*/complete.json")]
        newest = max((int(number) for number in numbers if number.isdigit()), default=0)
        return newest if row.where == HERE else max(newest, RunWatch(folder).progress().checkpoint)

    def _card(self, row: RunRow, spec: TrainSpec) -> tuple[tuple[str, str], ...]:
        step = self._checkpoint(row)
        begins = f"step {step} of {spec.max_steps}, its last checkpoint"
        if not step:
            begins = f"the first of {spec.max_steps} steps: it has no checkpoint"
        lines = [
            ("Run", f"{row.id} ({row.name})" if row.name else row.id), ("Was", row.state.value), ("Goes on from", begins),
            ("Model", f"{row.model_id} (digest {spec.model_digest[:12]}, unchanged)"),
            ("Dataset", f"{row.dataset_ref} (digest {spec.data_digest[:12]}, unchanged)"),
            ("Settings", f"{spec.method}, {spec.threads} threads, seed {spec.seed}: as recorded"),
            ("Cost", "0.00 USD: it runs on this machine"), ("Writes", f"runs/{row.id}/ in Luthier's home"),
        ]
        if row.predicted_memory_bytes:
            lines.insert(6, ("Memory", f"likely {gib(row.predicted_memory_bytes)}"))
        return tuple(lines)

    @staticmethod
    def _limit(row: RunRow) -> float:
        limit = row.plan.get("limit_s")
        return float(limit) if isinstance(limit, int | float) else 0.0

    def perform(self, args: ResumeArgs, call: Call, /) -> Result:
        """Queue the next attempt and send it off; an attempt that this call began before is left alone."""
        row = named_run(self._store, args.run_id, call.person)
        note = self._local.note(row.id, "resumed.json")
        if note.get("call") == call.call_id:
            self._reconciler.settle(row)
            return started(self._store.wanted(row.id))
        self._check(row)
        self._unchanged(row)
        if _goes_there(args, row):
            plan = dict(call.plan) if call.plan.get("cloud") else dict(self.propose(args).plan)
            return started(self._there().begin(row, call, plan))
        if row.where != HERE:
            self._there().bring_back(row, call)
        row = self._store.next_attempt(row.id, row.attempt + 1, "resumed by its owner")
        with self._reconciler.preparing((row.id,)):
            try:
                self._local.prepare_attempt(row.id, row.attempt, call.call_id)
            except OSError as error:
                self._store.set_state(row.id, RunState.FAILED, "Its next attempt could not be prepared.", outcome={"kind": "disk"})
                raise ToolFailed(f"Resume the run {row.id}", f"{error.strerror or type(error).__name__}.",
                                 "Free some disk space below Luthier's home, then resume it again.", kind="disk") from error
            call.report("Starting the training process", None)
            self._reconciler.line.ready((row.id,))
        self._reconciler.send_off(row.id)
        return launched(self._store.wanted(row.id))

    def recall(self, call_id: str, /) -> Result | Recall:
        """Which run's attempt this call began, if it came that far."""
        for row in self._store.rows():
            if row.where != HERE and self._cloud is not None and self._cloud.knows(row, call_id):
                return self._cloud.recall(row, call_id) or started(self._store.wanted(row.id))
            if self._local.note(row.id, "resumed.json").get("call") == call_id:
                begun = (self._local.folder(row.id) / f"attempt-{row.attempt}.lock").exists()
                if not begun and (row.state is not RunState.QUEUED or self._reconciler.line.forsake(row)):
                    return Recall.NOT_STARTED
                self._reconciler.settle(row)
                return started(self._store.wanted(row.id))
        return Recall.NOT_STARTED


def _goes_there(args: ResumeArgs, row: RunRow) -> bool:
    return args.provider == "azure" or (not args.provider and row.where != HERE)
