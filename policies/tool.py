"""The port through which the gateway reaches every tool."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Protocol

from pydantic import BaseModel, ConfigDict, JsonValue

from policies.proposal import Proposal


class ToolArgs(BaseModel):
    """Base of every tool's arguments: closed, frozen; each field's description is read by the brain."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_max_length=10_000)


def _silent(text: str, fraction: float | None = None) -> None:
    """Report progress to nobody."""


@dataclass(frozen=True, slots=True)
class Call:
    """One approved call, as the tool sees it."""

    call_id: str
    person: str
    thread: str | None = None
    report: Callable[[str, float | None], None] = _silent
    """Tell the faces how far long work has come: a short text and a fraction 0..1 or None. Thread-safe."""
    plan: Mapping[str, JsonValue] = field(default_factory=dict)
    """The plan of the proposal that was judged (and approved), so that what is done is what the card said. Empty: work it out again."""


@dataclass(frozen=True, slots=True)
class Result:
    """A result's two sides: `result` for faces and JSON, `for_brain` for the model (typed extracts only)."""

    result: Mapping[str, JsonValue]
    for_brain: Mapping[str, JsonValue] = field(default_factory=dict)


class Recall(StrEnum):
    """What a tool remembers of a call whose result it cannot give."""

    RUNNING = "running"
    NOT_STARTED = "not_started"
    UNKNOWN = "unknown"


class ToolFailed(Exception):
    """The tool could not do it: tell the person and the brain.

    `heard` is what a model, an engine or a cloud said of it: people read it after `because`, the brain never does. `paid`: it may have
    cost something all the same, and its reservation stands until that is settled.
    """

    def __init__(self, what: str, because: str, try_next: str, *, kind: str = "failed", heard: str = "", paid: bool = False) -> None:
        super().__init__(" ".join(part for part in (f"{what}: {because}", heard, try_next) if part))
        self.what, self.because, self.try_next, self.kind, self.heard, self.paid = what, because, try_next, kind, heard, paid


class Busy(Exception):
    """Not now: the gateway retries a few times with backoff, then fails."""

    def __init__(self, what: str, retry_after_s: float = 0.2) -> None:
        super().__init__(what)
        self.what, self.retry_after_s = what, retry_after_s


class Tool(Protocol):
    """What every tool implements. Synchronous: the gateway runs it in a worker thread."""

    name: ClassVar[str]
    version: ClassVar[str]
    text: ClassVar[str]
    """What it does and when to use it. The brain reads this: it is prompt text."""
    Args: ClassVar[type[ToolArgs]]

    def propose(self, args: Any, /) -> Proposal:
        """Say what the call would do. No side effect. Raises ToolFailed on input that cannot be done."""
        ...

    def perform(self, args: Any, call: Call, /) -> Result:
        """Do it, once for each `call.call_id`. Only the gateway calls this."""
        ...

    def recall(self, call_id: str, /) -> Result | Recall:
        """Say what became of a call after a crash."""
        ...
