"""Requests for several runs at once: what they become, what is asked back, and what starts nothing."""

from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from agent.brain.embedded import EmbeddedBrain
from agent.brain.moves import Do
from tests.agent.measure import TOOLS
from tests.agent.test_embedded import WAITING, Talk


@pytest.fixture(scope="module")
def brain() -> EmbeddedBrain:
    """One for all: it keeps nothing between answers."""
    return EmbeddedBrain()


@pytest.mark.parametrize(
    ("text", "more"),
    [
        ("try r 8, 16, 32 on samples/helpdesk.jsonl", {"sweep": "r=8,16,32"}),
        ("compare learning rates 1e-4 and 2e-4 on samples/helpdesk.jsonl", {"sweep": "lr=1e-4,2e-4"}),
        ("try 1, 2 and 3 epochs on samples/helpdesk.jsonl", {"sweep": "epochs=1,2,3"}),
        ("tyr r 8 and 16 with 2 epochs on samples/helpdesk.jsonl", {"sweep": "r=8,16", "epochs": 2}),
        ("one epoch versus two epochs on samples/helpdesk.jsonl", {"sweep": "epochs=1,2"}),
        ("train on samples/helpdesk.jsonl, r 16, for at most 20 minutes", {"lora_r": 16, "max_time": "20m"}),
    ],
)
def test_several_values_make_one_plan_for_all_of_them(brain: EmbeddedBrain, text: str, more: dict[str, Any]) -> None:
    move = Talk(brain).say(text)
    assert isinstance(move, Do) and move.then[-1] == ("start_finetune", {"model": "bundled", "dataset": "samples/helpdesk.jsonl", **more})
    assert ("estimate_cost" in dict(move.then)) is ("sweep" not in more)


@pytest.mark.parametrize(
    "text",
    ["what is a sweep?", "how does a sweep work?", "should i use r 8 or 16?", "don't try r 8 and 16", "which is better, r 8 or r 16?",
     "would r 8, 16 and 32 be allowed on samples/helpdesk.jsonl", "how long would r 8 and 16 take on samples/helpdesk.jsonl",
     "compare the runs with 1 and 2 epochs", "stop the sweep", "how did the sweep go", "ask both: is r 8 or r 16 better?"],
)
def test_words_about_a_sweep_start_none(brain: EmbeddedBrain, text: str) -> None:
    move = Talk(brain).say(text)
    tools = [move.tool, *(tool for tool, _ in move.then)] if isinstance(move, Do) else []
    assert "start_finetune" not in tools


def test_the_values_of_a_sweep_and_then_its_data_are_asked_for(brain: EmbeddedBrain) -> None:
    talk = Talk(brain)
    assert "learning rate" in talk.say("do a sweep over the learning rate").text
    assert "Which dataset" in talk.say("1e-4 and 3e-4").text
    move = talk.say("samples/helpdesk.jsonl")
    assert isinstance(move, Do) and move.then[-1][1]["sweep"] == "lr=1e-4,3e-4"


def test_a_waiting_sweep_can_be_changed_to_other_values_or_to_one(brain: EmbeddedBrain) -> None:
    talk = Talk(brain, WAITING)
    talk.say("try r 8 and 16 on samples/helpdesk.jsonl")
    talk.result(cores=2)
    talk.result(ok=True, rows=9)
    talk.result("waiting", approval_id="3f2a91c0")
    move = talk.say("make it r 4, 8 and 12 instead")
    assert isinstance(move, Do) and move.args["sweep"] == "r=4,8,12"
    move = talk.say("make it r 8 instead")
    assert isinstance(move, Do) and "sweep" not in move.args and move.args["lora_r"] == 8


@pytest.mark.parametrize("text", ["stop the sweep", "cancel the whole sweep", "stop the rest of the sweep please"])
def test_the_sweep_is_stopped_as_one(brain: EmbeddedBrain, text: str) -> None:
    assert Talk(brain).say(text) == Do("cancel_run", {"whole_sweep": True})


@pytest.mark.parametrize(
    "text", ["compare my runs", "compare the last two runs", "which run was best?", "wich run was the best", "how did the sweep go"]
)
def test_comparing_is_a_look(brain: EmbeddedBrain, text: str) -> None:
    move = brain.decide([HumanMessage(text)], [*TOOLS, {"function": {"name": "compare_runs"}}])
    assert move == Do("compare_runs", {"run_ids": []})
