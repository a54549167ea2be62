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
AZURE = "Azure, T4 in eastus"
PAID = PLAN | {
    "limit_s": 7080,
    "cost": {"likely": "0.42", "ceiling": "3.10", "currency": "USD", "price_date": "2026-11-01", "per_hour": "1.559 USD an hour"},
}
CLOUD: dict[str, Any] = {
    "region": "eastus", "profile": "Consumption-GPU-NC8as-T4", "gpu": "T4", "image": "registry.test/pytorch@sha256:" + "0a" * 32,
    "attempt": 1,
    "per_hour": "1.559", "ceiling": "3.10", "settled": False, "waiting": "", "execution": f"luthier-run-{RUN_ID}-ab12c3d",
    "expires_at": "2026-11-27T10:00:00Z", "past_expiry": False, "job": "kept",
}
PHASES: list[dict[str, Any]] = [
    {"at": f"2026-11-24T10:0{minute}:00Z", "attempt": 1, "from": before, "to": then, "why": why} for minute, before, then, why in (
        (0, "", "approved", "approved"), (1, "approved", "uploading", "its folder is whole"), (3, "uploading", "starting", "adopted"),
        (8, "starting", "running", "it has reported"))
]
PAID_LINES = (
    ("Where", AZURE), ("Most it can cost", "3.10 USD, reserved now; what is not used is free again at the end"),
    ("Signed in as", "ann@example.test, tenant 7f00"), ("Subscription", "Tuning (0000), group luthier-eastus"),
    ("Image", "registry.test/pytorch@sha256:0a0a"), ("Leaves this machine", "the rows of samples/helpdesk.jsonl and the model bundled"),
    ("Instead", "Azure, A100 in eastus: 6.354 USD an hour"),
)
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


EVALUATED = {
    "verdict": "better", "verdict_text": "The tuned model is better on the held-out rows.",
    "gain": {"value": 0.625, "ci_low": 0.46, "ci_high": 0.77, "p": 0.00002, "rows": 40},
    "gain_served": {"value": 0.6, "ci_low": 0.43, "ci_high": 0.75, "p": 0.00004, "rows": 40},
}


@dataclass(frozen=True)
class FakeLog:
    """Lines of a run's output."""

    lines: tuple[str, ...]
    offset: int = 0
    mark: str = ""
    skipped_bytes: int = 0
    again: bool = False
    bar: str = ""


@dataclass(frozen=True)
class FakeRun:
    """A run whose progress follows from the clock alone, so that it survives a kill."""

    started: float
    owner: str = "owner"
    seconds: float = 6.0
    stopped: float | None = None
    paid: bool = False

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
            "eta_low_s": (STEPS - self.step) * 4, "eta_high_s": (STEPS - self.step) * 6,
            "spent": f"0.{self.step:02d}" if self.paid else "0.00", "currency": "USD",
            "memory_bytes": int(1.2 * GIB) if self.state == "running" else None,
            "cores_busy": 1.87 if self.state == "running" else None, "gpu_use": None,
            "peak_memory_bytes": int(1.35 * GIB), "predicted_memory_bytes": int(1.4 * GIB),
            "where": AZURE if self.paid else "this machine", "reason": "",
            "model": "bundled", "dataset": "samples/helpdesk.jsonl", "method": "qlora", "created_at": "2026-11-24T10:00:00Z",
            "started_at": "2026-11-24T10:00:02Z", "ended_at": None, "scores": scores,
            "served": self.state == "finished", "warnings": [], "attempt": 1, "progress": "", "cloud": CLOUD if self.paid else {},
        }


def score(model: str, adapter: str | None, precision: str, exact: float, loss: float | None) -> dict[str, Any]:
    """One line of the scores table."""
    return {
        "model": model, "adapter": adapter, "precision": precision, "rows": 40, "exact_match": exact, "loss": loss, "tokens_per_s": 40.0,
    }


FILES: list[dict[str, Any]] = [
    {"path": "adapter/adapter_model.safetensors", "bytes": 1_960_000, "sha256": "1f" * 32, "note": "as the manifest says"},
    {"path": "events.jsonl", "bytes": 9_120, "sha256": "2e" * 32, "note": ""},
    {"path": "note\u00e9 <b>.txt", "bytes": 12, "sha256": "3d" * 32, "note": "changed since the run wrote it"},
    {"path": "run.key", "bytes": 64, "sha256": "", "note": "left out: it is a secret"},
]
HAPPENED: list[dict[str, Any]] = [
    {"at": "2026-11-24T10:00:00Z", "from": "", "to": "queued", "reason": "started by its owner"},
    {"at": "2026-11-24T10:00:02Z", "from": "queued", "to": "running", "reason": ""},
]


def report_of(run: FakeRun) -> dict[str, Any]:
    """Everything that the page of a run is made of, in the shape of `tools.runs.report`."""
    steps = range(1, run.step + 1)
    return {
        "view": run.as_json(),
        "curve": {"train": [[step, run.loss(step)] for step in steps],
                  "eval": [[step, run.loss(step) - 0.05] for step in steps if step % 20 == 0]},
        "settings": {"learning_rate": 0.0002, "lora_r": 8, "report_to": [], "patience": None, "seed": 0}, "settings_note": "",
        "environment": {"threads": 2, "dtype": "float32", "device": "cpu", "versions": {"python": "3.11.9", "torch": "2.9.0"},
                        "cpu_flags": ["avx2", "fma"], "attempts": [{"at": 1_795_000_000.5, "pid": 42}]},
        "environment_note": "", "data": {"digest": "d" * 64, "rows": {"train": 320, "validation": 40, "test": 40}}, "base": "a" * 64,
        "checkpoints": [{"step": 20, "files": 5, "bytes": 6_000_000, "sealed": True},
                        {"step": 40, "files": 4, "bytes": 5, "sealed": False}],
        "files": FILES, "files_note": "is signed with the run's key", "files_problem": "",
        "phases": PHASES if run.paid else [], "approved": [list(each) for each in PAID_LINES[1:4]] if run.paid else [],
        "happened": HAPPENED, "evidence": {"lock": "free", "exit": {"rc": 0}}, "siblings": [],
        "log": {"lines": [f"step {step} loss {run.loss(step)}" for step in steps], "offset": 0},
        "again": {"tool": "start_finetune", "args": {"model": "bundled", "dataset": "samples/helpdesk.jsonl"}},
    }


def _compared(run_id: str, r: int, tuned: float, verdict: str) -> dict[str, JsonValue]:
    return {"run_id": run_id, "name": "", "state": "finished", "differs": {"lora_r": r}, "steps": 60, "loss": 1.0, "eval_loss": 0.5,
            "tuned": tuned, "verdict": verdict, "seconds": 600.0, "peak_memory_bytes": 2 * 1024**3}


COMPARED: dict[str, JsonValue] = {
    "sweep": "sweep00001", "differs": ["lora_r"], "best": "0000000002", "same_data": True, "same_model": True,
    "runs": [_compared("0000000001", 8, 0.4, "first"), _compared("0000000002", 16, 0.9, "better")],
    "curves": {run: {"loss": [[n, start / n] for n in range(1, 61)], "eval_loss": [[30, 0.6], [60, 0.5]]}
               for run, start in (("0000000001", 4.0), ("0000000002", 3.0))},
}
