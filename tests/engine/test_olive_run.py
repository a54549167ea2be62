"""Driving Olive: only settings it knows, only adapters it made now, and its failures heard."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import TrainerControl, TrainerState, TrainingArguments

from tools.engine import olive_run
from tools.engine.callback import Reporter
from tools.engine.checkpoints import Checkpoints
from tools.engine.data import Encoded
from tools.engine.events import Events
from tools.engine.failure import EngineFailed
from tools.engine.olive_run import Material, check_arguments, count_steps, linear_targets, tune, workflow
from tools.engine.spec import TrainSpec
from tools.engine.stop import Stop

ROWS = [Encoded((1, 5, 6, 2), (False, False, True, True))] * 4


class NoOutput:
    """What Olive returns when its pass failed and was swallowed."""

    def has_output_model(self) -> bool:
        return False


@pytest.fixture
def spec(new_run: Callable[..., Path]) -> TrainSpec:
    return TrainSpec.model_validate_json((new_run() / "spec.json").read_text(encoding="utf-8"))


def reporter_in(folder: Path) -> Reporter:
    return Reporter(Events(folder), Stop(lambda: None), lambda: 0, Checkpoints(folder / "checkpoints"))


def test_an_end_without_an_adapter_is_a_failure(spec: TrainSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("olive.workflows.run", lambda *_args, **_kwargs: NoOutput())
    with pytest.raises(EngineFailed) as caught:
        tune(spec, Material(ROWS, (), "0" * 64), 1, "float32", tmp_path, tmp_path / "cache", reporter_in(tmp_path), None)
    assert caught.value.kind == "no_adapter"


def test_what_olive_swallows_is_raised(spec: TrainSpec, tmp_path: Path) -> None:
    broken = spec.model_copy(update={"max_steps": 1, "model_dir": str(tmp_path)})
    with pytest.raises(Exception) as caught:
        tune(broken, Material(ROWS, (), "0" * 64), 1, "float32", tmp_path, tmp_path / "cache", reporter_in(tmp_path), None)
    assert not isinstance(caught.value, EngineFailed)


def test_a_setting_that_nobody_knows_is_refused(spec: TrainSpec) -> None:
    with pytest.raises(EngineFailed, match="warmup_ratio_of_mine"):
        check_arguments({"max_steps": 1, "warmup_ratio_of_mine": 0.1})


def test_the_workflow_carries_the_data_in_its_name_and_no_script(spec: TrainSpec, tmp_path: Path) -> None:
    one = workflow(spec, 3, "float32", tmp_path, tmp_path / "cache", "a" * 64, None, evaluate=True)
    other = workflow(spec, 3, "float32", tmp_path, tmp_path / "cache", "b" * 64, None, evaluate=True)
    assert one["workflow_id"] != other["workflow_id"] and "user_script" not in str(one)
    assert one["passes"]["tune"]["torch_dtype"] == "float32"
    assert one["input_model"]["load_kwargs"]["attn_implementation"] == "sdpa"


def test_lora_tunes_every_linear_layer_but_the_head(tiny: Path) -> None:
    assert linear_targets(tiny) == ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]


@pytest.mark.parametrize(
    ("fields", "rows", "steps"),
    [
        ({"max_steps": 60, "epochs": 1, "batch_size": 4}, 40, 10),
        ({"max_steps": 5, "epochs": 9, "batch_size": 4}, 40, 5),
        ({"max_steps": 60, "epochs": 1, "batch_size": 4, "grad_accumulation": 4}, 41, 3),
        ({"max_steps": 60, "epochs": 0.1, "batch_size": 4}, 3, 1),
    ],
)
def test_steps_end_with_the_epochs_or_the_limit_whichever_is_first(fields: dict[str, Any], rows: int, steps: int, spec: TrainSpec) -> None:
    assert count_steps(spec.model_copy(update=fields), rows) == steps


def test_a_loss_that_is_no_number_ends_the_run_as_diverged(tmp_path: Path) -> None:
    reporter = reporter_in(tmp_path)
    state = TrainerState(global_step=7, max_steps=9)
    with pytest.raises(EngineFailed, match="step 7") as caught:
        reporter.on_log(TrainingArguments(output_dir=str(tmp_path)), state, TrainerControl(), logs={"loss": math.nan})
    assert caught.value.kind == "diverged"
    assert '"loss": null' in (tmp_path / "events.jsonl").read_text(encoding="utf-8")


def test_only_adapters_made_now_count() -> None:
    assert olive_run.ADAPTER == "adapter_model.safetensors"
