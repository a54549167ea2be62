"""The plan of a run: what will be trained on what, with which settings, how big and how long; as a card, as data, as the engine's spec."""

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pydantic import JsonValue

from policies.proposal import Order
from policies.tool import ToolFailed
from tools.engine.spec import Method, TrainSpec
from tools.fit import MemoryEstimate, Settings, TimeEstimate, TooBig, choose_settings, estimate_memory, estimate_time, judge_fit
from tools.hardware import Machine
from tools.models import ModelFolder
from tools.outlook import DatasetFacts, gib, take_seat
from tools.places import Accelerator

SCORE_ROWS = 40
ANSWER_TOKENS = 64
EXPORT = "int8"
SEED = 0
LONGEST_HOURS = 72
"""How long a run may last where nobody says otherwise."""
GRACE_S = 120
"""How long after its time limit a run that keeps its own clock is left to end by itself."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What the person asked for; None lets the plan choose."""

    model: str
    dataset: str
    method: Method = "qlora"
    epochs: float | None = None
    learning_rate: float | None = None
    max_steps: int | None = None
    name: str = ""
    lora_r: int | None = None
    batch_size: int | None = None
    max_length: int | None = None
    max_time: int | None = None
    """Seconds."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One run, decided."""

    wish: Wish
    model: ModelFolder
    rows: int
    train_rows: int
    data_digest: str
    settings: Settings
    memory: MemoryEstimate
    time: TimeEstimate
    disk_bytes: int
    free_disk_bytes: int
    free_memory_bytes: int
    tight: bool
    where: str
    limit_s: int
    """The time limit of the run's stop rule: the same for the same wish, whatever the machine does at the moment."""
    note: str
    """What this machine could do but is not prepared for, or empty."""

    @property
    def variant(self) -> str:
        """What is loaded for training and what is served."""
        four_bit = "4-bit nf4 weights, " if self.settings.method == "qlora" else ""
        return f"{four_bit}{self.settings.dtype} arithmetic; served as ONNX {EXPORT}"

    def card(self) -> tuple[tuple[str, str], ...]:
        """The lines of the consent card."""
        s, m, t = self.settings, self.memory, self.time
        adapter = f", r {s.lora_r}, alpha {s.lora_alpha}" if s.method != "full" else ""
        lines = [
            ("Model", f"{self.wish.model} (digest {self.model.digest[:12]})"),
            ("Variant", self.variant),
            ("Method", f"{_METHODS[s.method]}{adapter}, learning rate {s.learning_rate:g}, "
                       f"batch {s.batch_size} × {s.grad_accumulation}"),
            ("Steps", f"{s.max_steps} ({round(s.epochs, 2):g} epochs)"),
            ("Dataset", f"{self.wish.dataset}, {self.rows} rows, {self.train_rows} for training (digest {self.data_digest[:12]})"),
            ("Memory", f"{gib(m.low_bytes)} to {gib(m.high_bytes)}, likely {gib(m.likely_bytes)}; {gib(self.free_memory_bytes)} free"
                       + (" (tight)" if self.tight else "")),
            ("Time", f"{minutes(t.low_s)} to {minutes(t.high_s)}, likely {minutes(t.likely_s)}"),
            ("Cost", "0.00 USD: it runs on this machine"),
            ("Writes", f"runs/<new run id>/ in Luthier's home, about {gib(self.disk_bytes)} at most while it works"),
            ("Checks", f"held-out rows (up to {SCORE_ROWS}) before, after, and on the served file"),
        ]
        if self.note:
            lines.append(("Note", self.note))
        return tuple(lines)

    def stop_rules(self) -> tuple[str, ...]:
        """Standing orders that come with the yes."""
        return (f"stop after {minutes(self.limit_s)}, keeping the last checkpoint",)

    def as_json(self) -> dict[str, JsonValue]:
        """The same facts as data; `from_json` needs only `settings`, `limit_s` and the digests of it."""
        settings: dict[str, JsonValue] = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self.settings).items()}
        return {
            "model": self.wish.model, "model_digest": self.model.digest, "variant": self.variant, "method": self.settings.method,
            "steps": self.settings.max_steps, "epochs": self.settings.epochs, "learning_rate": self.settings.learning_rate,
            "memory": {**asdict(self.memory), "free_bytes": self.free_memory_bytes, "tight": self.tight},
            "time": {"low_s": round(self.time.low_s), "likely_s": round(self.time.likely_s), "high_s": round(self.time.high_s),
                     "step_s": round(self.time.step_s, 3), "train_s": round(self.time.train_s)},
            "cost": {"likely": "0.00", "ceiling": "0.00", "currency": "USD"},
            "where": self.where,
            "writes": ["runs/<new run id>/"], "disk_bytes": self.disk_bytes,
            "dataset": {"id": self.wish.dataset, "rows": self.rows, "train_rows": self.train_rows, "digest": self.data_digest},
            "settings": settings, "limit_s": self.limit_s, "name": self.wish.name,
            "assumptions": [*self.settings.why, *([self.note] if self.note else [])],
        }


_METHODS = {"qlora": "QLoRA (nf4)", "lora": "LoRA", "full": "full fine-tuning"}


def make_plan(
    wish: Wish, model: ModelFolder, data: DatasetFacts, machine: Machine, accelerator: Accelerator = "cpu",
    longest_hours: int = LONGEST_HOURS,
) -> Plan:
    """Decide a run on this machine; ToolFailed with the numbers when memory or disk is too small."""
    if wish.max_time is not None and wish.max_time > 3600 * longest_hours:
        raise ToolFailed(f"Run for {minutes(wish.max_time)}", f"A run on this machine may last {longest_hours} hours at most.",
                         "Choose a shorter time, or ask the owner to raise [hours] local_run in limits.toml.", kind="limit")
    if wish.method == "full":
        raise ToolFailed("Fine-tune all weights", "Full fine-tuning is not in this version.", "Choose qlora or lora.",
                         kind="not_in_this_version")
    seat = take_seat(machine, accelerator)
    on, lengths = seat.device, data.lengths
    if data.train_rows < 1:
        raise ToolFailed(f"Train on {wish.dataset}", "No row is left for training.", "Check it with validate_dataset.", kind="data")
    settings = choose_settings(
        model.shape, lengths, machine, wish.method, epochs=wish.epochs, max_steps=wish.max_steps, learning_rate=wish.learning_rate,
        device=on, available_bytes=seat.room_bytes,
    )
    settings = as_wished(settings, wish)
    longest = min(data.max, settings.max_length)
    memory = estimate_memory(
        model.shape, wish.method, batch_size=settings.batch_size, length=longest, lora_r=settings.lora_r,
        gradient_checkpointing=settings.gradient_checkpointing, device=on,
    )
    free = seat.room_bytes
    fit = judge_fit(memory, free, ("choose a smaller model with recommend_model", "close other programs", "use shorter rows"))
    if isinstance(fit, TooBig):
        raise ToolFailed(
            f"Fine-tune {wish.model} with {wish.method} here",
            f"It needs about {gib(fit.need_bytes)} of memory and {gib(fit.have_bytes)} are free ({seat.name}).",
            f"You can {', or '.join(fit.remedies)}.", kind="memory",
        )
    disk = disk_needed(model.shape.parameters, model.shape.lora_width * settings.lora_r)
    if disk > machine.disk_free_bytes:
        raise ToolFailed(
            f"Fine-tune {wish.model} here", f"It needs up to {gib(disk)} of disk and {gib(machine.disk_free_bytes)} are free.",
            "Free some space below Luthier's home (old runs are the largest part).", kind="disk",
        )
    quick = bool({"avx2", "neon"} & set(machine.cpu.isa))
    time = estimate_time(model.shape, settings, length=min(data.p95, settings.max_length), score_rows=SCORE_ROWS, has_avx2=quick)
    # The worst pace this wish can have here, so that the rule on the card does not change while the card waits.
    slowest = estimate_time(
        model.shape, replace(settings, threads=1, gradient_checkpointing=True, batch_size=4, grad_accumulation=1),
        length=min(data.max, model.shape.context), score_rows=SCORE_ROWS, has_avx2=quick,
    )
    limit_s = 3600 * min(math.ceil(max(3600.0, 4 * slowest.high_s) / 3600), longest_hours)
    limit_s = min(limit_s, wish.max_time or limit_s)
    return Plan(
        wish, model, data.rows, data.train_rows, data.digest, settings, memory, time, disk, machine.disk_free_bytes, free, fit.tight,
        seat.where, limit_s, " ".join(seat.notes),
    )


def as_wished(settings: Settings, wish: Wish) -> Settings:
    """The settings with those that the person gave in place of the chosen ones; alpha stays twice r, the effective batch what it was."""
    if wish.lora_r is not None:
        settings = replace(settings, lora_r=wish.lora_r, lora_alpha=2 * wish.lora_r)
    if wish.batch_size is not None:
        effective = settings.batch_size * settings.grad_accumulation
        settings = replace(settings, batch_size=wish.batch_size, grad_accumulation=max(1, round(effective / wish.batch_size)))
    if wish.max_length is not None:
        settings = replace(settings, max_length=wish.max_length)
    return settings


def disk_needed(parameters: int, trained: int) -> int:
    """Bytes at the fullest moment: a merged fp32 copy, the builder's working copy and the served files of base and tuned; checkpoints."""
    return 12 * parameters + 3 * 16 * trained + 300_000_000


def spec_of(
    plan: Mapping[str, JsonValue], *, run_id: str, model: ModelFolder, data_dir: Path, data_digest: str, base_served: Path | None
) -> TrainSpec:
    """The engine's spec from a plan's data: the settings that the card showed, whatever the machine does by now."""
    settings = plan["settings"]
    assert isinstance(settings, dict)
    taken = {k: v for k, v in settings.items() if k in TrainSpec.model_fields}
    return TrainSpec.model_validate({
        **taken, "run_id": run_id, "model_id": model.id, "model_dir": str(model.path), "model_digest": model.digest,
        "data_dir": str(data_dir), "data_digest": data_digest, "score_rows": SCORE_ROWS, "answer_tokens": ANSWER_TOKENS,
        "export": EXPORT, "seed": SEED, "base_served_dir": None if base_served is None else str(base_served),
        "predicted_peak_bytes": likely_bytes(plan),
    })


def likely_bytes(plan: Mapping[str, JsonValue]) -> int | None:
    """The peak of memory that a plan foretells; None when it does not say."""
    memory = plan.get("memory")
    likely = memory.get("likely_bytes") if isinstance(memory, dict) else None
    return likely if isinstance(likely, int) else None


def deadline_order(limit_s: float) -> Order:
    """The standing order of a time limit. `cancel_run` itself finds whether it has passed: a run may wait before its time begins."""
    return Order("deadline", f"stopped by Luthier itself when it is still at work {minutes(limit_s + GRACE_S)} after its start",
                 "cancel_run", "run_id")


def minutes(seconds: float) -> str:
    """Seconds for people."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"


def as_seconds(value: object) -> object:
    """A time such as `90m`, `2h`, `45s`, `1h30m` or seconds as whole seconds. ValueError for other words; no text passes unchanged."""
    if not isinstance(value, str):
        return value
    text = value.strip().lower()
    if text.isascii() and text.isdigit():
        return int(text)
    found = _TIME.fullmatch(text)
    if found is None or not any(found.groups()):
        raise ValueError(f"{value[:20]!r} is no time; write it as 90m, 2h or in seconds")
    return round(sum(float(part) * unit for part, unit in zip(found.groups(), (3600, 60, 1), strict=True) if part))


_TIME = re.compile(
    r"(?:(\d+(?:\.\d+)?) ?h(?:ours?|rs?|r)?)? ?(?:(\d+(?:\.\d+)?) ?m(?:in(?:ute)?s?)?)? ?(?:(\d+(?:\.\d+)?) ?s(?:ec(?:ond)?s?)?)?"
)
