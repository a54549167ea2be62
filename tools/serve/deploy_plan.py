"""What a deployment would serve, how much memory it takes and until when: the plan on its card."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic import JsonValue

from policies.policy import Policy
from policies.proposal import Order
from policies.tool import ToolFailed
from tools.engine.serve_spec import ServedModel, ServeLimits, ServeSpec
from tools.hardware import Machine
from tools.models import ModelFolder
from tools.outlook import gib
from tools.runs.store import RunRow, RunStore
from tools.serve.files import PRECISION, ServedFiles, is_served

PROGRAM_BYTES = 120_000_000
"""The serving program without any model: 118 MB measured with the bundled model's 270 MB of files loaded at 288 MB."""
ANSWER_BYTES = 64_000_000
"""What one answer in the making may take for the text it has read and written; measured with the bundled model at 2,000 tokens."""
OWN_LIMIT_S = 60.0
"""The program ends by itself so long after its time, should nobody have stopped it."""


class Models(Protocol):
    """Finds models: the catalogue."""

    def folder(self, model: str, /) -> ModelFolder:
        """The checked folder of a model; ToolFailed when it is unknown."""
        ...


@dataclass(frozen=True, slots=True)
class Source:
    """What is to be served: a run's files, or an untuned model's."""

    model_id: str
    run: RunRow | None
    precision: str
    system: str | None = None

    @property
    def target(self) -> str:
        """As a proposal names it."""
        return f"run:{self.run.id}" if self.run is not None else f"model:{self.model_id}"

    @property
    def tuned_name(self) -> str:
        """What clients call the tuned model."""
        return f"{self.model_id}-{self.run.id}" if self.run is not None else self.model_id


@dataclass(frozen=True, slots=True)
class Parts:
    """What one server loads."""

    names: tuple[str, ...]
    """What clients may ask for."""
    base: Path | None
    """The untuned model's files beside the tuned one's."""
    size_bytes: int
    """Of all files."""
    memory_bytes: int
    """What it takes with as many answers in the making as it allows."""


class DeployPlans:
    """Makes plans and the specs that follow from them."""

    def __init__(self, runs: RunStore, models: Models, files: ServedFiles, machine: Callable[[], Machine], policy: Callable[[], Policy],
                 threads: int) -> None:
        self._runs, self._models, self._files, self._machine, self._policy = runs, models, files, machine, policy
        self.threads = threads

    def source(self, run_id: str, model: str, person: str | None = None) -> Source:
        """What the arguments name. ToolFailed when it is nothing, both, or has nothing to serve."""
        if bool(run_id) == bool(model):
            found = "Both a run and a model were named." if run_id else "There is no run yet, and no model was named."
            raise ToolFailed("Deploy a model", found, "Name one: run_id for a tuned model, model for an untuned one.",
                             kind="usage" if run_id else "no_run")
        if run_id:
            row = self._runs.wanted(run_id, person)
            served = self._files.of_run(row)
            return Source(row.model_id, row, served.precision, served.system)
        return Source(self._models.folder(model).id, None, PRECISION)

    def hours(self, wanted: int | None) -> int:
        """Its time to live: what was asked for, within the limit; the limit where nothing was."""
        longest = self._policy().limits.hours.endpoint
        if wanted is not None and wanted > longest:
            raise ToolFailed("Deploy a model", f"{wanted} hours were asked for; the limit is {longest}.",
                             f"Ask for {longest} hours or less; limits.toml, hours.endpoint, is the owner's to change.", kind="limit")
        return longest if wanted is None else wanted

    def make(self, source: Source, hours: int, port: int, with_base: bool, freed_bytes: int = 0) -> dict[str, JsonValue]:
        """The plan as data. ToolFailed when memory is short now; `freed_bytes` are given back before it begins."""
        parts = self.parts(source, with_base)
        memory = parts.memory_bytes
        free = self._machine().memory.available_bytes + freed_bytes
        if memory > free:
            raise ToolFailed("Deploy a model", f"It needs about {gib(memory)} of memory; {gib(free)} are free.",
                             "Close other programs, stop another deployment, or leave the untuned model out (with_base=false).",
                             kind="memory")
        return {
            "run_id": source.run.id if source.run is not None else None, "model": source.model_id, "precision": source.precision,
            "names": list(parts.names), "memory_bytes": memory, "hours": hours, "port": port, "host": "127.0.0.1",
            "with_base": parts.base is not None, "threads": self.threads,
        }

    def parts(self, source: Source, with_base: bool) -> "Parts":
        """What is loaded: the untuned model beside the tuned one only where its files are here."""
        base = self._base_of(source) if with_base and source.run is not None else None
        size = self._size(source) + (0 if base is None else _bytes(base))
        names = (source.tuned_name,) if base is None else (source.tuned_name, source.model_id)
        return Parts(names, base, size, PROGRAM_BYTES + size + ServeLimits().at_once * ANSWER_BYTES)

    def folder(self, source: Source) -> Path:
        """The files of what is served first. ToolFailed when a run has none."""
        if source.run is not None:
            return self._files.of_run(source.run).folder
        return self._files.base_dir(self._models.folder(source.model_id), source.precision)

    def longest_hours(self) -> int:
        """The longest that one approval may keep an endpoint."""
        return self._policy().limits.hours.endpoint

    def skus(self) -> list[str]:
        """The paid hardware that the limits allow."""
        return list(self._policy().limits.places.skus)

    def _base_of(self, source: Source) -> Path | None:
        """The untuned model's files at the run's precision, when they are here: they are not built for this."""
        folder = self._files.base_dir(self._models.folder(source.model_id), source.precision)
        return folder if is_served(folder) else None

    def _size(self, source: Source) -> int:
        if source.run is not None:
            return _bytes(self._files.of_run(source.run).folder)
        model = self._models.folder(source.model_id)
        folder = self._files.base_dir(model)
        return _bytes(folder) if is_served(folder) else 2 * model.shape.parameters

    def build(self, source: Source, say: Callable[[str], None]) -> None:
        """Build the untuned model's files where they are what is deployed and are not here yet."""
        if source.run is None:
            self._files.base(self._models.folder(source.model_id), source.precision, say, self.threads)

    def spec(self, plan: dict[str, Any], source: Source, ident: str, revision: int, key_file: Path) -> ServeSpec:
        """What the serving program is told."""
        run = source.run
        models = []
        if run is not None:
            served = self._files.of_run(run)
            models.append(ServedModel(name=source.tuned_name, folder=str(served.folder), run=run.id, precision=served.precision))
        if run is None or plan["with_base"]:
            folder = self._files.base_dir(self._models.folder(source.model_id), source.precision)
            models.append(ServedModel(name=source.model_id, folder=str(folder), precision=source.precision))
        return ServeSpec(
            deployment_id=ident, revision=revision, port=int(plan["port"]), key_path=str(key_file), threads=self.threads,
            limit_s=int(plan["hours"]) * 3600 + OWN_LIMIT_S, models=tuple(models),
        )


def card(plan: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """The lines of the consent card."""
    run, port = plan["run_id"], plan["port"]
    return (
        ("Serves", f"{plan['model']}, tuned by run {run}" if run else f"{plan['model']}, untuned"),
        ("Models", ", ".join(plan["names"])), ("Precision", plan["precision"]),
        ("Port", f"{port or 'a free one'}, on {plan['host']} only: nothing outside this machine reaches it"),
        ("Access", "with an API key, kept in a file that only you may read"),
        ("Memory", f"about {gib(plan['memory_bytes'])}, and {plan['threads']} processor cores while it answers"),
        ("Time to live", hours_text(plan["hours"])), ("Cost", "none: it runs on this machine"),
    )


def expiry_order(hours: int) -> Order:
    """The standing order of the time to live."""
    return Order("expiry", f"stopped by Luthier itself {hours_text(hours)} after its start", "stop_deployment", "deployment_id",
                 due_s=hours * 3600)


def hours_text(hours: int) -> str:
    """Hours for people."""
    days, rest = divmod(hours, 24)
    parts = [f"{count} {word}{'' if count == 1 else 's'}" for count, word in ((days, "day"), (rest, "hour")) if count]
    return " ".join(parts) or "0 hours"


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
