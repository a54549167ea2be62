"""What lies in a run folder: every file with its size and SHA-256, from the run's manifest where that holds, else counted here."""

import contextlib
import hashlib
import os
import stat
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from tools.engine.manifest import KIND
from tools.engine.seal import fits
from tools.runs.logs import clean_line
from tools.runs.watch import read_json

MOST_FILES = 1000
BUDGET_BYTES = 256 << 20
"""Bytes hashed in one look; what is left is hashed by the next one, so that no page waits for gigabytes."""
_KEPT = 4096
_CHUNK = 1 << 20
_SECRET = frozenset({"run.key"})
_LEFT = ("left out: it still grows", "left out: it is a secret", "not counted yet: load the page again")


@dataclass(frozen=True, slots=True)
class Entry:
    """One file; `sha256` is empty where `note` says why."""

    path: str
    bytes: int
    sha256: str
    note: str

    def as_json(self) -> dict[str, JsonValue]:
        """Its fields."""
        return {"path": self.path, "bytes": self.bytes, "sha256": self.sha256, "note": self.note}


@dataclass(frozen=True, slots=True)
class Inventory:
    """The files in the order of their paths, and one sentence about the manifest."""

    files: tuple[Entry, ...]
    manifest: str
    problem: str
    """What is not as the manifest says, or what could not be looked at; empty when all is well."""


class Inventories:
    """Thread-safe. Remembers a file's hash by its path, size and times."""

    def __init__(self, budget: int = BUDGET_BYTES) -> None:
        self._budget = budget
        self._known: dict[tuple[object, ...], str] = {}
        self._lock = threading.Lock()

    def of(self, folder: Path, key: str, alive: bool) -> Inventory:
        """Look at every plain file below `folder`; links are named and never followed. `key` is the run's HMAC key as text.

        Never raises for what lies there: what cannot be read is said so in its place.
        """
        signed, written_ns, told = _manifest(folder, key)
        found: list[Entry] = []
        problems: list[str] = []
        spent, more = 0, 0
        for name, directory, leaf in _walk(folder):
            if len(found) == MOST_FILES:
                more += 1
                continue
            try:
                state = os.stat(leaf, dir_fd=directory, follow_symlinks=False)
            except OSError:
                continue  # it vanished between two looks
            shown, wanted = clean_line(name)[:300], signed.get(name)
            if not stat.S_ISREG(state.st_mode):
                found.append(Entry(shown, 0, "", "a link, not followed" if stat.S_ISLNK(state.st_mode) else "no plain file"))
                continue
            size = state.st_size
            if name in _SECRET:
                found.append(Entry(shown, size, "", _LEFT[1]))
            elif alive and "/" not in name and name != "spec.json":
                found.append(Entry(shown, size, "", _LEFT[0]))
            elif wanted and wanted[0] == size and state.st_mtime_ns <= written_ns:
                found.append(Entry(shown, size, wanted[1], "as the manifest says"))
            else:
                known = self._recall(folder / name, state)
                if not known and spent and spent + size > self._budget:
                    found.append(Entry(shown, size, "", _LEFT[2]))
                    continue
                if not known:
                    spent += size
                    known = self._hash(folder / name, directory, leaf, state)
                found.append(_judged(Entry(shown, size, known, "" if known else "cannot be read"), wanted, problems))
        seen = {each.path for each in found}
        problems += [f"{clean_line(name)[:200]} is missing" for name in signed if clean_line(name)[:300] not in seen and not more]
        if more:
            problems.append(f"{more} more files are not listed")
        return Inventory(tuple(sorted(found, key=lambda each: each.path)), told, "; ".join(problems[:20]))

    def _recall(self, path: Path, state: os.stat_result) -> str:
        with self._lock:
            return self._known.get(_key(path, state), "")

    def _hash(self, path: Path, directory: int, leaf: str, state: os.stat_result) -> str:
        try:
            file = os.open(leaf, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
        except OSError:
            return ""
        digest = hashlib.sha256()
        try:
            with os.fdopen(file, "rb", buffering=0) as stream:
                while part := stream.read(_CHUNK):
                    digest.update(part)
        except OSError:
            return ""
        with self._lock:
            self._known[_key(path, state)] = digest.hexdigest()
            while len(self._known) > _KEPT:
                self._known.pop(next(iter(self._known)))
        return digest.hexdigest()


def _key(path: Path, state: os.stat_result) -> tuple[object, ...]:
    # the change time cannot be set back, as the other one can
    return str(path), state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns


def _judged(entry: Entry, wanted: tuple[int, str] | None, problems: list[str]) -> Entry:
    if wanted is None or not entry.sha256:
        return entry
    if wanted == (entry.bytes, entry.sha256):
        return Entry(entry.path, entry.bytes, entry.sha256, "as the manifest says")
    problems.append(f"{entry.path} is not what the run wrote")
    return Entry(entry.path, entry.bytes, entry.sha256, "changed since the run wrote it")


def _walk(folder: Path) -> Iterator[tuple[str, int, str]]:
    """(path in the folder, descriptor of its directory, its own name), in order; no link is followed on the way."""
    with contextlib.suppress(FileNotFoundError):  # gone, or it went meanwhile
        for above, folders, files, directory in os.fwalk(folder, follow_symlinks=False):
            folders.sort()
            inside = os.path.relpath(above, folder)
            linked = [name for name in folders if _is_link(name, directory)]
            for name in sorted((*files, *linked)):
                yield name if inside == "." else f"{inside}/{name}", directory, name


def _is_link(name: str, directory: int) -> bool:
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode)
    except OSError:
        return False


def _manifest(folder: Path, key: str) -> tuple[Mapping[str, tuple[int, str]], int, str]:
    """Sizes and digests by path, when it was written (ns), and a sentence about it."""
    path = folder / "manifest.json"
    document = read_json(path)
    if document is None:
        return {}, 0, "cannot be read: every hash is counted anew" if path.exists() else ""
    if not _fits(key, document):
        return {}, 0, "was not signed with this run's key: every hash is counted anew"
    files: Any = document.get("files")
    named: dict[str, tuple[int, str]] = {}
    for name, facts in files.items() if isinstance(files, dict) else ():
        if isinstance(facts, dict) and isinstance(size := facts.get("bytes"), int) and isinstance(digest := facts.get("sha256"), str):
            named[str(name)] = (size, digest)
    try:
        return named, path.stat().st_mtime_ns, "is signed with the run's key"
    except OSError:
        return {}, 0, ""


def _fits(key: str, document: dict[str, Any]) -> bool:
    try:
        return fits(key.encode(), KIND, document)
    except (ValueError, RecursionError):  # figures that no JSON has
        return False
