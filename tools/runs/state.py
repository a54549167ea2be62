"""The states of a run, which may follow which, and a run as every face shows it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum

from pydantic import JsonValue


class RunState(StrEnum):
    """What a person sees. One table for every place a run can be in."""

    QUEUED = "queued"
    """In the book: it waits for its turn on this machine, or the engine has not reported yet."""
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    """The machine went down under it: its last checkpoint can be resumed."""
    LOST = "lost"
    """Its folder cannot be found."""


_NEXT: dict[RunState, frozenset[RunState]] = {
    RunState.QUEUED: frozenset(RunState) - {RunState.QUEUED},
    RunState.RUNNING: frozenset(RunState) - {RunState.RUNNING, RunState.QUEUED},
    RunState.FINISHED: frozenset(),
    RunState.FAILED: frozenset({RunState.QUEUED}),
    RunState.CANCELLED: frozenset({RunState.QUEUED}),
    RunState.INTERRUPTED: frozenset({RunState.QUEUED}),
    RunState.LOST: frozenset(RunState) - {RunState.LOST},
}

ALIVE = frozenset({RunState.QUEUED, RunState.RUNNING})
"""States in which a run has the machine or waits for it."""
RESUMABLE = frozenset({RunState.FAILED, RunState.CANCELLED, RunState.INTERRUPTED})
"""States from which a next attempt may begin."""
FINAL = frozenset(RunState) - ALIVE


def may_become(now: RunState, then: RunState) -> bool:
    """Whether a run in state `now` may pass to `then`."""
    return then in _NEXT[now]


def states_of_word(word: str) -> frozenset[RunState]:
    """The states that the words of `list_runs` cover: an interrupted or lost run counts as failed, a queued one as running."""
    match word:
        case "running":
            return ALIVE
        case "failed":
            return frozenset({RunState.FAILED, RunState.INTERRUPTED, RunState.LOST})
        case "finished":
            return frozenset({RunState.FINISHED})
        case "cancelled":
            return frozenset({RunState.CANCELLED})
        case _:
            return frozenset(RunState)


@dataclass(frozen=True, slots=True)
class RunView:
    """One run as every face shows it: the book's facts and the last numbers of its folder."""

    run_id: str
    name: str
    owner: str
    thread: str | None
    state: str
    phase: str = ""
    """The engine's stage: prepare, baseline, train, score, export, score_export, done; empty before it reports."""
    step: int = 0
    steps: int = 0
    epoch: float | None = None
    loss: float | None = None
    eval_loss: float | None = None
    learning_rate: float | None = None
    grad_norm: float | None = None
    tokens_per_s: float | None = None
    eta_s: float | None = None
    """Seconds to the end of training at the recent pace; None when unknown."""
    eta_low_s: float | None = None
    eta_high_s: float | None = None
    spent: str = "0.00"
    currency: str = "USD"
    memory_bytes: int | None = None
    """Held at the last step; None when it does not train."""
    peak_memory_bytes: int | None = None
    predicted_memory_bytes: int | None = None
    where: str = "this machine"
    reason: str = ""
    model: str = ""
    dataset: str = ""
    method: str = ""
    attempt: int = 1
    created_at: str = ""
    started_at: str | None = None
    ended_at: str | None = None
    scores: Mapping[str, JsonValue] = field(default_factory=dict)
    """baseline, tuned, base_served, exported: each a Score as JSON, present once measured."""
    served: bool = False
    """Whether `ask_model` can answer with it."""
    warnings: tuple[str, ...] = ()
    progress: str = ""
    """The last words of a long stage, such as an export."""
    heartbeat_age_s: float | None = None
    """Seconds since the runner's last sign of life; None when it is not alive."""
    cores_busy: float | None = None
    """How many cores the engine keeps busy; None when it does not train."""
    gpu_use: float | None = None
    """Share of the GPU's time that is used, 0..1; None on a CPU."""
    place: int | None = None
    """Place in this machine's queue, 1 for the next; None when it does not wait."""
    expected_start: str | None = None
    """When its turn is likely to come, as a time; None when it does not wait or nobody can say."""
    expected_start_s: float | None = None
    """The same as seconds from now."""
    sweep: str = ""
    """The id that the runs of one sweep share."""
    cloud: Mapping[str, JsonValue] = field(default_factory=dict)
    """Of a run that is or was in the cloud: region, profile, gpu, image, per_hour, ceiling, waiting, expires_at, past_expiry, job."""

    def as_json(self) -> dict[str, JsonValue]:
        """Every field under its own name."""
        out: dict[str, JsonValue] = {}
        for each in fields(self):
            value = getattr(self, each.name)
            out[each.name] = list(value) if isinstance(value, tuple) else dict(value) if isinstance(value, Mapping) else value
        return out
