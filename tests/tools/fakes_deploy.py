"""A home with the bundled model, its toolbox and the gateway before it, for tests that deploy."""

import asyncio
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from policies.book import Book
from policies.gateway import Gateway
from policies.people import Caller, People
from policies.policy import Policy
from policies.verdict import Answer
from tests.tools.fakes_runs import ROOT
from tools.engine.spec import TrainSpec
from tools.places import Places
from tools.runs.rid import rid_of
from tools.runs.state import RunState
from tools.runs.store import NewRun
from tools.toolbox import Toolbox, build_toolbox

OWNER = Caller("owner", "cli", "peer uid", thread="thread-1")


class Home:
    """A home with the bundled model and the gateway before its toolbox; `reopen` is a restart of the server."""

    def __init__(self, folder: Path) -> None:
        self.places = Places(ROOT, folder)
        self.open()

    def open(self) -> None:
        """As a server that begins."""
        self.book = Book.open(self.places.home / "book.sqlite")
        self.toolbox: Toolbox = build_toolbox(self.places, self.book, Policy.load)
        self.gateway = Gateway.open(home=self.places.home, tools=self.toolbox.tools, book=self.book, people=People(self.book),
                                    defaults=self.toolbox.defaults)

    def reopen(self) -> None:
        """As a server that is started again."""
        self.toolbox.close()
        self.book.close()
        self.open()

    def ask(self, tool: str, **args: Any) -> Answer:
        """Through the door, deciding nothing."""
        return asyncio.run(self.gateway.call(tool, args, OWNER))

    def call(self, tool: str, **args: Any) -> Mapping[str, Any]:
        """Through the door, saying yes where it asks; the result of what must succeed."""
        return asyncio.run(self._call(tool, args))

    async def _call(self, tool: str, args: Mapping[str, Any]) -> Mapping[str, Any]:
        answer = await self.gateway.call(tool, args, OWNER)
        if answer.approval is not None:
            decision = await self.gateway.decide(answer.approval.id, "approve", OWNER)
            assert decision.answer is not None, decision.message
            answer = decision.answer
        assert answer.status == "done", answer
        return answer.result

    def state(self, ident: str) -> str:
        """The book's word after a pass."""
        self.toolbox.reconcile()
        return self.toolbox.deploying.store.wanted(ident).state.value

    def serving(self, ident: str, revision: int = 1) -> dict[str, Any]:
        """What the program says of itself."""
        return self.toolbox.deploying.local.serving(ident, revision)

    def tuned(self, call_id: str, system: str | None = None) -> str:
        """A finished run whose served files are the bundled model's, as its owner finds it afterwards."""
        run = rid_of(call_id)
        folder, store = self.places.runs / run, self.toolbox.store
        shutil.copytree(self.places.bundled_served, folder / "served", copy_function=link)
        spec = TrainSpec(run_id=run, model_id="bundled", model_dir="m", model_digest="m", data_dir="d", data_digest="d", max_steps=1,
                         epochs=1, learning_rate=0.001)
        (folder / "spec.json").write_text(spec.model_dump_json())
        (folder / "result.json").write_text(json.dumps({"outcome": "finished", "served_dir": "served"}))
        (folder / "ask.json").write_text(json.dumps({"system": system}))
        store.create(NewRun(run, "owner", "thread-1", call_id, "", "bundled", "samples/helpdesk.jsonl", "qlora", {}, None))
        for state in (RunState.RUNNING, RunState.FINISHED):
            store.set_state(run, state, "as the test wants")
        return run

    def close(self) -> None:
        """Leave no process behind."""
        for ident, revision, _ in self.toolbox.deploying.local.living():
            self.toolbox.deploying.local.press(ident, revision, force=True)
            assert self.toolbox.deploying.local.wait_for_end(ident, revision, 10)
        self.toolbox.close()
        self.book.close()


def link(source: str, target: str) -> None:
    """The same file under a second name where that can be, since it is large; else a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy(source, target)
