"""The open pages: one screen for each Chainlit session, each followed by its own task."""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import chainlit as cl
from chainlit.session import WebsocketSession
from chainlit.types import ThreadDict

from agent.events import ApprovalWanted
from policies.people import Caller
from policies.tool import ToolFailed
from ui.bridges.notice import follow
from ui.cards import approval_card, evaluation_words
from ui.render import Screen, card_id
from ui.shop import Shop
from ui.signin import token_hash, web_caller

SETTLE_S = 0.5
"""Messages sent while Chainlit resumes a thread vanish (its issue 2611, Nov 2026): wait until the page has its history."""

_log = logging.getLogger(__name__)


@dataclass
class _Page:
    screen: Screen
    task: asyncio.Task[None]
    named: bool
    """Whether the page knows its thread."""


def held(thread: ThreadDict) -> frozenset[str]:
    """The elements that a thread's history really shows: a kill may leave an element behind whose message was never stored."""
    steps = {each.get("id") for each in thread["steps"]}
    return frozenset(each.get("id", "") for each in thread["elements"] or [] if each.get("forId") in steps)


class Screens:
    """Opens, finds and closes pages, and carries their clicks and messages to the workshop."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self._pages: dict[str, _Page] = {}

    async def opened(self, *, resumed: bool = False, shown: frozenset[str] = frozenset()) -> None:
        """A page came up. `shown`: element ids that its history already holds."""
        self._sweep()
        session = _session()
        if self.shop.inbox.is_foreign(session.thread_id, _caller(session)):
            return  # the browser chooses the name of a new thread; one that the book knows as another's is never followed
        screen = Screen(self.shop, session.thread_id, _caller(session), shown)
        settled = asyncio.Event()
        task = asyncio.create_task(self._live(session.id, screen, settled, shown), name=f"page-{session.id}")
        self._pages[session.id] = _Page(screen, task, named=resumed)
        if resumed:
            asyncio.get_running_loop().call_later(SETTLE_S, settled.set)
        else:
            settled.set()
        task.add_done_callback(_report)

    def closed(self) -> None:
        """A page went away. It may come back by itself, so only a page that said good-bye is let go."""
        session = _session()
        if session.to_clear and (page := self._pages.pop(session.id, None)):
            page.task.cancel()

    async def close(self) -> None:
        """Let every page go."""
        tasks = [page.task for page in self._pages.values()]
        self._pages.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def say(self, message: cl.Message) -> None:
        """One turn with the brain, for what a person wrote and attached."""
        session = _session()
        caller = self._trusted(session)
        words = await self._with_uploads(message, caller)
        await cl.context.emitter.send_window_message({"luthier_thread": session.thread_id})  # for public/luthier.js
        page = self._page(session)
        if not page.named:  # Chainlit tells it at the turn's end, too late for a page whose server is killed within its first turn
            page.named = True
            await cl.context.emitter.emit("first_interaction", {"interaction": None, "thread_id": session.thread_id})
        screen = page.screen
        try:
            async with aclosing(self.shop.say(session.thread_id, words, caller, ear=session.id)) as turn:  # pyright: ignore[reportArgumentType]
                async for event in turn:
                    await screen.show(event)
        except asyncio.CancelledError:  # the stop button ends the turn, never a run
            await screen.cut()
            raise

    async def decide(self, payload: Mapping[str, Any], answer: Literal["approve", "deny"]) -> dict[str, Any]:
        """A click on Approve or Deny. The payload names an approval, nothing else of it counts."""
        session = _session()
        caller, approval_id = self._trusted(session), str(payload.get("id", ""))
        view = self.shop.inbox.seen(approval_id, caller)
        if view is None or view.thread != session.thread_id:
            return {"ok": False, "message": "This thread has no such approval."}
        decision = await self.shop.decide(approval_id, answer, caller, str(payload.get("why", ""))[:500])
        return {"ok": decision.ok, "message": decision.message, "props": approval_card(decision.approval)}

    async def withdraw(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        """A click on Withdraw."""
        session = _session()
        caller, approval_id = self._trusted(session), str(payload.get("id", ""))
        view = self.shop.inbox.seen(approval_id, caller)
        if view is None or view.thread != session.thread_id:
            return {"ok": False, "message": "This thread has no such approval."}
        decision = await self.shop.withdraw(approval_id, caller)
        return {"ok": decision.ok, "message": decision.message, "props": approval_card(decision.approval)}

    async def ask_again(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        """A click on Ask again: a new proposal with the same arguments, on a card of its own."""
        session = _session()
        caller, approval_id = self._trusted(session), str(payload.get("id", ""))
        view = self.shop.inbox.seen(approval_id, caller)
        if view is None or view.thread != session.thread_id:
            return {"ok": False, "message": "This thread has no such approval."}
        try:
            answer = await self.shop.inbox.ask_again(approval_id, caller)
        except ToolFailed as failed:
            return {"ok": False, "message": f"{failed.because} {failed.try_next}"}
        if answer.approval is not None:
            await self._page(session).screen.approval(answer.approval)
        words = {"done": "Done.", "waiting": "Asked again: the new card is below."}.get(answer.status)
        return {"ok": answer.status in ("done", "waiting"), "message": words or f"{answer.reason} {answer.remedy}".strip()}

    async def call(self, tool: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        """A button of the run card: one tool call for its run, as the person who pressed it."""
        session = _session()
        answer = await self.shop.call(tool, {"run_id": str(payload.get("run_id", ""))}, self._trusted(session))
        if answer.approval is not None:
            await self._page(session).screen.approval(answer.approval)
        done = evaluation_words(answer.result) or "Done."
        words = {"done": done, "waiting": "Waiting for your decision on the card below."}.get(answer.status)
        return {"ok": answer.status in ("done", "waiting"), "message": words or f"{answer.reason} {answer.remedy}".strip()}

    async def _live(self, session_id: str, screen: Screen, settled: asyncio.Event, shown: frozenset[str]) -> None:
        def missed() -> list[ApprovalWanted]:
            waiting = self.shop.pending(screen.thread)
            return [ApprovalWanted(screen.thread, view) for view in waiting if card_id(screen.thread, view.id) not in shown]

        await follow(
            self.shop.listen(screen.thread, session_id), screen, missed=missed, settled=settled,
            alive=lambda: WebsocketSession.get_by_id(session_id) is not None,
        )

    def _page(self, session: WebsocketSession) -> _Page:
        return self._pages[session.id]

    def _trusted(self, session: WebsocketSession) -> Caller:
        """The caller of this session, unless it has been signed out, or the thread is another's, since its socket opened."""
        caller = _caller(session)
        if not session.token or self.shop.is_revoked(token_hash(session.token)) or not self.shop.household.role(caller.person):
            raise ToolFailed("This was not done", "the session was signed out.", "Run `python -m ui link` for a new sign-in link.")
        if self.shop.inbox.is_foreign(session.thread_id, caller):
            raise ToolFailed("This was not done", "there is no such conversation of yours.", "Begin a new chat.")
        return caller

    async def _with_uploads(self, message: cl.Message, caller: Caller) -> str:
        words = message.content
        for element in message.elements:
            if element.path:
                ref = await self.shop.upload(element.name, Path(element.path).read_bytes(), caller)
                words = f"{words}\n(uploaded file: {ref})" if words.strip() else f"Validate the dataset {ref}"
        return words

    def _sweep(self) -> None:
        for session_id in [each for each in self._pages if WebsocketSession.get_by_id(each) is None]:
            self._pages.pop(session_id).task.cancel()


def _session() -> WebsocketSession:
    session = cl.context.session
    assert isinstance(session, WebsocketSession)
    return session


def _caller(session: WebsocketSession) -> Caller:
    person = session.user.identifier if session.user else ""
    return web_caller(person, session.token or "", session.thread_id)


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        _log.error("A page stopped following its thread.", exc_info=error)
