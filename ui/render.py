"""One open page: turns the workshop's events into Chainlit's messages, steps and cards."""

import json
import time
from collections.abc import Mapping
from typing import Any, assert_never
from uuid import NAMESPACE_URL, uuid5

import chainlit as cl
from chainlit.utils import utc_now

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
    ToolProgress,
    ToolStarted,
    TurnEnded,
)
from policies.people import Caller
from policies.verdict import ApprovalView
from ui.cards import CardName, answers_card, approval_card, choices_card, run_card
from ui.comparison import comparison_card
from ui.shop import Shop

PROGRESS_EVERY_S = 0.25


def screen_id(*parts: str) -> str:
    """The same id for the same thing on every tab and after every restart, so that showing it again replaces it."""
    return str(uuid5(NAMESPACE_URL, "luthier:" + ":".join(parts)))


def card_id(thread: str, approval_id: str) -> str:
    """The element id of an approval's card."""
    return screen_id(screen_id(thread, "approval", approval_id), "element")


class Screen:
    """What one page shows of one thread. Call it inside the page's Chainlit context."""

    def __init__(self, shop: Shop, thread: str, caller: Caller, shown: frozenset[str] = frozenset()) -> None:
        self.shop, self.thread, self.caller = shop, thread, caller
        self._cards = set(shown)
        self._texts: dict[str, cl.Message] = {}
        self._written: dict[str, int] = {}
        self._steps: dict[str, cl.Step] = {}
        self._told: dict[str, float] = {}

    async def show(self, event: Event) -> None:
        """Show one event."""
        match event:
            case TextDelta():
                await self._text(event.turn).stream_token(event.text)
            case TextDone():
                await self._finish(event.turn, event.text)
            case ToolStarted():
                await self._begin(event)
            case ToolProgress():
                await self._progress(event)
            case ToolEnded():
                await self._end(event)
            case ApprovalWanted() | ApprovalChanged():
                await self.approval(event.approval)
            case RunShown():
                await self.run(event.run_id)
            case Choices():
                await self._card("Choices", screen_id(self.thread, event.turn, "choices"), choices_card(event))
            case Notice():
                await self._say(screen_id(self.thread, "notice", event.kind, event.run_id or "", event.text), event.text)
            case Problem():
                words = f"{event.text}\n\n{event.remedy}" if event.remedy else event.text
                await self._say(screen_id(self.thread, event.turn, "problem", words), words)
            case TurnEnded():
                if event.turn in self._texts:
                    await self._finish(event.turn, self._texts[event.turn].content)
                self._written.pop(event.turn, None)
            case _:
                assert_never(event)

    async def cut(self) -> None:
        """A turn was stopped by its person: keep what was written, and end what was begun."""
        for turn, message in tuple(self._texts.items()):
            await self._finish(turn, message.content)
        for step in self._steps.values():
            step.output, step.end = "Stopped here. What had begun goes on by itself.", utc_now()
            await step.update()
        self._steps.clear()

    async def approval(self, view: ApprovalView) -> None:
        """Show an approval's card in its present state."""
        await self._card("Approval", screen_id(self.thread, "approval", view.id), approval_card(view))

    async def run(self, run_id: str) -> None:
        """Show a run's card; the page then follows the run's own stream."""
        view = self.shop.run(run_id, self.caller)
        if view is not None:
            await self._card("Run", screen_id(self.thread, "run", run_id), run_card(view.as_json()))

    def _text(self, turn: str) -> cl.Message:
        if turn not in self._texts:
            count = self._written[turn] = self._written.get(turn, 0) + 1
            self._texts[turn] = cl.Message("", id=screen_id(self.thread, turn, "text", str(count)))
        return self._texts[turn]

    async def _finish(self, turn: str, text: str) -> None:
        message = self._text(turn)
        message.content = text
        await message.send()  # not update(): with that, createdAt stays empty and a reload loses the message (Chainlit 2.12)
        del self._texts[turn]

    async def _begin(self, event: ToolStarted) -> None:
        if event.turn in self._texts:
            await self._finish(event.turn, self._texts[event.turn].content)
        run = cl.context.current_run  # a step made by hand has no parent, and would show after all messages
        step = cl.Step(
            name=event.tool, type="tool", id=screen_id(self.thread, "call", event.call), parent_id=run.id if run else None,
            show_input="json",
        )
        step.input = dict(event.args)
        step.start = utc_now()
        self._steps[event.call] = step
        await step.send()

    async def _progress(self, event: ToolProgress) -> None:
        step, now = self._steps.get(event.call), time.monotonic()
        if step is not None and now - self._told.get(event.call, 0.0) >= PROGRESS_EVERY_S:
            self._told[event.call] = now
            step.output = event.text if event.fraction is None else f"{event.text} ({event.fraction:.0%})"
            await step.update()

    async def _end(self, event: ToolEnded) -> None:
        self._told.pop(event.call, None)
        if (step := self._steps.pop(event.call, None)) is not None:
            step.is_error = event.status in ("refused", "failed")
            step.output = outcome_text(event)
            step.language = "json" if event.status == "done" else None
            step.end = utc_now()
            await step.update()
        if event.status != "done":
            return
        if answers := answers_card(event.result):
            await self._card("Answers", screen_id(self.thread, "answers", event.call), answers)
        elif compared := comparison_card(event.result):
            await self._card("Comparison", screen_id(self.thread, "comparison", event.call), compared)
        elif isinstance(lines := event.result.get("lines"), list):
            await self._say(screen_id(self.thread, "lines", event.call), fenced("\n".join(str(line) for line in lines)))

    async def _say(self, identity: str, text: str) -> None:
        await cl.Message(text, id=identity).send()

    async def _card(self, name: CardName, identity: str, props: dict[str, Any]) -> None:
        element = cl.CustomElement(name=name, id=screen_id(identity, "element"), props=props, display="inline")
        if element.id in self._cards:  # its message keeps its place in the thread
            await element.send(for_id=identity)
            return
        self._cards.add(element.id)
        await cl.Message("", id=identity, elements=[element]).send()


def outcome_text(event: ToolEnded) -> str:
    """What a tool's step shows when it is unfolded."""
    if event.status == "done":
        return pretty(event.result)
    if event.status == "waiting":
        return event.reason or "Waiting for a person's decision."
    return " ".join(part for part in (event.reason, event.remedy) if part)


def pretty(result: Mapping[str, Any]) -> str:
    """A result as readable JSON."""
    return json.dumps(dict(result), indent=2, ensure_ascii=False, default=str)


def fenced(text: str) -> str:
    """Text that came from elsewhere, as a code block that it cannot close."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}text\n{text}\n{fence}"
