"""What became of each run: a pure decision from what lies in its folder, and the pass that writes it into the book."""

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from pydantic import JsonValue

from tools.runs.identity import LockState, is_alive, lock_state, read_identity
from tools.runs.local import LocalRuns
from tools.runs.runner import boot_id, oom_kills
from tools.runs.state import FINAL, RunState, may_become
from tools.runs.store import RunRow, RunStore
from tools.runs.watch import clean_line, read_json

START_S = 20.0
"""Seconds a queued run may be without its lock before it counts as not started."""

Kind = Literal[
    "", "oom", "disk", "data", "diverged", "model", "bug", "no_adapter", "export", "start", "killed", "crashed", "deadline", "person",
    "reboot", "gone",
]


@dataclass(frozen=True, slots=True)
class Facts:
    """What can be seen of one attempt."""

    folder: bool = True
    lock: LockState = "free"
    runner_alive: bool = False
    """The process named in runner.json still runs."""
    same_boot: bool = True
    started: bool = False
    """The engine has written started.json or an event."""
    result: Mapping[str, Any] | None = None
    exit: Mapping[str, Any] | None = None
    stop_asked: bool = False
    oom_killed: bool = False
    """The kernel killed something in our control group since the attempt began."""
    waited_s: float = 0.0
    """Seconds since the attempt was queued."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The state a run is in, with its reason as a class and as a sentence."""

    state: RunState
    kind: Kind = ""
    reason: str = ""


_WORDS: dict[Kind, str] = {
    "oom": "It ran out of memory. Resume it with nothing else running, or start again with a smaller batch or shorter rows.",
    "disk": "The disk is full. Free some space, then resume it.",
    "start": "The training process never started. Look at its log, and run `python -m ui doctor`.",
    "killed": "Its processes were killed from outside. Resume it from its last checkpoint.",
    "crashed": "The engine ended without a result. Look at its log, then resume it.",
    "deadline": "It reached the time limit of its plan and was stopped. Resume it to go on.",
    "person": "Stopped by its owner. Its last checkpoint is kept.",
    "reboot": "The machine was restarted under it. Resume it from its last checkpoint.",
    "gone": "Its folder is missing below Luthier's home.",
}


def _because(state: RunState, kind: Kind, more: str = "") -> Finding:
    said = _WORDS.get(kind, "")
    return Finding(state, kind, f"{more} {said}".strip() if more else said)


def what_happened(facts: Facts) -> Finding:
    """The state that the facts show. In order of truth: the lock, result.json, exit.json, the boot id and the kernel's kills."""
    if not facts.folder:
        return _because(RunState.LOST, "gone")
    if facts.lock == "held" or (facts.lock == "free" and facts.runner_alive):
        return Finding(RunState.RUNNING if facts.started else RunState.QUEUED)
    if facts.lock == "absent":
        if facts.runner_alive or (facts.waited_s < START_S and not facts.stop_asked):
            return Finding(RunState.QUEUED)
        return _because(RunState.CANCELLED, "person") if facts.stop_asked else _because(RunState.FAILED, "start")
    if facts.result is not None:
        return _by_result(facts.result, facts)
    if facts.exit is not None:
        return _by_exit(facts.exit, facts)
    if not facts.same_boot:
        return _because(RunState.INTERRUPTED, "reboot")
    if facts.oom_killed:
        return _because(RunState.FAILED, "oom")
    if facts.stop_asked:
        return _because(RunState.CANCELLED, "person")
    return _because(RunState.FAILED, "killed")


def _by_result(result: Mapping[str, Any], facts: Facts) -> Finding:
    match result.get("outcome"):
        case "finished":
            return Finding(RunState.FINISHED)
        case "cancelled":
            late = (facts.exit or {}).get("stop") == "deadline"
            return _because(RunState.CANCELLED, "deadline" if late else "person")
        case _:
            kind = result.get("error_kind")
            known: Kind = kind if kind in {"oom", "disk", "data", "diverged", "model", "bug", "no_adapter", "export"} else "bug"
            return _because(RunState.FAILED, known, clean_line(str(result.get("message", "")).replace("\n", " "))[:400])


def _by_exit(end: Mapping[str, Any], facts: Facts) -> Finding:
    if end.get("problem"):
        return _because(RunState.FAILED, "start", clean_line(str(end["problem"])))
    if end.get("oom_kills") and end.get("signal") == 9 and not end.get("killed_by_runner"):
        return _because(RunState.FAILED, "oom")
    if end.get("rc") == 75 or end.get("stop") or facts.stop_asked:
        return _because(RunState.CANCELLED, "deadline" if end.get("stop") == "deadline" else "person")
    if end.get("signal") == 9:
        return _because(RunState.FAILED, "killed")
    status = f"signal {end['signal']}" if end.get("signal") else f"status {end.get('rc')}"
    return _because(RunState.FAILED, "crashed", f"It ended with {status} and no result.")


@dataclass(frozen=True, slots=True)
class RunNews:
    """A run whose state has changed: a sentence for the faces, typed facts for the brain."""

    run_id: str
    thread: str | None
    owner: str
    from_state: str
    to_state: str
    text: str
    for_brain: Mapping[str, JsonValue] = field(default_factory=dict)
    final: bool = False


def tell(row: RunRow, before: RunState, finding: Finding, result: Mapping[str, Any]) -> RunNews:
    """What a change says. The run's name is its owner's own text and stays out of `for_brain`; so does every message."""
    scores = {k: s.get("exact_match") for k in ("baseline", "tuned", "exported") if isinstance(s := result.get(k), Mapping)}
    called = f"Run {row.id}" + (f" ({row.name})" if row.name else "")
    match finding.state:
        case RunState.FINISHED:
            said = f"{called} is finished after {result.get('step', 0)} steps."
            if "baseline" in scores and "tuned" in scores:
                said += f" Held-out exact match: {_share(scores['baseline'])} before, {_share(scores['tuned'])} after"
                said += f", {_share(scores['exported'])} for the served file." if "exported" in scores else "."
        case RunState.RUNNING:
            said = f"{called} is running."
        case RunState.QUEUED:
            said = f"{called} is starting."
        case state:
            said = f"{called} {'is' if state is not RunState.FAILED else 'has'} {state.value}. {finding.reason}"
    facts: dict[str, JsonValue] = {
        "run_id": row.id, "state": finding.state.value, "kind": finding.kind, "step": _whole(result.get("step")),
        "steps": _whole(result.get("steps")), "exact_match": {k: v for k, v in scores.items() if isinstance(v, int | float)},
    }
    return RunNews(row.id, row.thread, row.owner, before.value, finding.state.value, said, facts, finding.state in FINAL)


def _share(value: object) -> str:
    return f"{value:.0%}" if isinstance(value, int | float) else "not measured"


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


class Reconciler:
    """Compares the book with the folders, level-triggered: any number of passes ends in the same state."""

    def __init__(self, store: RunStore, local: LocalRuns) -> None:
        self._store, self._local = store, local
        self._untold: deque[RunNews] = deque()

    def observe(self, row: RunRow) -> Facts:
        """Read what the folder of a run shows of its current attempt."""
        folder = self._local.folder(row.id)
        if not folder.is_dir():
            starting = row.state is RunState.QUEUED and row.attempt == 1
            return Facts(folder=starting, lock="absent", waited_s=self._waited(row))
        # The lock first: what is written before it is let go is then there to be read.
        lock = lock_state(folder / f"attempt-{row.attempt}.lock")
        runner = read_json(folder / "runner.json") or {}
        who = read_identity(runner) if runner.get("attempt") == row.attempt else None
        return Facts(
            folder=True, lock=lock, runner_alive=who is not None and is_alive(who), same_boot=who is None or who.boot == boot_id(),
            started=(folder / "started.json").exists() or (folder / "events.jsonl").exists(),
            result=read_json(folder / "result.json"), exit=read_json(folder / "exit.json"),
            stop_asked=(folder / f"stop-{row.attempt}.json").exists(),
            oom_killed=who is not None and oom_kills() > int(runner.get("oom_kills") or 0), waited_s=self._waited(row),
        )

    def settle(self, row: RunRow) -> RunNews | None:
        """Bring one row up to date; the news when its state changed, which the next pass tells."""
        facts = self.observe(row)
        if facts.lock == "held" and facts.stop_asked:
            self._local.press(row.id, row.attempt)
        finding = what_happened(facts)
        if finding.state is row.state or not may_become(row.state, finding.state):
            return None
        result = dict(facts.result or {})
        end = facts.exit or {}
        peaks = [p for p in (result.get("peak_memory_bytes"), end.get("max_rss_bytes")) if isinstance(p, int)]
        outcome = {**row.outcome, "kind": finding.kind, "result": result, "exit": dict(end)} if finding.state in FINAL else None
        after = self._store.set_state(row.id, finding.state, finding.reason, outcome=outcome, measured=max(peaks, default=None))
        if after is None:
            return None
        news = tell(after, row.state, finding, result)
        self._untold.append(news)
        return news

    def pass_(self) -> list[RunNews]:
        """Settle every run that is not at its end; all news since the last pass, those of single settlings included."""
        for row in self._store.rows(states=frozenset({RunState.QUEUED, RunState.RUNNING, RunState.LOST})):
            self.settle(row)
        news: list[RunNews] = []
        while self._untold:
            news.append(self._untold.popleft())
        return news

    def _waited(self, row: RunRow) -> float:
        events = self._store.events(row.id)
        at = events[-1][0] if events else row.created_at
        return max(0.0, time.time() - datetime.fromisoformat(at.replace("Z", "+00:00")).timestamp())
