"""Checkpoints that are complete: each is sealed with the digests of its files, and only a sealed one is resumed from."""

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from tools.engine.folders import digests, write_json

SEAL = "complete.json"
_NAME = re.compile(r"^checkpoint-(\d+)$")
_PICKLE = ("training_args.bin",)
"""Never written, never read: it is a pickle of arbitrary objects."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A folder that training can go on from, and the step it was taken after."""

    path: Path
    step: int


def seal(path: Path) -> None:
    """Write the digests of a checkpoint's files, last and atomically; a step that is saved twice is sealed anew."""
    for name in (*_PICKLE, SEAL):
        (path / name).unlink(missing_ok=True)
    write_json(path / SEAL, {"files": digests(path)})


def is_complete(path: Path) -> bool:
    """Whether the seal is there and every file is what it says."""
    try:
        sealed = json.loads((path / SEAL).read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError):
        return False
    found = {name: digest for name, digest in digests(path).items() if name != SEAL}
    return bool(sealed) and found == sealed


def last_complete(folder: Path) -> Checkpoint | None:
    """The newest complete checkpoint in `folder`; incomplete newer ones are removed, for Olive would take them."""
    if not folder.is_dir():
        return None
    named = [(int(match[1]), path) for path in folder.iterdir() if (match := _NAME.match(path.name)) and path.is_dir()]
    for step, path in sorted(named, reverse=True):
        if is_complete(path):
            return Checkpoint(path, step)
        shutil.rmtree(path)
    return None


def adapter_of(checkpoint: Path, out: Path) -> None:
    """Copy a checkpoint's adapter, and nothing else of it, to `out`."""
    out.mkdir(parents=True, exist_ok=True)
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        shutil.copyfile(checkpoint / name, out / name)
