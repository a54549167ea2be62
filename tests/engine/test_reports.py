"""Reporting to other programs: off by default, asked for by name, into the run folder."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engine.conftest import log_of, result_of
from tools.engine import environment
from tools.engine.failure import EngineFailed
from tools.engine.reports import prepare_reports

NewRun = Callable[..., Path]
Start = Callable[..., "subprocess.Popen[str]"]
STUB = '''
"""Stands in for TensorBoard's writer: notes what it is given."""
import json, os

class SummaryWriter:
    def __init__(self, log_dir=None, **_):
        os.makedirs(log_dir, exist_ok=True)
        self.file = open(os.path.join(log_dir, "scalars.jsonl"), "a")
    def add_scalar(self, name, value, step, *_):
        self.file.write(json.dumps([name, float(value), step]) + "\\n")
        self.file.flush()
    def add_text(self, *_): pass
    def add_hparams(self, *_): pass
    def flush(self): self.file.flush()
    def close(self): self.file.close()
'''


def test_a_package_that_is_not_there_fails_with_the_line_that_installs_it(tmp_path: Path, python: str) -> None:
    with pytest.raises(EngineFailed, match=r"MLflow and Trackio can't be reported to") as caught:
        prepare_reports(["trackio", "wandb", "mlflow"], tmp_path / "reports", "0123456789", lambda package: package == "wandb")
    assert caught.value.kind == "missing" and f"`{python} -m pip install mlflow trackio`" in caught.value.message
    assert not (tmp_path / "reports").exists()


def test_nothing_is_looked_for_when_nothing_was_asked_for(tmp_path: Path) -> None:
    prepare_reports([], tmp_path / "reports", "0123456789", pytest.fail)
    assert not (tmp_path / "reports").exists()


def test_everything_is_written_into_the_run_folder_and_nothing_is_sent(tmp_path: Path) -> None:
    environ = {"WANDB_MODE": "online", "TRACKIO_SPACE_ID": "someone/space", "MLFLOW_TRACKING_URI": "https://example.org"}
    environment.report_into(tmp_path / "reports", "0123456789", environ)
    assert environ["WANDB_MODE"] == "offline" and "TRACKIO_SPACE_ID" not in environ
    places = ("TENSORBOARD_LOGGING_DIR", "WANDB_DIR", "MLFLOW_TRACKING_URI", "TRACKIO_DIR")
    assert all(str(tmp_path / "reports") in environ[name] for name in places)


def test_a_missing_package_ends_a_run_before_anything_heavy_is_loaded(new_run: NewRun, start: Start) -> None:
    folder = new_run(report_to=["wandb"])
    child = start(folder, "train", ".")
    child.communicate(timeout=60)
    result = result_of(folder)
    assert child.returncode == 1 and result["error_kind"] == "missing" and "pip install wandb" in result["message"]
    assert not (folder / "started.json").exists()


def test_a_run_reports_every_step_to_tensorboard_when_asked(
    new_run: NewRun, start: Start, environ: dict[str, str], tmp_path: Path
) -> None:
    for name in ("tensorboard", "tensorboardX"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(STUB, encoding="utf-8")
    folder = new_run(export=None, score_rows=0, method="lora", max_steps=3, report_to=["tensorboard"])
    child = start(folder, "train", ".", PYTHONPATH=f"{environ['PYTHONPATH']}:{tmp_path}")
    child.communicate(timeout=100)
    assert child.returncode == 0, log_of(folder)
    lines = [json.loads(line) for path in (folder / "reports").rglob("scalars.jsonl") for line in path.read_text().splitlines()]
    assert [step for name, _, step in lines if name == "train/loss"] == [1, 2, 3] and any(name == "eval/loss" for name, _, _ in lines)
