"""What a run's events say so far: a fold over `events.jsonl`, pure, one small value however long the run."""

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import JsonValue

from tools.runs.logs import clean_line

_PACE = 30
"""Recent steps that the pace is taken from."""
_WARNINGS = 20
_LONGEST = 4000


@dataclass(frozen=True, slots=True)
class Progress:
    """The last numbers of a run."""

    phase: str = ""
    step: int = 0
    steps: int = 0
    epoch: float | None = None
    loss: float | None = None
    eval_loss: float | None = None
    learning_rate: float | None = None
    grad_norm: float | None = None
    tokens_per_s: float | None = None
    memory_bytes: int | None = None
    """Held at the last step, on the device that trains."""
    peak_memory_bytes: int | None = None
    gpu_use: float | None = None
    """Share of the last second that the GPU worked, 0..1; None on a CPU, or where the driver does not say."""
    scores: Mapping[str, JsonValue] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    said: str = ""
    fraction: float | None = None
    outcome: str = ""
    checkpoint: int = 0
    """The step of the newest checkpoint that the run says it has kept."""
    events: int = 0
    step_times: tuple[tuple[int, float], ...] = ()
    """(step, unix seconds) of the recent steps."""
    cpu_times: tuple[tuple[float, float], ...] = ()
    """(unix seconds, processor seconds of the engine) of the recent steps."""

    @property
    def cores_busy(self) -> float | None:
        """How many cores the engine kept busy over the recent steps; None before the second one."""
        if len(self.cpu_times) < 2:
            return None
        (began, before), (ended, after) = self.cpu_times[0], self.cpu_times[-1]
        return round((after - before) / (ended - began), 2) if ended > began and after >= before else None


def _number(value: Any) -> float | None:
    try:
        number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    except OverflowError:
        return None
    return number if number is not None and math.isfinite(number) else None


def _share(value: Any) -> float | None:
    number = _number(value)
    return None if number is None else min(1.0, max(0.0, number))


def _told(value: Any) -> str:
    """Words out of a run's own file as a person may see them."""
    return clean_line(str(value or "").replace("\n", " ")[:_LONGEST])


def fold(progress: Progress, event: Mapping[str, Any]) -> Progress:
    """`progress` after one more event; an event of an unknown kind or shape changes nothing but the count."""
    if event.get("kind") == "step":  # by far the most events are these
        return _stepped(progress, event)
    progress = replace(progress, events=progress.events + 1)
    match event.get("kind"):
        case "stage":
            return replace(progress, phase=str(event.get("stage", ""))[:40], said="", fraction=None)
        case "eval":
            return replace(progress, eval_loss=_number(event.get("eval_loss")))
        case "progress":
            return replace(progress, said=_told(event.get("text"))[:200], fraction=_number(event.get("fraction")))
        case "score":
            which = str(event.get("which", ""))
            if which not in {"baseline", "tuned", "base_served", "exported"}:
                return progress
            score = {k: v for k, v in event.items() if k not in {"t", "kind", "which"}}
            return replace(progress, scores={**progress.scores, which: score})
        case "warning":
            text = _told(event.get("text") or event.get("message"))[:300]
            return replace(progress, warnings=(*progress.warnings, text)[-_WARNINGS:]) if text else progress
        case "checkpoint":
            return replace(progress, checkpoint=int(_number(event.get("step")) or 0))
        case "diverged":  # the checkpoints that were in doubt are gone
            return replace(progress, checkpoint=int(_number(event.get("kept")) or 0))
        case "end":
            return replace(progress, outcome=str(event.get("outcome", ""))[:40], said="", fraction=None)
        case _:
            return progress


def _stepped(progress: Progress, event: Mapping[str, Any]) -> Progress:
    step, steps, at = _number(event.get("step")), _number(event.get("steps")), _number(event.get("t"))
    if step is None:
        return replace(progress, events=progress.events + 1)
    times = progress.step_times
    cpu_times, cpu_s = progress.cpu_times, _number(event.get("cpu_s"))
    if times and step <= times[-1][0]:  # a resumed attempt begins again at its checkpoint
        times = ()
    if cpu_times and cpu_s is not None and cpu_s < cpu_times[-1][1]:  # another process
        cpu_times = ()
    if at is not None:
        times = (*times, (int(step), at))[-_PACE:]
        cpu_times = (*cpu_times, (at, cpu_s))[-_PACE:] if cpu_s is not None else cpu_times
    memory = _number(event.get("memory_bytes"))
    peak = max(progress.peak_memory_bytes or 0, int(memory)) if memory else progress.peak_memory_bytes
    return replace(
        progress, events=progress.events + 1, step=int(step), steps=int(steps) if steps else progress.steps,
        step_times=times, cpu_times=cpu_times, memory_bytes=int(memory) if memory else None, peak_memory_bytes=peak,
        gpu_use=_share(event.get("gpu_use")),
        epoch=_number(event.get("epoch")), loss=_number(event.get("loss")) if event.get("loss") is not None else progress.loss,
        learning_rate=_number(event.get("learning_rate")), grad_norm=_number(event.get("grad_norm")),
        tokens_per_s=_number(event.get("tokens_per_s")),
    )


def time_left(progress: Progress) -> tuple[float, float, float] | None:
    """(low, likely, high) seconds to the last step, from the recent steps' 10th, 50th and 90th percentile; None before the third step."""
    paces = [
        (after[1] - before[1]) / (after[0] - before[0])
        for before, after in zip(progress.step_times, progress.step_times[1:], strict=False)
        if after[0] > before[0] and after[1] >= before[1]
    ]
    left = progress.steps - progress.step
    if left < 0 or len(paces) < 2 or not progress.steps:
        return None
    cuts = statistics.quantiles(paces, n=10, method="inclusive")
    return left * cuts[0], left * statistics.median(paces), left * cuts[-1]
