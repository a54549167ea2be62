"""Turns: first come, first begun, one token each in a round; who leaves or fails disturbs nobody."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from tools.engine.serve_error import RequestRefused
from tools.engine.serve_loaded import Sampling
from tools.engine.serve_turns import Ticket, Turns


@dataclass
class Counting:
    """An answer of so many tokens, each of which is written down where every answer's are; `breaks` at its second."""

    name: str
    length: int
    heard: list[str]
    breaks: bool = False
    tokens: int = 0
    finish: str = ""

    def step(self) -> str:
        self.tokens += 1
        self.heard.append(self.name)
        if self.breaks and self.tokens == 2:
            raise RuntimeError("the model broke")
        if self.tokens == self.length:
            self.finish = "length"
        return f"{self.name}{self.tokens} "


@dataclass
class Model:
    """A loaded model whose answers count."""

    name: str
    length: int = 3
    heard: list[str] = field(default_factory=list)
    breaks: bool = False

    def begin(self, ids: Sequence[int], sampling: Sampling) -> Counting:
        return Counting(self.name, self.length, self.heard, self.breaks)


def ticket(name: str, heard: list[str], length: int = 3, stops: Sequence[str] = (), breaks: bool = False) -> Ticket:
    model: Any = Model(name, length, heard, breaks)
    return Ticket(model, [1, 2], Sampling(9), stops)


async def said(one: Ticket) -> str:
    """All its text, once it has ended."""
    text = ""
    while (piece := await one.pieces.get()) is not None:
        text += piece
    return text


def play(at_once: int, queue: int, tickets: Sequence[Ticket]) -> list[tuple[str, str]]:
    """Enter all of them, give turns until all have ended; the text and the end of each."""
    async def whole() -> list[tuple[str, str]]:
        turns = Turns(at_once, queue)
        for one in tickets:
            turns.enter(one)
        running = asyncio.create_task(turns.run())
        texts = await asyncio.gather(*map(said, tickets))
        running.cancel()
        return [(text.strip(), one.finish) for text, one in zip(texts, tickets, strict=True)]

    return asyncio.run(asyncio.wait_for(whole(), 60))


def test_those_that_have_a_place_take_turns_token_by_token() -> None:
    heard: list[str] = []
    assert play(2, 0, [ticket("a", heard), ticket("b", heard)]) == [("a1 a2 a3", "length"), ("b1 b2 b3", "length")]
    assert heard == ["a", "b"] * 3


def test_who_waits_begins_when_a_place_is_free_in_the_order_of_coming() -> None:
    heard: list[str] = []
    play(1, 9, [ticket(name, heard, 2) for name in "abc"])
    assert heard == ["a", "a", "b", "b", "c", "c"]


def test_a_short_answer_is_not_held_up_by_a_long_one() -> None:
    heard: list[str] = []
    play(2, 9, [ticket("long", heard, 50), ticket("short", heard, 2), ticket("next", heard, 2)])
    assert heard.index("next") < 8 and heard[-20:] == ["long"] * 20


def test_a_stop_text_ends_an_answer_early() -> None:
    heard: list[str] = []
    assert play(1, 0, [ticket("a", heard, 9, ["a3"])]) == [("a1 a2", "stop")] and len(heard) == 3


def test_a_model_that_breaks_ends_its_own_answer_alone() -> None:
    heard: list[str] = []
    found = play(2, 0, [ticket("a", heard, breaks=True), ticket("b", heard)])
    assert found == [("a1", "failed"), ("b1 b2 b3", "length")]


def test_who_leaves_takes_no_further_turn() -> None:
    async def whole() -> tuple[int, float]:
        heard: list[str] = []
        turns, one = Turns(1, 1), ticket("a", heard, 1000)
        turns.enter(one)
        running = asyncio.create_task(turns.run())
        await one.pieces.get()
        turns.leave(one)
        turns.enter(other := ticket("b", heard, 1))
        await said(other)
        running.cancel()
        return heard.count("a"), turns.metrics.dropped._value.get()

    count, dropped = asyncio.run(asyncio.wait_for(whole(), 60))
    assert count < 5 and dropped == 1


def test_beyond_places_and_queue_the_next_is_refused_with_a_time() -> None:
    async def whole() -> RequestRefused:
        turns = Turns(1, 1)
        for name in "ab":
            turns.enter(ticket(name, []))
        with pytest.raises(RequestRefused) as refused:
            turns.enter(ticket("c", []))
        return refused.value

    error = asyncio.run(whole())
    assert error.status == 429 and int(error.headers["Retry-After"]) > 0


def test_a_closing_server_takes_nobody_and_tells_those_who_wait() -> None:
    async def whole() -> tuple[str, int]:
        turns = Turns(1, 5)
        turns.enter(waits := ticket("a", []))
        turns.close()
        assert await said(waits) == ""
        with pytest.raises(RequestRefused) as refused:
            turns.enter(ticket("b", []))
        return waits.finish, refused.value.status

    assert asyncio.run(asyncio.wait_for(whole(), 60)) == ("cut", 503)
