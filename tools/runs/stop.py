"""`cancel_run`: stops a run and keeps its last checkpoint. Never asks."""

from datetime import UTC, datetime
from typing import ClassVar

from pydantic import Field, JsonValue

from policies.orders import ENDED
from policies.people import SYSTEM
from policies.proposal import Effect, Proposal, Trait
from policies.tool import Call, Recall, Result, ToolArgs, ToolFailed
from tools.runs.cloud_reconcile import CloudReconciler
from tools.runs.cloud_row import AT_WORK, Phase
from tools.runs.local import LocalRuns
from tools.runs.look import RunArgs, named_run
from tools.runs.plan import GRACE_S
from tools.runs.reconcile import Reconciler
from tools.runs.state import ALIVE, RunState
from tools.runs.store import HERE, RunRow, RunStore


class StopArgs(RunArgs):
    """Arguments of cancel_run."""

    whole_sweep: bool = Field(default=False, description="Also stop every other run of the sweep that the run belongs to.")


class CancelRun:
    """The tool."""

    name: ClassVar[str] = "cancel_run"
    version: ClassVar[str] = "1"
    text: ClassVar[str] = (
        "Stop a run, keeping its last checkpoint for resume_run; one that waits leaves the queue. Without run_id: the latest run. "
        "With whole_sweep all that is left of its sweep ends. Never needs a yes."
    )
    Args: ClassVar[type[ToolArgs]] = StopArgs

    def __init__(self, store: RunStore, local: LocalRuns, reconciler: Reconciler, cloud: CloudReconciler | None = None) -> None:
        self._store, self._local, self._reconciler, self._cloud = store, local, reconciler, cloud

    def propose(self, args: StopArgs, /) -> Proposal:
        """The stop of one run; allowed whatever its state, so that a second stop is harmless."""
        row = named_run(self._store, args.run_id)
        return Proposal(effects=frozenset({Effect.LOCAL}), target=f"run:{row.id}", where=row.where, owner=row.owner,
                        traits=frozenset({Trait.STOPS}), plan={ENDED: _over(row)}, evidence=self._evidence(row))

    def _evidence(self, row: RunRow) -> tuple[str, ...]:
        """The standing orders whose condition holds: here an attempt that is still at work well after its time limit."""
        if row.where != HERE:
            return self._cloud.due(row.id) if self._cloud is not None and not _over(row) else ()
        limit = row.plan.get("limit_s")
        began = [at for at, _, to, _ in self._store.events(row.id) if to == RunState.RUNNING]
        if row.state is not RunState.RUNNING or not began or not isinstance(limit, int | float) or not limit:
            return ()
        worked = self._local.worked_s(row.id, row.attempt)
        if worked is None:
            worked = (datetime.now(UTC) - datetime.fromisoformat(began[-1])).total_seconds()
        return ("deadline",) if worked > limit + GRACE_S else ()

    def perform(self, args: StopArgs, call: Call, /) -> Result:
        """Ask the run to save and end. It is gone within half a minute; the reconciler writes its end."""
        row = named_run(self._store, args.run_id, call.person)
        return self._stop_sweep(row, call) if args.whole_sweep else self._stop(row, call)

    def _stop_sweep(self, row: RunRow, call: Call) -> Result:
        """Those that wait first, so that none of them gets the machine when the one at work lets go of it."""
        if not row.sweep:
            raise ToolFailed("Stop a sweep", f"The run {row.id} belongs to none.", "Stop it alone, or name a run of the sweep (list_runs).",
                             kind="usage")
        left = [self._store.wanted(each.id, call.person) for each in self._store.of_sweep(row.sweep)]
        left = sorted((each for each in left if each.state in ALIVE), key=lambda each: not each.waits)
        if not left:
            return _said(row.id, row.state, False, "All runs of the sweep had already ended. Nothing was done.", [])
        done = [self._stop(each, call) for each in left]
        now = self._store.wanted(left[-1].id)
        stopping = any(each.result["stopping"] for each in done)
        words = f"{len(left)} of the sweep's runs {'end' if len(left) > 1 else 'ends'}" + (
            "; the one at work saves its last checkpoint, within half a minute." if stopping else ".")
        return _said(now.id, now.state, stopping, words, [each.id for each in left])

    def _stop(self, row: RunRow, call: Call) -> Result:
        if row.where != HERE and self._cloud is not None and not _over(row):
            return self._stop_there(self._cloud, row, call.person)
        if row.state not in ALIVE:
            return _said(row.id, row.state, False, f"It had already ended: {row.state.value}. Nothing was done.")
        if row.waits and (left := self._reconciler.leave(row, call.person)) is not None:
            return _said(left.id, left.state, False, "It waited for its turn and has left the queue. Nothing had begun.")
        signalled = self._local.stop(row.id, row.attempt, call.person)
        self._reconciler.settle(row)
        now = self._store.wanted(row.id)
        if now.state in ALIVE:
            words = "It saves its last checkpoint and ends, within half a minute." if signalled else "It ends before it has begun."
            return _said(row.id, now.state, True, words)
        return _said(row.id, now.state, False, f"It has ended: {now.state.value}.")

    def _stop_there(self, cloud: CloudReconciler, row: RunRow, person: str) -> Result:
        """Write the wish, and send the stop at once; it is sent again until Azure says that the run has ended."""
        due = cloud.due(row.id) if person == SYSTEM else ()
        kind = next((each for each in due if each != "second_execution"), "second_execution" if due else "person")
        after = cloud.stop(row.id, kind, person)
        now = self._store.wanted(row.id)
        if kind == "second_execution":
            return _said(row.id, now.state, True, "The executions beside the first are stopped. The run goes on.")
        if _over(now):
            return _said(row.id, now.state, False, f"It has ended: {now.state.value}.")
        silent = after is not None and (after.seen.trouble or after.phase in AT_WORK - {Phase.STOPPING, Phase.OVER_BUDGET})
        words = ("Azure does not answer now. The stop is sent again until it does; its time limit ends it at the latest." if silent
                 else "It saves its last checkpoint and ends, within a minute.")
        return _said(row.id, now.state, True, words)

    def recall(self, call_id: str, /) -> Result | Recall:
        """A stop may be asked for again at any time."""
        return Recall.NOT_STARTED


def _over(row: RunRow) -> bool:
    """Whether nothing of it is left to stop; what is lost in the cloud may still be there and cost money."""
    return row.state not in (ALIVE if row.where == HERE else ALIVE | {RunState.LOST})


def _said(run_id: str, state: RunState, stopping: bool, words: str, stopped: list[str] | None = None) -> Result:
    facts: dict[str, JsonValue] = {"run_id": run_id, "state": state.value, "stopping": stopping}
    if stopped is not None:
        facts["stopped"] = [*stopped]
    return Result({**facts, "message": words}, facts)
