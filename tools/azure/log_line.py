"""A log line that came from Azure, made fit to be shown: it is text of strangers, whoever hands it on."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from tools.azure.trouble import AzureTrouble
from tools.runs.logs import clean_line

Source = Literal["stream", "analytics", "system", "none"]
"""Where lines were read, the most trusted first: the container's output as it runs, the copy that comes minutes late, what the platform
says of the container; `none` where nobody had any. Above all of them stands the run's own file on the share."""
LONGEST = 64 << 10
"""Bytes of a line of the stream; what is longer is left out."""
SEVERAL = 200
"""Lines of one text at most."""
_OWN = re.compile(r"luthier-run-[a-z0-9]{10}(?:-[a-z0-9]{1,20})?")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?")
_NOISE = ("Connecting to the container", "Successfully Connected to container", "Successfully connected to container")


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line, redacted and without control characters."""

    at: str
    """ISO 8601, as Azure wrote it; empty where it wrote none."""
    text: str
    source: Source


def own_name(name: str) -> str:
    """The name of a job or an execution of ours: nothing else is put into an address or a query. Raises AzureTrouble `foreign`."""
    if not _OWN.fullmatch(name):
        raise AzureTrouble("foreign", f"No log is read under the name {name[:60]!r}", "it is not the name of a run's job or execution.",
                           "Use the id of a run of Luthier.")
    return name


def of_stream(raw: bytes) -> tuple[LogLine, ...]:
    """The lines of one JSON text of the stream; none for what cannot be read and for the connection's own noise."""
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        return ()
    if not isinstance(found, dict) or not isinstance(found.get("Log"), str) or found["Log"].startswith(_NOISE):
        return ()
    return made(found.get("TimeStamp"), found["Log"], "stream")


def made(at: Any, text: Any, source: Source) -> tuple[LogLine, ...]:
    """The lines of a text that came with a time; a text may hold several."""
    when = at if isinstance(at, str) and _TIME.fullmatch(at) else ""
    several = str(text or "").rstrip("\r\n").split("\n")
    return tuple(LogLine(when, clean_line(each), source) for each in several[:SEVERAL])


def split(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Whole lines of a stream, without their ends, in bounded memory; the last one without an end counts, too."""
    held, dropping = b"", False
    for block in blocks:
        *whole, held = (held + block).split(b"\n")
        for each in whole:
            if not dropping and len(each) <= LONGEST:
                yield each
            dropping = False
        if len(held) > LONGEST:
            held, dropping = b"", True
    if held and not dropping:
        yield held
