"""Checkpoints that are complete or absent: each is sealed with its files' digests under the run's key, and only such a one is used."""

import errno
import json
import os
import re
import shutil
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.engine import fault
from tools.engine.binding import Binding, differences
from tools.engine.failure import EngineFailed
from tools.engine.folders import described, write_json
from tools.engine.seal import fits, signed

SEAL = "complete.json"
KIND = "checkpoint"
VERSION = 2
KEPT = 2
"""Sealed checkpoints that stay, besides those that are asked for: should the newest be damaged, the one before is at hand."""
_NAME = re.compile(r"^checkpoint-(\d+)$")
_PICKLE = ("training_args.bin",)
"""Never written, never read: it is a pickle of arbitrary objects."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A folder that training can go on from, and the step it was taken after."""

    path: Path
    step: int


class Checkpoints:
    """The checkpoints of one run. Without a key they are sealed by SHA-256 alone; without a binding, to nothing."""

    def __init__(self, folder: Path, key: bytes = b"", binding: Binding | None = None) -> None:
        self.folder, self._key, self._binding = folder, key, binding

    def path(self, step: int) -> Path:
        """Where the checkpoint of a step lies, as the Trainer names it."""
        return self.folder / f"checkpoint-{step}"

    def seal(self, step: int) -> Path:
        """Bring a checkpoint's files to disk, then write its seal, last and atomically; a step that is saved twice is sealed anew."""
        path = self.path(step)
        fault.point("checkpoint.before_seal")
        for name in (*_PICKLE, SEAL):
            (path / name).unlink(missing_ok=True)
        body: dict[str, Any] = {"version": VERSION, "step": step, "files": described(path)}
        if self._binding is not None:
            body["binding"] = self._binding.as_json()
        for name in body["files"]:
            sync(path / name)
        write_json(path / SEAL, signed(self._key, KIND, body))
        sync(path)
        fault.point("checkpoint.after_seal")
        return path

    def steps(self) -> list[int]:
        """The steps of all checkpoint folders, newest first, sealed or not."""
        if not self.folder.is_dir():
            return []
        return sorted((int(m[1]) for path in self.folder.iterdir() if (m := _NAME.match(path.name)) and path.is_dir()), reverse=True)

    def is_complete(self, step: int) -> bool:
        """Whether the seal is there and every file is what it says. Raises EngineFailed when the seal is not this run's."""
        path = self.path(step)
        seal = read_seal(path)
        if seal is None:
            return False
        if not fits(self._key, KIND, seal) or seal.get("step", step) != step:
            remedy = "Take it out of the run's checkpoints, then resume the run."
            raise EngineFailed("foreign", f"{path.name} was not sealed by this run: somebody else made or changed it. {remedy}")
        before = seal.get("binding")
        differing = differences(before, self._binding) if self._binding is not None and isinstance(before, dict) else []
        if differing:
            raise changed(differing)
        found = {name: facts for name, facts in described(path).items() if name != SEAL}
        return bool(seal["files"]) and found == seal["files"]

    def last(self) -> Checkpoint | None:
        """The newest complete one; incomplete newer ones are removed, for Olive would take them."""
        for step in self.steps():
            if self.is_complete(step):
                return Checkpoint(self.path(step), step)
            shutil.rmtree(self.path(step))
        return None

    def of_step(self, step: int | None) -> Checkpoint | None:
        """The complete checkpoint of a step, if it is there."""
        return Checkpoint(self.path(step), step) if step is not None and self.is_complete(step) else None

    def newest_before(self, step: int) -> int | None:
        """The newest sealed step below `step`."""
        return next((at for at in self.steps() if at < step and (self.path(at) / SEAL).is_file()), None)

    def prune(self, keep: Container[int | None] = ()) -> None:
        """Remove all but the newest sealed ones and those of the steps in `keep`. Call after sealing, so that there is always one."""
        sealed = [step for step in self.steps() if (self.path(step) / SEAL).is_file()]
        for step in sealed[KEPT:]:
            if step not in keep:
                remove(self.path(step))

    def remove_from(self, step: int) -> None:
        """Remove the checkpoints of `step` and later: what is in them is no longer believed."""
        for at in self.steps():
            if at >= step:
                remove(self.path(at))

    def remove_partial(self) -> None:
        """Remove what was not sealed: a save that a full disk or an error broke off."""
        for step in self.steps():
            if not (self.path(step) / SEAL).is_file():
                shutil.rmtree(self.path(step), ignore_errors=True)


def seal(path: Path, key: bytes = b"", binding: Binding | None = None) -> None:
    """Seal one checkpoint folder."""
    Checkpoints(path.parent, key, binding).seal(int(path.name.rpartition("-")[2]))


def last_complete(folder: Path, key: bytes = b"", binding: Binding | None = None) -> Checkpoint | None:
    """The newest complete checkpoint in `folder`, as `Checkpoints.last`."""
    return Checkpoints(folder, key, binding).last()


def read_seal(path: Path) -> dict[str, Any] | None:
    """A checkpoint's seal; None when it is missing or cut off. The first version, digests alone, is read as well."""
    try:
        seal = json.loads((path / SEAL).read_text(encoding="utf-8"))
        files = seal["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not isinstance(files, dict):
        return None
    if any(isinstance(facts, str) for facts in files.values()):
        sizes = {name: (path / name).stat().st_size if (path / name).is_file() else -1 for name in files}
        return {**seal, "files": {name: {"bytes": sizes[name], "sha256": digest} for name, digest in files.items()}}
    return seal


def remove(path: Path) -> None:
    """Remove a sealed checkpoint: its seal first, so that one half removed never counts."""
    (path / SEAL).unlink(missing_ok=True)
    shutil.rmtree(path, ignore_errors=True)


def changed(differing: list[str]) -> EngineFailed:
    """The refusal to go on under other settings, data or weights."""
    what = "; ".join(differing)
    return EngineFailed("changed", f"The run can't go on as something has changed since it began: {what}. Put it back, or start a new run.")


def sync(path: Path) -> None:
    """Bring a file or a folder to disk."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    except OSError as error:
        if not (path.is_dir() and error.errno in (errno.EINVAL, errno.ENOTSUP)):  # a share may know no sync of folders
            raise
    finally:
        os.close(fd)


def adapter_of(checkpoint: Path, out: Path) -> None:
    """Copy a checkpoint's adapter, and nothing else of it, to `out`."""
    out.mkdir(parents=True, exist_ok=True)
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        shutil.copyfile(checkpoint / name, out / name)
