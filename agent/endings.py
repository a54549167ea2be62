"""What a conversation is told when runs end: each run's own notice, and once for a sweep that its last run has ended."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from secrets import token_hex
from typing import Any

from pydantic import JsonValue
from sqlalchemy import select

from agent.door import Door, News
from agent.events import Event, ToolEnded, ToolStarted
from agent.notices import Kept, Told, end_of_run
from agent.telling import Telling
from policies.people import Caller
from policies.tables import runs
from policies.verdict import Answer

OVER = frozenset({"finished", "failed", "cancelled", "interrupted", "lost"})


class Endings:
    """Keeps the notices of what the reconciler found, and makes the table that a sweep ends with."""

    def __init__(self, door: Door, telling: Telling) -> None:
        self._door, self._telling, self._notices = door, telling, telling.notices

    async def look(self) -> None:
        """Bring the runs up to date, and have told what there is to tell."""
        if await asyncio.to_thread(self._keep):
            self._telling.wake()

    def _keep(self) -> bool:
        """Every run's own end first, so that a sweep's comes after all of its runs; True when there is something to tell."""
        seen = self._door.toolbox.reconcile()
        # Of runs the book's own list tells; what is no run's (a deployment's end) has only this word of it.
        other = [kept for each in seen if not each.run_id and (kept := end_of_run(each)) is not None]
        mark = self._notices.run_mark()
        news, newest = self._door.toolbox.run_ends(mark or 0)
        if mark is None:  # a home that has never looked does not begin with what was long ago
            self._notices.add_ends(other, newest)
            return bool(other)
        if newest <= mark and not other:
            return False
        ends = [kept for each in news if (kept := end_of_run(each)) is not None]
        sweeps = [kept for each in news if each.thread is not None and (kept := self._end_of_sweep(each, each.thread)) is not None]
        self._notices.add_ends([*other, *ends, *sweeps], newest)
        return bool(other or ends)

    def _end_of_sweep(self, news: News, thread: str) -> Kept | None:
        sweep, mates = self._sweep_of(news.run_id)
        if not sweep or not mates or not all(state in OVER for state in mates.values()):
            return None
        count = sum(state == "finished" for state in mates.values())
        text = f"The sweep {sweep} has ended: {count} of {len(mates)} runs finished."
        facts: dict[str, JsonValue] = {"sweep": sweep, "runs": len(mates), "finished": count}
        return Kept(thread, "sweep", text, news.owner, facts, min(mates), f"sweep {sweep}")

    def _sweep_of(self, run_id: str) -> tuple[str, Mapping[str, str]]:
        """The sweep that a run belongs to, and the state of each of its runs; empty for a run of its own."""
        row = self._door.book.read(lambda conn: conn.execute(select(runs.c.plan_json, runs.c.owner).where(runs.c.id == run_id)).first())
        sweep = _sweep(row.plan_json) if row is not None else ""
        if row is None or not sweep:
            return "", {}
        query = select(runs.c.id, runs.c.state, runs.c.plan_json).where(
            runs.c.owner == row.owner, runs.c.plan_json.contains(sweep, autoescape=True))
        found = self._door.book.read(lambda conn: conn.execute(query).all())
        return sweep, {each.id: each.state for each in found if _sweep(each.plan_json) == sweep}

    async def tables(self, thread: str, turn: str, told: Sequence[Told], caller: Caller) -> tuple[list[Event], list[Told]]:
        """For each ended sweep the comparison of its runs, as a tool's step that faces show; and the notices with what it found."""
        events: list[Event] = []
        heard: list[Told] = []
        for each in told:
            events.append(each.event())
            if each.kind != "sweep":
                heard.append(each)
                continue
            args = {"run_ids": [each.facts["sweep"]]}
            answer = await self._door.gateway.call("compare_runs", args, caller)
            events += _step(thread, turn, args, answer)
            facts: dict[str, Any] = {**each.facts, "status": answer.status, **(answer.for_brain if answer.status == "done" else {})}
            heard.append(Told(each.id, each.thread, each.kind, each.text, each.person, facts, each.run_id))
        return events, heard


def _step(thread: str, turn: str, args: Mapping[str, Any], answer: Answer) -> list[Event]:
    call = f"sweep-{token_hex(4)}"
    return [
        ToolStarted(thread, turn, call, "compare_runs", args),
        ToolEnded(thread, turn, call, "compare_runs", answer.status, answer.result, answer.reason, answer.remedy),
    ]


def _sweep(plan: str | None) -> str:
    found = json.loads(plan or "{}").get("sweep")
    return str(found.get("id", "")) if isinstance(found, Mapping) else ""
