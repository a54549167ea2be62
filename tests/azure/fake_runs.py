"""A cloud of a few lines with a clock of its own, for tests of the reconciler: it starts, loses answers, lags and ends runs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from policies.book import Book
from tools.azure.jobs import Execution, StartUnknown
from tools.azure.place import Shape
from tools.azure.trouble import AzureTrouble
from tools.places import Places
from tools.runs.backend import Say
from tools.runs.cloud_look import WAITS, Seen, Waits
from tools.runs.cloud_project import Projection
from tools.runs.cloud_reconcile import CloudReconciler
from tools.runs.cloud_row import AT_WORK, CloudPlan, CloudRow, Memory, Phase, stamp
from tools.runs.cloud_store import CloudStore
from tools.runs.local import LocalRuns
from tools.runs.store import NewRun, RunStore

T4 = Shape("Consumption-GPU-NC8as-T4", 8, 56, 1, "T4", 16)
RUN, CALL = "0123456789", "call-1"
PLAN = CloudPlan(T4, "0.0005", 3600, 2, 5_000_000, engine="e" * 64, image="h/n@sha256:1", place="Azure, westus3, T4")
START = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
NAME = f"luthier-run-{RUN}-0000000"
"""The first execution."""


@dataclass
class Remote:
    """One execution of the fake cloud."""

    name: str
    attempt: int
    started_at: datetime
    visible_at: datetime
    status: str = "Running"
    ended_at: datetime | None = None
    code: int | None = None


@dataclass
class FakeCloud:
    """Implements `tools.runs.backend.CloudBackend`. Whatever a test wants of it is a field."""

    clock: datetime = START
    job: int = 0
    """The attempt that the job was made for; 0 before."""
    executions: list[Remote] = field(default_factory=list)
    script: Callable[["FakeCloud", Remote], None] = lambda cloud, each: None
    """What an execution does as time passes."""
    started: bool = False
    result: Mapping[str, Any] | None = None
    exit: Mapping[str, Any] | None = None
    beat_at: datetime | None = None
    gone: bool = False
    lag_s: float = 0.0
    """How long a new execution is not in the list."""
    twice: bool = False
    starts: list[str] = field(default_factory=list)
    """What each start answers: ok, lost (begun), none (not begun, no answer), refused; then ok."""
    sent: int = 0
    stops: list[str] = field(default_factory=list)
    stop_after_s: float = 30.0
    silent: bool = False
    """Nobody answers."""
    trouble: str = ""
    """The kind of trouble that each call but a look meets."""
    uploads: int = 0
    fetches: int = 0
    most_live: int = 0

    def now(self) -> datetime:
        """The clock."""
        return self.clock

    def forward(self, seconds: float) -> None:
        """Let time pass; executions do what the script says, stopped ones end."""
        self.clock += timedelta(seconds=seconds)
        for each in self.executions:
            if each.status == "Running":
                self.script(self, each)
        self.most_live = max(self.most_live, len(self.live))

    @property
    def live(self) -> list[Remote]:
        """Executions that cost money."""
        return [each for each in self.executions if each.status not in {"Succeeded", "Failed", "Stopped"}]

    def end(self, each: Remote, status: str, code: int | None = None) -> None:
        """It is over."""
        each.status, each.ended_at, each.code = status, self.clock, code

    def observe(self, row: CloudRow) -> Seen:
        """As the real one."""
        self._answer()
        if row.phase is Phase.PROVISIONING:
            return Seen(job="ready" if self.job == row.attempt else "missing")
        if row.phase in {Phase.JOB_READY, Phase.START_REQUESTED, Phase.START_UNKNOWN} | AT_WORK:
            found = tuple(Execution(each.name, each.status, each.started_at, each.ended_at, RUN, each.attempt, each.code)
                          for each in self.executions if each.visible_at <= self.clock)
            if row.phase not in AT_WORK:
                return Seen(executions=found)
            return Seen(executions=None if self.gone else found, gone=self.gone, started=self.started, result=self.result, exit=self.exit,
                        beat_at=self.beat_at)
        return Seen()

    def tail(self, row: CloudRow) -> None:
        """As the real one."""
        self._answer()

    def upload(self, row: CloudRow, say: Say) -> None:
        """As the real one."""
        self._answer(act=True)
        say("uploading", 0.4)
        self.uploads += 1
        self.started, self.result, self.exit, self.beat_at = False, None, None, None

    def put(self, row: CloudRow) -> None:
        """As the real one."""
        self._answer(act=True)
        self.job = row.attempt

    def start(self, row: CloudRow) -> str:
        """As the real one."""
        self._answer()
        self.sent += 1
        answer = self.starts.pop(0) if self.starts else "ok"
        if answer == "refused":
            raise AzureTrouble("conflict", "Start", "the job is being changed.", "Try again.", status=409)
        if answer == "none":
            raise StartUnknown("no answer")
        made = self._begin(row)
        if answer == "lost":
            raise StartUnknown("no answer")
        return made.name

    def _begin(self, row: CloudRow) -> Remote:
        visible = self.clock + timedelta(seconds=self.lag_s)
        names = [f"luthier-run-{RUN}-{len(self.executions) + number:07d}" for number in range(2 if self.twice else 1)]
        new = [Remote(name, row.attempt, self.clock, visible) for name in names]
        self.executions += new
        self.most_live = max(self.most_live, len(self.live))
        return new[0]

    def stop(self, row: CloudRow, execution: str) -> None:
        """As the real one: it ends some time later."""
        self._answer()
        self.stops.append(execution)
        for each in self.executions:
            if each.name == execution and each.status == "Running":
                self.end(each, "Stopped")

    def fetch(self, row: CloudRow, say: Say) -> str:
        """As the real one."""
        self._answer(act=True)
        self.fetches += 1
        return ""

    def _answer(self, act: bool = False) -> None:
        if self.silent:
            raise AzureTrouble("transient", "Ask Azure", "it does not answer.", "It is tried again.")
        if act and self.trouble:
            raise AzureTrouble(self.trouble, "Ask Azure", "it says no.", "Do something.")  # type: ignore[arg-type]


class CloudHome:
    """A book with one approved run, its folder, and a reconciler over the fake cloud."""

    def __init__(self, home: Path, cloud: FakeCloud | None = None, plan: CloudPlan = PLAN, waits: Waits = WAITS) -> None:
        self.cloud, self.plan = cloud or FakeCloud(), plan
        self.places = Places(home, home)
        self.book = Book.open(home / "book.sqlite")
        self.runs, self.store = RunStore(self.book), CloudStore(self.book)
        self.local = LocalRuns(self.places, lambda threads: {}, home_id=self.book.home_id())
        self.waits = waits
        self.reconciler = self.again()
        self.add(RUN, Phase.APPROVED, CALL)
        self.reconciler.ready(RUN)

    def add(self, run_id: str, phase: Phase, call: str = "") -> None:
        """A run as it is in a phase, with its folder."""
        plan = self.plan
        self.runs.create(NewRun(run_id, "owner", "t1", call or f"call-{run_id}", "", "bundled", "samples/a.jsonl", "qlora", {}, None,
                                plan.place))
        self.store.create(CloudRow(run_id, plan.first, call or f"call-{run_id}", "westus3", plan, self.cloud.clock + timedelta(hours=72),
                                   phase))
        (self.places.runs / run_id).mkdir(parents=True, exist_ok=True)

    def again(self) -> CloudReconciler:
        """A reconciler after a restart."""
        self.reconciler = CloudReconciler(self.store, Projection(self.runs, self.local), lambda: self.cloud, waits=self.waits)
        return self.reconciler

    @property
    def row(self) -> CloudRow:
        """The run in the cloud."""
        found = self.store.get(RUN)
        assert found is not None
        return found

    def round(self, seconds: float = 10, times: int = 1) -> CloudRow:
        """So many looks, with time between them."""
        for _ in range(times):
            self.reconciler.round()
            self.cloud.forward(seconds)
        return self.row

    def until(self, *phases: Phase, most: int = 2000, seconds: float = 10) -> CloudRow:
        """Looks until the run is in one of these phases; AssertionError with its story when it never is."""
        for _ in range(most):
            self.reconciler.round()
            if self.row.phase in phases:
                return self.row
            self.cloud.forward(seconds)
        raise AssertionError(f"{self.row.phase}: {self.story()}")

    def story(self) -> list[str]:
        """The phases so far."""
        return [to for _, _, _, to, _ in self.store.events(RUN)]

    def close(self) -> None:
        """Close the book."""
        self.book.close()


def finishes(after_s: float = 300) -> Callable[[FakeCloud, Remote], None]:
    """An execution that reports at once, writes its result after a while, and ends."""
    def does(cloud: FakeCloud, each: Remote) -> None:
        ran = (cloud.clock - each.started_at).total_seconds()
        cloud.started, cloud.beat_at = True, cloud.clock
        if ran >= after_s:
            cloud.result, cloud.exit = {"outcome": "finished", "step": 10, "steps": 10}, {"rc": 0, "attempt": each.attempt}
            cloud.end(each, "Succeeded", 0)

    return does


def never(cloud: FakeCloud, each: Remote) -> None:
    """Azure says Running, and nothing ever reports."""


def fails_at_once(cloud: FakeCloud, each: Remote) -> None:
    """Failed at once, without a sign of life."""
    cloud.end(each, "Failed")


def beats(cloud: FakeCloud, each: Remote) -> None:
    """Reports, and gives a sign of life at every moment."""
    cloud.started, cloud.beat_at = True, cloud.clock


def result_and_runs_on(cloud: FakeCloud, each: Remote) -> None:
    """Writes its result and does not end."""
    cloud.started, cloud.beat_at = True, cloud.clock
    cloud.result = {"outcome": "finished", "step": 10, "steps": 10}


def system(home: CloudHome) -> str:
    """What the gateway's sweep does: stop what an order says is due; gives the kind."""
    due = home.reconciler.due(RUN)
    kind = next((each for each in due if each != "second_execution"), "second_execution" if due else "")
    if kind:
        home.reconciler.stop(RUN, kind, "system")
    return kind


def until_stopped(home: CloudHome, seconds: float = 10, most: int = 3000) -> str:
    """Looks and sweeps until it has ended; the order that was carried out last."""
    seen = ""
    for _ in range(most):
        home.reconciler.round()
        if home.row.ended:
            return seen
        seen = system(home) or seen
        home.cloud.forward(seconds)
    raise AssertionError(home.story())


def row_of(phase: Phase, **seen: object) -> CloudRow:
    """A run whose execution began at START."""
    memory = Memory(times={NAME: (stamp(START), "")}, live=(NAME,), **seen)  # type: ignore[arg-type]
    plan = replace(PLAN, timeout_s=10**6, ceiling_micros=10**12)
    return CloudRow(RUN, 1, CALL, "westus3", plan, START + timedelta(days=99), phase, execution=NAME, seen=memory, requested_at=START,
                    started_at=START)
