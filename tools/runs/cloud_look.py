"""What a look at a run in the cloud can show, how long things are waited for, and what a step decides: values."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from tools.azure.jobs import Execution
from tools.runs.cloud_row import CloudRow

JobIs = Literal["unseen", "missing", "working", "ready", "failed", "foreign"]
@dataclass(frozen=True, slots=True)
class Waits:
    """How long things are waited for, in seconds."""

    in_flight: float = 90
    """After a start whose outcome is unknown, before another may be sent."""
    settle: float = 20
    """After an execution's end, until what it wrote last must be on the share."""
    grace: float = 120
    """Between a result and the end of its execution."""
    no_start: float = 900
    warn: float = 300
    silence: float = 600
    lost: float = 900
    stop_again: float = 30
    infra: float = 120
    """An execution that fails sooner without a sign of life was never started by the platform."""
    infra_pause: float = 60
    pause: float = 5
    """After a call that went wrong; doubled each time."""


WAITS = Waits()


@dataclass(frozen=True, slots=True)
class Trouble:
    """A call to Azure that went wrong."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look showed; None or `unseen` where nothing was looked at or nobody answered."""

    job: JobIs = "unseen"
    job_text: str = ""
    executions: tuple[Execution, ...] | None = None
    gone: bool = False
    """The job is not there any more."""
    started: bool = False
    result: Mapping[str, Any] | None = None
    exit: Mapping[str, Any] | None = None
    beat_at: datetime | None = None
    waiting: str = ""
    trouble: Trouble | None = None


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do outside, after the row has been written."""

    kind: Literal["upload", "put", "start", "stop", "fetch"]
    execution: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """The next row, what to do, and what it was decided by."""

    row: CloudRow
    actions: tuple[Action, ...] = ()
    evidence: str = ""
