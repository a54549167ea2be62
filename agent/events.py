"""What faces receive from the workshop and send to it: typed events, no channel in sight."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import JsonValue

from policies.verdict import ApprovalView


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the brain's answer as it is written."""

    thread: str
    turn: str
    text: str


@dataclass(frozen=True, slots=True)
class TextDone:
    """The whole of one answer; follows its deltas."""

    thread: str
    turn: str
    text: str


@dataclass(frozen=True, slots=True)
class ToolStarted:
    """The brain called a tool."""

    thread: str
    turn: str
    call: str
    tool: str
    args: Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True)
class ToolProgress:
    """How far a long call has come; `fraction` is 0..1 or None."""

    thread: str
    call: str
    text: str
    fraction: float | None


@dataclass(frozen=True, slots=True)
class ToolEnded:
    """A call's answer, faces' side."""

    thread: str
    turn: str
    call: str
    tool: str
    status: Literal["done", "waiting", "refused", "failed"]
    result: Mapping[str, JsonValue]
    reason: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class ApprovalWanted:
    """A call waits for a person: show its card."""

    thread: str
    approval: ApprovalView


@dataclass(frozen=True, slots=True)
class ApprovalChanged:
    """A card's approval was decided, expired, withdrawn, superseded or performed: show its new state."""

    thread: str
    approval: ApprovalView


@dataclass(frozen=True, slots=True)
class RunShown:
    """A run belongs to this thread from now on: show its card, fed by the run's event stream."""

    thread: str
    run_id: str


@dataclass(frozen=True, slots=True)
class Choices:
    """The brain is unsure and offers what to say next: (label, sentence) pairs."""

    thread: str
    turn: str
    options: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Notice:
    """Something happened outside a turn, written by our code from the book."""

    thread: str
    kind: str
    text: str
    run_id: str | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """The turn could not go on: what was wanted, found, and what to do."""

    thread: str
    turn: str
    text: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """Nothing more comes for this turn."""

    thread: str
    turn: str


Event = (
    TextDelta
    | TextDone
    | ToolStarted
    | ToolProgress
    | ToolEnded
    | ApprovalWanted
    | ApprovalChanged
    | RunShown
    | Choices
    | Notice
    | Problem
    | TurnEnded
)
