"""What the training loop's callback does with losses, evaluations and checkpoints."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from transformers import TrainerControl, TrainerState, TrainingArguments

from tools.engine.callback import Reporter
from tools.engine.checkpoints import Checkpoints, last_complete
from tools.engine.events import Events
from tools.engine.failure import EngineFailed
from tools.engine.stop import Stop


class Loop:
    """A training loop that only calls back: as the Trainer does, log first, then evaluate, then save."""

    def __init__(self, folder: Path, **fields: Any) -> None:
        self.checkpoints = Checkpoints(folder / "checkpoints")
        self.reporter = Reporter(Events(folder), Stop(lambda: None), lambda: 0, self.checkpoints, **fields)
        self.args = TrainingArguments(output_dir=str(folder / "checkpoints"), learning_rate=0.01, eval_strategy="steps", eval_steps=2)
        self.state, self.control = TrainerState(max_steps=99, eval_steps=2), TrainerControl()

    def step(self, loss: float, eval_loss: float | None = None, save: bool = True) -> TrainerControl:
        """One step."""
        reporter, args, state, control = self.reporter, self.args, self.state, self.control
        control.should_save = save
        state.global_step += 1
        reporter.on_step_begin(args, state, control)
        reporter.on_step_end(args, state, control)
        self._log({"loss": loss})
        if eval_loss is not None:
            self._log({"eval_loss": eval_loss})
            reporter.on_evaluate(args, state, control)
        if control.should_save:
            path = self.checkpoints.path(state.global_step)
            path.mkdir(parents=True, exist_ok=True)
            (path / "adapter_model.safetensors").write_bytes(b"w")
            reporter.on_save(args, state, control)
        return control

    def _log(self, logs: dict[str, float]) -> None:
        self.state.log_history.append({**logs, "step": self.state.global_step})
        self.reporter.on_log(self.args, self.state, self.control, logs=logs)


def test_a_loss_that_is_no_number_leaves_only_checkpoints_whose_weights_were_judged_good(tmp_path: Path) -> None:
    loop = Loop(tmp_path)
    for _ in range(5):
        loop.step(2.0)
    with pytest.raises(EngineFailed, match=r"step 6\. The checkpoint of step 4, .* learning_rate 0.005") as caught:
        loop.step(math.nan)
    assert caught.value.kind == "diverged" and loop.checkpoints.steps() == [4]


def test_while_the_loss_explodes_the_last_good_checkpoint_outlives_newer_ones(tmp_path: Path) -> None:
    loop = Loop(tmp_path)
    for _ in range(20):
        loop.step(2.0)
    loop.step(9.0)
    loop.step(9.0)
    assert loop.checkpoints.steps() == [22, 21, 19]
    with pytest.raises(EngineFailed, match="The checkpoint of step 19"):
        loop.step(9.0)
    assert loop.checkpoints.steps() == [19]
    told = json.loads((tmp_path / "events.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    assert (told["kind"], told["first"], told["step"], told["kept"]) == ("diverged", 21, 23, 19)


def test_without_a_checkpoint_from_before_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(EngineFailed, match="No checkpoint was taken before"):
        Loop(tmp_path).step(math.inf)


def test_a_better_evaluation_is_saved_and_the_best_one_is_never_pruned(tmp_path: Path) -> None:
    loop = Loop(tmp_path, patience=3, keep_best=True)
    for eval_loss in (3.0, 2.0, 2.5, 2.4, 2.3):
        assert not loop.step(1.0, save=True).should_training_stop
        loop.step(1.0, eval_loss, save=False)
    assert loop.control.should_training_stop and loop.reporter.standing.best_step == 4
    assert loop.checkpoints.steps() == [9, 7, 4]


def test_losses_and_evaluations_of_a_checkpoint_are_taken_up_and_a_missing_evaluation_is_made_up_for(tmp_path: Path) -> None:
    loop, asked = Loop(tmp_path, patience=1, keep_best=True), list[int]()
    loop.reporter.evaluate = lambda: asked.append(1)
    loop.state.global_step = 4
    loop.state.log_history = [{"eval_loss": 2.0, "step": 2}, *({"loss": 2.0, "step": n} for n in range(1, 21))]
    loop.reporter.on_train_begin(loop.args, loop.state, loop.control)
    assert asked == [1] and loop.reporter.standing.best_step == 2
    loop.state.log_history.append({"eval_loss": 2.5, "step": 4})
    loop.reporter.on_train_begin(loop.args, loop.state, loop.control)
    assert asked == [1] and loop.reporter.standing.is_over(1)


def test_the_state_that_every_checkpoint_repeats_stays_small_and_keeps_its_evaluations(tmp_path: Path) -> None:
    loop = Loop(tmp_path)
    for at in range(1, 1025):
        loop.step(2.0, 3.0 if at % 100 == 0 else None, save=False)
    history = loop.state.log_history
    assert [log["step"] for log in history if "eval_loss" in log] == [100 * n for n in range(1, 11)]
    assert [log["step"] for log in history if "loss" in log] == list(range(961, 1025))


def test_what_is_saved_is_sealed(tmp_path: Path) -> None:
    loop = Loop(tmp_path)
    loop.step(2.0)
    found = last_complete(tmp_path / "checkpoints")
    assert found is not None and found.step == 1


@pytest.mark.parametrize("use", [0.93, None], ids=["a gpu", "a cpu"])
def test_a_step_tells_how_busy_the_gpu_is(tmp_path: Path, use: float | None) -> None:
    Loop(tmp_path, gpu_use=lambda: use).step(2.0)
    told = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [event["gpu_use"] for event in told if event["kind"] == "step"] == [use]
