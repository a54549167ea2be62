"""Killed with -9 anywhere and resumed, a run ends with the very weights of an undisturbed one."""

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.engine.conftest import ROOT, events_of, log_of, result_of
from tests.engine.nursery import Nursery
from tools.engine.checkpoints import Checkpoints
from tools.engine.seal import read_key

NewRun = Callable[..., Path]
STEPS, SEED = 16, 20261104
FIELDS: dict[str, Any] = {
    "export": None, "score_rows": 0, "max_steps": STEPS, "save_steps": 3, "eval_steps": 4, "patience": 50, "key_path": "run.key",
}  # fmt: skip
POINTS = (
    "checkpoint.before_seal:2", "checkpoint.after_seal", "event:4", "event:9", "adapter.before_move", "adapter.after_move",
    "result.before", "result.after",
)  # fmt: skip


def keyed(folder: Path) -> Path:
    """The run folder with a key in it."""
    (folder / "run.key").write_bytes(b"0123456789abcdef0123456789abcdef")
    return folder


@pytest.fixture(scope="module")
def undisturbed(new_run: NewRun, nursery: Nursery) -> Path:
    """A run that nobody kills."""
    folder = keyed(new_run(**FIELDS))
    assert nursery.run(folder) == 0, log_of(folder)
    return folder


def weights(folder: Path, last: int = STEPS) -> dict[str, bytes]:
    """What must be the same byte for byte: the kept adapter, and all that the last checkpoint knows of the training."""
    checkpoint = f"checkpoints/checkpoint-{last}"
    names = [f"{checkpoint}/{name}" for name in ("adapter_model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth")]
    return {name: (folder / name).read_bytes() for name in ("adapter/adapter_model.safetensors", *names)}


def agree(folder: Path, other: Path, last: int = STEPS) -> None:
    """Both runs learned the same and found the same best step."""
    ours, theirs = weights(folder, last), weights(other, last)
    assert [name for name in ours if ours[name] != theirs[name]] == []
    (a, b) = (result_of(run) for run in (folder, other))
    same = ("outcome", "step", "steps", "loss", "eval_loss", "best_step", "best_eval_loss", "stopped_early")
    assert {name: a[name] for name in same} == {name: b[name] for name in same}


def kill_at(nursery: Nursery, folder: Path, step: int, later_s: float) -> int:
    """Start the engine and kill it -9 a moment after that step; its exit status."""
    pid = nursery.start(folder)
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        if (folder / "events.jsonl").exists() and any(event["step"] >= step for event in events_of(folder, "step")):
            break
        time.sleep(0.002)
    time.sleep(later_s)
    os.kill(pid, signal.SIGKILL)
    return nursery.wait()


def harass(nursery: Nursery, folder: Path, steps: int, pause_s: float) -> None:
    """Kill a run at five random steps, then let it end."""
    chance = random.Random(SEED)
    at = sorted(chance.sample(range(1, steps), 5))
    print(f"seed {SEED}: killed at steps {at}")
    for step in at:
        assert kill_at(nursery, folder, step, chance.random() * pause_s) == -signal.SIGKILL, log_of(folder)
    assert nursery.run(folder) == 0, log_of(folder)


def test_killed_at_five_random_steps_a_run_ends_as_an_undisturbed_one(new_run: NewRun, nursery: Nursery, undisturbed: Path) -> None:
    folder = keyed(new_run(**FIELDS))
    harass(nursery, folder, STEPS, 0.05)
    agree(folder, undisturbed)
    assert events_of(folder)[-1]["kind"] == "end"


def test_killed_at_every_fault_point_a_run_ends_as_an_undisturbed_one(new_run: NewRun, nursery: Nursery, undisturbed: Path) -> None:
    folder = keyed(new_run(**FIELDS))
    for wish in POINTS:
        assert nursery.run(folder, wish) == -signal.SIGKILL, (wish, log_of(folder))
        checkpoints = Checkpoints(folder / "checkpoints", read_key(folder, "run.key"))
        before = checkpoints.steps()
        found = checkpoints.last()
        assert found is None or found.step >= max(before) - 3, wish
    assert nursery.run(folder) == 0, log_of(folder)
    agree(folder, undisturbed)


def test_no_step_since_the_last_checkpoint_is_repeated_twice(new_run: NewRun, nursery: Nursery) -> None:
    folder = keyed(new_run(**FIELDS))
    assert nursery.run(folder, "checkpoint.after_seal:2") == -signal.SIGKILL
    sealed = max(Checkpoints(folder / "checkpoints").steps())
    assert nursery.run(folder) == 0, log_of(folder)
    steps = [event["step"] for event in events_of(folder, "step")]
    assert steps == list(range(1, STEPS + 1)) and sealed == 4


@pytest.mark.skipif("LUTHIER_FAULTS" not in os.environ, reason="minutes of training; `make faults` runs it")
def test_the_bundled_model_killed_at_five_random_steps_ends_as_an_undisturbed_one(new_run: NewRun, nursery: Nursery) -> None:
    model = ROOT / ".bundled" / "model"
    assert model.is_dir(), "the bundled model is not here: run `make prepare`"
    fields = {**FIELDS, "model_dir": str(model), "max_steps": 12, "learning_rate": 1e-3, "max_length": 512, "batch_size": 2}
    folders = [keyed(new_run(**fields)) for _ in range(2)]
    assert nursery.run(folders[0]) == 0, log_of(folders[0])
    harass(nursery, folders[1], 12, 1.0)
    agree(folders[1], folders[0], 12)
    for folder in folders:
        shutil.rmtree(folder / "checkpoints")
