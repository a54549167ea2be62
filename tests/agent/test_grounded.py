"""A language model's optional arguments must have been said by somebody."""

from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from agent.grounded import ground

NAMES = ("model", "dataset", "epochs", "learning_rate", "name", "compare", "run_ids", "sweep", "max_time")
SCHEMA = {"properties": {name: {} for name in NAMES}, "required": ["model"]}
TALK = [
    HumanMessage("Train on samples/helpdesk.jsonl for 3 epochs at 2e-4, call it Support Bot"),
    AIMessage("I take 9 epochs."),
    ToolMessage('{"run_id": "7h3k9m2pqr"}', tool_call_id="c"),
]


@pytest.mark.parametrize(
    ("given", "stays"),
    [
        ({"epochs": 3}, True),
        ({"epochs": 3.0}, True),
        ({"learning_rate": 0.0002}, True),
        ({"dataset": "samples/helpdesk.jsonl"}, True),
        ({"name": "support-bot"}, False),
        ({"name": "Support bot"}, True),
        ({"run_ids": ["7h3k9m2pqr"]}, True),
        ({"run_ids": ["7h3k9m2pqr", "zzzzzzzzz9"]}, False),
        ({"epochs": 9}, False),
        ({"sweep": "epochs=3"}, True),
        ({"sweep": "lr=0.0002,3"}, True),
        ({"sweep": "r=3,16"}, False),
        ({"max_time": "3h"}, True),
        ({"max_time": "20m"}, False),
        ({"dataset": "other.jsonl"}, False),
        ({"compare": True}, True),
        ({"model": "invented but required"}, True),
        ({"approved": True}, True),
        ({"epochs": None}, True),
    ],
)
def test_what_nobody_said_is_dropped(given: dict[str, Any], stays: bool) -> None:
    kept, dropped = ground(given, SCHEMA, TALK)
    assert (kept, dropped) == ((given, ()) if stays else ({}, tuple(given)))
