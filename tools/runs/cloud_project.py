"""What the table of runs says of a run in the cloud: a projection of its phase, written when the two differ."""

from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue

from tools.runs.cloud_row import CloudRow, Phase
from tools.runs.evidence import Finding, Kind
from tools.runs.local import LocalRuns
from tools.runs.reconcile import RunNews, tell
from tools.runs.state import FINAL, RunState, may_become
from tools.runs.store import HERE, RunRow, RunStore
from tools.runs.watch import read_json

_STATES: Mapping[Phase, RunState] = {
    Phase.RUNNING: RunState.RUNNING, Phase.FINISHING: RunState.RUNNING, Phase.DOWNLOADING: RunState.RUNNING, Phase.LOST: RunState.LOST,
    Phase.SUCCEEDED: RunState.FINISHED, Phase.FAILED: RunState.FAILED, Phase.STOPPED: RunState.CANCELLED,
}
"""Every other phase leaves the state as it is: queued before the engine reported, running after it did."""


class Projection:
    """Writes the states of runs in the cloud."""

    def __init__(self, runs: RunStore, local: LocalRuns) -> None:
        self._runs, self._local = runs, local

    def bring(self, row: CloudRow) -> RunNews | None:
        """Let the table of runs say what the phase says; the news when that changed it."""
        run = self._runs.get(row.run_id)
        if run is None or run.where == HERE:  # it went on here since: what it was there says nothing of it
            return None
        if row.attempt != run.attempt and not row.ended:
            run = self._runs.raise_attempt(row.run_id, row.attempt) or run
        then = self._wanted(row, run)
        if then is None or then is run.state or not may_become(run.state, then):
            return None
        finding = _finding(row, then)
        result = read_json(self._local.folder(row.run_id) / "result.json") or {}
        after = self._runs.set_state(run.id, then, finding.reason, outcome=self._outcome(row, run, finding) if then in FINAL else None,
                                     measured=_peak(result))
        return None if after is None else tell(after, run.state, finding, result)

    @staticmethod
    def _wanted(row: CloudRow, run: RunRow) -> RunState | None:
        if row.phase is Phase.DESTROYED:
            return None
        if row.phase is Phase.DOWNLOADING and run.state is RunState.QUEUED:
            return None  # it never ran
        return _STATES.get(row.phase)

    def _outcome(self, row: CloudRow, run: RunRow, finding: Finding) -> dict[str, JsonValue]:
        folder = self._local.folder(row.run_id)
        seen: dict[str, JsonValue] = {
            "execution": row.execution, "status": row.seen.status, "exit_code": row.seen.exit_code, "attempt": row.attempt,
            "region": row.region, "hardware": row.plan.shape.name, "note": row.seen.note,
        }
        found: dict[str, JsonValue] = {
            **run.outcome, "kind": finding.kind, "result": read_json(folder / "result.json") or {},
            "exit": read_json(folder / "exit.json") or {}, "evidence": {k: v for k, v in seen.items() if v not in (None, "")},
        }
        if finding.state is RunState.CANCELLED:
            found["by"] = row.wish.by or run.owner
        return found


def _finding(row: CloudRow, then: RunState) -> Finding:
    end = row.seen.end
    if then not in FINAL or not end:
        words = "Its execution or its job cannot be found in Azure." if then is RunState.LOST else ""
        return Finding(then, "gone" if then is RunState.LOST else "", words)
    kind: Any = end.get("kind", "")
    known: Kind = kind
    return Finding(then, known, " ".join(part for part in (end.get("reason", ""), row.seen.note) if part))


def _peak(result: Mapping[str, Any]) -> int | None:
    found = result.get("peak_memory_bytes")
    return found if isinstance(found, int) and found > 0 else None
