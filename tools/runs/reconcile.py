"""The pass that compares the book with the run folders, writes what it finds, and gives the machine to the next run."""

import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from policies.book import BookBroken, BookBusy
from tools.runs.evidence import Facts, Finding, engine_kind, what_happened
from tools.runs.identity import is_alive, lock_state, read_identity
from tools.runs.kernel import boot_id, machine_id, oom_kills
from tools.runs.launch import Launcher
from tools.runs.line import Line, is_orphaned, lives
from tools.runs.local import LocalRuns
from tools.runs.moment import seconds_since
from tools.runs.state import FINAL, RESUMABLE, RunState, may_become
from tools.runs.store import HERE, RunRow, RunStore
from tools.runs.watch import read_json


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
            said = f"{called} waits for its turn." if row.waits else f"{called} is starting."
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

    def __init__(self, store: RunStore, local: LocalRuns, line: Line) -> None:
        self._store, self._local, self.line = store, local, line
        self._launcher = Launcher(store, line, local)
        self._untold: deque[RunNews] = deque()

    def observe(self, row: RunRow) -> Facts:
        """Read what the folder of a run shows of its current attempt."""
        folder = self._local.folder(row.id)
        if row.waits:
            return self._in_line(row, folder.is_dir())
        if not folder.is_dir():
            starting = row.state is RunState.QUEUED and row.attempt == 1
            return Facts(folder=starting, lock="absent", waited_s=self._waited(row))
        # The lock first: what is written before it is let go is then there to be read.
        lock = lock_state(folder / f"attempt-{row.attempt}.lock")
        if lock == "absent" and is_orphaned(row):
            return self._in_line(row, True)
        started = (folder / "started.json").exists() or (folder / "events.jsonl").exists()
        stop = read_json(folder / f"stop-{row.attempt}.json")
        if lock == "held":  # it lives: what else lies there may be half written
            return Facts(ours=self._local.is_ours(row.id), lock=lock, started=started, stop_asked=stop is not None)
        runner = read_json(folder / "runner.json") or {}
        who = read_identity(runner) if runner.get("attempt") == row.attempt else None
        result, end = read_json(folder / "result.json"), read_json(folder / "exit.json")
        peaks = [p for p in ((result or {}).get("peak_memory_bytes"), (end or {}).get("max_rss_bytes")) if isinstance(p, int) and p > 0]
        kills, machine = runner.get("oom_kills"), runner.get("machine")
        return Facts(
            folder=True, ours=self._local.is_ours(row.id), lock=lock, runner_alive=who is not None and is_alive(who),
            same_boot=who is None or who.boot == boot_id(), same_machine=who is None or not machine or machine == machine_id(),
            heartbeat_age_s=_age(folder / "heartbeat"),
            started=started, result=result, exit=end, stop_asked=stop is not None, stop_by=str((stop or {}).get("by", "")),
            oom_killed=who is not None and oom_kills() > (kills if isinstance(kills, int) else 0),
            waited_s=self._waited(row) if lock == "absent" else 0.0,
            owner=row.owner, predicted_bytes=row.predicted_memory_bytes, peak_bytes=max(peaks, default=None), settings=row.spec,
        )

    def _in_line(self, row: RunRow, folder: bool) -> Facts:
        ready = bool(row.line.get("ready"))
        asked = read_json(self._local.folder(row.id) / f"stop-{row.attempt}.json") if folder else None
        return Facts(
            folder=folder or not ready, ours=not folder or self._local.is_ours(row.id), waiting=True, lock="absent",
            preparer_gone=not ready and not lives(row.line.get("by")), stop_asked=asked is not None,
            stop_by=str((asked or {}).get("by", "")), owner=row.owner,
        )

    def settle(self, row: RunRow) -> RunNews | None:
        """Bring one row up to date; the news when its state changed, which the next pass tells."""
        if row.state in RESUMABLE or row.where != HERE:
            return None  # only its next attempt leads out of such an end
        facts = self.observe(row)
        if facts.lock == "held" and facts.stop_asked:
            self._local.press(row.id, row.attempt)
        finding = what_happened(facts)
        if finding.state is row.state or not may_become(row.state, finding.state):
            return None
        after = self._write(row, facts, finding)
        if after is None:
            return None
        news = tell(after, row.state, finding, dict(facts.result or {}))
        self._untold.append(news)
        return news

    def _write(self, row: RunRow, facts: Facts, finding: Finding) -> RunRow | None:
        if finding.state not in FINAL:
            return self._store.set_state(row.id, finding.state, finding.reason)
        found: dict[str, JsonValue] = {"kind": finding.kind, "result": dict(facts.result or {}), "exit": dict(facts.exit or {}),
                                       "evidence": facts.seen()}
        if finding.state is RunState.CANCELLED:
            found["by"] = facts.stop_by or ("deadline" if finding.kind == "deadline" else row.owner)
        if facts.waiting:
            return self.line.leave(row, finding.state, finding.reason, found)
        return self._store.set_state(row.id, finding.state, finding.reason, outcome={**row.outcome, **found}, measured=facts.peak_bytes)

    def pass_(self) -> list[RunNews]:
        """Settle every run that is not at its end, then start the next one; all news since the last pass, single settlings included."""
        for row in self._store.rows(states=frozenset({RunState.QUEUED, RunState.RUNNING, RunState.LOST})):
            self.settle(row)
        self.advance()
        news: list[RunNews] = []
        while self._untold:
            news.append(self._untold.popleft())
        return news

    def ends(self, after: int) -> tuple[list[RunNews], int]:
        """The ends of runs beyond entry `after` of the book's list of changes, and its newest entry: what a kill kept from being told."""
        rows, newest = self._store.ends(after)
        news = []
        for row, before, state, reason in rows:
            same = row.state is state  # what the row says of an end is of its last one
            finding = Finding(state, engine_kind(row.outcome.get("kind"), "") if same else "", reason)
            result = row.outcome.get("result") if same else None
            news.append(tell(row, before, finding, result if isinstance(result, Mapping) else {}))
        return news, newest

    def advance(self) -> None:
        """Give the machine to the run whose turn it is, if it is free."""
        for before, after in self._launcher.advance():
            finding = Finding(after.state, engine_kind(after.outcome.get("kind"), "start"), after.reason)
            self._untold.append(tell(after, before.state, finding, {}))

    @contextmanager
    def preparing(self, run_ids: Sequence[str]) -> Iterator[None]:
        """Around what a call does before its runs are ready: if it breaks off, they end, instead of waiting for it for ever."""
        try:
            yield
        except BaseException:
            with suppress(BookBroken, BookBusy):  # then they end with this process, when the next one finds it gone
                for row in (self._store.get(run_id) for run_id in run_ids):
                    if row is not None and row.state is RunState.QUEUED:
                        self.line.forsake(row)
            raise

    def send_off(self, run_id: str) -> None:
        """Give the machine to whose turn it is and look at a run that is ready; if the book fails now, the next pass does both."""
        with suppress(BookBroken, BookBusy):
            self.advance()
            self.settle(self._store.wanted(run_id))

    def leave(self, row: RunRow, by: str) -> RunRow | None:
        """Take a run out of the line for a person, with its news; None when its turn came in this moment."""
        reason = f"Taken out of the queue by {'its owner' if by == row.owner else by} before it began."
        after = self.line.leave(row, RunState.CANCELLED, reason, {"kind": "person", "by": by})
        if after is not None:
            self._untold.append(tell(after, row.state, Finding(after.state, "person", reason), {}))
        return after

    def _waited(self, row: RunRow) -> float:
        waited = seconds_since(row.line.get("moment"))
        if waited is not None:
            return waited
        at = row.line.get("at")
        if not isinstance(at, str):
            events = self._store.events(row.id)
            at = events[-1][0] if events else row.created_at
        return max(0.0, time.time() - datetime.fromisoformat(at.replace("Z", "+00:00")).timestamp())


def _age(path: Path) -> float | None:
    try:
        return max(0.0, time.time() - path.stat().st_mtime)
    except OSError:
        return None
