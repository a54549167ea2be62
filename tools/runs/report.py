"""Everything that is known of one run, for its page: view, curve, settings, environment, files, checkpoints, what happened."""

import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import JsonValue
from sqlalchemy import select

from policies.book import Book
from policies.tables import approvals, calls
from policies.tool import ToolFailed
from tools.places import Places
from tools.runs.cloud_store import CloudStore
from tools.runs.edited import edited
from tools.runs.inventory import Entry, Inventories
from tools.runs.keys import home_key, run_key
from tools.runs.local import LocalRuns
from tools.runs.logs import clean_line
from tools.runs.state import ALIVE
from tools.runs.store import RunRow, RunStore
from tools.runs.views import Views
from tools.runs.watch import read_json

LOG_LINES = 200
SPLITS = ("train", "validation", "test")
_SEAL = "complete.json"
_CHECKPOINT = re.compile(r"^checkpoints/checkpoint-(\d{1,9})/(.+)$")
_ROWS_BYTES = 64 << 20
_AGAIN = frozenset({"start_finetune"})
_DEEP = 4
APPROVED = ("Signed in as", "Subscription", "Most it can cost", "Likely", "Price", "Time limit")
"""Lines of the card that a run's page repeats."""


class Reports:
    """Thread-safe. A run folder that was edited, is half there or gone never raises: what cannot be read is said so in its place."""

    def __init__(self, places: Places, book: Book, store: RunStore, local: LocalRuns, views: Views, cloud: CloudStore) -> None:
        self._places, self._book, self._store, self._local, self._views, self._cloud = places, book, store, local, views, cloud
        self._inventories = Inventories()

    def of(self, row: RunRow) -> dict[str, JsonValue]:
        """The report: JSON throughout; text out of the folder is cleaned of control characters and of secrets."""
        folder, alive = self._local.folder(row.id), row.state in ALIVE
        started, there = read_json(folder / "started.json"), folder.is_dir() and not folder.is_symlink()
        inventory = self._inventories.of(folder, self._key(row.id), alive)
        page = self._views.log(row.id, lines=LOG_LINES)
        train, held_out, _ = self._views.curves(row)
        evidence = row.outcome.get("evidence")
        return {
            "view": _clean(self._views.of(row).as_json()),
            "curve": {"train": [list(point) for point in train], "eval": [list(point) for point in held_out]},
            "settings": _clean(dict(row.spec)),
            "settings_note": self._edited(row) if there else "",
            "environment": _clean({} if started is None else {k: v for k, v in started.items() if k not in {"run_id", "digests"}}),
            "environment_note": _absent(folder, "started.json", started, there),
            "data": {"digest": _text(row.spec.get("data_digest")), "rows": _rows(folder) if there else {}},
            "base": _text(row.spec.get("model_digest")),
            "checkpoints": [dict(each) for each in _checkpoints(inventory.files)],
            "files": [each.as_json() for each in inventory.files],
            "files_note": inventory.manifest,
            "files_problem": inventory.problem if there else "Its folder is missing below Luthier's home.",
            "happened": [{"at": at, "from": before, "to": then, "reason": clean_line(reason)}
                         for at, before, then, reason in self._store.events(row.id)],
            "phases": [{"at": at, "attempt": attempt, "from": before, "to": then, "why": clean_line(why)[:300]}
                       for at, attempt, before, then, why in self._cloud.events(row.id)],
            "approved": self._approved(row),
            "evidence": _clean(dict(evidence)) if isinstance(evidence, Mapping) else {},
            "siblings": [_clean(self._views.of(each).as_json()) for each in self._store.of_sweep(row.sweep)] if row.sweep else [],
            "log": {"lines": list(page.lines), "offset": page.offset},
            "again": self._again(row),
        }

    def _key(self, run_id: str) -> str:
        try:
            return run_key(home_key(self._places.keys), run_id)
        except (OSError, ToolFailed):
            return ""

    def _edited(self, row: RunRow) -> str:
        try:
            differs = edited(row.spec, self._local.spec(row.id))
        except ToolFailed as failed:
            return failed.because
        return clean_line(f"spec.json was edited since it was approved: {'; '.join(differs)}") if differs else ""

    def _approved(self, row: RunRow) -> list[JsonValue]:
        """What the card of a run in the cloud said of account, money and image, as it was approved; empty for all others."""
        cloud = self._cloud.get(row.id)
        if cloud is None:
            return []
        query = select(approvals.c.proposal_json).where(approvals.c.call_id == cloud.call_id)
        found = self._book.read(lambda db: db.execute(query).scalar())
        try:
            lines = json.loads(found or "{}").get("card") or []
            return [[label, _clean(value)] for label, value in lines if label in APPROVED]
        except (ValueError, TypeError, AttributeError):
            return []

    def _again(self, row: RunRow) -> dict[str, JsonValue]:
        """The tool and the arguments that made it, as they were given; empty when the book has none."""
        call = row.call_id.partition("#")[0]  # the runs of a sweep share one call
        found = self._book.read(lambda db: db.execute(select(calls.c.tool, calls.c.args_json).where(calls.c.call_id == call)).first())
        if found is None or found.tool not in _AGAIN:
            return {}
        try:
            args = json.loads(found.args_json)
        except ValueError:
            return {}
        return {"tool": found.tool, "args": {k: v for k, v in args.items() if v not in (None, "")}} if isinstance(args, dict) else {}


def _absent(folder: Path, name: str, found: object, there: bool) -> str:
    if found is not None or not there:
        return ""
    return f"{name} cannot be read." if os.path.lexists(folder / name) else "The engine has not reported yet."


def _rows(folder: Path) -> dict[str, JsonValue]:
    """Rows of each split; a split without a readable file is left out."""
    counts: dict[str, JsonValue] = {}
    for split in SPLITS:
        path = folder / "data" / f"{split}.jsonl"
        try:
            if path.is_symlink() or not path.is_file() or path.stat().st_size > _ROWS_BYTES:
                continue
            with path.open("rb") as file:
                counts[split] = sum(1 for line in file if line.strip())
        except OSError:
            continue
    return counts


def _checkpoints(files: tuple[Entry, ...]) -> Iterator[dict[str, JsonValue]]:
    """Step, files, bytes and whether its seal lies there, by step."""
    found: dict[int, list[tuple[str, int]]] = {}
    for each in files:
        if match := _CHECKPOINT.match(each.path):
            found.setdefault(int(match[1]), []).append((match[2], each.bytes))
    for step, parts in sorted(found.items()):
        yield {"step": step, "files": len(parts), "bytes": sum(size for _, size in parts), "sealed": any(n == _SEAL for n, _ in parts)}


def _text(value: object) -> str:
    return clean_line(str(value))[:200] if isinstance(value, str | int) else ""


def _clean(value: Any, deep: int = 0) -> Any:
    """The same JSON with clean, short text and few enough parts to be shown."""
    match value:
        case str():
            return clean_line(value)[:500]
        case Mapping() if deep < _DEEP:
            return {clean_line(str(k))[:80]: _clean(v, deep + 1) for k, v in list(value.items())[:200]}
        case list() | tuple() if deep < _DEEP:
            return [_clean(each, deep + 1) for each in value[:400]]
        case float():
            return value if math.isfinite(value) else None
        case bool() | int() | None:
            return value
        case _:
            return "…"
