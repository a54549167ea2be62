"""Events as JSON lines and back."""

import json
from typing import get_args

import pytest

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
from tests.ui.test_cards import VIEW
from ui.wire import event_line, event_of, view_json, view_of

EVENTS: tuple[Event, ...] = (
    TextDelta("t", "1", "a"), TextDone("t", "1", "a b"), ToolStarted("t", "1", "c", "x", {"a": [1, None]}),
    ToolProgress("t", "c", "half", 0.5), ToolEnded("t", "1", "c", "x", "done", {"rows": [{"a": 1.5}]}), ApprovalWanted("t", VIEW),
    ApprovalChanged("t", VIEW), RunShown("t", "r"),
    Choices("t", "1", (("label", "sentence"),)), Notice("t", "run", "done", "r"), Problem("t", "1", "what", "do"), TurnEnded("t", "1"),
)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_survives_the_wire(event: Event):
    assert event_of(json.loads(json.dumps(event_line(event)))) == event


def test_every_kind_of_event_is_tried():
    assert {type(event) for event in EVENTS} == set(get_args(Event))


def test_an_unknown_kind_is_refused_with_the_reason():
    with pytest.raises(ValueError, match="another version"):
        event_of({"event": "Surprise", "data": {}})


def test_an_approval_survives_the_wire():
    assert view_of(json.loads(json.dumps(view_json(VIEW)))) == VIEW
