"""What the conversation said before, for a request that leaves it out: the dataset, and the newest plan's settings."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage

from agent.brain.slots import Slots, read_slots

NOTICE = "luthier_notice"
"""Key of a message's additional data: a notice that speaks for no person."""


def with_memory(slots: Slots, before: Sequence[AnyMessage]) -> Slots:
    """The dataset that the conversation named last, where the request names none."""
    for message in reversed(before):
        if isinstance(message, HumanMessage) and NOTICE not in message.additional_kwargs:
            named = read_slots(str(message.text)).dataset
            if named is not None:
                return replace(slots, dataset=named, path=slots.path or named)
    return slots


def earlier(before: Sequence[AnyMessage], *tools: str) -> dict[str, Any] | None:
    """The arguments of the newest call of one of the tools."""
    calls = [call for each in before if isinstance(each, AIMessage) for call in each.tool_calls if call["name"] in tools]
    return dict(calls[-1]["args"]) if calls else None


def with_plan(slots: Slots, before: Sequence[AnyMessage]) -> Slots:
    """What the conversation's newest plan or estimate said of data, model and settings, where the request says nothing of them."""
    kept = earlier(before, "start_finetune", "estimate_cost")
    if kept is None:
        return slots
    dataset, model = kept.pop("dataset", None), kept.pop("model", None)
    named = None if model in (None, "bundled") else str(model)
    return replace(slots, dataset=dataset, path=slots.path or dataset, model=slots.model or named, settings={**kept, **slots.settings})
