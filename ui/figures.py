"""A run's view in words and figures: the one projection that its page, the list of runs and the terminal share. Pure."""

import math
from collections.abc import Mapping
from typing import Any, TypedDict

from ui.cards import RESUMABLE, RUNNING, duration, size, span

View = Mapping[str, Any]
STATES: Mapping[str, str] = {
    "queued": "Waiting to start", "running": "Running", "finished": "Finished", "failed": "Failed", "cancelled": "Stopped",
    "interrupted": "Interrupted", "lost": "Lost",
}
PHASES: Mapping[str, str] = {
    "prepare": "preparing", "baseline": "measuring the untuned model", "train": "training", "score": "scoring",
    "export": "making the served file", "score_export": "scoring the served file",
    "approved": "getting ready", "uploading": "uploading", "provisioning": "Azure makes the job", "job_ready": "the job is ready",
    "start_requested": "starting", "start_unknown": "starting", "starting": "waiting for a machine", "infra_retry": "trying once more",
    "finishing": "saving the result", "downloading": "fetching the results", "stopping": "stopping", "over_budget": "stopping at its cap",
}
"""What the engine, or for a run in Azure the cloud, is doing; a word of anybody else is not shown."""
TONES: Mapping[str, str] = {"finished": "good", "running": "wait", "failed": "bad", "lost": "bad"}
SCORES = (("baseline", "Before, checkpoint"), ("tuned", "After, checkpoint"), ("base_served", "Before, served file"),
          ("exported", "After, served file"))
DASH = "–"
ENDS: Mapping[str, str] = {
    "running": "running", "succeeded": "succeeded", "failed": "failed", "stopped": "stopped", "destroyed": "its job is deleted",
    "lost": "cannot be found",
}
"""The other phases of a run in Azure, in the list of them."""


class Figure(TypedDict):
    """One tile: what it is, its value, and a remark."""

    name: str
    label: str
    value: str
    note: str


class ScoreRow(TypedDict):
    """One model on the held-out rows, in words."""

    name: str
    label: str
    exact: str
    rows: str
    loss: str
    precision: str
    best: bool


def state_words(view: View) -> str:
    """The state, and while it goes what it is doing."""
    state, phase = str(view.get("state") or ""), str(view.get("phase") or "")
    said = STATES.get(state, state)
    return f"{said}: {PHASES[phase]}" if state in RUNNING and phase in PHASES else said


def tone(view: View) -> str:
    """How the state is coloured: good, wait, bad or nothing."""
    return TONES.get(str(view.get("state")), "")


def going(view: View) -> bool:
    """Whether it waits or runs."""
    return view.get("state") in RUNNING


def resumable(view: View) -> bool:
    """Whether it can go on from a checkpoint."""
    return view.get("state") in RESUMABLE


def part_done(view: View) -> float:
    """The share of its steps that it has taken, 0..1."""
    step, steps = number(view.get("step")) or 0.0, number(view.get("steps")) or 0.0
    return max(0.0, min(1.0, step / steps)) if steps > 0 else 0.0


def figures(view: View) -> list[Figure]:
    """The tiles, in the order of what a person looks for first."""
    predicted = number(view.get("predicted_memory_bytes"))
    held = number(view.get("memory_bytes"))
    notes = [f"now {size(held)}" if held else "", f"predicted {size(predicted)}" if predicted else ""]
    rate = number(view.get("learning_rate"))
    epoch = number(view.get("epoch"))
    return [
        Figure(name="step", label="Step", value=f"{step_words(view)}", note=f"epoch {epoch:.2f}" if epoch is not None else ""),
        Figure(name="loss", label="Loss", value=figure(view.get("loss"), 3), note=f"held out {figure(view.get('eval_loss'), 3)}"),
        Figure(name="left", label="Time left" if going(view) else "Spent", value=time_left(view) if going(view) else money_words(view),
               note=queue_words(view) or _left_note(view)),
        Figure(name="speed", label="Tokens/s", value=figure(view.get("tokens_per_s"), 0), note=""),
        Figure(name="memory", label="Memory, peak", value=bytes_words(view.get("peak_memory_bytes")),
               note=", ".join(each for each in notes if each)),
        Figure(name="device", label="Device use", value=device_words(view), note=str(view.get("where") or "")),
        Figure(name="rate", label="Learning rate", value=DASH if rate is None else f"{rate:.3g}",
               note=f"gradient norm {figure(view.get('grad_norm'), 2)}"),
    ]


def _left_note(view: View) -> str:
    if not is_remote(view):
        return likely(view)
    said = f"{money_words(view)} so far" if going(view) else ""
    return ", ".join(each for each in (said, ceiling_words(view)) if each)


def step_words(view: View) -> str:
    """`12 of 60`; a dash where nobody knows of how many."""
    steps = number(view.get("steps"))
    return f"{int(number(view.get('step')) or 0):,} of {f'{int(steps):,}' if steps else DASH}"


def time_left(view: View) -> str:
    """The range of the time left, its likely value where it is narrow, or a dash."""
    low, high, left = (number(view.get(name)) for name in ("eta_low_s", "eta_high_s", "eta_s"))
    if low is not None and high is not None and high - low >= 5:
        return span(duration(low), duration(high))
    return DASH if left is None else duration(left)


def likely(view: View) -> str:
    """The likely time left, where a range is shown."""
    left = number(view.get("eta_s"))
    shown = "" if left is None else duration(left)
    return f"likely {shown}" if going(view) and shown and shown != time_left(view) else ""


def queue_words(view: View) -> str:
    """Its place in the line before the machine and when its turn is likely to come; empty for a run that does not wait."""
    place, seconds = number(view.get("place")), number(view.get("expected_start_s"))
    if place is None:
        return ""
    return f"number {int(place)} in the line{'' if seconds is None else f', begins in about {duration(seconds)}'}"


def ceiling_words(view: View) -> str:
    """The most that a run in Azure can cost; empty where no ceiling was approved."""
    ceiling = str(cloud_of(view).get("ceiling") or "")
    return f"at most {ceiling} {view.get('currency') or ''}".strip() if ceiling not in ("", "0.00") else ""


def cloud_of(view: View) -> Mapping[str, Any]:
    """What a run's view says of the cloud; empty for one that never was there."""
    found = view.get("cloud")
    return found if isinstance(found, Mapping) else {}


def is_remote(view: View) -> bool:
    """Whether it runs where time is paid for."""
    return str(view.get("where") or "").startswith("Azure")


def money_words(view: View) -> str:
    """What it has cost; a run in Azure is never called free."""
    spent = str(view.get("spent") or "0.00")
    return "free" if spent == "0.00" and not is_remote(view) else f"{spent} {view.get('currency') or ''}".strip()


def device_words(view: View) -> str:
    """How busy its device is: a share of the GPU, or cores."""
    gpu, cores = number(view.get("gpu_use")), number(view.get("cores_busy"))
    if gpu is not None:
        return f"GPU {gpu:.0%}"
    return DASH if cores is None else f"{cores:.1f} cores"


def score_rows(view: View) -> list[ScoreRow]:
    """The measured scores, before and after."""
    scores = view.get("scores")
    found: list[ScoreRow] = []
    for name, label in SCORES:
        one = scores.get(name) if isinstance(scores, Mapping) else None
        if isinstance(one, Mapping):
            exact = number(one.get("exact_match"))
            found.append(ScoreRow(
                name=name, label=label, exact=DASH if exact is None else f"{exact:.0%}", rows=figure(one.get("rows"), 0),
                loss=figure(one.get("loss"), 3), precision=word(one.get("precision")), best=name in ("tuned", "exported"),
            ))
    return found


def bytes_words(value: Any) -> str:
    """Bytes in words, or a dash."""
    found = number(value)
    return size(found) if found else DASH


def figure(value: Any, digits: int) -> str:
    """A number with so many digits after the point, or a dash."""
    found = number(value)
    return DASH if found is None else f"{found:.{digits}f}"


def word(value: Any) -> str:
    """A short word out of a run's own file; a dash for anything else that stands in its place."""
    return value if isinstance(value, str) and value.isascii() and value.isalnum() and len(value) <= 12 else DASH


def number(value: Any) -> float | None:
    """A finite number; None for anything else that stands in its place."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None
