"""What a run's events say so far: a fold over `events.jsonl`, pure, one small value however long the run."""

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import JsonValue

_PACE = 30
"""Recent steps that the pace is taken from."""
_WARNINGS = 20


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
    peak_memory_bytes: int | None = None
    scores: Mapping[str, JsonValue] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    said: str = ""
    fraction: float | None = None
    outcome: str = ""
    events: int = 0
    step_times: tuple[tuple[int, float], ...] = ()
    """(step, unix seconds) of the recent steps."""


def _number(value: Any) -> float | None:
    try:
        number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    except OverflowError:
        return None
    return number if number is not None and math.isfinite(number) else None


def fold(progress: Progress, event: Mapping[str, Any]) -> Progress:
    """`progress` after one more event; an event of an unknown kind or shape changes nothing but the count."""
    progress = replace(progress, events=progress.events + 1)
    match event.get("kind"):
        case "stage":
            return replace(progress, phase=str(event.get("stage", ""))[:40], said="", fraction=None)
        case "step":
            return _stepped(progress, event)
        case "eval":
            return replace(progress, eval_loss=_number(event.get("eval_loss")))
        case "progress":
            return replace(progress, said=str(event.get("text", ""))[:200], fraction=_number(event.get("fraction")))
        case "score":
            which = str(event.get("which", ""))
            if which not in {"baseline", "tuned", "base_served", "exported"}:
                return progress
            score = {k: v for k, v in event.items() if k not in {"t", "kind", "which"}}
            return replace(progress, scores={**progress.scores, which: score})
        case "warning":
            text = str(event.get("text") or event.get("message") or "")[:300]
            return replace(progress, warnings=(*progress.warnings, text)[-_WARNINGS:]) if text else progress
        case "end":
            return replace(progress, outcome=str(event.get("outcome", ""))[:40], said="", fraction=None)
        case _:
            return progress


def _stepped(progress: Progress, event: Mapping[str, Any]) -> Progress:
    step, steps, at = _number(event.get("step")), _number(event.get("steps")), _number(event.get("t"))
    if step is None:
        return progress
    times = progress.step_times
    if times and step <= times[-1][0]:  # a resumed attempt begins again at its checkpoint
        times = ()
    if at is not None:
        times = (*times, (int(step), at))[-_PACE:]
    memory = _number(event.get("memory_bytes"))
    peak = max(progress.peak_memory_bytes or 0, int(memory)) if memory else progress.peak_memory_bytes
    return replace(
        progress, step=int(step), steps=int(steps) if steps else progress.steps, step_times=times, peak_memory_bytes=peak,
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
