"""A moment that no change of the clock moves: the boot it was in, and the kernel's own count of seconds since then."""

import time
from collections.abc import Mapping

from pydantic import JsonValue

from tools.runs.kernel import boot_id

BOOT, COUNT = "boot", "mono"


def mark() -> dict[str, JsonValue]:
    """This moment, for a file or the book."""
    return {BOOT: boot_id(), COUNT: time.monotonic()}


def seconds_since(value: Mapping[str, object] | None) -> float | None:
    """How long a marked moment is past, whatever the clock says; None for one of another boot, or none at all."""
    count = (value or {}).get(COUNT)
    if value is None or value.get(BOOT) != boot_id() or isinstance(count, bool) or not isinstance(count, int | float):
        return None
    return max(0.0, time.monotonic() - count)
