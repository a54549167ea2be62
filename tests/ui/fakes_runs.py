"""The runs of the small workshop: one, that lives in the same file as its approvals."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from typing import Any

from policies.people import Caller
from tests.ui.fakes_run import RUN_ID, STEPS, FakeLog, FakeRun, report_of


class FakeRuns(ABC):
    """What `ui.shop.Shop` says of runs. Whoever inherits it keeps the run."""

    @abstractmethod
    def _kept(self) -> dict[str, Any]:
        """What is kept."""

    def run(self, run_id: str, caller: Caller) -> FakeRun | None:
        """The one run, when it has been started by this person."""
        kept = self._kept()["run"]
        return FakeRun(**kept) if kept and run_id == RUN_ID and caller.person == "owner" else None

    async def watch(self, run_id: str, caller: Caller, offset: int | None = 0) -> AsyncIterator[dict[str, Any]]:
        """Steps as the clock brings them, and views."""
        told = 0
        if offset is None:
            yield {"kind": "curves", "train": [], "eval": []}
        while (run := self.run(run_id, caller)) is not None:
            reached = run.step
            for step in range(told + 1, reached + 1):
                yield {"kind": "step", "step": step, "loss": run.loss(step)}
                if step % 20 == 0:
                    yield {"kind": "eval", "step": step, "eval_loss": run.loss(step) - 0.05}
            told = max(told, reached)
            yield {"kind": "view", "offset": told, "view": run.as_json()}
            if run.state != "running":
                return
            await asyncio.sleep(0.1)

    async def follow_log(self, run_id: str, caller: Caller, mark: str = "") -> FakeLog:
        """The lines of the steps after the one that the mark names."""
        lines, told = (await self.log(run_id, caller, lines=STEPS)).lines, int(mark or 0)
        return FakeLog(lines[told:], mark=str(len(lines)))

    async def log(self, run_id: str, caller: Caller, offset: int | None = None, lines: int | None = None) -> FakeLog:
        """The last steps as lines."""
        run = self.run(run_id, caller)
        step = run.step if run else 0
        shown = range(max(1, step - (lines or 8) + 1), step + 1)
        return FakeLog(tuple(f"step {each}/{STEPS} loss {run.loss(each) if run else 0}" for each in shown))

    async def report(self, run_id: str, caller: Caller) -> dict[str, Any] | None:
        """Everything known of the one run."""
        run = self.run(run_id, caller)
        return None if run is None else report_of(run)
