"""A run from its spec to its result: finished, cancelled, resumed, failed."""

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engine.conftest import edit, events_of, result_of
from tools.engine.spec import RunResult
from tools.engine.train import train

Start = Callable[..., "subprocess.Popen[str]"]
NewRun = Callable[..., Path]


def wait_for(child: "subprocess.Popen[str]", folder: Path, kind: str, step: int) -> None:
    """Wait until an event of that kind has reached that step."""
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline:
        assert child.poll() is None, (folder / "log.txt").read_text(encoding="utf-8")[-2000:]
        if (folder / "events.jsonl").exists() and any(event["step"] >= step for event in events_of(folder, kind)):
            return
        time.sleep(0.01)
    raise AssertionError(f"no {kind} event reached step {step}")


def test_a_run_leaves_an_adapter_served_files_scores_and_a_result(finished: Path) -> None:
    result = RunResult.model_validate(result_of(finished))
    assert (result.outcome, result.step, result.steps) == ("finished", 6, 6)
    assert result.adapter_dir == "adapter" and (finished / "adapter" / "adapter_model.safetensors").is_file()
    assert result.served_dir == "served" and (finished / "served" / "genai_config.json").is_file()
    assert all(score is not None and score.rows == 4 for score in (result.baseline, result.tuned, result.base_served, result.exported))
    assert result.tuned and result.baseline and result.tuned.loss is not None and result.baseline.loss is not None
    assert result.tuned.loss < result.baseline.loss
    assert result.peak_memory_bytes > 100_000_000


def test_its_events_tell_stages_steps_evaluations_checkpoints_and_scores_in_order(finished: Path) -> None:
    stages = [event["stage"] for event in events_of(finished, "stage")]
    assert stages == ["prepare", "train", "score", "baseline", "export", "score_export", "done"]
    steps = events_of(finished, "step")
    assert [event["step"] for event in steps] == [1, 2, 3, 4, 5, 6]
    assert all(event["steps"] == 6 and event["tokens_per_s"] > 0 and event["memory_bytes"] > 0 for event in steps)
    assert steps[-1]["loss"] < steps[0]["loss"]
    assert [event["step"] for event in events_of(finished, "eval")] == [3, 6]
    assert [event["path"] for event in events_of(finished, "checkpoint")][-1] == "checkpoints/checkpoint-6"
    assert [event["which"] for event in events_of(finished, "score")] == ["tuned", "baseline", "exported", "base_served"]
    assert events_of(finished)[-1]["kind"] == "end"


def test_it_records_threads_versions_processor_dtype_seed_and_digests(finished: Path) -> None:
    started = json.loads((finished / "started.json").read_text(encoding="utf-8"))
    assert started["threads"] == 1 and started["dtype"] in ("float32", "bfloat16") and started["seed"] == 0
    assert {"torch", "olive-ai", "peft", "python"} <= started["versions"].keys()
    assert started["digests"]["model"] == "m" and len(started["digests"]["rows_sha256"]) == 64


def test_no_pickle_of_arguments_and_no_copy_of_the_base_model_stay(finished: Path) -> None:
    names = [path.name for path in finished.rglob("*")]
    assert "training_args.bin" not in names and "model.safetensors" not in names
    assert not (finished / "cache").exists() and not (finished / "merged").exists()


def test_a_run_reaches_out_to_nobody(finished: Path, environ: dict[str, str]) -> None:
    assert result_of(finished)["outcome"] == "finished"
    attempts = Path(environ["LUTHIER_TEST_TRAP"])
    assert not attempts.exists(), attempts.read_text(encoding="utf-8")


def losses(folder: Path) -> list[float]:
    """The loss of every step."""
    return [event["loss"] for event in events_of(folder, "step")]


def adapter(folder: Path) -> bytes:
    """The tuned weights, byte for byte."""
    return (folder / "adapter" / "adapter_model.safetensors").read_bytes()


def test_neither_evaluating_nor_saving_changes_what_is_learned(finished: Path, new_run: NewRun, start: Start) -> None:
    folder = new_run(export=None, eval_steps=50, save_steps=50)
    child = start(folder, "train", ".")
    child.communicate(timeout=100)
    assert child.returncode == 0
    assert losses(folder) == losses(finished)
    assert adapter(folder) == adapter(finished)


def stop_at_the_first_step(new_run: NewRun, start: Start) -> tuple[Path, subprocess.Popen[str], float]:
    """A run of six steps that is asked to stop at its first: its folder, its ended process, and the seconds that took."""
    folder = new_run(export=None, max_steps=6, save_steps=50)
    child = start(folder, "train", ".")
    wait_for(child, folder, "step", 1)
    asked = time.monotonic()
    child.send_signal(signal.SIGTERM)
    child.communicate(timeout=60)
    return folder, child, time.monotonic() - asked


def test_a_stopped_run_resumes_at_its_step_and_ends_as_an_undisturbed_one(finished: Path, new_run: NewRun, start: Start) -> None:
    # Six tiny steps can be over before the signal arrives: another try then, but an engine that is deaf to it fails here.
    for _ in range(5):
        folder, child, took_s = stop_at_the_first_step(new_run, start)
        if child.returncode != 0:
            break
    else:
        pytest.fail("five runs in a row ended as if nobody had asked them to stop")
    stopped = result_of(folder)
    assert child.returncode == 75 and stopped["outcome"] == "cancelled" and 1 <= stopped["step"] < 6
    assert took_s < 20
    assert events_of(folder)[-1]["outcome"] == "cancelled"

    child = start(folder, "train", ".")
    child.communicate(timeout=120)
    assert child.returncode == 0
    assert [event["step"] for event in events_of(folder, "step")] == [1, 2, 3, 4, 5, 6]
    assert losses(folder) == losses(finished)
    assert adapter(folder) == adapter(finished)
    assert len(json.loads((folder / "started.json").read_text(encoding="utf-8"))["attempts"]) == 2
    assert result_of(folder)["served_dir"] is None


def test_a_stop_while_it_prepares_ends_at_once(new_run: NewRun, start: Start) -> None:
    folder = new_run()
    child = start(folder, "train", ".")
    deadline = time.monotonic() + 30
    while not (folder / "events.jsonl").exists() or not events_of(folder, "stage"):
        assert time.monotonic() < deadline and child.poll() is None
        time.sleep(0.01)
    child.send_signal(signal.SIGTERM)
    child.communicate(timeout=20)
    assert child.returncode == 75 and result_of(folder)["outcome"] == "cancelled"
    assert result_of(folder)["adapter_dir"] is None


def test_a_killed_run_goes_on_from_its_last_complete_checkpoint(new_run: NewRun, start: Start) -> None:
    folder = new_run(export=None, score_rows=0, max_steps=8, method="lora", save_steps=2)
    child = start(folder, "train", ".")
    wait_for(child, folder, "checkpoint", 2)
    child.kill()
    child.communicate(timeout=20)
    broken = folder / "checkpoints" / "checkpoint-7"
    broken.mkdir()
    (broken / "trainer_state.json").write_text("{}", encoding="utf-8")
    child = start(folder, "train", ".")
    child.communicate(timeout=120)
    assert child.returncode == 0, (folder / "log.txt").read_text(encoding="utf-8")[-2000:]
    assert result_of(folder)["step"] == 8 and not broken.exists()
    assert events_of(folder, "step")[-1]["step"] == 8


def corrupt_row(folder: Path) -> None:
    (folder / "data" / "train.jsonl").write_text('{"messages": [\n', encoding="utf-8")


def pickle_only(folder: Path) -> None:
    model = folder / "pickled"
    model.mkdir()
    (model / "config.json").write_text("{}", encoding="utf-8")
    (model / "pytorch_model.bin").write_bytes(b"")
    edit(folder, model_dir=str(model))


@pytest.mark.parametrize(
    ("harm", "kind", "words"),
    [
        pytest.param(corrupt_row, "data", "row 1 of train.jsonl", id="a row that is no JSON"),
        pytest.param(lambda folder: edit(folder, max_length=8), "data", "Raise max_length", id="every row too long"),
        pytest.param(pickle_only, "model", "safetensors", id="weights in a pickle only"),
        pytest.param(lambda folder: edit(folder, model_dir="/nowhere"), "model", "config.json", id="no such model"),
        pytest.param(lambda folder: edit(folder, surprise=1), "bug", "spec.json", id="a field the spec does not know"),
        pytest.param(lambda folder: edit(folder, method="full"), "model", "qlora or lora", id="full fine-tuning"),
    ],
)
def test_what_can_not_be_done_fails_with_its_kind_and_a_sentence(
    harm: Callable[[Path], None], kind: str, words: str, new_run: NewRun, start: Start
) -> None:
    folder = new_run()
    harm(folder)
    child = start(folder, "train", ".")
    child.communicate(timeout=60)
    result = result_of(folder)
    assert child.returncode == 1 and (result["outcome"], result["error_kind"]) == ("failed", kind)
    assert words in result["message"] and "Traceback" not in result["message"] and "\n" not in result["message"]
    assert events_of(folder)[-1]["kind"] == "end"


def test_train_is_what_the_verb_runs() -> None:
    assert callable(train)
