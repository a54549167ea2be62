"""The tool that shows rows as they stand, as a model's template renders them, and which tokens carry loss."""

from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import ClassVar, Protocol

from pydantic import Field, JsonValue

from policies.proposal import Effect, Proposal
from policies.redact import redact_value
from policies.tool import Call, Recall, Result, ToolArgs, ToolFailed
from tools.datasets.refs import Refs
from tools.datasets.shape import Example
from tools.datasets.survey import examples, shape_of
from tools.datasets.validate import Models, columns_for_brain

SHOWN_CHARACTERS = 4000
"""Of each text; a longer one ends with an ellipsis."""
MAX_LENGTH = 2048


class Previewer(Protocol):
    """The engine's preview child: renders with the module that feeds the trainer."""

    def render(self, model_dir: Path, row: Mapping[str, JsonValue], max_length: int, /) -> Mapping[str, JsonValue]:
        """`{"rendered": text, "tokens": [{"id", "text", "in_loss"}, …]}`. Raises ToolFailed."""
        ...


class PreviewArgs(ToolArgs):
    """Arguments of preview_dataset."""

    path: str = Field(description="The dataset: a registered id, or a relative path such as samples/helpdesk.jsonl.", max_length=1000)
    rows: int = Field(default=3, ge=1, le=20, description="How many rows from the start.")
    model: str | None = Field(default=None, description="Also render with this model's template and mark what is learned.", max_length=200)


class PreviewDataset:
    """Shows the first rows to the person; the brain learns only their number and lengths."""

    name: ClassVar[str] = "preview_dataset"
    version: ClassVar[str] = "1"
    text: ClassVar[str] = (
        "Show the person the first rows of a dataset; with a model, also the rendered text and which tokens carry loss. Reads only. "
        "You are told counts and lengths, not the text."
    )
    Args: ClassVar[type[ToolArgs]] = PreviewArgs

    def __init__(self, refs: Refs, models: Models, previewer: Previewer) -> None:
        self._refs, self._models, self._previewer = refs, models, previewer

    def propose(self, args: PreviewArgs, /) -> Proposal:
        """A read of one dataset. Raises ToolFailed for a reference that cannot be opened."""
        with self._refs.open(args.path) as file:
            return Proposal(frozenset({Effect.READ}), f"dataset:{file.ref}", card=(("Dataset", file.ref),))

    def perform(self, args: PreviewArgs, call: Call, /) -> Result:
        """Rows that cannot be used are skipped. Raises ToolFailed when none of them can."""
        with self._refs.open(args.path) as file:
            shape = shape_of(file)
            found = list(islice(examples(file, shape), args.rows))
        if not found:
            raise ToolFailed(
                f"{args.path} cannot be shown", "none of its rows has a known shape.",
                "See validate_dataset for what is wrong.", kind="data",
            )
        result: dict[str, JsonValue] = {
            "dataset": args.path, "format": shape.format,
            "rows": [{"row": number, **_shown(example)} for number, example in found],
        }
        lengths: list[JsonValue] = [sum(len(m.content) for m in e.messages) or len(e.text) for _, e in found]
        for_brain: dict[str, JsonValue] = {
            "shown_to_the_person": len(found), "format": shape.format, "characters": lengths, **columns_for_brain(shape.columns),
        }
        if args.model is not None:
            folder = self._models.folder(args.model)
            rendered = [self._rendered(folder.path, example) for _, example in found]
            first = rendered[0]
            result |= {"model": folder.id, **first, "previews": list[JsonValue](rendered)}
            for_brain |= {"tokens": [_length(one["tokens"]) for one in rendered], "in_loss": [_sum(one["in_loss"]) for one in rendered]}
        return Result(result, for_brain)

    def recall(self, call_id: str, /) -> Result | Recall:
        """A read leaves nothing behind: it may be done again."""
        return Recall.NOT_STARTED

    def _rendered(self, folder: Path, example: Example) -> dict[str, JsonValue]:
        answer = self._previewer.render(folder, example.as_row(), MAX_LENGTH)
        tokens = answer.get("tokens")
        listed = [token for token in tokens if isinstance(token, Mapping)] if isinstance(tokens, list) else []
        return {
            "rendered": redact_value(str(answer.get("rendered", ""))), "tokens": [str(token.get("text", "")) for token in listed],
            "in_loss": [bool(token.get("in_loss")) for token in listed],
        }


def _shown(example: Example) -> Mapping[str, JsonValue]:
    if not example.messages:
        return {"text": _clipped(example.text)}
    return {"messages": [{"role": m.role, "content": _clipped(m.content)} for m in example.messages]}


def _clipped(text: str) -> str:
    text = str(redact_value(text))
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…"


def _length(value: JsonValue) -> int:
    return len(value) if isinstance(value, list) else 0


def _sum(value: JsonValue) -> int:
    return sum(bool(one) for one in value) if isinstance(value, list) else 0
