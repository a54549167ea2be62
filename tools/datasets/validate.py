"""The tool that checks a dataset before anything is trained on it."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Protocol

from pydantic import Field, JsonValue

from policies.proposal import Effect, Proposal
from policies.tool import Call, Recall, Result, ToolArgs, ToolFailed
from tools.datasets.problem import Problem
from tools.datasets.refs import Refs
from tools.datasets.render import TokenCounter, quantile
from tools.datasets.shape import Example
from tools.datasets.survey import survey

DEFAULT_MODEL = "bundled"
BATCH = 256
NAMED_COLUMNS = frozenset({
    "messages", "conversations", "instruction", "input", "output", "prompt", "completion", "question", "answer", "text", "label",
    "category", "response", "context", "system", "chosen", "rejected", "split", "group", "id",
})
"""Column names the brain may read; any other is somebody's text and only counted."""


class ModelFolder(Protocol):
    """A model on this machine."""

    @property
    def id(self) -> str:
        """As the catalogue names it."""
        ...

    @property
    def path(self) -> Path:
        """The folder with its tokenizer."""
        ...


class Models(Protocol):
    """Finds model folders; the catalogue is one."""

    def folder(self, model: str, /) -> ModelFolder:
        """The folder of a model id. Raises ToolFailed."""
        ...


class ValidateArgs(ToolArgs):
    """Arguments of validate_dataset."""

    path: str = Field(description="The dataset: a registered id, or a relative path such as samples/helpdesk.jsonl.", max_length=1000)
    model: str | None = Field(default=None, description="Count tokens for this model; the bundled one when left out.", max_length=200)


class ValidateDataset:
    """Reads a dataset from end to end and says what a run would make of it."""

    name: ClassVar[str] = "validate_dataset"
    version: ClassVar[str] = "1"
    text: ClassVar[str] = (
        "Check a dataset before a fine-tune: its format, broken or empty rows with their numbers, repeats, contradictions, secrets, "
        "personal data, lengths in tokens, and how it is divided into train, validation and test. Reads only."
    )
    Args: ClassVar[type[ToolArgs]] = ValidateArgs

    def __init__(self, refs: Refs, models: Models) -> None:
        self._refs, self._models = refs, models

    def propose(self, args: ValidateArgs, /) -> Proposal:
        """A read of one dataset. Raises ToolFailed for a reference that cannot be opened."""
        with self._refs.open(args.path) as file:
            return Proposal(frozenset({Effect.READ}), f"dataset:{file.ref}", card=(("Dataset", file.ref),))

    def perform(self, args: ValidateArgs, call: Call, /) -> Result:
        """Problems of the file are in the result, with `ok` false; only a reference that cannot be opened raises."""
        lengths = self._lengths(args.model)
        with self._refs.open(args.path) as file:
            call.report("Reading the rows", None)
            try:
                found = survey(file, see=lengths.see if lengths else lambda _: None)
            except ToolFailed as failed:
                return _unreadable(args.path, failed)
        counts = {side: found.division.count(side) for side in ("train", "validation", "test")}
        tokens = lengths.as_json() if lengths else None
        facts: dict[str, JsonValue] = {
            "ok": found.ok, "rows": found.rows, "rejected": found.rejected, "format": found.shape.format, "tokens": tokens,
            "split": dict(counts),
        }
        return Result(
            {
                **facts, "dataset": args.path, "columns": list(found.shape.columns), "digest": found.digest,
                "problems": [problem.as_json() for problem in found.findings.listed()],
            },
            {
                **facts, **columns_for_brain(found.shape.columns), "digest": found.digest[:8],
                "problem_counts": dict(found.findings.for_brain()), "first_error": _first(found.findings.first_error),
            },
        )

    def recall(self, call_id: str, /) -> Result | Recall:
        """A read leaves nothing behind: it may be done again."""
        return Recall.NOT_STARTED

    def _lengths(self, model: str | None) -> "Lengths | None":
        try:
            folder = self._models.folder(model or DEFAULT_MODEL)
            return Lengths(folder.id, TokenCounter(folder.path))
        except ToolFailed:
            if model is not None:
                raise
            return None


class Lengths:
    """Counts tokens in batches while the rows go by."""

    def __init__(self, model: str, counter: TokenCounter) -> None:
        self._model, self._counter = model, counter
        self._waiting: list[Example] = []
        self._lengths: list[int] = []

    def see(self, example: Example) -> None:
        """One more row."""
        self._waiting.append(example)
        if len(self._waiting) == BATCH:
            self._count()

    def as_json(self) -> JsonValue:
        """The shape of toolbox `tokens`."""
        self._count()
        ordered = self._lengths
        return {
            "model": self._model, "p50": quantile(ordered, 0.5), "p95": quantile(ordered, 0.95), "max": max(ordered, default=0),
            "approximate": self._counter.approximate,
        }

    def _count(self) -> None:
        self._lengths += self._counter.lengths(self._waiting)
        self._waiting.clear()


def columns_for_brain(columns: Sequence[str]) -> dict[str, JsonValue]:
    """Column names that are ours, and how many others there are."""
    known: list[JsonValue] = [name for name in columns if name.lower() in NAMED_COLUMNS]
    return {"columns": known, "other_columns": len(columns) - len(known)}


def _first(problem: Problem | None) -> JsonValue:
    return None if problem is None else {"kind": problem.kind, "row": problem.row, "remedy": problem.remedy}


def _unreadable(ref: str, failed: ToolFailed) -> Result:
    problem = Problem("error", failed.kind, f"{failed.what}: {failed.because}", failed.try_next)
    facts: dict[str, JsonValue] = {
        "ok": False, "rows": 0, "rejected": 0, "format": "unknown", "tokens": None, "split": {"train": 0, "validation": 0, "test": 0},
    }
    return Result(
        {**facts, "dataset": ref, "columns": [], "digest": "", "problems": [problem.as_json()]},
        {**facts, "problem_counts": {failed.kind: 1}, "first_error": _first(problem)},
    )
