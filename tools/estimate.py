"""The tool that says before a run whether it fits, how long it takes and what it costs, each with bounds."""

from typing import ClassVar, Literal

from pydantic import Field, JsonValue

from policies.proposal import Effect, Proposal
from policies.tool import Call, Recall, Result, ToolArgs
from tools.azure.offers import CloudOffers
from tools.azure.trouble import AzureTrouble
from tools.catalogue import Catalogue
from tools.engine.spec import Method
from tools.entries import ModelEntry
from tools.estimate_cloud import cloud_assumptions, cloud_figures, places_of
from tools.fit import Fits, TooBig
from tools.hardware import MachineReader
from tools.models import ModelShape
from tools.outlook import DatasetFacts, DatasetReader, Outlook, Seat, gib, look_ahead, take_seat
from tools.places import Accelerator

TOLD = ("fits", "memory", "time", "cost", "where", "steps", "reason")
"""What the brain hears of an estimate."""


class EstimateCost:
    """Estimates memory, time and money of one run."""

    name: ClassVar[str] = "estimate_cost"
    version: ClassVar[str] = "1"
    text: ClassVar[str] = (
        "Say before a run whether it fits in memory, how long it takes and what it costs, with low, likely and high figures. "
        "Needs a model and a dataset. Use it when asked about time, memory or money of a fine-tuning run; it starts nothing. "
        "With provider=azure it gives at most three priced places, cheapest first, with quota and waiting risk.")

    class Args(ToolArgs):
        """What would be tuned on what."""

        model: str = Field(min_length=1, max_length=200, description="A model id from list_models, e.g. `bundled`.")
        dataset: str = Field(min_length=1, max_length=400, description="A dataset id or an allowed path, e.g. `samples/helpdesk.jsonl`.")
        epochs: float | None = Field(default=None, gt=0, le=1000, description="Passes over the data; leave out for the default.")
        max_steps: int | None = Field(default=None, ge=1, le=1_000_000, description="Optimizer steps at most; leave out for the default.")
        method: Method = Field(default="qlora", description="qlora (4-bit base, least memory), lora, or full.")
        gpu: str | None = Field(
            default=None, max_length=100, description=(
                "`cpu`, a GPU's index, or part of its name; leave out to use what is set up. On Azure: `T4`, `A100` or `cpu`."))
        provider: Literal["local", "azure"] | None = Field(default=None, description="Where it would run: `local` or `azure`.")
        region: str | None = Field(default=None, max_length=64, description="The Azure region, e.g. `westus3`; leave out to compare them.")

    def __init__(self, catalogue: Catalogue, hardware: MachineReader, datasets: DatasetReader, accelerator: Accelerator = "cpu",
                 cloud: CloudOffers | None = None) -> None:
        """`accelerator` is what the engine's environment was made for; `cloud` the priced places of Azure."""
        self._catalogue, self._hardware, self._datasets, self._cloud = catalogue, hardware, datasets, cloud
        self._accelerator: Accelerator = accelerator

    def propose(self, args: Args, /) -> Proposal:
        """Only reads, here and in Azure."""
        if args.region and args.provider != "azure":
            raise AzureTrouble("not_found", "A region is a place in Azure", f"`region` is {args.region} and the provider is not azure.",
                               "Say provider=azure, or leave `region` out.")
        return Proposal(effects=frozenset({Effect.READ}), target="machine")

    def perform(self, args: Args, call: Call, /) -> Result:
        """Read the machine or the places of Azure, the model's shape and the data's lengths, then estimate."""
        entry = self._catalogue.find(args.model)
        assumptions: list[str] = []
        shape = self._shape(entry, args.model, assumptions)
        facts = self._facts(args.dataset, args.model, entry, assumptions)
        if args.provider == "azure":
            return self._elsewhere(args, entry, shape, facts, assumptions)
        machine = self._hardware.machine()
        seat = take_seat(machine, self._accelerator, args.gpu)
        ahead = look_ahead(shape, facts.lengths, machine, seat, args.method, epochs=args.epochs, max_steps=args.max_steps)
        assumptions += [*ahead.settings.why, *_said(facts, ahead, seat)]
        result = _result(entry.id, args.dataset, ahead, seat, assumptions)
        return Result(result, {key: result[key] for key in TOLD})

    def _elsewhere(self, args: Args, entry: ModelEntry, shape: ModelShape, facts: DatasetFacts, assumptions: list[str]) -> Result:
        if self._cloud is None:
            raise AzureTrouble("not_installed", "Could not estimate a cloud run", "Azure is not set up here.",
                               "Run `make azure` and start Luthier again, or leave `provider` out.")
        survey = self._cloud.survey(0, gpu=args.gpu or "", region=args.region or "")
        size = self._catalogue.folder(args.model).bytes if entry.offline else shape.parameters * shape.file_bytes
        places = places_of(survey, shape, size, facts.lengths, args.method, epochs=args.epochs, max_steps=args.max_steps,
                           max_hours=self._cloud.max_hours())
        best = places[0]
        assumptions += [*best.ahead.settings.why, *_said(facts, best.ahead, best.seat), *cloud_assumptions(places, survey)]
        result = {**_result(entry.id, args.dataset, best.ahead, best.seat, assumptions), **cloud_figures(places, survey, entry.id)}
        return Result(result, {key: result[key] for key in (*TOLD, "places", "can_start", "remedies")})

    def recall(self, call_id: str, /) -> Recall:
        """Reading leaves nothing behind: it may be done again."""
        return Recall.NOT_STARTED

    def _shape(self, entry: ModelEntry, model: str, assumptions: list[str]) -> ModelShape:
        """The shape from the folder where it is here, else from the catalogue."""
        if entry.offline:
            return self._catalogue.folder(model).shape
        assumptions.append("The model is not on this machine: its figures are the catalogue's.")
        return entry.shape

    def _facts(self, dataset: str, model: str, entry: ModelEntry, assumptions: list[str]) -> DatasetFacts:
        """The data's lengths in the model's own tokens, or in the bundled model's where it is not here."""
        if entry.offline:
            return self._datasets.rows_of(dataset, model)
        assumptions.append("Tokens were counted with the bundled model's tokenizer; another gives up to a third more or less.")
        return self._datasets.rows_of(dataset, "bundled")


def _said(facts: DatasetFacts, ahead: Outlook, seat: Seat) -> list[str]:
    """What the figures rest on."""
    said = [
        f"{facts.train_rows} training rows; tokens a row: median {facts.p50}, 95 % below {facts.p95}, longest {facts.max}",
        f"batch {ahead.settings.batch_size} × {ahead.settings.grad_accumulation}, rows up to {ahead.settings.max_length} tokens, "
        f"{ahead.settings.dtype}",
        "time includes starting, scoring held-out rows before and after, and the export",
    ]
    if seat.device == "cuda":
        said.append("GPU figures are arithmetic, not measured: the bounds are wide")
    else:
        if ahead.settings.core_share < 0.8:
            said.append(f"others keep this machine busy: about {ahead.settings.core_share:.0%} of the threads' time is left")
        said.append("measured with one small model on AVX2 cores; other models and machines may differ by the factor of the bounds")
    return [*said, *seat.notes]


def _result(model: str, dataset: str, ahead: Outlook, seat: Seat, assumptions: list[str]) -> dict[str, JsonValue]:
    reason, remedies = "", ()
    match ahead.fit:
        case TooBig(need, have, remedies):
            reason = f"{model} needs about {gib(need)} and {gib(have)} are free ({seat.name})"
        case Fits(tight=True):
            reason = f"it should fit, but the high estimate of {gib(ahead.memory.high_bytes)} is above the free {gib(seat.room_bytes)}"
        case Fits():
            reason = f"{gib(ahead.memory.likely_bytes)} of {gib(seat.room_bytes)} free ({seat.name})"
    time = ahead.time
    return {
        "fits": isinstance(ahead.fit, Fits), "reason": reason, "remedies": list(remedies),
        "memory": {
            "low_bytes": ahead.memory.low_bytes, "likely_bytes": ahead.memory.likely_bytes, "high_bytes": ahead.memory.high_bytes,
            "available_bytes": seat.room_bytes},
        "time": {
            "low_s": round(time.low_s), "likely_s": round(time.likely_s), "high_s": round(time.high_s), "step_s": round(time.step_s, 2),
            "train_s": round(time.train_s)},
        "cost": {"likely": "0.00", "ceiling": "0.00", "currency": "USD", "price_date": None, "basis": "runs on this machine"},
        "where": seat.where, "model": model, "dataset": dataset, "method": ahead.settings.method, "steps": ahead.settings.max_steps,
        "epochs": ahead.settings.epochs, "batch_size": ahead.settings.batch_size, "max_length": ahead.settings.max_length,
        "assumptions": list(assumptions),
    }
