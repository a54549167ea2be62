"""A whole Luthier in one process, with a stand-in for the engine: what the fault tests kill and start again."""

import asyncio
import contextlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from agent.home import HomeLock, prepare_home
from policies.audit.keys import KeyRing
from policies.book import BookBroken, BookBusy
from policies.gateway import Gateway
from policies.people import People
from policies.policy import Policy
from policies.tool import Call, Recall, Result, ToolFailed
from policies.verdict import Answer
from tests.faults.evidence import truth
from tests.policies.fakes_tools import FakeArgs, FakeTool, spending
from tests.policies.home import OWNER
from tests.tools.fakes_runs import ROOT, FakePlanning, RunWorld
from tools.runs.resume import ResumeRun
from tools.runs.start import StartFinetune
from tools.runs.state import FINAL, RESUMABLE, RunState

BAD_ROUND = (BookBroken, BookBusy, OSError, ToolFailed)
"""What a background round, or a face, may meet and live on."""


@dataclass
class Modes(FakePlanning):
    """The dataset's name says how the engine behaves."""

    def prepare(self, dataset: str, out: Path, seed: int) -> str:
        """As the other, with the mode of this dataset."""
        self.mode = Path(dataset).stem
        return super().prepare(dataset, out, seed)


@dataclass
class Till(FakeTool):
    """Costs money, and remembers in files what it did."""

    receipts: Path = Path()

    def perform(self, args: FakeArgs, call: Call, /) -> Result:
        """Pay: one file a call, created and never replaced."""
        with (self.receipts / call.call_id).open("x") as file:
            file.write(args.name)
        return Result({"name": args.name})

    def recall(self, call_id: str, /) -> Result | Recall:
        """What lies there."""
        return Result({"name": "paid"}) if (self.receipts / call_id).exists() else Recall.NOT_STARTED


class Shop:
    """Opens a home as a server does; `say` tells the test what was acknowledged."""

    def __init__(self, home: Path, say: Callable[..., None], later_s: float = 0) -> None:
        self.home, self.say = prepare_home(home), say
        self.lock = HomeLock(home).take()
        (home / "receipts").mkdir(exist_ok=True)
        self.world = world = RunWorld(home)
        world.places.engine_python.write_text(f'#!/bin/sh\nexec {sys.executable} -S {ROOT / "tests/faults/engine.py"} "$@"\n')
        planning, people = Modes(home), People(world.book)
        people.ensure_owner()
        till = Till(**{**vars(spending(10)), "receipts": home / "receipts"})
        tools: Mapping[str, Any] = {
            "start_finetune": StartFinetune(planning, world.store, world.local, world.reconciler), "cancel_run": world.cancel, "pay": till,
            "resume_run": ResumeRun(planning, world.store, world.local, world.reconciler),
        }
        self.gateway = Gateway(tools, world.book, Policy.load(), people, clock=lambda: datetime.now(UTC) + timedelta(seconds=later_s),
                               keys=KeyRing.open(home / "keys"))

    async def recover(self) -> None:
        """What a start does first; then what is shown of each run, once it is what the folders and processes show."""
        with contextlib.suppress(*BAD_ROUND):
            await self.gateway.recover()
        await self._until(lambda: all(state in allowed for state, allowed in self._shown().values()), "the true states", 10)
        self.say(shown={run: state for run, (state, _) in self._shown().items()})

    def _shown(self) -> dict[str, tuple[str, frozenset[str]]]:
        return {row.id: (row.state.value, truth(self.world.places.runs / row.id)) for row in self.world.store.rows()}

    async def _until(self, true: Callable[[], bool], what: str, within_s: float = 30) -> None:
        deadline = asyncio.get_running_loop().time() + within_s
        while True:
            with contextlib.suppress(*BAD_ROUND):
                self.world.reconciler.pass_()
                if true():
                    return
            if asyncio.get_running_loop().time() > deadline:
                raise AssertionError(f"waited in vain for {what}: {self._shown()}")
            await asyncio.sleep(0.02)

    async def done(self, tool: str, raw: Mapping[str, Any], key: str, tries: int) -> Mapping[str, Any]:
        """What a tool did, asked for and approved like a person would: again when it failed, with the same key when nobody knows."""
        number, reason = 0, "nobody asked"
        for _ in range(tries * 3):
            answer = await self.gateway.call(tool, raw, OWNER, f"{key}-{number}")
            self.heard(answer)
            if answer.status == "waiting" and answer.approval is not None:
                try:
                    decided = await self.gateway.decide(answer.approval.id, "approve", OWNER)
                except ToolFailed as error:  # it cannot be decided now: look at the card again, with the same key
                    reason = str(error)
                    continue
                self.say(decided=decided.approval.id, status=decided.approval.status)
                answer = decided.answer or answer
                self.heard(answer)
            if answer.status == "done":
                return answer.result
            reason = answer.reason
            number += answer.status != "waiting"
            if number == tries:
                break
        raise AssertionError(f"{tool} was not done: {reason}")

    def heard(self, answer: Answer) -> None:
        """Tell the test an answer."""
        run = answer.result.get("run_id")
        self.say(call=answer.call_id, status=answer.status, run=run, reason=answer.reason)

    async def life(self, tries: int) -> None:
        """All that happens to runs: started, queued, taken out of the queue, stopped, resumed, finished; and one payment."""
        first = str((await self.start("holds", "a", tries))["run_id"])
        await self._until(lambda: self.state(first) is not RunState.QUEUED, "the first run's start")
        second = str((await self.start("finishes", "b", tries))["run_id"])
        for run, key in ((second, "stop-b"), (first, "stop-a")):
            if self.state(run) not in FINAL:
                await self.done("cancel_run", {"run_id": run}, key, tries)
            await self.ended(run)
        if self.state(first) in RESUMABLE:
            await self.done("resume_run", {"run_id": first}, "resume", tries)
            await self.ended(first)
        await self.done("pay", {"name": "x"}, "pay", tries)
        self.say(ends={row.id: row.state.value for row in self.world.store.rows()})

    async def start(self, mode: str, key: str, tries: int = 1) -> Mapping[str, Any]:
        """Start a run whose engine behaves as `mode` says."""
        return await self.done("start_finetune", {"model": "bundled", "dataset": f"samples/{mode}.jsonl", "name": key}, key, tries)

    async def ended(self, run: str) -> None:
        """Wait until a run is at its end."""
        await self._until(lambda: self.state(run) in FINAL, f"the end of {run}")

    def state(self, run: str) -> RunState:
        """A run's state in the book."""
        return self.world.store.wanted(run).state

    async def until(self, run: str, *states: RunState) -> None:
        """Wait until a run is in one of the states."""
        await self._until(lambda: self.state(run) in states, f"{run} in {states}")

    async def ask(self, tool: str, raw: Mapping[str, Any], key: str) -> str:
        """Ask for something that waits for a yes: the approval's id."""
        answer = await self.gateway.call(tool, raw, OWNER, key)
        self.heard(answer)
        assert answer.approval is not None, answer
        self.say(card=answer.approval.id, expires=answer.approval.expires_at)
        return answer.approval.id

    async def close(self) -> None:
        """End as a server does."""
        await self.gateway.settle()
        self.gateway.close()
        self.world.engine.close()
        self.world.book.close()
        self.lock.release()
