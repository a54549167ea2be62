"""Reads a run folder as it grows: events from a byte offset, the log's end, and both put together as a view."""

import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.runs.curve import Curve, Point
from tools.runs.logs import CHUNK, clean_line, clean_lines
from tools.runs.progress import Progress, fold, time_left
from tools.runs.state import ALIVE, RunView
from tools.runs.store import RunRow

_EVENTS = 2000
"""Events that one read gives at most; the next one goes on from there."""

@dataclass(frozen=True, slots=True)
class LogPage:
    """Some lines of a log, redacted and free of control characters, and where the next page begins."""

    lines: tuple[str, ...]
    offset: int


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object from a file that is written as a whole; None when it is missing or no object."""
    try:
        value = json.loads(path.read_bytes()[:CHUNK * 16])
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


class RunWatch:
    """One run folder, read forward only. Not thread-safe: one watch for one reader."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._offset = 0
        self._progress = Progress()
        self._train, self._held_out = Curve(), Curve()

    def read(self, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
        """Whole events from a byte offset, and the offset after them; half a last line waits for its end, a broken one is left out."""
        events: list[dict[str, Any]] = []
        for line, end in _lines(self.folder / "events.jsonl", offset):
            offset = end
            try:
                event = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(event, dict):
                events.append(event)
            if len(events) == _EVENTS:
                break
        return events, offset

    def progress(self) -> Progress:
        """The fold of all events so far; reads only what is new."""
        while True:
            events, self._offset = self.read(self._offset)
            for event in events:
                self._progress = fold(self._progress, event)
                match event.get("kind"):
                    case "step":
                        self._train.add(event.get("step"), event.get("loss"))
                    case "eval":
                        self._held_out.add(event.get("step"), event.get("eval_loss"))
                    case _:
                        pass
            if len(events) < _EVENTS:
                break
        return self._progress

    def curves(self) -> tuple[list[Point], list[Point], int]:
        """Training and held-out loss by step, thinned to what a chart can show, and the byte offset where the events after them begin."""
        self.progress()
        return self._train.points(), self._held_out.points(), self._offset

    def log(self, offset: int | None = None, lines: int | None = None) -> LogPage:
        """The log from a byte offset (at most `CHUNK` bytes a page), or its last `lines` lines."""
        path = self.folder / "log.txt"
        try:
            size = path.stat().st_size
        except OSError:
            return LogPage((), 0)
        if offset is None:
            keep = min(max(lines or 50, 1), 1000)
            start = max(0, size - CHUNK)
            text = _read(path, start, CHUNK)
            if start:
                text = text.partition(b"\n")[2] or text
            found = text.decode("utf-8", "replace").split("\n")
            if found and not found[-1]:
                found.pop()
            return LogPage(tuple(clean_line(x) for x in found[-keep:]), size)
        offset = min(max(offset, 0), size)
        text = _read(path, offset, CHUNK)
        whole = text.rfind(b"\n") + 1
        if not whole and len(text) == CHUNK:  # one line longer than a page: shown in pieces
            whole = len(text)
        if not whole:
            return LogPage((), offset)
        return LogPage(clean_lines(text[:whole]), offset + whole)

    def view(self, row: RunRow) -> RunView:
        """The book's row and the folder's numbers as one value; the book says the state."""
        now, result = self.progress(), read_json(self.folder / "result.json") or {}
        alive = row.state in ALIVE
        left = time_left(now) if alive and now.phase in {"train", ""} else None
        scores: dict[str, Any] = {**now.scores, **{k: v for k in _SCORES if (v := result.get(k))}}
        evaluated = row.outcome.get("scores")
        if isinstance(evaluated, Mapping):
            scores = {**scores, **{k: v for k, v in evaluated.items() if k not in scores}}
        told = result.get("peak_memory_bytes")
        peak = max(now.peak_memory_bytes or 0, told if isinstance(told, int) else 0, row.measured_memory_bytes or 0) or None
        return RunView(
            run_id=row.id, name=row.name, owner=row.owner, thread=row.thread, state=row.state.value, phase=now.phase,
            step=now.step, steps=now.steps or int(str(row.spec.get("max_steps", 0) or 0)), epoch=now.epoch, loss=now.loss,
            eval_loss=now.eval_loss, learning_rate=now.learning_rate, grad_norm=now.grad_norm,
            tokens_per_s=now.tokens_per_s if alive or now.tokens_per_s else None,
            eta_s=_round(left and left[1]), eta_low_s=_round(left and left[0]), eta_high_s=_round(left and left[2]),
            memory_bytes=now.memory_bytes if alive else None, cores_busy=now.cores_busy if alive else None,
            gpu_use=now.gpu_use if alive else None,
            peak_memory_bytes=peak, predicted_memory_bytes=row.predicted_memory_bytes, where=row.where, reason=row.reason,
            model=row.model_id, dataset=row.dataset_ref, method=row.method, attempt=row.attempt,
            created_at=row.created_at, started_at=row.started_at, ended_at=row.ended_at, scores=scores,
            served=served_dir(self.folder, result) is not None, warnings=now.warnings,
            progress=now.said if alive else "", heartbeat_age_s=self._heartbeat_age() if alive else None, sweep=row.sweep,
        )

    def _heartbeat_age(self) -> float | None:
        try:
            return round(max(0.0, time.time() - (self.folder / "heartbeat").stat().st_mtime), 1)
        except OSError:
            return None


_SCORES = ("baseline", "tuned", "base_served", "exported")


def served_dir(folder: Path, result: Mapping[str, Any]) -> Path | None:
    """The folder that answers for a run, from its result; None without one. Never outside the run folder."""
    name = result.get("served_dir")
    if not isinstance(name, str) or not name:
        return None
    path = (folder / name).resolve()
    return path if path.is_relative_to(folder.resolve()) and path.is_dir() else None


def _round(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


def _read(path: Path, offset: int, size: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(size)
    except OSError:  # gone meanwhile, or no file at all
        return b""


def _lines(path: Path, offset: int) -> Iterator[tuple[bytes, int]]:
    """Whole lines of a file from an offset, each with the offset after it."""
    try:
        if path.stat().st_size <= offset:  # four looks a second, most of them for nothing
            return
        file = path.open("rb")
    except OSError:
        return
    with file:
        offset = max(0, min(offset, os.fstat(file.fileno()).st_size))
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            yield line, offset
