"""Sends the next run off when the machine is free; one that cannot start ends with its reason, and the one after it gets the turn."""

from pathlib import Path

from policies import fault
from policies.tool import ToolFailed
from tools.runs.edited import edited
from tools.runs.identity import lock_state
from tools.runs.line import Line, is_orphaned
from tools.runs.local import LocalRuns, MachineTaken
from tools.runs.state import RunState
from tools.runs.store import RunRow, RunStore


class Launcher:
    """Level-triggered, and safe in several processes at once: the book gives the turn, the kernel the machine."""

    def __init__(self, store: RunStore, line: Line, local: LocalRuns) -> None:
        self._store, self._line, self._local = store, line, local

    def advance(self) -> list[tuple[RunRow, RunRow]]:
        """Start the run whose turn it is, if the machine is free; the runs that could not start, before and after their end."""
        ended: list[tuple[RunRow, RunRow]] = []
        holder = self._line.holder()
        if holder is not None and is_orphaned(holder) and self._lock(holder) == "absent":
            self._line.give_back(holder)
        while (row := self._line.take()) is not None:
            try:
                self._start(row)
            except MachineTaken:
                self._line.give_back(row)
                break
            except ToolFailed as error:
                after = self._store.set_state(row.id, RunState.FAILED, f"{error.because} {error.try_next}", outcome={"kind": error.kind})
                ended += [(row, after)] if after is not None else []
            else:
                break
        return ended

    def _lock(self, row: RunRow) -> str:
        return lock_state(self._local.folder(row.id) / f"attempt-{row.attempt}.lock")

    def _start(self, row: RunRow) -> None:
        spec = self._local.spec(row.id)
        what = f"Start the run {row.id}"
        if changes := edited(row.spec, spec):
            raise ToolFailed(what, f"Its spec.json was edited while it waited: {'; '.join(changes)}.",
                             "Start a new run with the settings you want.", kind="changed")
        if not (Path(spec.model_dir) / "config.json").is_file():
            raise ToolFailed(what, f"The folder of the model {row.model_id} is gone.",
                             "Put it back, or register it again with `python -m ui model add DIR`, then resume the run.", kind="missing")
        limit = row.plan.get("limit_s")
        fault.point("runs.spawn.before")
        self._local.start(row.id, row.attempt, row.owner, spec.threads, float(limit) if isinstance(limit, int | float) else 0)
        fault.point("runs.spawn.after")
