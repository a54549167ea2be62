"""One run moves: begun here, gone on with in the stand-in's cloud, finished here; its losses are those of a run that nobody touched."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.azure.cargo import quiet
from tests.azure.cloud import ROOT, WORKSPACE, Cloud
from tests.tools.fakes_runs import wait_until
from tools.azure.client import Azure
from tools.azure.credential import Hidden
from tools.azure.files import open_share
from tools.azure.jobs import RUN_KEY, Jobs, JobSpec
from tools.azure.place import Shape
from tools.engine.spec import TrainSpec
from tools.runs import runner
from tools.runs.container import engine_package, fetch_checkpoints, upload
from tools.runs.mirror import Mirror, lay_aside

RUN, STEPS = "0123456789", 60
KEY = "5a" * 32
PYTHON = ROOT / ".engine-cpu" / "bin" / "python"
pytestmark = [pytest.mark.engine, pytest.mark.slow]


class Moving:
    """A run folder here, and the same run there."""

    def __init__(self, folder: Path, cloud: Cloud, azure: Azure) -> None:
        self.folder, self.cloud, self.model = folder / "home" / "runs" / RUN, cloud, folder / "model"
        place = cloud.prepared(WORKSPACE)
        self.share, self.jobs, self.mirror = open_share(azure, place), Jobs(azure, place), Mirror()
        self.spec = self.make(self.folder)

    def make(self, folder: Path) -> TrainSpec:
        """A run folder of the tiny model, without scores and exports."""
        (folder / "data").mkdir(parents=True)
        (folder / "run.key").write_text(KEY)
        for name, count in (("train", 40), ("validation", 4), ("test", 4)):
            rows = [{"messages": [{"role": "user", "content": f"{name} ticket {n}: the printer is stuck"},
                                  {"role": "assistant", "content": f"hardware {n % 7}"}]} for n in range(count)]
            (folder / "data" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        spec = TrainSpec(
            run_id=RUN, model_id="tiny", model_dir=str(self.model), model_digest="ab" * 32, data_dir=str(folder / "data"), data_digest="d",
            method="lora", max_steps=STEPS, epochs=50, learning_rate=0.01, batch_size=2, lora_dropout=0.1, max_length=200, eval_steps=1000,
            save_steps=5, score_rows=0, export=None, key_path="run.key")
        (folder / "spec.json").write_text(spec.model_dump_json())
        return spec

    def here(self, folder: Path, attempt: int) -> "subprocess.Popen[bytes]":
        """An attempt on this machine."""
        for name in ("exit.json", "result.json"):
            (folder / name).unlink(missing_ok=True)
        command = [sys.executable, "-I", "-S", runner.__file__, str(folder), "--engine", str(PYTHON), "--root", str(ROOT)]
        return subprocess.Popen([*command, "--attempt", str(attempt), "--owner", "test"], cwd=folder, env={"PATH": os.environ["PATH"]})

    def there(self, attempt: int) -> str:
        """An attempt in the cloud, from what lies here; the execution's name."""
        self.share.make_folders(f"runs/{RUN}")
        lay_aside(self.share, RUN, self.folder)
        upload(self.share, ROOT, self.spec, self.folder, quiet, engine_package(ROOT).digest)
        shape = Shape("Consumption", 4, 8)
        self.jobs.put(JobSpec(RUN, attempt, shape, 1800, engine_package(ROOT).digest, "2030-01-01T00:00:00Z"), {RUN_KEY: Hidden(KEY)})
        return self.jobs.start(self.jobs.name(RUN))

    def bring_back(self) -> None:
        """Reports and the last checkpoint."""
        self.mirror.look(self.share, RUN, 2, self.folder, None, datetime.now(UTC))
        fetch_checkpoints(self.share, RUN, self.folder, quiet)


def losses(folder: Path) -> list[tuple[int, float]]:
    """Step and loss of every training step, in order."""
    path = folder / "events.jsonl"
    text = path.read_text() if path.exists() else ""
    events = [json.loads(line) for line in text[:text.rfind("\n") + 1].splitlines()]
    return [(event["step"], event["loss"]) for event in events if event["kind"] == "step"]


def until_step(folder: Path, step: int) -> None:
    """Wait until a run has come so far."""
    wait_until(lambda: bool(found := losses(folder)) and found[-1][0] >= step, f"step {step}", timeout_s=120)


@pytest.fixture
def moving(tmp_path: Path, cloud: Cloud, azure: Azure) -> Iterator[Moving]:
    if not PYTHON.exists():
        assert "CI" not in os.environ, "the engine's environment is missing: make test installs it"
        pytest.skip("no .engine-cpu here; `make test` installs it")
    subprocess.run([str(PYTHON), str(ROOT / "tests" / "tiny_model.py"), str(tmp_path / "model")], check=True, capture_output=True,
                   timeout=300, env={"PATH": os.environ["PATH"]})
    yield Moving(tmp_path, cloud, azure)


def test_a_run_that_moves_there_and_back_learns_what_one_that_stays_learns(moving: Moving, cloud: Cloud, tmp_path: Path):
    stays = tmp_path / "stays" / RUN
    moving.make(stays)
    assert moving.here(stays, 1).wait(240) == 0, (stays / "log.txt").read_text()[-2000:]

    first = moving.here(moving.folder, 1)
    until_step(moving.folder, 6)
    first.send_signal(signal.SIGTERM)
    assert first.wait(60) == runner.CANCELLED, (moving.folder / "log.txt").read_text()[-2000:]
    left_here = losses(moving.folder)[-1][0]

    execution = moving.there(2)
    there = cloud.share_root / "runs" / RUN
    until_step(there, left_here + 6)
    moving.jobs.stop(moving.jobs.name(RUN), execution)
    assert cloud.executions[0].ended.wait(60) and cloud.executions[0].code == runner.CANCELLED
    left_there = losses(there)[-1][0]
    assert left_here < left_there < STEPS

    moving.bring_back()
    assert losses(moving.folder)[-1][0] == left_there
    assert moving.here(moving.folder, 3).wait(240) == 0, (moving.folder / "log.txt").read_text()[-2000:]
    moved, stayed = losses(moving.folder), losses(stays)
    assert [step for step, _ in moved] == list(range(1, STEPS + 1)), "each step was trained once"
    assert moved == stayed, "and each loss is the same, at the joining steps too"
    attempts = json.loads((moving.folder / "started.json").read_text())["attempts"]
    assert [each.get("execution", "here") for each in attempts] == ["here", execution, "here"]
    assert attempts[1]["engine"] == engine_package(ROOT).digest and "@sha256:" in attempts[1]["image"]


def test_a_checkpoint_of_another_run_is_not_gone_on_from(moving: Moving):
    first = moving.here(moving.folder, 1)
    until_step(moving.folder, 6)
    first.send_signal(signal.SIGTERM)
    assert first.wait(60) == runner.CANCELLED
    seal = max(moving.folder.glob("checkpoints/*/complete.json"), key=lambda path: int(path.parent.name.rpartition("-")[2]))
    seal.write_text(json.dumps({**json.loads(seal.read_text()), "hmac": "0" * 64}))
    moving.there(2)
    end = time.monotonic() + 60
    while not moving.cloud.executions[0].ended.wait(0.2):
        assert time.monotonic() < end
    there = moving.cloud.share_root / "runs" / RUN
    assert moving.cloud.executions[0].code == 1 and json.loads((there / "result.json").read_text())["error_kind"] == "foreign"
