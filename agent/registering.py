"""Takes in what a person hands over: a dataset that came through a face, and a folder with a model."""

import asyncio
import os
import re
import secrets
import uuid
from pathlib import Path

from agent.door import Door
from policies.people import Caller
from policies.tool import ToolFailed
from policies.verdict import Answer

MAX_BYTES = 10 * 1024 * 1024
TYPES = (".jsonl", ".json", ".csv", ".tsv", ".txt")


def keep_upload(folder: Path, name: str, content: bytes) -> str:
    """Write `content` into `folder` and return its reference, `data/` and the name. Never overwrites.

    Raises ToolFailed for another type, more than 10 MB, or nothing.
    """
    suffix = Path(name).suffix.lower()
    if suffix not in TYPES:
        raise ToolFailed(
            "The upload was not kept", f"{suffix or 'a file without a suffix'} is no dataset type.", f"Upload one of {', '.join(TYPES)}."
        )
    if len(content) > MAX_BYTES:
        raise ToolFailed(
            "The upload was not kept",
            f"it has {len(content):,} bytes; the limit is {MAX_BYTES:,}.",
            "Put larger files into a data folder (LUTHIER_DATA) or use `python -m ui data add FILE`.",
        )
    if not content.strip():
        raise ToolFailed("The upload was not kept", "the file is empty.", "Upload a file with at least a few rows.")
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", Path(name.replace("\\", "/")).stem).strip("-")[:60] or "data"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = folder / f".{secrets.token_hex(6)}.part"
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
        for count in range(1, 1000):
            target = folder / (f"{stem}{suffix}" if count == 1 else f"{stem}-{count}{suffix}")
            if target.exists() and target.read_bytes() == content:
                return f"{folder.name}/{target.name}"
            try:
                os.link(part, target)  # fails when the name is taken, where a rename would overwrite
            except FileExistsError:
                continue
            return f"{folder.name}/{target.name}"
    finally:
        part.unlink(missing_ok=True)
    raise ToolFailed("The upload was not kept", f"a thousand files are called {stem}.", "Rename the file and upload it again.")


async def register_model(door: Door, path: str, caller: Caller, name: str = "") -> Answer:
    """Check a folder and write it into the book as a model, recorded as the home's own affair."""
    call = uuid.uuid4().hex
    try:
        found = await asyncio.to_thread(door.toolbox.catalogue.add_folder, Path(path).expanduser(), caller.person, name)
    except ToolFailed as failed:
        return Answer("failed", "add_model", call, reason=f"{failed.what}: {failed.because}", remedy=failed.try_next)
    added = {"id": str(found.id), "path": str(found.path), "digest": str(found.digest)}
    await door.gateway.note("admin", "model_added", caller, added)
    return Answer("done", "add_model", call, result=added)
