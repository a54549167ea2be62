"""`run_status`, `list_runs` and `tail_logs`: what runs do and did."""

from collections import Counter
from collections.abc import Mapping
from typing import ClassVar, Literal, get_args

from pydantic import Field, JsonValue

from policies.proposal import Effect, Proposal
from policies.tool import Call, Recall, Result, ToolArgs, ToolFailed
from tools.engine.spec import Stage
from tools.runs.cloud_reconcile import CloudReconciler
from tools.runs.cloud_row import Phase
from tools.runs.early_log import EarlyLog
from tools.runs.reconcile import Reconciler
from tools.runs.state import ALIVE, FINAL, RunView, states_of_word
from tools.runs.store import HERE, RunRow, RunStore
from tools.runs.views import Views

RUN_ID = Field(default="", max_length=10, pattern=r"^$|^[0-9a-hjkmnp-tv-z]{10}$", description="Run id; left out, the latest run.")
SCORES = ("baseline", "tuned", "base_served", "exported")
PRECISIONS = frozenset({"fp32", "int8", "int4"})
"""What the engine measures at; any other word in a run's files is not passed on."""
PHASES = frozenset(phase.value for phase in Phase)
_STATUS_FIELDS = (
    "run_id", "state", "phase", "step", "steps", "epoch", "loss", "eval_loss", "tokens_per_s", "eta_s", "spent", "peak_memory_bytes",
    "place", "expected_start_s",
)


def named_run(store: RunStore, run_id: str, person: str | None = None) -> RunRow:
    """The run an argument names; ToolFailed when it names none (there is no latest run) or one that is not theirs."""
    if not run_id:
        raise ToolFailed("Find your latest run", "You have no run yet.", "Start one with start_finetune.", kind="no_run")
    return store.wanted(run_id, person)


def reading(store: RunStore, run_id: str) -> Proposal:
    """The proposal of a call that only looks at one run."""
    row = named_run(store, run_id)
    return Proposal(effects=frozenset({Effect.READ}), target=f"run:{row.id}", where=row.where, owner=row.owner)


def brain_view(view: RunView) -> dict[str, JsonValue]:
    """A run for the brain: numbers and closed words; no name, no reason, no warning text."""
    whole = view.as_json()
    facts: dict[str, JsonValue] = {key: whole[key] for key in _STATUS_FIELDS}
    facts["phase"] = view.phase if view.phase in get_args(Stage) or view.phase in PHASES else ""
    facts["cloud"] = view.where != HERE
    facts["waiting"], facts["past_expiry"] = view.cloud.get("waiting", ""), view.cloud.get("past_expiry", False)
    facts["exact_match"] = {k: as_number(s.get("exact_match")) for k, s in view.scores.items() if k in SCORES and isinstance(s, Mapping)}
    facts["served"] = view.served
    return facts


def as_number(value: object) -> int | float | None:
    """A number out of a run's own files; None for anything else that stands in its place."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


class RunArgs(ToolArgs):
    """Arguments of run_status."""

    run_id: str = RUN_ID


class RunStatus:
    """The tool."""

    name: ClassVar[str] = "run_status"
    version: ClassVar[str] = "1"
    text: ClassVar[str] = (
        "How a run stands: state, step, loss, speed, time left, memory; its place and expected start while it waits. "
        "Without run_id: the latest run."
    )
    Args: ClassVar[type[ToolArgs]] = RunArgs

    def __init__(self, store: RunStore, views: Views, reconciler: Reconciler, cloud: CloudReconciler | None = None) -> None:
        self._store, self._views, self._reconciler, self._cloud = store, views, reconciler, cloud

    def propose(self, args: RunArgs, /) -> Proposal:
        """A look at one run."""
        return reading(self._store, args.run_id)

    def perform(self, args: RunArgs, call: Call, /) -> Result:
        """The view of the run, brought up to date first: alone in a terminal nobody else does."""
        row = named_run(self._store, args.run_id, call.person)
        if row.state not in FINAL:
            if row.where != HERE and self._cloud is not None:
                self._cloud.touch(row.id)
            self._reconciler.settle(row)
            self._reconciler.advance()
            row = self._store.wanted(row.id)
        view = self._views.of(row)
        return Result(view.as_json(), {**brain_view(view), "kind": str(row.outcome.get("kind", ""))})

    def recall(self, call_id: str, /) -> Result | Recall:
        """A look leaves nothing behind."""
        return Recall.NOT_STARTED


class ListArgs(ToolArgs):
    """Arguments of list_runs."""

    status: Literal["running", "finished", "failed", "cancelled"] | None = Field(default=None, description="Only runs in this state.")


class ListRuns:
    """The tool."""

    name: ClassVar[str] = "list_runs"
    version: ClassVar[str] = "1"
    text: ClassVar[str] = "Your runs, newest first; with `status` only the running, finished, failed or cancelled ones."
    Args: ClassVar[type[ToolArgs]] = ListArgs

    def __init__(self, store: RunStore, views: Views, reconciler: Reconciler, cloud: CloudReconciler | None = None) -> None:
        self._store, self._views, self._reconciler, self._cloud = store, views, reconciler, cloud

    def propose(self, args: ListArgs, /) -> Proposal:
        """A look at one's own runs."""
        return Proposal(effects=frozenset({Effect.READ}), target="runs")

    def perform(self, args: ListArgs, call: Call, /) -> Result:
        """The caller's own runs."""
        owner = None if call.person == "system" else call.person
        for row in self._store.rows(owner, ALIVE):
            if row.where != HERE and self._cloud is not None:
                self._cloud.touch(row.id)
            self._reconciler.settle(row)
        self._reconciler.advance()
        rows = self._store.rows(owner, states_of_word(args.status) if args.status else None)
        views = [self._views.of(row) for row in rows[:100]]
        counts = Counter(row.state.value for row in rows)
        return Result(
            {"runs": [v.as_json() for v in views], "total": len(rows)},
            {"total": len(rows), "by_state": dict(counts), "past_expiry": sum(bool(v.cloud.get("past_expiry")) for v in views),
             "runs": [brain_view(v) for v in views[:10]]},
        )

    def recall(self, call_id: str, /) -> Result | Recall:
        """A look leaves nothing behind."""
        return Recall.NOT_STARTED


class LogArgs(ToolArgs):
    """Arguments of tail_logs."""

    run_id: str = RUN_ID
    lines: int = Field(default=50, ge=1, le=1000, description="How many of the last lines.")


class TailLogs:
    """The tool."""

    name: ClassVar[str] = "tail_logs"
    version: ClassVar[str] = "1"
    text: ClassVar[str] = "Show the person the last lines of a run's log. You get counts and numbers only, never the text."
    Args: ClassVar[type[ToolArgs]] = LogArgs

    def __init__(self, store: RunStore, views: Views, early: EarlyLog | None = None) -> None:
        """`early`: what is shown of a run in the cloud before its own log begins."""
        self._store, self._views, self._early = store, views, early

    def propose(self, args: LogArgs, /) -> Proposal:
        """A look at one run."""
        return reading(self._store, args.run_id)

    def perform(self, args: LogArgs, call: Call, /) -> Result:
        """Redacted lines for the faces; how many, the step, the loss and the class of the error for the brain."""
        row = named_run(self._store, args.run_id, call.person)
        page, view = self._views.log(row.id, lines=args.lines), self._views.of(row)
        source, lines = "run", page.lines
        if row.where != HERE and not lines and self._early is not None:
            source, early = self._early.of(row.id)
            lines = early[-args.lines:]
        errors = sum(1 for line in lines if "error" in line.lower() or "traceback" in line.lower())
        return Result(
            {"run_id": row.id, "lines": list(lines), "offset": page.offset, "source": source},
            {"run_id": row.id, "lines": len(lines), "lines_with_errors": errors, "state": row.state.value, "step": view.step,
             "loss": view.loss, "kind": str(row.outcome.get("kind", "")), "source": source},
        )

    def recall(self, call_id: str, /) -> Result | Recall:
        """A look leaves nothing behind."""
        return Recall.NOT_STARTED
