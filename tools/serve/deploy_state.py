"""States of a deployment, and what the traces of its process say it has become: pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, assert_never

from tools.runs.identity import LockState


class DeployState(StrEnum):
    """Where a deployment stands."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPED = "stopped"
    FAILED = "failed"
    LOST = "lost"
    """Its process or folder vanished without a trace; it may be deployed again."""
    DELETED = "deleted"


ALIVE = frozenset({DeployState.STARTING, DeployState.RUNNING})
KINDS = frozenset({"oom", "gpu_oom", "gpu_lost", "disk", "foreign", "missing", "model"})
"""What the serving program calls its failures; any other word of its is not passed on."""
START_S = 120.0
"""A deployment whose process was never begun is given up after so many seconds."""


@dataclass(frozen=True, slots=True)
class Traces:
    """What a deployment's folder shows of its current revision."""

    lock: LockState = "absent"
    serving: Mapping[str, Any] | None = None
    exit: Mapping[str, Any] | None = None
    same_boot: bool = True
    stop_by: str = ""
    """Who asked for its end; empty when nobody did."""
    waited_s: float = 0.0
    """Seconds since its last change in the book."""
    ran: bool = False
    """The book has seen it running."""


@dataclass(frozen=True, slots=True)
class Became:
    """A state and why, in words for people; `kind` is one of a closed set."""

    state: DeployState
    reason: str = ""
    kind: str = ""


def what_became(traces: Traces) -> Became:
    """The state that the traces prove."""
    match traces.lock:
        case "held":
            running = (traces.serving or {}).get("state") == "running"
            return Became(DeployState.RUNNING if running else DeployState.STARTING)
        case "free":
            return _ended(traces)
        case "absent":
            if traces.stop_by:
                return Became(DeployState.STOPPED, stopped_words(traces.stop_by, "stop"), "stop")
            if traces.ran:
                return Became(DeployState.LOST, "Its folder is gone. Deploy it again.", "folder")
            if traces.waited_s > START_S:
                return Became(DeployState.FAILED, "Its process was never begun. Deploy it again.", "start")
            return Became(DeployState.STARTING)
        case never:
            assert_never(never)


def _ended(traces: Traces) -> Became:
    told = traces.exit or {}
    if told.get("outcome") == "stopped":
        kind = "limit" if told.get("kind") == "limit" else "stop"
        return Became(DeployState.STOPPED, stopped_words(traces.stop_by, kind), kind)
    if told.get("outcome") == "failed":
        kind = str(told.get("kind"))
        return Became(DeployState.FAILED, str(told.get("message") or "It failed without a reason.")[:500], kind if kind in KINDS else "bug")
    if traces.stop_by:
        reason = f"{stopped_words(traces.stop_by, 'stop')} It did not end in time and was ended by force."
        return Became(DeployState.STOPPED, reason, "forced")
    if not traces.same_boot:
        return Became(DeployState.LOST, "The machine was restarted. Start it again with redeploy.", "boot")
    return Became(DeployState.FAILED, "Its process was ended from outside, or memory ran out. Start it again with redeploy.", "killed")


def stopped_words(by: str, kind: str) -> str:
    """Why it was stopped."""
    if kind == "limit" or by == "system":
        return "Its time was over."
    return f"Stopped by {by}." if by else "Stopped by a signal from outside."
