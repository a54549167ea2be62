"""The Trainer that Olive gets: it reports, can be stopped, writes safetensors only, and keeps its weights as they were quantised."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from tools.engine.callback import EvaluationStopped, Reporter


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
            reporter.evaluate = lambda: self._evaluate(None, None)
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
