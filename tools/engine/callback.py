"""What the training loop tells and asks: events out, a stop in, checkpoints sealed, no pickle of arguments written."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from tools.engine.checkpoints import seal
from tools.engine.events import Events
from tools.engine.failure import Cancelled, EngineFailed
from tools.engine.stop import Stop

WINDOW = 10
"""Steps that the speed is averaged over."""


class EvaluationStopped(Exception):
    """A stop was asked while held-out rows were being scored in the training loop."""


class Reporter(TrainerCallback):
    """Appends step, eval and checkpoint events and carries out a stop."""

    def __init__(self, events: Events, stop: Stop, memory: Callable[[], int]) -> None:
        """`memory` gives the bytes held now."""
        self.events, self.stop, self.memory = events, stop, memory
        self.step, self.loss, self.eval_loss = 0, None, None
        self.error: BaseException | None = None
        """What ended the loop; Olive swallows it."""
        self._pace: deque[tuple[float, int]] = deque(maxlen=WINDOW)
        self._begun = 0.0
        self._seen = 0

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
            cpu_s=round(time.process_time(), 3),
            seconds=round(self._pace[-1][0], 3) if self._pace else None,
        )
        if not math.isfinite(loss):
            step = state.global_step
            raise EngineFailed("diverged", f"The loss stopped being a number at step {step}. Lower the learning rate and start again.")
        self.loss = loss

    def on_prediction_step(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Leave an evaluation as soon as a stop is asked."""
        if self.stop.asked:
            raise EvaluationStopped

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Seal the checkpoint that was just written."""
        path = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
        seal(path)
        self.events.add("checkpoint", step=state.global_step, path=f"{path.parent.name}/{path.name}")

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Leave by a BaseException when steps are missing: an ordinary return would be saved, and cached, as finished."""
        if self.stop.asked and state.global_step < state.max_steps:
            raise Cancelled


def keep_quantised_weights(model: Any) -> None:
    """Keep bitsandbytes from repacking 4-bit weights at the first evaluation on a processor with AVX512-BF16.

    The packed form rounds the scales to bfloat16 and stays for training, so that the weights a run trains on would depend on
    when it was evaluated, saved or resumed (bitsandbytes 0.50.2, `Linear4bit.forward`, 2026-11).
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


@contextmanager
def reported(reporter: Reporter) -> Iterator[None]:
    """While this is open, the Trainer that Olive builds reports, can be stopped and writes safetensors only.

    Olive takes `transformers.Trainer` and offers no other way in (olive-ai 0.13.0, 2026-11). It is set in the module object that
    Olive holds: transformers replaces its own entry in sys.modules while it loads, so two imports may hold two objects.
    """
    from olive.passes.pytorch import lora

    held: Any = lora.transformers
    original = held.Trainer

    class ReportedTrainer(original):
        """The Trainer that Olive gets."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.add_callback(reporter)
            keep_quantised_weights(self.model)

        def train(self, *args: Any, **kwargs: Any) -> Any:
            """Train, and remember what ended it."""
            try:
                with reporter.stop.stepping():
                    return super().train(*args, **kwargs)
            except BaseException as error:
                reporter.error = error
                raise

        def _evaluate(self, *args: Any, **kwargs: Any) -> Any:
            """Evaluate, unless a stop comes: then save here and end.

            An evaluation draws random numbers for its loader; with the state put back, a run that was stopped inside one
            goes on with the dropout masks of an undisturbed run.
            """
            try:
                with torch.random.fork_rng():
                    return super()._evaluate(*args, **kwargs)
            except EvaluationStopped:
                self.control.should_evaluate = False
                self.control.should_save = True
                self.control.should_training_stop = True
                return {}

        def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
            """Save the adapter as safetensors; the Trainer's own adds a pickle of its arguments."""
            model: Any = self.model
            model.save_pretrained(output_dir or self.args.output_dir, state_dict=state_dict, save_embedding_layers=False)

    held.Trainer = ReportedTrainer
    try:
        yield
    finally:
        held.Trainer = original
