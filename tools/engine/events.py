"""A run's `events.jsonl`: one JSON object a line, only ever appended, whole lines only."""

import errno
import json
import math
import os
import time
from pathlib import Path
from typing import Any, Literal

from tools.engine import fault

EventKind = Literal["stage", "step", "eval", "checkpoint", "progress", "score", "best", "diverged", "warning", "end"]


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinity: None stands for them."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


class Events:
    """The writer of one run folder's events. Each is one write call; a reader takes whole lines only, as it may look amid one."""

    def __init__(self, folder: Path) -> None:
        """Open `folder`/events.jsonl for appending; a line that a crash left half is ended first."""
        path = folder / "events.jsonl"
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        size = os.fstat(self._fd).st_size
        if size and os.pread(self._fd, 1, size - 1) != b"\n":
            os.write(self._fd, b"\n")

    def add(self, kind: EventKind, **facts: Any) -> None:
        """Append one event with the time."""
        event = {"t": round(time.time(), 3), "kind": kind, **{name: _finite(value) for name, value in facts.items()}}
        line = (json.dumps(event, ensure_ascii=False, allow_nan=False) + "\n").encode()
        fault.point("event")
        written = os.write(self._fd, line)
        if written < len(line):  # a full disk takes what fits; half a line is no event
            os.ftruncate(self._fd, os.fstat(self._fd).st_size - written)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def warn(self, text: str) -> None:
        """Append a warning that a person should read."""
        self.add("warning", text=text)

    def progress(self, stage: str, text: str, fraction: float | None = None) -> None:
        """Append how far a long stage has come."""
        self.add("progress", stage=stage, text=text, fraction=fraction)

    def close(self) -> None:
        """Sync and close."""
        os.fsync(self._fd)
        os.close(self._fd)
