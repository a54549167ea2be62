"""How a training ends before its last step, and what is left of it: early, diverged, on a full disk, stopped, not to be gone on from."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.engine.conftest import edit, events_of, log_of, result_of
from tests.engine.nursery import Nursery
from tests.engine.test_killed import FIELDS, agree, keyed, undisturbed
from tests.faults.proof import proves
from tools.engine.checkpoints import Checkpoints
from tools.engine.manifest import mistakes
from tools.engine.seal import read_key

NewRun = Callable[..., Path]
__all__ = ["undisturbed"]
ADAPTER_FITS_NOT, OPTIMIZER_FITS_NOT = 600, 720
"""KiB of a disk on which the second checkpoint of the tiny model, 480 KiB each, breaks off in the one and in the other."""
SHORT: dict[str, Any] = {"export": None, "score_rows": 0, "method": "lora"}


def steps_of(folder: Path) -> list[int]:
    """The steps of the checkpoints that are there."""
    return Checkpoints(folder / "checkpoints").steps()


def same_adapter(folder: Path, step: int) -> bool:
    """Whether the kept adapter is that of a checkpoint."""
    name = "adapter_model.safetensors"
    return (folder / "adapter" / name).read_bytes() == (folder / "checkpoints" / f"checkpoint-{step}" / name).read_bytes()


@pytest.fixture(scope="module")
def early(new_run: NewRun, nursery: Nursery) -> Path:
    """A run whose validation loss soon stops falling."""
    folder = keyed(new_run(**SHORT, max_steps=60, learning_rate=0.05, eval_steps=3, save_steps=2, patience=3, key_path="run.key"))
    assert nursery.run(folder) == 0, log_of(folder)
    return folder


def test_patience_ends_a_training_and_the_best_evaluation_is_kept_though_newer_checkpoints_came(early: Path) -> None:
    result, found = result_of(early), {event["step"]: event["eval_loss"] for event in events_of(early, "eval")}
    best = min(found, key=lambda step: found[step])
    assert result["stopped_early"] and result["step"] == max(found) < 60 and result["outcome"] == "finished"
    assert (result["best_step"], result["best_eval_loss"]) == (best, found[best])
    assert [step for step in found if step > best] == [best + 3, best + 6, best + 9]
    assert len(steps_of(early)) == 3 and best in steps_of(early) and same_adapter(early, best)
    assert f"Step {best} is kept" in result["message"] and events_of(early, "best")[-1]["step"] == best


def test_a_finished_run_is_described_by_a_signed_manifest(early: Path) -> None:
    key = read_key(early, "run.key")
    document = json.loads((early / "manifest.json").read_text(encoding="utf-8"))
    assert mistakes(early, document, key) == [] and {"spec.json", "adapter/adapter_model.safetensors"} <= document["files"].keys()


def test_the_last_step_is_kept_when_the_best_was_not_asked_for(new_run: NewRun, nursery: Nursery) -> None:
    folder = new_run(**SHORT, max_steps=60, learning_rate=0.05, eval_steps=3, save_steps=1, patience=3, keep_best=False)
    assert nursery.run(folder) == 0, log_of(folder)
    result = result_of(folder)
    assert result["stopped_early"] and result["best_step"] is None and same_adapter(folder, result["step"])


def test_without_validation_rows_patience_is_a_warning(new_run: NewRun, nursery: Nursery) -> None:
    folder = new_run(**SHORT, max_steps=2, patience=1)
    (folder / "data" / "validation.jsonl").unlink()
    assert nursery.run(folder) == 0, log_of(folder)
    assert "no validation rows" in events_of(folder, "warning")[0]["text"] and not result_of(folder)["stopped_early"]


def test_an_exploding_loss_ends_the_run_and_keeps_the_checkpoint_from_before(new_run: NewRun, nursery: Nursery) -> None:
    # A model with a last norm can't lose more than a guess does: the bound is lowered to what this one can reach.
    wild = {"learning_rate": 1.0, "warmup_ratio": 0.5, "lora_alpha": 4096, "lora_r": 1, "explode": 1.03}
    folder = new_run(**SHORT, **wild, max_steps=60, save_steps=5)
    assert nursery.run(folder) == 1
    result, told = result_of(folder), events_of(folder, "diverged")[0]
    assert (result["outcome"], result["error_kind"]) == ("failed", "diverged") and "learning_rate 0.5" in result["message"]
    assert steps_of(folder)[0] == told["kept"] < told["first"] - 1 and f"step {told['kept']}" in result["message"]


@pytest.mark.parametrize("wish", ["checkpoint.before_seal:3:raise", "event:22:raise", "adapter.before_move:1:raise"])
@proves("F21", "the disk is full during a checkpoint",
        "the run fails cleanly, the last whole checkpoint is kept, the partial one removed")
def test_a_full_disk_fails_the_run_keeps_the_last_checkpoint_and_it_goes_on_later(
    wish: str, new_run: NewRun, nursery: Nursery, undisturbed: Path
) -> None:
    folder = keyed(new_run(**FIELDS))
    assert nursery.run(folder, wish) == 1, log_of(folder)
    result = result_of(folder)
    assert (result["outcome"], result["error_kind"]) == ("failed", "disk") and not (folder / "cache").exists()
    checkpoints = Checkpoints(folder / "checkpoints")
    assert checkpoints.steps() and all((checkpoints.path(step) / "complete.json").is_file() for step in checkpoints.steps())
    assert nursery.run(folder) == 0, log_of(folder)
    agree(folder, undisturbed)


def test_a_disk_too_full_for_the_result_has_an_exit_status_of_its_own(new_run: NewRun, nursery: Nursery) -> None:
    folder = new_run(**SHORT, max_steps=1)
    assert nursery.run(folder, "result.before:1:raise") == 74 and not (folder / "result.json").exists()


def small_disk(kib: int) -> list[str]:
    """The words before a command that give it a small disk in its folder's `checkpoints`; none where that is not allowed."""
    script = 'mount -t tmpfs -o size=$0k tmpfs checkpoints && "$@"; rc=$?; ls checkpoints > left.txt; exit $rc'
    if shutil.which("unshare") is None:
        return []
    tried = subprocess.run(["unshare", "-rm", "sh", "-c", "mount -t tmpfs tmpfs /mnt"], capture_output=True)
    return ["unshare", "-rm", "sh", "-c", script, str(kib)] if tried.returncode == 0 else []


@pytest.mark.parametrize("kib", [pytest.param(ADAPTER_FITS_NOT, id="in safetensors"), pytest.param(OPTIMIZER_FITS_NOT, id="in torch")])
@proves("F21", "the disk is full during a checkpoint",
        "the run fails cleanly, the last whole checkpoint is kept, the partial one removed")
def test_a_disk_that_is_really_full_is_named_and_the_partial_checkpoint_is_gone(
    kib: int, new_run: NewRun, environ: dict[str, str], python: str
) -> None:
    before = small_disk(kib)
    if not before:
        pytest.skip("this machine lets nobody mount a small disk in a namespace")
    folder = new_run(**SHORT, max_steps=6, save_steps=2)
    (folder / "checkpoints").mkdir()
    command = [*before, python, "-m", "tools.engine", "train", "."]
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=100)
    assert done.returncode == 1, done.stderr
    assert result_of(folder)["error_kind"] == "disk", log_of(folder)
    assert (folder / "left.txt").read_text().split() == ["checkpoint-2"]


def test_a_stop_during_an_evaluation_is_made_up_for_by_the_next_attempt(new_run: NewRun, nursery: Nursery, undisturbed: Path) -> None:
    folder = keyed(new_run(**FIELDS))
    assert nursery.run(folder, "evaluate:2:stop") == 75, log_of(folder)
    assert result_of(folder)["outcome"] == "cancelled" and [event["step"] for event in events_of(folder, "eval")] == [4]
    assert steps_of(folder)[0] == 8
    assert nursery.run(folder) == 0, log_of(folder)
    assert [event["step"] for event in events_of(folder, "eval")] == [4, 8, 12, 16]
    agree(folder, undisturbed)


def other_data(folder: Path) -> None:
    with (folder / "data" / "train.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"text": "one more"}\n')


def other_weights(folder: Path) -> None:
    path = folder / "model" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")


@pytest.mark.parametrize(
    ("harm", "kind", "says"),
    [
        pytest.param(lambda folder: edit(folder, learning_rate=0.02), "changed", "learning_rate was 0.01, is 0.02", id="a setting"),
        pytest.param(other_data, "changed", "the data was", id="the data"),
        pytest.param(other_weights, "changed", "the base model's weights were", id="the base weights"),
        pytest.param(lambda folder: (folder / "run.key").write_bytes(b"x" * 32), "foreign", "not sealed by this run", id="another key"),
        pytest.param(lambda folder: (folder / "run.key").unlink(), "foreign", "run.key can't be read", id="no key"),
        pytest.param(lambda folder: edit(folder, key_path=None), "foreign", "not sealed by this run", id="the key taken from the spec"),
    ],
)
def test_a_run_does_not_go_on_under_something_else(
    harm: Callable[[Path], object], kind: str, says: str, new_run: NewRun, nursery: Nursery, tiny: Path
) -> None:
    folder = keyed(new_run(**SHORT, max_steps=6, save_steps=2, key_path="run.key"))
    shutil.copytree(tiny, folder / "model")
    edit(folder, model_dir=str(folder / "model"))
    assert nursery.run(folder, "event:10") == -9, log_of(folder)
    harm(folder)
    before = steps_of(folder)
    assert nursery.run(folder) == 1, log_of(folder)
    result = result_of(folder)
    assert (result["error_kind"], result["outcome"]) == (kind, "failed") and says in result["message"] and steps_of(folder) == before


def other_adapter(folder: Path) -> None:
    (folder / "adapter" / "adapter_model.safetensors").write_bytes(b"others")


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        pytest.param(lambda folder: edit(folder, lora_alpha=99), "lora_alpha was 16, is 99", id="a setting"),
        pytest.param(other_adapter, "the adapter is not the one that was trained", id="the adapter"),
    ],
)
def test_what_was_trained_is_not_scored_under_something_else(
    harm: Callable[[Path], object], says: str, new_run: NewRun, nursery: Nursery
) -> None:
    folder = new_run(**SHORT, max_steps=2)
    assert nursery.run(folder, "result.before") == -9, log_of(folder)
    harm(folder)
    assert nursery.run(folder) == 1 and says in result_of(folder)["message"]
