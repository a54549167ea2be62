"""What a run folder remembers between attempts: `started.json`, `metrics.json` and `result.json`."""

import json
import os
import time
from pathlib import Path
from typing import Any

from tools.engine import environment, fault
from tools.engine.binding import Binding, differences
from tools.engine.checkpoints import changed
from tools.engine.folders import write_json
from tools.engine.spec import RunResult, TrainSpec

COMPARED = ("threads", "dtype", "seed", "versions", "cpu_flags")
"""A resumed run repeats an undisturbed one to the bit only while these agree."""


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


class Record:
    """The notes of one run folder, each file replaced as a whole."""

    def __init__(self, folder: Path) -> None:
        """Read what earlier attempts left."""
        self.folder = folder
        self.started: dict[str, Any] = _read(folder / "started.json")
        self.metrics: dict[str, Any] = _read(folder / "metrics.json")
        self.attempt = len(self.started.get("attempts", [])) + 1

    def recorded(self, name: str, otherwise: Any) -> Any:
        """A setting as the first attempt ran with, so that a resumed one repeats it."""
        return self.started.get(name, otherwise)

    def start(self, spec: TrainSpec, dtype: str, binding: Binding) -> list[str]:
        """Write `started.json`; give the names of facts in which this attempt differs from the first.

        Raises EngineFailed("changed") when settings, data or base weights are not those that the first attempt was bound to.
        """
        before = self.started.get("binding")
        differing = differences(before, binding) if isinstance(before, dict) else []
        if differing:
            raise changed(differing)
        now = {
            "run_id": spec.run_id,
            "threads": int(self.recorded("threads", spec.threads)),
            "dtype": dtype,
            "device": spec.device,
            "seed": spec.seed,
            "versions": environment.versions(),
            "cpu_flags": sorted(environment.cpu_flags()),
            "digests": {"model": spec.model_digest, "data": spec.data_digest, "rows_sha256": binding.data},
            "binding": binding.as_json(),
        }
        differing = [name for name in COMPARED if self.started and self.started.get(name) != now[name]]
        self.started = {**now, **self.started}
        self.begin()
        return differing

    def begin(self) -> None:
        """Write down that an attempt has begun, when and where."""
        here = {"at": time.time(), "pid": os.getpid(), **environment.whereabouts()}
        self.started |= {"attempts": [*self.started.get("attempts", []), here]}
        write_json(self.folder / "started.json", self.started)

    def note(self, **facts: Any) -> None:
        """Add to `metrics.json`."""
        self.metrics |= facts
        write_json(self.folder / "metrics.json", self.metrics)

    def spent(self, stage: str, seconds: float) -> None:
        """Add a stage's seconds; those of earlier attempts count too."""
        before: dict[str, float] = self.metrics.get("stage_seconds", {})
        self.note(stage_seconds={**before, stage: round(before.get(stage, 0.0) + seconds, 2)})

    def finish(self, result: RunResult) -> None:
        """Write `result.json`: the engine's last word."""
        fault.point("result.before")
        write_json(self.folder / "result.json", result.model_dump())
        fault.point("result.after")
