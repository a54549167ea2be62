"""What the training loop tells and asks: events out, a stop in, checkpoints sealed, a watch on what is learned."""

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from tools.engine import fault
from tools.engine.checkpoints import Checkpoints
from tools.engine.events import Events
from tools.engine.failure import Cancelled, EngineFailed
from tools.engine.stop import Stop
from tools.engine.watchdog import Diverged, Standing, Watchdog, standing

WINDOW = 10
"""Steps that the speed is averaged over."""


TRIM = 256
"""Steps after which old losses are dropped from the state that every checkpoint repeats: `events.jsonl` has them all."""


class EvaluationStopped(Exception):
    """A stop was asked while held-out rows were being scored in the training loop."""


class Reporter(TrainerCallback):
    """Appends events, seals and prunes checkpoints, carries out a stop, and ends a training that learns no more."""

    def __init__(
        self, events: Events, stop: Stop, memory: Callable[[], int], checkpoints: Checkpoints,
        *, patience: int | None = None, keep_best: bool = False, explode: float = 4.0, gpu_use: Callable[[], float | None] = lambda: None,
    ) -> None:  # fmt: skip
        """`memory` gives the bytes held now, `gpu_use` the share (0..1) that the GPU works; the rest is as in the spec."""
        self.events, self.stop, self.memory, self.checkpoints = events, stop, memory, checkpoints
        self.gpu_use = gpu_use
        self.patience, self.keep_best, self._explode = patience, keep_best, explode
        self.step, self.loss, self.eval_loss = 0, None, None
        self.standing = Standing()
        self.error: BaseException | None = None
        """What ended the loop; Olive swallows it."""
        self.evaluate: Callable[[], object] = lambda: None
        """Scores the validation rows; the Trainer sets it."""
        self._watchdog = Watchdog(explode)
        self._pace: deque[tuple[float, int]] = deque(maxlen=WINDOW)
        self._begun = 0.0
        self._seen = 0

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Take up what the checkpoint remembers of losses and evaluations; make up for an evaluation that a stop broke off."""
        self._watchdog = Watchdog(self._explode, [(int(log["step"]), float(log["loss"])) for log in state.log_history if "loss" in log])
        known = evaluations(state.log_history)
        self.standing = standing(known)
        due = args.eval_strategy == "steps" and state.global_step > 0 and state.global_step % state.eval_steps == 0
        if due and state.global_step not in dict(known):
            self.evaluate()

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Start the step's clock: time spent in evaluation and saving is no training time."""
        self._begun, self._seen = time.perf_counter(), int(state.num_input_tokens_seen)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Count the step; after a stop ask for a checkpoint and the end."""
        self._pace.append((time.perf_counter() - self._begun, int(state.num_input_tokens_seen) - self._seen))
        self.step = state.global_step
        if self.stop.asked:
            control.should_save = True
            control.should_training_stop = True

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **kwargs: Any) -> None:
        """Append what was measured; numbers come from here, for printed logs are strings."""
        logs = logs or {}
        if "eval_loss" in logs:
            self.eval_loss = float(logs["eval_loss"])
            self.events.add("eval", step=state.global_step, eval_loss=self.eval_loss)
        if "loss" not in logs:
            return
        loss = float(logs["loss"])
        seconds, tokens = sum(s for s, _ in self._pace), sum(t for _, t in self._pace)
        self.events.add(
            "step",
            step=state.global_step,
            steps=state.max_steps,
            epoch=round(state.epoch or 0.0, 4),
            loss=loss,
            grad_norm=float(logs["grad_norm"]) if "grad_norm" in logs else None,
            learning_rate=float(logs.get("learning_rate", 0.0)),
            tokens_per_s=round(tokens / seconds, 2) if seconds > 0 else None,
            tokens=int(state.num_input_tokens_seen),
            memory_bytes=self.memory(),
            gpu_use=self.gpu_use(),
            cpu_s=round(time.process_time(), 3),
            seconds=round(self._pace[-1][0], 3) if self._pace else None,
        )
        wrong = self._watchdog.see(state.global_step, loss)
        if wrong is not None:
            raise self.diverged(wrong, args.learning_rate)
        self.loss = loss
        if state.global_step % TRIM == 0:
            state.log_history[:] = [log for log in state.log_history if "eval_loss" in log or log["step"] > state.global_step - TRIM // 4]

    def diverged(self, wrong: Diverged, learning_rate: float) -> EngineFailed:
        """Remove the checkpoints that are in doubt, tell it, and give the failure with the learning rate to try."""
        self.checkpoints.remove_from(wrong.doubtful)
        kept = self.checkpoints.newest_before(wrong.doubtful)
        self.events.add("diverged", step=wrong.step, first=wrong.first, loss=wrong.loss, median=wrong.median, kept=kept)
        left = "No checkpoint was taken before" if kept is None else f"The checkpoint of step {kept}, taken before, is kept"
        return EngineFailed("diverged", f"{wrong.says()}. {left}. Start a new run with learning_rate {learning_rate / 2:g}.")

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Ask for a checkpoint of the best evaluation, and for the end when patience is over."""
        before, self.standing = self.standing, standing(evaluations(state.log_history))
        if self.keep_best and self.standing.best_step == state.global_step != before.best_step:
            control.should_save = True
            self.events.add("best", step=state.global_step, eval_loss=self.standing.best_loss)
        if self.standing.is_over(self.patience):
            control.should_training_stop = True

    def on_prediction_step(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Leave an evaluation as soon as a stop is asked."""
        fault.point("evaluate")
        if self.stop.asked:
            raise EvaluationStopped

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Seal the checkpoint that was just written, then prune; in doubt of the newest, the one before the doubt stays."""
        path = self.checkpoints.seal(state.global_step)
        self.events.add("checkpoint", step=state.global_step, path=f"{path.parent.name}/{path.name}")
        doubt = self._watchdog.first
        good = None if doubt is None else self.checkpoints.newest_before(doubt - 1)
        self.checkpoints.prune((self.standing.best_step if self.keep_best else None, good))

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Leave by a BaseException when a stop cut steps off: an ordinary return would be saved, and cached, as finished."""
        if self.stop.asked and state.global_step < state.max_steps:
            raise Cancelled


def evaluations(log_history: list[dict[str, Any]]) -> list[tuple[int, float]]:
    """Step and validation loss of every evaluation that a trainer state remembers, oldest first."""
    return [(int(log["step"]), float(log["eval_loss"])) for log in log_history if "eval_loss" in log]
