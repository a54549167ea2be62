"""A run and a plan of the faces' tests: progress follows from the clock alone, so that it survives a kill."""

import time
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue

STEPS = 60
RUN_ID = "4k2j8m9qxz"
GIB = 1024**3

PLAN = {
    "model": "bundled", "method": "qlora", "max_steps": STEPS, "time": {"low_s": 240, "likely_s": 330, "high_s": 480},
    "memory": {"low_bytes": int(1.1 * GIB), "likely_bytes": int(1.4 * GIB), "high_bytes": int(1.9 * GIB)},
}
LINES = (
    ("Model", "bundled (SmolLM2-135M-Instruct, Apache-2.0)"), ("Method", "QLoRA, rank 8, 4-bit nf4"),
    ("Data", "samples/helpdesk.jsonl: 320 rows to learn from, 80 held out"),
    ("Epochs and rate", "0.75 epochs, learning rate 0.0002"),
    ("Written to", "~/.luthier/runs/" + RUN_ID), ("Leaves this machine", "nothing"),
)
ANSWERS: list[JsonValue] = [
    {"model": "bundled", "adapter": None, "precision": "int8", "tokens_per_s": 41.3,
     "text": "There are several possible reasons why your printer could be offline. First, check the connection."},
    {"model": "bundled", "adapter": "helpdesk (" + RUN_ID + ")", "precision": "int8", "tokens_per_s": 40.9,
     "text": "Queue: Hardware\nPriority: normal\nNext step: power the printer off and on, then send the ticket number."},
]


@dataclass(frozen=True)
class FakeBadge:
    """What the header shows."""

    brain: str = "command assistant"
    solo: bool = True
    note: str = "Running with the built-in command assistant."


@dataclass(frozen=True)
class FakeLog:
    """Lines of a run's output."""

    lines: tuple[str, ...]
    offset: int = 0


@dataclass(frozen=True)
class FakeRun:
    """A run whose progress follows from the clock alone, so that it survives a kill."""

    started: float
    owner: str = "owner"
    seconds: float = 6.0
    stopped: float | None = None

    @property
    def step(self) -> int:
        """The step reached now."""
        return min(STEPS, int(((self.stopped or time.time()) - self.started) / self.seconds * STEPS))

    @property
    def state(self) -> str:
        """The word a person sees."""
        if self.stopped is not None:
            return "cancelled"
        return "finished" if self.step >= STEPS else "running"

    def loss(self, step: int) -> float:
        """A falling curve with a little deterministic noise."""
        return round(0.35 + 2.9 * 0.93**step + 0.12 * ((step * 7919) % 13) / 13, 4)

    def as_json(self) -> dict[str, Any]:
        """The view that cards read."""
        scores: dict[str, Any] = {"baseline": score("bundled", None, "fp32", 0.0, 3.1)}
        if self.state == "finished":
            scores |= {
                "tuned": score("bundled", "helpdesk", "fp32", 0.63, 0.42), "base_served": score("bundled", None, "int8", 0.0, None),
                "exported": score("bundled", "helpdesk", "int8", 0.6, None),
            }
        return {
            "run_id": RUN_ID, "name": "helpdesk", "owner": self.owner, "thread": None, "state": self.state,
            "phase": "train" if self.state == "running" else "done", "step": self.step, "steps": STEPS, "epoch": self.step / 80,
            "loss": self.loss(self.step), "eval_loss": self.loss(self.step - self.step % 20) - 0.05 if self.step >= 20 else None,
            "learning_rate": 2e-4, "grad_norm": 1.1, "tokens_per_s": 212.5, "eta_s": (STEPS - self.step) * 4.5,
            "eta_low_s": (STEPS - self.step) * 4, "eta_high_s": (STEPS - self.step) * 6, "spent": "0.00", "currency": "USD",
            "peak_memory_bytes": int(1.35 * GIB), "predicted_memory_bytes": int(1.4 * GIB), "where": "this machine", "reason": "",
            "model": "bundled", "dataset": "samples/helpdesk.jsonl", "method": "qlora", "created_at": "2026-11-24T10:00:00Z",
            "started_at": "2026-11-24T10:00:02Z", "ended_at": None, "scores": scores,
            "served": self.state == "finished", "warnings": [], "attempt": 1, "progress": "",
        }


def score(model: str, adapter: str | None, precision: str, exact: float, loss: float | None) -> dict[str, Any]:
    """One line of the scores table."""
    return {
        "model": model, "adapter": adapter, "precision": precision, "rows": 40, "exact_match": exact, "loss": loss, "tokens_per_s": 40.0,
    }
