"""One run in the cloud as the book keeps it: its phase, what was approved, and what is remembered between two looks."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from pydantic import JsonValue

from policies.book import now_text
from tools.azure.ceiling import accrued
from tools.azure.place import Shape


class Phase(StrEnum):
    """Where a run is between its approval and its end; each is committed before the call that it announces."""

    APPROVED = "approved"
    """Its folder is being made on this machine."""
    UPLOADING = "uploading"
    PROVISIONING = "provisioning"
    """The job is being made."""
    JOB_READY = "job_ready"
    START_REQUESTED = "start_requested"
    START_UNKNOWN = "start_unknown"
    """The start was sent, and nobody knows yet whether it began anything."""
    STARTING = "starting"
    """An execution is there; the engine has not reported."""
    RUNNING = "running"
    FINISHING = "finishing"
    """The result is there, the execution has not ended."""
    DOWNLOADING = "downloading"
    INFRA_RETRY = "infra_retry"
    """The platform failed to start it; the next attempt waits for its moment."""
    STOPPING = "stopping"
    OVER_BUDGET = "over_budget"
    """Stopping, because its money is used up."""
    LOST = "lost"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"
    DESTROYED = "destroyed"
    """Ended, and its job was deleted."""


ENDED = frozenset({Phase.SUCCEEDED, Phase.FAILED, Phase.STOPPED, Phase.DESTROYED})
AT_WORK = frozenset({Phase.STARTING, Phase.RUNNING, Phase.FINISHING, Phase.STOPPING, Phase.OVER_BUDGET, Phase.LOST})
"""An execution is known, and may cost money."""


@dataclass(frozen=True, slots=True)
class CloudWish:
    """What shall become of a run: it goes on, or somebody stopped it."""

    word: str = "run"
    """`run` or `stop`."""
    kind: str = ""
    """The standing order, or `person`."""
    by: str = ""

    @property
    def stops(self) -> bool:
        """Whether it shall end."""
        return self.word == "stop"

    def text(self) -> str:
        """As the book keeps it."""
        return "|".join((self.word, self.kind, self.by)).rstrip("|")

    @classmethod
    def read(cls, text: str) -> "CloudWish":
        """From the book."""
        word, kind, by = [*text.split("|", 2), "", ""][:3]
        return cls(word, kind, by)


@dataclass(frozen=True, slots=True)
class CloudPlan:
    """What was approved of a run in the cloud."""

    shape: Shape
    per_second: str
    """US dollars a second, as a decimal text."""
    timeout_s: int
    attempts: int
    """How many attempts the approval allows."""
    ceiling_micros: int
    first: int = 1
    """The number of the first of them."""
    engine: str = ""
    """Digest of the engine package."""
    image: str = ""
    place: str = ""
    """Where, in words."""
    user: str = ""
    """Who was signed in when it was approved, and in which tenant; empty where nobody asked."""
    tenant: str = ""

    def as_json(self) -> dict[str, JsonValue]:
        """Every field."""
        return asdict(self)

    @classmethod
    def read(cls, kept: Mapping[str, Any]) -> "CloudPlan":
        """From the book."""
        known = {each.name for each in fields(cls)}
        return cls(**{**{k: v for k, v in kept.items() if k in known}, "shape": Shape(**kept["shape"])})


@dataclass(frozen=True, slots=True)
class Memory:
    """What is remembered between two looks. Times are ISO 8601 UTC on Azure's clock, empty where there is none."""

    uploaded: bool = False
    progress: float | None = None
    """Share of an upload or download that is done."""
    waiting: str = ""
    """What the platform is doing: one of its own known words."""
    tries: int = 0
    """Calls in a row that went wrong."""
    trouble: str = ""
    """The last of them, as a sentence for people."""
    retry_at: str = ""
    starts: int = 0
    """Starts that were sent for this attempt."""
    empty: int = 0
    """Lists since the last of them that showed nothing."""
    times: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Begin and end of each execution under this approval, by its name; the end is empty while it may cost money."""
    status: str = ""
    exit_code: int | None = None
    live: tuple[str, ...] = ()
    """Executions that may cost money, the oldest first."""
    started: bool = False
    """The engine has reported."""
    beat_at: str = ""
    looked_at: str = ""
    """When Azure and the share last showed how it stands: what nobody could look at since is not held against it."""
    marker_at: str = ""
    """When its result or its exit was first seen."""
    over_at: str = ""
    """When its execution was first seen to be over."""
    missing_at: str = ""
    """Since when its execution cannot be found, or Azure calls its state unknown."""
    stop_sent: str = ""
    fetch_tries: int = 0
    note: str = ""
    """What a person should know of the end beside its reason."""
    end: Mapping[str, str] = field(default_factory=dict)
    """state, kind and reason of the end, once it is known."""
    owed: tuple[tuple[str, int, str], ...] = ()
    """Call, micro-units and basis of earlier attempts that are not settled yet."""

    def as_json(self) -> dict[str, JsonValue]:
        """Only what is not as it is by default."""
        plain = {each.name: getattr(self, each.name) for each in fields(self)}
        base = Memory()
        return {k: list(v) if isinstance(v, tuple) else dict(v) if isinstance(v, Mapping) else v
                for k, v in plain.items() if v != getattr(base, k)}

    @classmethod
    def read(cls, kept: Mapping[str, Any]) -> "Memory":
        """From the book; what a later version wrote is left out."""
        known = {k: v for k, v in kept.items() if k in {each.name for each in fields(cls)}}
        if "times" in known:
            known["times"] = {name: (span[0], span[1]) for name, span in known["times"].items()}
        if "live" in known:
            known["live"] = tuple(known["live"])
        if "owed" in known:
            known["owed"] = tuple((one[0], one[1], one[2]) for one in known["owed"])
        return cls(**known)


@dataclass(frozen=True, slots=True)
class CloudRow:
    """One row of `cloud_runs`."""

    run_id: str
    attempt: int
    call_id: str
    region: str
    plan: CloudPlan
    expires_at: datetime
    phase: Phase = Phase.APPROVED
    wish: CloudWish = CloudWish()
    execution: str = ""
    seen: Memory = Memory()
    requested_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    settled: bool = False
    changed_at: str = ""

    @property
    def ended(self) -> bool:
        """Whether nothing more becomes of it by itself."""
        return self.phase in ENDED

    @property
    def attempts_left(self) -> int:
        """How many more attempts its approval allows."""
        return self.plan.first + self.plan.attempts - 1 - self.attempt

    def remembering(self, **changes: Any) -> "CloudRow":
        """The row with another memory."""
        return replace(self, seen=replace(self.seen, **changes))

    def accrued_micros(self, now: datetime) -> int:
        """What its executions have cost by the clock so far: rate × seconds, every one of them, in micro-units, rounded up."""
        seconds = 0.0
        for begun, ended in self.seen.times.values():
            if begun:
                seconds += max(0.0, ((moment(ended) or now) - (moment(begun) or now)).total_seconds())
        return accrued(Decimal(self.plan.per_second), seconds)


def moment(text: str | None) -> datetime | None:
    """A time out of the book; None where there is none."""
    if not text:
        return None
    found = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def stamp(at: datetime | None) -> str:
    """A time for the book; empty where there is none."""
    return "" if at is None else now_text(at)
