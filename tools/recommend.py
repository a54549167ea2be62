"""The tool that chooses a model: what fits this machine and is already here comes first, every other is named with its reason."""

import re
from dataclasses import dataclass
from typing import ClassVar

from pydantic import Field, JsonValue

from policies.proposal import Effect, Proposal
from policies.tool import Call, Recall, Result, ToolArgs
from tools.catalogue import Catalogue
from tools.entries import ModelEntry, Variant
from tools.fit import Fits, Lengths, TooBig
from tools.hardware import GIB, Machine, MachineReader
from tools.list_models import recognise_task
from tools.outlook import USUAL, DatasetReader, Outlook, Seat, gib, look_ahead, take_seat
from tools.places import Accelerator

PATIENCE_S = 3600.0
"""A run that likely takes longer ranks behind those that do not."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that passed, with its outlook."""

    entry: ModelEntry
    ahead: Outlook

    @property
    def tight(self) -> bool:
        """The likely figure fits and the high bound does not."""
        return isinstance(self.ahead.fit, Fits) and self.ahead.fit.tight

    @property
    def rank(self) -> tuple[bool, bool, bool, bool, int, str]:
        """Lower is better: here before elsewhere, quick before slow, roomy before tight, chat before text, large before small, by name."""
        slow = self.ahead.time.likely_s > PATIENCE_S
        # Among slow ones the smallest is the least slow.
        size = self.entry.shape.parameters if slow else -self.entry.shape.parameters
        return not self.entry.offline, slow, self.tight, self.entry.chat is False, size, self.entry.id


class RecommendModel:
    """Chooses a base model for a task on this machine."""

    name: ClassVar[str] = "recommend_model"
    version: ClassVar[str] = "1"
    text: ClassVar[str] = (
        "Choose a base model to fine-tune: one that fits this machine's memory, suits the task and the licence, and is already here if "
        "possible. Gives the choice with its reasons, alternatives, and every rejected model with numbers. Use it when the person has "
        "not named a model.")

    class Args(ToolArgs):
        """What matters in the choice."""

        task: str | None = Field(default=None, max_length=200, description="What the model should do, in a few words.")
        max_vram_gb: float | None = Field(default=None, gt=0, le=1000, description="Judge for a GPU with at most this much memory, in GB.")
        license: str | None = Field(default=None, max_length=60, description="A licence such as `apache-2.0`, or `permissive`.")
        dataset: str | None = Field(default=None, max_length=400, description="The dataset it will be tuned on, for real lengths.")

    def __init__(self, catalogue: Catalogue, hardware: MachineReader, datasets: DatasetReader, accelerator: Accelerator = "cpu") -> None:
        """`accelerator` is what the engine's environment was made for."""
        self._catalogue, self._hardware, self._datasets = catalogue, hardware, datasets
        self._accelerator: Accelerator = accelerator

    def propose(self, args: Args, /) -> Proposal:
        """Only reads."""
        return Proposal(effects=frozenset({Effect.READ}), target="models")

    def perform(self, args: Args, call: Call, /) -> Result:
        """Judge every model of the catalogue and choose."""
        machine = self._hardware.machine()
        seat = _seat(machine, self._accelerator, args.max_vram_gb)
        task = recognise_task(args.task)
        notes = [*seat.notes]
        lengths = USUAL
        if args.dataset:
            lengths = self._datasets.rows_of(args.dataset, "bundled").lengths
            notes.append("Lengths were counted with the bundled model's tokenizer.")
        else:
            notes.append(f"No dataset named: rows of up to {USUAL.max} tokens are assumed.")
        if args.task and task is None:
            notes.append("The task is not one the catalogue knows; it was left out of the choice.")
        passed, rejected = choose(self._catalogue.entries(), machine, seat, lengths, task, args.license)
        rejected += [(row_id, reason) for row_id, reason in self._catalogue.faulty()]
        return _result(passed, rejected, seat, notes)

    def recall(self, call_id: str, /) -> Recall:
        """Reading leaves nothing behind: it may be done again."""
        return Recall.NOT_STARTED


def choose(
    entries: tuple[ModelEntry, ...], machine: Machine, seat: Seat, lengths: Lengths, task: str | None, terms: str | None,
) -> tuple[list[Candidate], list[tuple[str, str]]]:
    """Candidates best first, and the others with their reasons. Pure and deterministic."""
    passed: list[Candidate] = []
    rejected: list[tuple[str, str]] = []
    for entry in entries:
        against = _licence_against(entry, terms)
        if against:
            rejected.append((entry.id, against))
            continue
        if task is not None and entry.tasks and task not in entry.tasks:
            rejected.append((entry.id, f"not known to be good at “{task}”"))
            continue
        ahead = look_ahead(entry.shape, lengths, machine, seat)
        if isinstance(ahead.fit, TooBig):
            rejected.append((entry.id, f"needs {gib(ahead.fit.need_bytes)} with qlora, batch {ahead.settings.batch_size}; "
                                       f"{gib(ahead.fit.have_bytes)} free ({seat.name})"))
            continue
        passed.append(Candidate(entry, ahead))
    return sorted(passed, key=lambda candidate: candidate.rank), rejected


def serve_as(entry: ModelEntry, device: str) -> Variant | None:
    """The variant to serve: int8 for small models on a processor, where 4 bits cost accuracy; 4 bits elsewhere."""
    precision = "int8" if device == "cpu" and entry.shape.parameters < 1_000_000_000 else "int4"
    fitting = [variant for variant in entry.variants if variant.accelerator == device]
    either = fitting or list(entry.variants)
    return next((variant for variant in either if variant.precision == precision), either[0] if either else None)


def _licence_against(entry: ModelEntry, wanted: str | None) -> str:
    """Why the licence speaks against a model; empty when it does not."""
    if not wanted:
        return ""
    low = re.sub(r"\s+", "-", wanted.strip().lower())
    if not entry.license:
        return f"its licence isn't known, and {low} was asked for"
    if low in {"permissive", "commercial", "open"}:
        return "" if entry.permissive else f"its licence {entry.license} is not permissive"
    return "" if entry.license == low or entry.license.startswith(low) else f"its licence is {entry.license}, not {low}"


def _seat(machine: Machine, accelerator: Accelerator, max_vram_gb: float | None) -> Seat:
    """Where it would run; with a limit, on a GPU of that size, whether there is one or not."""
    if max_vram_gb is None:
        return take_seat(machine, accelerator)
    limit = int(max_vram_gb * GIB)
    best = machine.roomiest()
    if best is None:
        return Seat("cuda", limit, f"a GPU with {max_vram_gb:g} GB", f"the {max_vram_gb:g} GB asked for",
                    (f"This machine has no NVIDIA GPU: judged for one with {max_vram_gb:g} GB free.",))
    room = min(limit, best.memory_free_bytes)
    return Seat("cuda", room, "this machine (GPU)", f"GPU {best.index}, {best.name}, at most {max_vram_gb:g} GB")


def _why(candidate: Candidate, seat: Seat) -> str:
    entry, ahead = candidate.entry, candidate.ahead
    parts = [
        "it is already on this machine" if entry.offline
        else f"it fits, but must be downloaded first (`hf download {entry.id}`, then `python -m ui model add DIR`)",
        f"QLoRA needs {gib(ahead.memory.likely_bytes)} of {gib(seat.room_bytes)} ({seat.name}){', tight' if candidate.tight else ''}",
        f"{ahead.settings.max_steps} steps take about {max(1, round(ahead.time.likely_s / 60))} min",
        f"licence {entry.license}" if entry.license else "licence not known",
    ]
    if entry.gated:
        parts.append("its licence must be accepted on the hub")
    return "; ".join(parts)


def _result(passed: list[Candidate], rejected: list[tuple[str, str]], seat: Seat, notes: list[str]) -> Result:
    shown: list[dict[str, JsonValue]] = []
    for candidate in passed[:6]:
        variant = serve_as(candidate.entry, seat.device)
        shown.append({
            "model": candidate.entry.id, "variant": variant.id if variant else None, "method": "qlora", "why": _why(candidate, seat),
            "offline": candidate.entry.offline, "memory_likely_bytes": candidate.ahead.memory.likely_bytes,
            "time_likely_s": round(candidate.ahead.time.likely_s),
        })
    choice: JsonValue = shown[0] if shown else None
    if choice is None:
        notes = [*notes, "No model passes: relax the licence or the task, free memory, or name a larger GPU."]
    told: list[JsonValue] = [{"model": model, "reason": reason} for model, reason in rejected]
    full: dict[str, JsonValue] = {
        "choice": choice, "alternatives": list(shown[1:]), "rejected": told, "where": seat.where, "notes": list(notes)}
    return Result(full, {**full, "alternatives": [one["model"] for one in shown[1:]], "rejected": told[:8]})
