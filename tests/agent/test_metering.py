"""A hosted brain's tokens: counted per answer, held to the cap of the day, and never lost in a failure."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from sqlalchemy import select

from agent.brain.brain import Brain
from agent.brain.embedded import EmbeddedBrain
from agent.events import Problem, TextDone
from agent.metering import ANSWER_TOKENS, longest_answer, size_of, usage
from policies.tables import tokens
from tests.agent.home import Home, only, said
from tests.agent.scripted import Script, Scripted

USED: Any = {"input_tokens": 120, "output_tokens": 30, "total_tokens": 150}


class Hosted(Scripted):
    """A model that answers whole, as a provider does that counts its tokens."""

    max_tokens: int = 500
    streams: bool = False


def hosted(script: Script) -> Brain:
    """A hosted brain that follows a script."""
    return Brain(Hosted(script=script), "provider:model", hosted=True)


def counted(messages: Sequence[BaseMessage]) -> AIMessage:
    """An answer with the provider's own count."""
    return AIMessage("Hello.", usage_metadata=USED)


def entries(home: Home) -> list[tuple[str, str, int]]:
    """Kind, person and tokens of each entry."""
    rows = home.book.read(lambda conn: list(conn.execute(select(tokens).order_by(tokens.c.id))))
    return [(row.kind, row.person, row.tokens) for row in rows]


async def test_an_answer_reserves_the_most_and_settles_what_the_provider_counted(home: Home) -> None:
    async with home.workshop(hosted(counted)) as shop:
        events = await said(shop, "hi")
        assert shop.door.gateway.tokens.today("owner")[0] == 150
    assert only(events, TextDone)[-1].text == "Hello."
    reserve, settle, release = entries(home)
    assert settle == ("settle", "owner", 150) and reserve[2] == release[2] and reserve[2] > 500


async def test_an_answer_that_nobody_counted_counts_as_the_most(home: Home) -> None:
    async with home.workshop(hosted(lambda messages: AIMessage("Hello."))) as shop:
        await said(shop, "hi")
    reserve, settle, release = entries(home)
    assert reserve[2] == settle[2] == release[2]


async def test_at_the_cap_the_command_assistant_answers_and_says_why(home: Home) -> None:
    asked: list[int] = []

    def script(messages: Sequence[BaseMessage]) -> AIMessage:
        asked.append(1)
        return counted(messages)

    async with home.workshop(hosted(script)) as shop:
        gateway = shop.door.gateway
        cap = gateway.tokens.today("owner")[1]
        await gateway.tokens.reserve("earlier", "owner", "provider:model", cap - 100)
        events = await said(shop, "what can this machine do?")
    problem = only(events, Problem)[0]
    assert "provider:model is not asked" in problem.text and "100 of this day's" in problem.text and "per_person_day" in problem.remedy
    assert asked == [] and only(events, TextDone) and len(entries(home)) == 1


@pytest.mark.parametrize(("error", "free"), [
    (ConnectionError("no route"), True), (TimeoutError("late"), False), (ValueError("odd"), False),
], ids=["never reached", "late", "unknown"])
async def test_a_failure_counts_unless_the_provider_did_nothing(home: Home, error: Exception, free: bool) -> None:
    def script(messages: Sequence[BaseMessage]) -> AIMessage:
        raise error

    async with home.workshop(hosted(script)) as shop:
        await said(shop, "what can this machine do?")
    kinds = [kind for kind, _, _ in entries(home)]
    assert kinds.count("reserve") == kinds.count("release") > 0 and ("settle" in kinds) is not free


async def test_the_command_assistant_uses_none(home: Home) -> None:
    async with home.workshop(replace(hosted(counted), model=EmbeddedBrain(), hosted=False)) as shop:
        await said(shop, "what can this machine do?")
    assert entries(home) == []


async def test_shortening_a_long_conversation_is_counted_too(home: Home) -> None:
    async with home.workshop(hosted(counted)) as shop:
        for number in range(24):
            await said(shop, f"{number} " + "tell me more about it " * 280)
        many = len([kind for kind, _, _ in entries(home) if kind == "settle"])
    assert many > 24


def test_no_token_is_shorter_than_a_byte() -> None:
    assert size_of(["añ"], [HumanMessage("x" * 1000)]) >= 1003


def test_the_longest_answer_is_the_models_own_limit_or_a_careful_guess() -> None:
    assert longest_answer(Hosted(script=counted)) == 500
    assert longest_answer(Scripted(script=counted)) == ANSWER_TOKENS


def test_usage_is_unknown_when_one_answer_has_none() -> None:
    assert usage([AIMessage("a", usage_metadata=USED), AIMessage("b")]) is None and usage([]) is None
    assert usage([AIMessage("a", usage_metadata=USED), AIMessage("b", usage_metadata=USED)]) == 300
