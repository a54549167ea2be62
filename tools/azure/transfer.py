"""What this side of a transfer keeps: pieces, what an earlier call brought or sent, and a file's own mark."""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

Piece = tuple[int, int]
"""Where it begins, and how many bytes it has."""


def each_piece(pool: ThreadPoolExecutor, work: Callable[[Piece], None], some: Sequence[Piece]) -> None:
    """All of them; the first error ends the rest."""
    waiting = [pool.submit(work, one) for one in some]
    try:
        for one in waiting:
            one.result()
    finally:
        for one in waiting:
            one.cancel()


def pieces(size: int, step: int) -> list[Piece]:
    """A file of so many bytes in pieces of at most `step`."""
    return [(begin, min(step, size - begin)) for begin in range(0, size, step)]


def coverage(ranges: Sequence[Any]) -> list[tuple[int, int]]:
    """Begin and end of what is there, joined where they touch: the service may join them or not."""
    found = sorted((int(one.start), int(one.end) + 1) for one in ranges)
    joined: list[tuple[int, int]] = []
    for begin, end in found:
        if joined and begin <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((begin, end))
    return joined


def is_covered(piece: Piece, covered: Sequence[tuple[int, int]]) -> bool:
    """Whether a piece lies within what is there."""
    begin, length = piece
    return any(start <= begin and begin + length <= end for start, end in covered)


def seen(local: Path) -> tuple[int, dict[str, str]]:
    """Size, and what a file on the share is kept with: a source that has changed begins anew."""
    found = local.stat()
    return found.st_size, {"mtime": str(found.st_mtime_ns), "size": str(found.st_size)}


def marked(local: Path, own: dict[str, str]) -> dict[str, str]:
    """The same with the content's digest, for which all of it is read."""
    return {**own, "sha256": digest(local)}


def digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_sound(part: Path, sha256: str | None) -> bool:
    """Whether a file has that content; it is on the disk then, for which the reading does not wait."""
    with ThreadPoolExecutor(1) as pool:
        kept = pool.submit(_keep, part)
        same = sha256 is None or digest(part) == sha256
        kept.result()
    return same


def _keep(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def begun(part: Path, etag: str, size: int) -> int:
    """How many bytes an earlier call brought of exactly this file."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        kept = json.loads(_beside(part).read_text(encoding="utf-8"))
        if (kept["etag"], kept["size"]) == (etag, size) and part.stat().st_size >= int(kept["have"]):
            return int(kept["have"])
    return 0


def note(part: Path, etag: str, size: int, have: int) -> None:
    """Keep beside a part that its first `have` bytes are those of a file of this etag and size."""
    new = part.with_name(f"{part.name}.new")
    new.write_text(json.dumps({"etag": etag, "size": size, "have": have}), encoding="utf-8")
    os.replace(new, _beside(part))


def forget(part: Path) -> None:
    """Remove a part and what is kept beside it."""
    for path in (part, _beside(part)):
        path.unlink(missing_ok=True)


def _beside(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")
