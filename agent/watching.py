"""What a person may see of runs: a view, its output, and a stream that follows it. Outside the graph; nothing of it is stored."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from agent.door import Hands, LogLines, LogMore, RunFacts
from policies.people import SEES_ALL, Caller
from policies.tool import ToolFailed

PAUSE_S = 0.25
"""Between two looks at a run's folder: four a second, each of which costs little where nothing came."""
ENDED = frozenset({"finished", "failed", "cancelled", "interrupted", "lost"})


class Watching:
    """Reads runs for one caller; another person's run does not exist for who is no owner, approver or auditor."""

    def __init__(
        self, hands: Hands, hurry: Callable[[], None] = lambda: None, pause_s: float = PAUSE_S,
        role: Callable[[str], str] = lambda person: "",
    ) -> None:
        """`hurry` is called when a run's folder says that it ended and the book does not yet; `role` gives a person's role."""
        self._hands, self._hurry, self._pause_s, self._role = hands, hurry, pause_s, role

    def run(self, run_id: str, caller: Caller) -> RunFacts | None:
        """One run, or None when there is none with that id that is this person's, or everybody's to see."""
        view = self._hands.run_view(run_id)
        return view if view is not None and (view.owner == caller.person or self._role(caller.person) in SEES_ALL) else None

    async def report(self, run_id: str, caller: Caller) -> dict[str, Any] | None:
        """Everything known of one run, for its page; None where `run` gives None."""
        if await asyncio.to_thread(self.run, run_id, caller) is None:
            return None
        return await asyncio.to_thread(self._hands.report, run_id)

    async def log(self, run_id: str, caller: Caller, offset: int | None = None, lines: int | None = None) -> LogLines:
        """Redacted output from a byte offset on, or the last lines. Raises ToolFailed when there is no such run."""
        await self._wanted(run_id, caller)
        return await asyncio.to_thread(self._hands.log, run_id, offset=offset, lines=lines)

    async def follow_log(self, run_id: str, caller: Caller, mark: str = "") -> LogMore:
        """What the run's log has beyond a mark. Raises ToolFailed when there is no such run."""
        await self._wanted(run_id, caller)
        return await asyncio.to_thread(self._hands.follow_log, run_id, mark)

    async def watch(self, run_id: str, caller: Caller, offset: int | None = 0) -> AsyncIterator[dict[str, Any]]:
        """The run's events from a byte offset on as they come, each followed by `{"kind": "view", "offset", "view"}` when it changed.

        Without an offset it begins with `{"kind": "curves", "train", "eval"}`, what a chart needs of all events so far, and goes on
        after them. Ends after the last view of a run that has ended. Raises ToolFailed when there is no such run.
        """
        seen: dict[str, Any] | None = None
        over = False
        if offset is None:
            await self._wanted(run_id, caller)
            train, held_out, offset = await asyncio.to_thread(self._hands.curves, run_id)
            yield {"kind": "curves", "train": train, "eval": held_out}
        while True:
            view = (await self._wanted(run_id, caller)).as_json()
            events, offset = await asyncio.to_thread(self._hands.watch, run_id, offset)
            for event in events:
                yield event
                over = over or event.get("kind") == "end"
            news = {**view, "heartbeat_age_s": None}  # changes at every look and says nothing new
            if news != seen:
                seen = news
                yield {"kind": "view", "offset": offset, "view": view}
            if view["state"] in ENDED and not events:
                return
            if over:
                self._hurry()
            await asyncio.sleep(self._pause_s)

    async def _wanted(self, run_id: str, caller: Caller) -> RunFacts:
        view = await asyncio.to_thread(self.run, run_id, caller)
        if view is None:
            raise ToolFailed(
                "There is no such run", f"no run of yours has the id {run_id[:40]!r}.", "`list_runs` shows the ids.", kind="unknown_run"
            )
        return view
