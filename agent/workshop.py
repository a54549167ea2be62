"""The workshop: what every face talks to. Turns, decisions, notices and runs of one home, in one process."""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any

from langchain_core.messages import HumanMessage
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from sqlalchemy import select

from agent.archive import Archive
from agent.brain.brain import Badge, Brain
from agent.context import TurnContext
from agent.doctor import examine
from agent.door import Door, LogLines, LogMore, RunFacts
from agent.endings import Endings
from agent.events import ApprovalChanged, ApprovalWanted, Event, Problem, RunShown, ToolEnded, TurnEnded
from agent.graph import build_graph
from agent.household import Household
from agent.inbox import Inbox
from agent.links import Links
from agent.memory import open_memory, prune
from agent.notices import NoticeBook, Told, add_outcome
from agent.notifying import Notifier
from agent.records import Records
from agent.refusal import refuse_words
from agent.registering import keep_upload, register_model
from agent.rulebook import Rulebook
from agent.settling import Settling
from agent.telling import Telling
from agent.threads import Threads
from agent.turn import TurnRunner
from agent.watching import Watching
from policies.approvals import Word
from policies.book import now_text
from policies.people import Caller
from policies.tables import datasets, thread_runs
from policies.verdict import Answer, ApprovalView, Decision

log = logging.getLogger("luthier.agent")

LOOK_S, SWEEP_S = 5.0, 30.0


class Workshop:
    """Everything a face may ask for. `start` opens the memory and begins the loops, `close` ends them; both once."""

    def __init__(self, door: Door, brain: Brain, *, look_s: float = LOOK_S, sweep_s: float = SWEEP_S) -> None:
        self.door, self._brain, self._look_s, self._sweep_s = door, brain, look_s, sweep_s
        self._threads = Threads()
        self._telling = Telling(NoticeBook(door.book), self._hear, self._begin)
        self._endings = Endings(door, self._telling)
        self.notifying = Notifier(door.book, door.secrets, door.settings.notify, door.gateway.note)
        self._links = Links(door.book)
        self.household, self.inbox = Household(door, self._links), Inbox(door)
        self.records, self.archive, self.rulebook = Records(door), Archive(door), Rulebook(door)
        self._hurry = asyncio.Event()
        self._watching = Watching(door.toolbox, self._hurry.set, role=door.people.role)
        self._memory: AsyncSqliteSaver | None = None
        self._runner: TurnRunner | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._via: dict[str, Caller] = {}
        self._unsubscribe: Callable[[], None] = lambda: None

    async def start(self) -> None:
        """Open the memory, finish what a crash left open, begin the loops."""
        self._memory = await open_memory(self.door.settings.home / "memory.sqlite")
        self._runner = TurnRunner(build_graph(self.door.gateway, self.door.toolbox.tools, self._brain, self._memory), self._brain)
        self._unsubscribe = self.door.gateway.subscribe(self._approval_changed)
        await self.door.gateway.recover()
        self._telling.wake()
        self._begin(self._telling.loop())
        self._begin(self._every(self._look_s, self._endings.look, self._hurry))
        self._begin(self._every(self._look_s, self.notifying.round, asyncio.Event()))
        self._begin(self._every(self._look_s, Settling(self.door).round, asyncio.Event()))
        self._begin(self._every(self._sweep_s, self.door.gateway.sweep, asyncio.Event()))
        self._begin(self._every(self._sweep_s, self.archive.tell_witnesses, asyncio.Event()))

    async def close(self) -> None:
        """End loops and listeners and close the memory; the door stays open for its owner to close."""
        self._unsubscribe()
        self._threads.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._memory is not None:
            await self._memory.conn.close()
            self._memory = None

    async def say(self, thread: str, text: str, caller: Caller, ear: str = "") -> AsyncIterator[Event]:
        """One turn: everything that comes of a person's message, ending in TurnEnded.

        `ear` names the face's own listener (see `listen`), which then hears only what other turns and happenings bring.
        Leaving the iteration early stops the turn, never a call that has begun.
        """
        turn = secrets.token_hex(6)
        if refused := refuse_words(text):
            yield Problem(thread, turn, *refused)
            yield TurnEnded(thread, turn)
            return
        for event in self._threads.unheard(thread):
            yield event
        context = TurnContext(replace(caller, thread=thread), thread, turn)
        self._via[thread] = context.caller
        sink: asyncio.Queue[Event | None] = asyncio.Queue()
        task = asyncio.create_task(self._turn(context, [HumanMessage(text)], ear, sink))
        task.add_done_callback(lambda _: sink.put_nowait(None))
        try:
            while (event := await sink.get()) is not None:
                yield event
            await task
        finally:
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    def listen(self, thread: str, ear: str = "") -> AsyncIterator[Event]:
        """Everything on a thread outside one's own `say`: cards' new states, notices and the words after them, runs, other faces' turns.

        First comes what nobody heard since this process started. Cards that wait already are in `pending`. A face that lets several
        tabs speak gives each its own `ear`, and passes it to `say`.
        """
        return self._threads.listen(thread, ear)

    async def decide(self, approval_id: str, answer: Word, caller: Caller, why: str = "") -> Decision:
        """One person's yes or no; with the last one needed the gateway performs the recorded call."""
        return await self.door.gateway.decide(approval_id, answer, caller, why)

    async def withdraw(self, approval_id: str, caller: Caller) -> Decision:
        """Take a waiting proposal back."""
        return await self.door.gateway.withdraw(approval_id, caller)

    def pending(self, thread: str | None = None) -> tuple[ApprovalView, ...]:
        """Approvals that wait, of one thread or all."""
        return self.door.gateway.pending(thread)

    def approval(self, approval_id: str) -> ApprovalView | None:
        """One approval as the book has it now."""
        return self.door.gateway.approval(approval_id)

    async def call(
        self, tool: str, args: Mapping[str, Any], caller: Caller, key: str = "", report: Callable[[str, float | None], None] | None = None
    ) -> Answer:
        """One call without any brain, through the same door."""
        return await self.door.gateway.call(tool, args, caller, key, report)

    def run(self, run_id: str, caller: Caller) -> RunFacts | None:
        """One run of the caller's, as faces show it."""
        return self._watching.run(run_id, caller)

    async def report(self, run_id: str, caller: Caller) -> dict[str, Any] | None:
        """Everything known of one run of the caller's, for its page."""
        return await self._watching.report(run_id, caller)

    def watch(self, run_id: str, caller: Caller, offset: int | None = 0) -> AsyncIterator[dict[str, Any]]:
        """A run's events and views as they come; see `agent.watching`."""
        return self._watching.watch(run_id, caller, offset)

    async def log(self, run_id: str, caller: Caller, offset: int | None = None, lines: int | None = None) -> LogLines:
        """A run's redacted output."""
        return await self._watching.log(run_id, caller, offset, lines)

    async def follow_log(self, run_id: str, caller: Caller, mark: str = "") -> LogMore:
        """What a run's redacted output has beyond a mark."""
        return await self._watching.follow_log(run_id, caller, mark)

    async def upload(self, name: str, content: bytes, caller: Caller) -> str:
        """Keep a dataset that came through a face; returns its reference. Raises ToolFailed."""
        return await asyncio.to_thread(keep_upload, self.door.settings.home / "data", name, content)

    async def add_model(self, path: str, caller: Caller, name: str = "") -> Answer:
        """Register a folder as a model; its files stay where they are."""
        return await register_model(self.door, path, caller, name)

    def datasets(self) -> list[dict[str, Any]]:
        """The registered datasets, by id."""
        return self.door.book.read(lambda conn: [dict(row) for row in conn.execute(select(datasets).order_by(datasets.c.id)).mappings()])

    async def forget(self, thread: str, caller: Caller) -> None:
        """Withdraw what the caller has waiting in a thread and delete its conversation. Runs and records stay."""
        for view in self.pending(thread):
            if view.requester == caller.person:
                await self.withdraw(view.id, caller)
        async with self._threads.lock(thread):
            if self._memory is not None:
                await self._memory.adelete_thread(thread)

    def badge(self) -> Badge:
        """Who is speaking, and whether one person may approve alone."""
        note = " ".join(part for part in (self._brain.problem, self._brain.note) if part)
        return Badge(self._brain.name, self.door.people.solo(), note)

    async def doctor(self, cloud: bool = False) -> dict[str, Any]:
        """What a person needs to know when something does not work."""
        return await asyncio.to_thread(examine, self.door, self._brain, self.records, self.rulebook, cloud)

    def make_link(self, person: str = "owner") -> str:
        """A token for a one-time sign-in link. Raises ToolFailed for somebody who may not sign in."""
        return self.household.make_link(person)

    def use_link(self, token: str) -> str | None:
        """The person who may enter with this token, once; a sign-in is recorded."""
        person = self._links.use(token)
        if person is not None and self._memory is not None:
            self._begin(self.door.gateway.note("auth", "signed_in", Caller(person, "web", "link")))
        return person

    async def note_stranger(self, uid: int) -> None:
        """Keep a record that another user of this machine came to the control socket and was sent away."""
        await self.door.gateway.note("auth", "control_refused", Caller("", "cli", "peer uid"), {"uid": uid})

    def revoke(self, session_hash: str) -> None:
        """Sign a session out for good."""
        self._links.revoke(session_hash)

    def is_revoked(self, session_hash: str) -> bool:
        """Whether a session was signed out."""
        return self._links.is_revoked(session_hash)

    async def _turn(
        self,
        context: TurnContext,
        messages: Sequence[HumanMessage],
        ear: str,
        sink: asyncio.Queue[Event | None] | None,
        first: Sequence[Event] = (),
    ) -> None:
        if self._runner is None or self._memory is None:
            raise RuntimeError("the workshop has not been started")
        began = now_text()
        async with self._threads.turn(context.thread, ear, sink):
            for event in first:
                self._threads.tell(event)
            try:
                async for event in self._runner.run(context, messages):
                    self._threads.tell(event)
                    if isinstance(event, ToolEnded) and (run := await self._new_run(event, began)):
                        self._threads.tell(RunShown(context.thread, run))
                await prune(self._memory, context.thread)
            finally:
                self._threads.tell(TurnEnded(context.thread, context.turn))

    async def _new_run(self, event: ToolEnded, began: str) -> str | None:
        """The run that this call brought into the thread, if it did."""
        run = event.result.get("run_id")
        if event.status != "done" or not isinstance(run, str):
            return None
        here = (thread_runs.c.thread == event.thread) & (thread_runs.c.run_id == run) & (thread_runs.c.at >= began)
        found = await asyncio.to_thread(self.door.book.read, lambda conn: conn.execute(thread_runs.select().where(here)).first())
        return run if found else None

    def _approval_changed(self, approval: ApprovalView, answer: Answer | None) -> None:
        if approval.thread is None:
            return
        if approval.status == "pending":
            self._threads.tell(ApprovalWanted(approval.thread, approval))
            return
        self._threads.tell_all(ApprovalChanged(approval.thread, approval))
        run = answer.result.get("run_id") if answer is not None and answer.status == "done" else None
        if isinstance(run, str):
            self._threads.tell(RunShown(approval.thread, run))
        self._begin(self._note(approval, answer))

    async def _note(self, approval: ApprovalView, answer: Answer | None) -> None:
        if await asyncio.to_thread(add_outcome, self._telling.notices, approval, answer):
            self._telling.wake()

    async def _hear(self, thread: str, person: str, told: Sequence[Told]) -> None:
        """A turn that begins with notices: it acts for the person whom they concern."""
        last = self._via.get(thread)
        caller = last if last and last.person == person else Caller(person, "web", auth="notice", thread=thread)
        context = TurnContext(caller, thread, secrets.token_hex(6))
        first, heard = await self._endings.tables(thread, context.turn, told, caller)
        await self._turn(context, [each.message() for each in heard], "", None, first)

    async def _every(self, pause_s: float, work: Callable[[], Coroutine[Any, Any, Any]], hurry: asyncio.Event) -> None:
        while True:
            hurry.clear()
            try:
                await work()
            except Exception:  # a loop outlives one bad round
                log.exception("a background round failed")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(hurry.wait(), pause_s)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        with contextlib.suppress(asyncio.CancelledError):
            if error := task.exception():
                log.error("a background task failed", exc_info=error)
