"""The tool that lists the models that can be tuned."""

from typing import ClassVar

from pydantic import Field, JsonValue

from policies.proposal import Effect, Proposal
from policies.tool import Call, Recall, Result, ToolArgs
from tools.catalogue import Catalogue
from tools.entries import ModelEntry

WORDS = {
    "chat": ("chat", "assistant", "convers", "answer", "question", "support", "helpdesk"),
    "classify": ("classif", "label", "categor", "sentiment", "tone", "ticket", "rout", "triage"),
    "extract": ("extract", "field", "entity", "entities", "json", "parse"),
    "rewrite": ("rewrite", "style", "rephrase", "translate", "tone of voice"),
    "summarise": ("summar",),
    "code": ("code", "program", "sql", "python"),
    "reason": ("reason", "math", "logic"),
    "multilingual": ("multilingual", "language", "german", "french", "spanish", "chinese", "japanese"),
    "text": ("text", "complet", "continu"),
}
"""What people say → the catalogue's task."""


def recognise_task(words: str | None) -> str | None:
    """The catalogue's task that a person's words name; None when there are none or they name none."""
    low = (words or "").lower()
    return next((task for task, signs in WORDS.items() if low and any(sign in low for sign in signs)), None)


class ListModels:
    """Shows the catalogue and the registered folders."""

    name: ClassVar[str] = "list_models"
    version: ClassVar[str] = "1"
    text: ClassVar[str] = (
        "List the base models that can be tuned, with size, licence, whether the hub asks for a sign-in, the variants that can be served, "
        "and which are already on this machine (offline). Use it when asked what models there are.")

    class Args(ToolArgs):
        """What to list."""

        task: str | None = Field(default=None, max_length=200, description="What the model should do, in a few words; leave out for all.")

    def __init__(self, catalogue: Catalogue) -> None:
        """Takes the catalogue."""
        self._catalogue = catalogue

    def propose(self, args: Args, /) -> Proposal:
        """Only reads."""
        return Proposal(effects=frozenset({Effect.READ}), target="models")

    def perform(self, args: Args, call: Call, /) -> Result:
        """List what suits the task, those on this machine first."""
        task = recognise_task(args.task)
        found = [entry for entry in self._catalogue.entries() if task is None or task in entry.tasks or entry.source == "folder"]
        found.sort(key=lambda entry: not entry.offline)
        unusable: list[JsonValue] = [{"id": row_id, "reason": reason} for row_id, reason in self._catalogue.faulty()]
        notes: list[JsonValue] = []
        if args.task and task is None:
            notes.append("That task is not one the catalogue knows, so every model is listed. It knows: " + ", ".join(WORDS) + ".")
        return Result(
            {"models": [entry.as_json() for entry in found], "task": task, "unusable": unusable, "notes": notes},
            {"models": [_line(entry) for entry in found], "task": task, "unusable": len(unusable), "notes": notes})

    def recall(self, call_id: str, /) -> Recall:
        """Reading leaves nothing behind: it may be done again."""
        return Recall.NOT_STARTED


def _line(entry: ModelEntry) -> JsonValue:
    """One model for the brain."""
    return {
        "id": entry.id, "parameters": entry.shape.parameters, "license": entry.license or None, "gated": entry.gated,
        "offline": entry.offline}
