"""Files and folders that are whole or absent: written beside their place, synced, renamed."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def write_json(path: Path, value: Any) -> None:
    """Write one JSON file atomically: a reader sees the old one or the new one."""
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False, indent=1, allow_nan=False)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


@contextmanager
def whole(out: Path) -> Iterator[Path]:
    """Give a fresh `<out>.part` to fill; it takes `out`'s place on success and vanishes on failure."""
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    if out.exists():
        old = out.with_name(out.name + ".old")
        shutil.rmtree(old, ignore_errors=True)
        os.replace(out, old)
        os.replace(part, out)
        shutil.rmtree(old, ignore_errors=True)
    else:
        os.replace(part, out)


def file_digest(path: Path) -> str:
    """SHA-256 of one file, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below `folder`, by relative path, sorted."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): file_digest(path) for path in paths}


def described(folder: Path, names: Iterable[str] | None = None) -> dict[str, dict[str, Any]]:
    """`bytes` and `sha256` of every file below `folder`, or of those of `names` that are there, by relative path, sorted."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file()) if names is None else [folder / name for name in sorted(names)]
    return {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": file_digest(path)} for path in paths if path.is_file()
    }


def folder_digest(folder: Path) -> str:
    """One SHA-256 over the sorted `path digest` lines of a folder."""
    lines = "".join(f"{name} {digest}\n" for name, digest in digests(folder).items())
    return hashlib.sha256(lines.encode()).hexdigest()
