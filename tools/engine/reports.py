"""Reporting to other programs through the Trainer's own callbacks: off by default, into the run folder, never over the network."""

import importlib.util
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tools.engine import environment
from tools.engine.failure import EngineFailed
from tools.engine.spec import Report

TITLES: dict[Report, str] = {"tensorboard": "TensorBoard", "mlflow": "MLflow", "wandb": "Weights & Biases", "trackio": "Trackio"}


def _is_here(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def prepare_reports(names: Sequence[Report], folder: Path, run_id: str, is_here: Callable[[str], bool] = _is_here) -> None:
    """Set the places below `folder`. Raises EngineFailed("missing") before anything is trained, with the line that installs what lacks."""
    if not names:
        return
    lacking: list[Report] = [name for name in TITLES if name in names and not is_here(name)]
    if lacking:
        titles = " and ".join(TITLES[name] for name in lacking)
        line = f"{sys.executable} -m pip install {' '.join(lacking)}"
        raise EngineFailed("missing", f"{titles} can't be reported to: the package is not installed. Run `{line}`, then resume the run.")
    environment.report_into(folder, run_id)
