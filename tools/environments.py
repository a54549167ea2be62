"""The training environments of this installation: which are there, how big, which command makes or mends each."""

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import JsonValue

from tools.places import Accelerator, Places

STAMP = "luthier-stamp.json"
NEEDS: dict[Accelerator, int] = {"cpu": 1_800_000_000, "cuda": 7_000_000_000}
"""Bytes on disk of a finished one, torch included; what its index offers decides the last word."""


@dataclass(frozen=True, slots=True)
class EngineEnvironment:
    """One environment as it is now."""

    name: str
    accelerator: Accelerator
    used: bool
    """Whether runs of this home train in it."""
    there: bool
    """Whether it can be started: an interpreter, and the stamp that set-up writes last."""
    problem: str
    """What is wrong with it, empty when nothing is or nobody needs it."""
    bytes: int
    """What it takes on disk now, a half made one included."""
    needs_bytes: int
    """What it will take when it is made; 0 when it is there."""
    command: str
    """Makes or mends it, showing progress; empty when there is nothing to do."""

    def as_json(self) -> dict[str, JsonValue]:
        """For `doctor`."""
        return asdict(self)


def environments(places: Places) -> list[EngineEnvironment]:
    """Each training environment, the used one first. Walks its folder for the size: some tens of thousands of files."""
    found = [_look(places, kind) for kind in NEEDS]
    return sorted(found, key=lambda each: not each.used)


def _look(places: Places, kind: Accelerator) -> EngineEnvironment:
    folder = places.root / f".engine-{kind}"
    used = places.accelerator == kind
    python = places.engine_python if used else folder / "bin" / "python"
    part = folder.with_name(folder.name + ".part")
    problem = _problem(places.root, folder, python, part)
    there = python.exists() and not problem
    wanted = used or folder.exists() or part.exists()
    return EngineEnvironment(
        name=folder.name, accelerator=kind, used=used, there=there, problem=problem if wanted else "", bytes=_size(folder) + _size(part),
        needs_bytes=0 if there else NEEDS[kind], command="" if there else f"LUTHIER_ACCELERATOR={kind} make run",
    )


def _problem(root: Path, folder: Path, python: Path, part: Path) -> str:
    if not python.exists():
        if part.exists():
            return "It was left half made: its set-up was interrupted. The command goes on from there."
        if python.is_symlink():
            return "The Python it was made with is gone."
        return "Its interpreter is missing." if folder.exists() else "It has not been made."
    if not python.is_relative_to(folder):
        return ""  # another one that the person pointed to: theirs to keep
    try:
        stamp = json.loads((folder / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "It was never finished, or its stamp is damaged."
    layers = stamp.get("layers") if isinstance(stamp, dict) else None
    lock = root / "locks" / f"{folder.name.removeprefix('.')}.txt"
    if isinstance(layers, dict) and lock.is_file():
        made_from = layers.get(lock.stem)
        if made_from != hashlib.sha256(lock.read_bytes()).hexdigest():
            return "It was made from an older lock file."
    return ""


def _size(folder: Path) -> int:
    """Bytes of the files below a folder; links are not followed, what cannot be read counts nothing."""
    total, open_ = 0, [str(folder)]
    while open_:
        try:
            with os.scandir(open_.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        open_.append(entry.path)
                    elif entry.is_file(follow_symlinks=False):
                        total += entry.stat(follow_symlinks=False).st_size
        except OSError:
            continue
    return total
