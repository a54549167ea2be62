"""Where served files lie: those of each run, and those of the untuned models, built once a model and precision."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from policies.tool import ToolFailed
from tools.engine.spec import ExportSpec, TrainSpec
from tools.models import ModelFolder
from tools.places import Places
from tools.runs.local import LocalRuns
from tools.runs.state import ALIVE
from tools.runs.store import RunRow
from tools.runs.watch import read_json, served_dir
from tools.serve.children import EngineChildren

PRECISION = "int8"
BUILD_S = 1800.0
"""Seconds an export may take."""


@dataclass(frozen=True, slots=True)
class ServedRun:
    """What a run has to serve."""

    spec: TrainSpec
    folder: Path
    precision: str
    system: str | None
    """The system message that its training rows shared."""


class ServedFiles:
    """Finds served files and builds what is missing. Thread-safe: one build at a time."""

    def __init__(self, places: Places, local: LocalRuns, engine: EngineChildren) -> None:
        self._places, self._local, self._engine = places, local, engine
        self._building = threading.Lock()

    def base_dir(self, model: ModelFolder, precision: str = PRECISION) -> Path:
        """Where the untuned model lies as served, whether or not it does yet."""
        if model.path.resolve() == self._places.bundled_model.resolve() and precision == PRECISION:
            return self._places.bundled_served
        return self._places.home / "served" / f"{model.digest[:16]}-{precision}"

    def base(self, model: ModelFolder, precision: str, say: Callable[[str], None], threads: int) -> Path:
        """The untuned model's served files, built now when they are missing."""
        folder = self.base_dir(model, precision)
        with self._building:
            if is_served(folder):
                return folder
            say(f"Building the {precision} files of the untuned model; this is done once")
            self.build(
                ExportSpec.model_validate({"out": str(folder), "model_id": model.id, "model_dir": str(model.path), "precision": precision,
                                           "threads": threads}),
                folder.with_name(f"{folder.name}.work"), threads, say,
            )
        return folder

    def build(self, spec: ExportSpec, work: Path, threads: int, say: Callable[[str], None]) -> None:
        """Run the engine's export; ToolFailed unless the files are there afterwards."""
        Path(spec.out).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._engine.run("export", spec, work, threads, BUILD_S, say)
        if not is_served(Path(spec.out)):
            raise ToolFailed("Export the model", "The engine ended well, but the files are not there.", f"Its log is {work / 'log.txt'}.",
                             kind="export")

    def of_run(self, row: RunRow) -> ServedRun:
        """A run's own served files; ToolFailed with the next step when it has none."""
        folder, spec = self._local.folder(row.id), self._local.spec(row.id)
        result = read_json(folder / "result.json") or {}
        for candidate in (served_dir(folder, result), folder / "exports" / f"onnx-{PRECISION}"):
            if candidate is not None and is_served(candidate):
                return ServedRun(spec, candidate, spec.export or PRECISION, system_message(folder))
        if row.state in ALIVE:
            raise ToolFailed(f"Ask the run {row.id}", f"It is still {row.state.value} and has no served files yet.",
                             "Wait until it is finished (run_status), or ask the untuned model by its id.", kind="not_served")
        if (folder / "adapter").is_dir():
            raise ToolFailed(f"Ask the run {row.id}", "It has an adapter but no served files.",
                             "Build them with export_model (format onnx).", kind="not_served")
        raise ToolFailed(f"Ask the run {row.id}", f"It is {row.state.value} and has neither adapter nor served files.",
                         "Resume it with resume_run, or start a new run.", kind="not_served")


def is_served(folder: Path) -> bool:
    """Whether a folder holds GenAI files; the engine only ever renames whole ones into place."""
    return (folder / "genai_config.json").is_file()


def system_message(run_folder: Path) -> str | None:
    """The system message the run was trained with, from its ask.json."""
    try:
        system = json.loads((run_folder / "ask.json").read_text(encoding="utf-8")).get("system")
    except (OSError, ValueError, AttributeError):
        return None
    return system if isinstance(system, str) and system else None
