"""A small workshop that the faces' tests run on: the same verbs, a scripted brain, approvals and runs kept in one file."""

import asyncio
import hashlib
import json
import secrets
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from agent.events import (
    ApprovalChanged,
    ApprovalWanted,
    Choices,
    Event,
    Notice,
    Problem,
    RunShown,
    TextDelta,
    TextDone,
    ToolEnded,
    ToolStarted,
    TurnEnded,
)
from agent.settings import Settings
from policies.people import Caller
from policies.tool import ToolFailed
from policies.verdict import Answer, ApprovalView, Decision
from tests.ui.fakes_office import EXPLAINED, SPENT, FakeArchive, FakeHousehold, FakeInbox, FakeNotifying, FakeRecords, FakeRulebook
from tests.ui.fakes_run import ANSWERS, AZURE, COMPARED, EVALUATED, LINES, PAID, PAID_LINES, PLAN, RUN_ID, FakeBadge
from tests.ui.fakes_runs import FakeRuns
from ui.shop import Word
from ui.wire import view_json, view_of


class FakeWorkshop(FakeRuns):
    """Implements `ui.shop.Shop`. What must survive a kill lies in one JSON file of the home."""

    def __init__(self, home: Path) -> None:
        self._file = home / "fake.json"
        self._ears: dict[str, list[tuple[str, asyncio.Queue[Event | None]]]] = {}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.household, self.rulebook, self.archive = FakeHousehold(), FakeRulebook(), FakeArchive()
        self.records, self.inbox, self.notifying = FakeRecords(self.household.role), FakeInbox(self), FakeNotifying()

    async def start(self) -> None:
        """Nothing to begin."""

    async def close(self) -> None:
        """End the listeners."""
        for ears in self._ears.values():
            for _, queue in ears:
                queue.put_nowait(None)

    async def say(self, thread: str, text: str, caller: Caller, ear: str = "") -> AsyncIterator[Event]:
        """One scripted turn; other listeners of the thread hear it too."""
        turn = secrets.token_hex(4)
        for event in self._script(thread, turn, text, caller):
            self._tell(event, but=ear)
            yield event
            await asyncio.sleep(0)

    def _script(self, thread: str, turn: str, text: str, caller: Caller) -> Iterator[Event]:
        low = text.lower()
        if "tune" in low:
            view = self.propose(thread, caller, paid="azure" in low)
            yield ToolStarted(thread, turn, turn + "c", "start_finetune", {"model": "bundled", "dataset": "samples/helpdesk.jsonl"})
            yield ToolEnded(thread, turn, turn + "c", "start_finetune", "waiting", {}, view.reason)
            yield ApprovalWanted(thread, view)
            yield from self._words(thread, turn, "Here is the plan. Nothing runs before you approve it.")
        elif "ask both" in low:
            yield ToolStarted(thread, turn, turn + "c", "ask_model", {"prompt": text, "compare": True})
            yield ToolEnded(thread, turn, turn + "c", "ask_model", "done", {"prompt": "My printer is offline.", "answers": ANSWERS})
            yield from self._words(thread, turn, "Both have answered.")
        elif "compare" in low:
            yield ToolStarted(thread, turn, turn + "c", "compare_runs", {"run_ids": []})
            yield ToolEnded(thread, turn, turn + "c", "compare_runs", "done", COMPARED)
        elif "machine" in low:
            yield ToolStarted(thread, turn, turn + "c", "inspect_hardware", {})
            found = {"cpu": {"name": "a processor", "cores": 2}, "gpus": []}
            yield ToolEnded(thread, turn, turn + "c", "inspect_hardware", "done", found)
            yield from self._words(thread, turn, "This machine has 2 cores and no GPU. It can tune small models.")
        elif "wrong" in low:
            yield Problem(thread, turn, "That did not work.", "Say it differently.")
        elif "late" in low:
            self.inbox.let_expire(thread)
            yield from self._words(thread, turn, "It is too late now.")
        elif "log" in low:
            yield ToolStarted(thread, turn, turn + "c", "tail_logs", {})
            lines: list[JsonValue] = ["step 1", "![x](http://leak.invalid/a.png) ```", "<b>step 2</b>"]
            yield ToolEnded(thread, turn, turn + "c", "tail_logs", "done", {"lines": lines})
        else:
            yield from self._words(thread, turn, "I am not sure what you mean.")
            yield Choices(thread, turn, (("See the machine", "What can this machine train?"), ("Tune a model", "Tune the bundled model")))
        yield TurnEnded(thread, turn)

    def _words(self, thread: str, turn: str, text: str) -> Iterator[Event]:
        for word in text.split(" "):
            yield TextDelta(thread, turn, word + " ")
        yield TextDone(thread, turn, text)

    async def listen(self, thread: str, ear: str = "") -> AsyncIterator[Event]:
        """What others do on the thread."""
        queue: asyncio.Queue[Event | None] = asyncio.Queue()
        mine = (ear, queue)
        self._ears.setdefault(thread, []).append(mine)
        try:
            while (event := await queue.get()) is not None:
                yield event
        finally:
            self._ears[thread].remove(mine)

    async def call(self, tool: str, args: Mapping[str, Any], caller: Caller, key: str = "", report: Any = None) -> Answer:
        """A few tools, each with the status its name promises."""
        self.calls.append((tool, dict(args)))
        if report:
            report("working", 0.5)
        match tool:
            case "cancel_run":
                kept = self._kept()
                kept["run"]["stopped"] = time.time()
                self._keep(kept)
                return Answer("done", tool, "c1", {"run_id": RUN_ID, "state": "cancelled"})
            case "start_finetune" | "resume_run":
                view = self.propose(str(caller.thread), caller)
                return Answer("waiting", tool, "c1", approval=view, reason=view.reason)
            case "explain_policy":
                return Answer("done", tool, "c1", EXPLAINED)
            case "evaluate_model":
                return Answer("done", tool, "c1", EVALUATED)
            case "list_runs":
                run = self.run(RUN_ID, caller)
                return Answer("done", tool, "c1", {"runs": [run.as_json()] if run else [], "total": 1 if run else 0})
            case "spend_report":
                return Answer("done", tool, "c1", SPENT)
            case "forbidden":
                return Answer("refused", tool, "c1", reason="No rule permits it.", remedy="Ask the owner.")
            case "broken":
                return Answer("failed", tool, "c1", reason="It broke.", remedy="Try again.")
            case _:
                return Answer("done", tool, "c1", {"args": dict(args)})

    async def decide(self, approval_id: str, answer: Word, caller: Caller, why: str = "") -> Decision:
        """Decide once; an approved plan starts the run of the clock."""
        if caller.via == "mcp":
            raise ToolFailed("This was not decided", "a program never decides.", "Decide in the chat.")
        view = self.approval(approval_id)
        assert view is not None
        if view.status != "pending":
            return Decision(False, view, f"Already {view.status} by {', '.join(view.decided_by)}.")
        if answer == "deny":
            view = self.store(replace(view, status="denied", decided_by=(caller.person,), why=why))
            return Decision(True, view, "Denied. Nothing was done.")
        view = self.store(replace(view, status="consumed", decided_by=(caller.person,), outcome="ok: the run has started."))
        kept = self._kept()
        kept["run"] = {"started": time.time(), "stopped": None, "paid": view.ceiling != "0.00"}
        self._keep(kept)
        if view.thread:
            self._tell(RunShown(view.thread, RUN_ID))
            self._tell(Notice(view.thread, "outcome", "The run helpdesk has started.", RUN_ID))
        return Decision(True, view, "Approved.", Answer("done", view.tool, "c1", {"run_id": RUN_ID, "state": "queued"}))

    async def withdraw(self, approval_id: str, caller: Caller) -> Decision:
        """Take it back."""
        view = self.approval(approval_id)
        assert view is not None
        return Decision(True, self.store(replace(view, status="withdrawn")), "Withdrawn.")

    def approval(self, approval_id: str) -> ApprovalView | None:
        """From the file."""
        found = self._kept()["approvals"].get(approval_id)
        return view_of(found) if found else None

    def pending(self, thread: str | None = None) -> tuple[ApprovalView, ...]:
        """What waits."""
        return tuple(view for view in self.every() if view.status == "pending" and thread in (None, view.thread))

    def every(self) -> list[ApprovalView]:
        """All approvals."""
        return [view_of(each) for each in self._kept()["approvals"].values()]

    async def upload(self, name: str, content: bytes, caller: Caller) -> str:
        """Only the name matters."""
        return name

    async def add_model(self, path: str, caller: Caller, name: str = "") -> dict[str, Any]:
        """Always fine."""
        return {"id": name or path, "path": path, "digest": "0"}

    def datasets(self) -> list[dict[str, Any]]:
        """None registered."""
        return []

    async def forget(self, thread: str, caller: Caller) -> None:
        """Withdraw what waits there."""
        for view in self.pending(thread):
            self.store(replace(view, status="withdrawn"))

    async def doctor(self, cloud: bool = False) -> dict[str, Any]:
        """A few facts."""
        azure = {"signed_in": "ann@example.test"} if cloud else {}
        return {"ok": True, "problems": [], "brain": "command assistant", "solo": True, "azure": azure}

    def badge(self) -> FakeBadge:
        """The header."""
        return FakeBadge()

    def make_link(self, person: str = "owner") -> str:
        """A token, known until it is used."""
        if not self.household.role(person):
            raise ToolFailed("No link was made", f"{person!r} is nobody who can sign in here.", "Look at `people list`.")
        kept, token = self._kept(), secrets.token_urlsafe(16)
        kept["links"][hashlib.sha256(token.encode()).hexdigest()] = person
        self._keep(kept)
        return token

    def use_link(self, token: str) -> str | None:
        """Once."""
        kept, key = self._kept(), hashlib.sha256(token.encode()).hexdigest()
        if key not in kept["links"]:
            return None
        person = kept["links"].pop(key)
        self._keep(kept)
        return person

    async def note_stranger(self, uid: int) -> None:
        """Nobody else comes here."""

    def revoke(self, session_hash: str) -> None:
        """Remember."""
        kept = self._kept()
        self._keep({**kept, "revoked": [*kept["revoked"], session_hash]})

    def is_revoked(self, session_hash: str) -> bool:
        """Look it up."""
        return session_hash in self._kept()["revoked"]

    def propose(self, thread: str, caller: Caller, paid: bool = False) -> ApprovalView:
        """A new plan that waits, for this machine or for a rented GPU."""
        view = ApprovalView(
            id=secrets.token_hex(4), tool="start_finetune", status="pending", requester=caller.person, thread=thread, digest="9f86d081",
            effects=("LOCAL",), target="run:helpdesk", where="this machine", reason="A training run takes the machine for minutes.",
            lines=LINES, stop_rules=("stop after 60 minutes", "stop when the heartbeat is silent for 5 minutes"), plan=PLAN,
            ceiling="0.00", currency="USD",
            created_at="2026-11-24T10:00:00Z", expires_at="2026-12-01T10:00:00Z",
        )
        there = {"effects": ("SPEND",), "where": AZURE, "lines": PAID_LINES, "plan": PAID, "ceiling": "3.10"}
        return self.store(replace(view, **there) if paid else view)  # pyright: ignore[reportArgumentType]

    def store(self, view: ApprovalView) -> ApprovalView:
        """Keep it, and tell who listens."""
        kept, new = self._kept(), view.status != "pending"
        kept["approvals"][view.id] = view_json(view)
        self._keep(kept)
        if new and view.thread:
            self._tell(ApprovalChanged(view.thread, view))
        return view

    def _tell(self, event: Event, but: str = "-") -> None:
        for ear, queue in self._ears.get(event.thread, []):
            if ear != but:
                queue.put_nowait(event)

    def _kept(self) -> dict[str, Any]:
        if not self._file.exists():
            return {"approvals": {}, "run": None, "links": {}, "revoked": []}
        return json.loads(self._file.read_text("utf-8"))

    def _keep(self, kept: Mapping[str, Any]) -> None:
        part = self._file.with_suffix(".part")
        part.write_text(json.dumps(kept), "utf-8")
        part.replace(self._file)


@contextmanager
def open_fake(settings: Settings) -> Iterator[FakeWorkshop]:
    """The fake in a home, as `ui.server.serve` opens a shop."""
    settings.home.mkdir(parents=True, exist_ok=True)
    yield FakeWorkshop(settings.home)
