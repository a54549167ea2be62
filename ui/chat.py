"""Chainlit's callbacks. Each hands over to the screens; the server calls `attach` once after Chainlit has loaded this file."""

from collections.abc import Callable
from typing import Any

import chainlit as cl
from chainlit.types import ThreadDict

from ui.data import ScreenStore
from ui.screens import Screens, held

STARTERS = (
    ("Tune a model", "Fine-tune the bundled model on samples/helpdesk.jsonl", "/public/icons/tune.svg"),
    ("See my machine", "What can this machine train?", "/public/icons/chip.svg"),
    ("Check my data", "Check the dataset samples/helpdesk.jsonl", "/public/icons/check.svg"),
)


def attach(screens: Screens, store: ScreenStore, badge: Callable[[], None]) -> None:
    """Register every callback. `badge` refreshes the header before a page reads it."""
    cl.data_layer(lambda: store)

    @cl.password_auth_callback
    async def refuse(username: str, password: str) -> None:
        """Nobody signs in by password: this stands here so that Chainlit demands a sign-in at all."""

    @cl.set_starters  # pyright: ignore[reportArgumentType]
    async def starters(user: cl.User | None, language: str | None) -> list[cl.Starter]:
        badge()
        return [cl.Starter(label=label, message=sentence, icon=icon) for label, sentence, icon in STARTERS]

    @cl.on_chat_start
    async def start() -> None:
        await screens.opened()

    @cl.on_chat_resume
    async def resume(thread: ThreadDict) -> None:
        await screens.opened(resumed=True, shown=held(thread))

    @cl.on_chat_end
    async def end() -> None:
        screens.closed()

    @cl.on_message
    async def message(said: cl.Message) -> None:
        await screens.say(said)

    @cl.action_callback("approve")
    async def approve(action: cl.Action) -> dict[str, Any]:
        return await screens.decide(action.payload, "approve")

    @cl.action_callback("deny")
    async def deny(action: cl.Action) -> dict[str, Any]:
        return await screens.decide(action.payload, "deny")

    @cl.action_callback("withdraw")
    async def withdraw(action: cl.Action) -> dict[str, Any]:
        return await screens.withdraw(action.payload)

    @cl.action_callback("ask_again")
    async def ask_again(action: cl.Action) -> dict[str, Any]:
        return await screens.ask_again(action.payload)

    @cl.action_callback("stop_run")
    async def stop_run(action: cl.Action) -> dict[str, Any]:
        return await screens.call("cancel_run", action.payload)

    @cl.action_callback("evaluate_run")
    async def evaluate_run(action: cl.Action) -> dict[str, Any]:
        return await screens.call("evaluate_model", action.payload)

    @cl.action_callback("resume_run")
    async def resume_run(action: cl.Action) -> dict[str, Any]:
        return await screens.call("resume_run", action.payload)
