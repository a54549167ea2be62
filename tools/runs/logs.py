"""Follows a log as it grows: whole lines from a mark on, in bounded memory, whatever is done to the file meanwhile."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from policies.redact import redact

CHUNK = 1 << 18
"""Bytes that one look reads at most: what bounds the memory, whatever the file's size."""
OWN, EARLY = "log.txt", "early.txt"
"""Below a run's folder: its own log, and what Azure heard of its container before."""
LINES = 400
"""Lines that one look gives at most: the newest."""
SHOWN = 2000
"""Characters of a log line that are shown."""
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
_MARK = re.compile(r"(\d{1,20}):(\d{1,20})")


@dataclass(frozen=True, slots=True)
class LogNews:
    """What came since a mark: lines, redacted and free of control characters."""

    lines: tuple[str, ...]
    mark: str
    """Where the next look goes on."""
    skipped_bytes: int = 0
    """Bytes that were left out before these lines: more came than a look gives."""
    again: bool = False
    """The log began anew (it was cut, or another file took its place): what was shown before is no longer there."""
    bar: str = ""
    """The last whole state of a progress bar whose line has not ended."""


def without_controls(text: str) -> str:
    """Text without control and hidden characters; line ends and tabs stay."""
    return _CONTROLS.sub("", text)


def clean_line(raw: str) -> str:
    """A log line as a person may see it: a progress bar's last state, no escape codes, no hidden characters, no secret, not endless."""
    text = raw.rstrip("\r\n").rpartition("\r")[2]
    text = without_controls(_ESCAPES.sub("", text))
    if len(text) > SHOWN:
        # Redacted before it is cut: half a secret would no longer be recognised.
        return f"{redact(text)[:SHOWN]} … ({len(text)} characters)"
    return redact(text)


def clean_lines(block: bytes) -> tuple[str, ...]:
    """The whole lines of a block that ends with one."""
    found = block.decode("utf-8", "replace").split("\n")
    if not found[-1]:
        found.pop()
    return tuple(clean_line(line) for line in found)


def shown_log(folder: Path) -> Path:
    """The file whose lines are a run's log: its own as soon as it has begun, before that what its container was heard to say."""
    own, early = folder / OWN, folder / EARLY
    return early if early.exists() and not (own.exists() and own.stat().st_size) else own


def follow(path: Path, mark: str = "", most: int = LINES) -> LogNews:
    """The whole lines beyond a mark, the newest `most` of them; without a mark the log's end.

    A line that has not ended yet waits, for half a secret cannot be recognised; one longer than CHUNK bytes is left out and counted
    as skipped. A mark that is none, or of another file, begins at the end of this one. Reads at most CHUNK bytes, and nothing where
    nothing came. A missing file is an empty log.
    """
    try:
        with path.open("rb") as file:
            state = os.fstat(file.fileno())
            inode, size = state.st_ino, state.st_size
            known = _MARK.fullmatch(mark)
            begun = known is not None and int(known[1]) == inode and int(known[2]) <= size
            offset = int(known[2]) if known is not None and begun else 0
            again = bool(mark) and not begun
            if offset == size:
                return LogNews((), f"{inode}:{offset}", again=again)
            start = max(offset, size - CHUNK)
            file.seek(start)
            block = file.read(CHUNK)
    except OSError:
        return LogNews((), "", again=bool(mark))
    skipped = start - offset
    if skipped and (first := block.find(b"\n") + 1):  # the middle of a line
        block, start, skipped = block[first:], start + first, skipped + first
    end = block.rfind(b"\n") + 1
    if not end and skipped + len(block) >= CHUNK:  # one endless line
        return LogNews((), f"{inode}:{start + len(block)}", skipped + len(block), again)
    lines = clean_lines(block[:end]) if end else ()
    if len(lines) > most:
        skipped += len(b"\n".join(block[:end].split(b"\n")[: len(lines) - most])) + 1
        lines = lines[-most:]
    return LogNews(lines, f"{inode}:{start + end}", 0 if not mark or again else skipped, again, _bar(block[end:]))


def _bar(rest: bytes) -> str:
    """Between the last two carriage returns: a state that is whole."""
    states = rest.split(b"\r")
    return clean_line(states[-2].decode("utf-8", "replace")) if len(states) > 2 else ""
