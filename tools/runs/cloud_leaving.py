"""What a teardown asks of the runs in a region: which go on, what they cost, and whose results are only there."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from policies import ledger
from policies.book import Book
from tools.runs.cloud_row import Phase
from tools.runs.cloud_store import CloudStore
from tools.runs.watch import RunWatch, read_json

RESULTS = ("adapter/", "served/")
"""Parts of a run folder that somebody would miss."""


class LeavingRuns:
    """The runs of a home in one region."""

    def __init__(self, book: Book, store: CloudStore, folder: Callable[[str], Path], stop: Callable[[str, str], None]) -> None:
        """`stop` asks for the end of a run, in the name of a person."""
        self._book, self._store, self._folder, self._stop = book, store, folder, stop

    def of_region(self, region: str) -> list[str]:
        """Ids of every run that was there."""
        return [row.run_id for row in self._store.rows() if row.region == region]

    def alive(self, region: str) -> list[str]:
        """Ids of those that go on."""
        return [row.run_id for row in self._store.rows() if row.region == region and not row.ended]

    def stop(self, run_id: str, by: str) -> None:
        """Ask for its end."""
        self._stop(run_id, by)

    def settled_micros(self, run_id: str) -> int:
        """What is settled of it: it stands still while somebody reads a card."""
        row = self._store.get(run_id)
        return 0 if row is None else self._book.read(lambda db: ledger.used(db, call_id=row.call_id).settled)

    def forget(self, run_id: str, by: str) -> None:
        """Its job is gone: an ended run says so from now on. One that the book does not know has nothing to say."""
        row = self._store.get(run_id)
        if row is not None and row.ended and row.phase is not Phase.DESTROYED:
            self._store.move(row, replace(row, phase=Phase.DESTROYED), f"its job was deleted by {by}")

    def only_there(self, region: str) -> list[str]:
        """Ids of ended runs whose results, or whose last checkpoint where they came to none, are not here."""
        return [row.run_id for row in self._store.rows() if row.region == region and row.ended and not self._is_here(row.run_id)]

    def _is_here(self, run_id: str) -> bool:
        folder = self._folder(run_id)
        try:
            files = dict(json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["files"])
        except (OSError, ValueError, KeyError, TypeError):
            kept = RunWatch(folder).progress().checkpoint
            finished = (read_json(folder / "result.json") or {}).get("outcome") == "finished"
            return not finished and (not kept or (folder / "checkpoints" / f"checkpoint-{kept}" / "complete.json").is_file())
        wanted = {name: facts for name, facts in files.items() if name.startswith(RESULTS)}
        return all((folder / name).is_file() and (folder / name).stat().st_size == facts["bytes"] for name, facts in wanted.items())
