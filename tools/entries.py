"""The models Luthier knows by name: one entry each, read from catalogue.toml, with the variants that can be served."""

import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, JsonValue

from tools.models import ModelFolder, ModelShape

Source = Literal["bundled", "hub", "folder"]

PERMISSIVE = frozenset({"apache-2.0", "mit", "bsd-3-clause"})


@dataclass(frozen=True, slots=True)
class Variant:
    """One form in which a model can be served; what is tuned is always the safetensors."""

    id: str
    """`{model}-{accelerator}-{quantisation}-{format}`."""
    accelerator: str
    precision: str
    bytes: int
    estimated: bool
    """The size is worked out from the shape, not read from a published or measured file."""
    offline: bool = False

    def as_json(self) -> dict[str, JsonValue]:
        """As `list_models` shows it."""
        return {"id": self.id, "accelerator": self.accelerator, "precision": self.precision, "format": "onnx",
                "size_bytes": self.bytes, "size_estimated": self.estimated, "offline": self.offline}


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One model: what it is, under which terms, and the numbers its cost follows from."""

    id: str
    title: str
    source: Source
    shape: ModelShape
    license: str
    """Empty where it isn't known."""
    gated: bool | None
    """Whether the hub asks for a sign-in and an accepted licence; None where it isn't known."""
    tasks: tuple[str, ...]
    chat: bool | None
    """Made to follow a conversation; None where it isn't known."""
    variants: tuple[Variant, ...]
    aliases: tuple[str, ...] = ()
    origin: str = ""
    note: str = ""
    offline: bool = False
    """The weights are on this machine."""

    @property
    def short(self) -> str:
        """The last part of the id in lower case, as people type it."""
        return self.id.rpartition("/")[2].lower()

    @property
    def permissive(self) -> bool:
        """Its licence allows commercial use with little more than a notice."""
        return self.license in PERMISSIVE

    def as_json(self) -> dict[str, JsonValue]:
        """As `list_models` shows it."""
        return {
            "id": self.id, "title": self.title, "parameters": self.shape.parameters, "license": self.license or None, "gated": self.gated,
            "source": self.source, "offline": self.offline, "context": self.shape.context, "chat": self.chat, "tasks": list(self.tasks),
            "origin": self.origin or None, "note": self.note or None, "variants": [variant.as_json() for variant in self.variants],
            "revision": "resolved at download" if self.source == "hub" and not self.offline else None,
        }


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")

    layers: int
    hidden: int
    intermediate: int
    vocab: int
    heads: int
    kv_heads: int
    head_dim: int
    tied: bool = True
    gated_mlp: bool = True
    fused: bool = False
    file_bytes: int = 2


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid")

    id: str
    title: str
    source: Literal["bundled", "hub"] = "hub"
    origin: str = ""
    note: str = ""
    license: str
    gated: bool | None = None
    tasks: tuple[str, ...]
    chat: bool
    parameters: int
    context: int
    shape: _Shape
    aliases: tuple[str, ...] = ()
    served: tuple[tuple[str, str, int], ...] = ()


def read_catalogue(text: str | None = None) -> tuple[ModelEntry, ...]:
    """The entries of catalogue.toml (or of `text`), in its order. Raises pydantic.ValidationError on a wrong field."""
    told: dict[str, Any] = tomllib.loads(text if text is not None else (Path(__file__).parent / "catalogue.toml").read_text("utf-8"))
    return tuple(_entry(_Row.model_validate(row)) for row in told.get("model", ()))


def entry_of(folder: ModelFolder, source: Source, *, title: str = "") -> ModelEntry:
    """The entry of a model folder that the catalogue does not know."""
    short = folder.id.partition("@")[0].rpartition("/")[2].lower()
    return ModelEntry(
        id=folder.id, title=title or folder.id, source=source, shape=folder.shape, license=folder.license,
        gated=None, tasks=(), chat=folder.chat_template, variants=usual_variants(short, folder.shape), offline=True)


def located(entry: ModelEntry, *, offline: bool, served: bool) -> ModelEntry:
    """The entry with what is on this machine: its weights, and the int8 files of the untuned model."""
    variants = tuple(
        replace(variant, offline=True) if served and (variant.accelerator, variant.precision) == ("cpu", "int8") else variant
        for variant in entry.variants)
    return replace(entry, offline=offline, variants=variants)


def usual_variants(short: str, shape: ModelShape) -> tuple[Variant, ...]:
    """The forms any model can be exported to, with sizes worked out: 4 bits and scales for linear matrices, more for embeddings."""
    embeddings = shape.parameters - shape.linear_parameters
    sizes = (
        ("cpu", "int4", 0.5625 * shape.linear_parameters + 2 * embeddings),
        ("cpu", "int8", 1.125 * shape.linear_parameters + 4 * embeddings),
        ("cuda", "int4", 0.5625 * shape.linear_parameters + 2 * embeddings),
        ("cuda", "fp16", 2 * shape.parameters),
        ("directml", "int4", 0.5625 * shape.linear_parameters + 2 * embeddings),
    )
    return tuple(Variant(f"{short}-{where}-{precision}-onnx", where, precision, int(size), True) for where, precision, size in sizes)


def _entry(row: _Row) -> ModelEntry:
    shape = ModelShape(context=row.context, parameters=row.parameters, **row.shape.model_dump())
    short = row.id.rpartition("/")[2].lower()
    published = tuple(Variant(f"{short}-{where}-{precision}-onnx", where, precision, size, False) for where, precision, size in row.served)
    return ModelEntry(
        id=row.id, title=row.title, source=row.source, shape=shape, license=row.license, gated=row.gated, tasks=row.tasks, chat=row.chat,
        variants=published or usual_variants(short, shape), aliases=row.aliases, origin=row.origin, note=row.note)
