"""The contract of the serving program: what `serve.json` asks for, and the files that lie beside it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

SPEC, LOCK, SERVING, STOP, EXIT = "serve.json", "serve.lock", "serving.json", "stop.json", "exit.json"
"""The spec; the lock that is held while the program lives; where it listens; a wish that it ends; how it ended (written last)."""
MOUNTS = frozenset({"LUTHIER_RUN", "LUTHIER_TUNED", "LUTHIER_BASE", "LUTHIER_SECRETS"})
"""Variables of a container that name its mounts; a spec's paths may begin with one."""
NAME = r"^[A-Za-z0-9][A-Za-z0-9._@/:-]{0,127}$"


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ServedModel(_Closed):
    """One name that clients may ask for."""

    name: str = Field(pattern=NAME)
    folder: str
    """The GenAI files. Names that share a folder share one loaded model."""
    adapter: str | None = None
    """An `.onnx_adapter` file that is switched on for this name; the folder's model must have been built for it."""
    run: str | None = None
    """The run that it was tuned by; None for an untuned model."""
    precision: str


class ServeLimits(_Closed):
    """How much one server takes on."""

    body_bytes: Annotated[int, Field(ge=1_000)] = 1_000_000
    tokens: Annotated[int, Field(ge=1)] = 2_000
    """Longest answer, and what an answer without `max_tokens` may have."""
    at_once: Annotated[int, Field(ge=1, le=64)] = 4
    """Answers in the making at the same time; they take turns token by token."""
    queue: Annotated[int, Field(ge=0)] = 32
    """Requests that may wait for one of those places."""


class ServeSpec(_Closed):
    """Everything one serving program is told."""

    deployment_id: str
    revision: Annotated[int, Field(ge=1)] = 1
    host: Literal["127.0.0.1", "0.0.0.0"] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 0
    """0: a free one, told in `serving.json`."""
    key_path: str
    """A file that only its owner may read, with the API key."""
    key_mounted: bool = False
    """The key lies on a volume of secrets, whose mode is the platform's: it must be a mount of its own that others cannot write to."""
    threads: Annotated[int, Field(ge=1)] = 1
    limit_s: Annotated[float, Field(ge=0)] = 0
    """It ends by itself after so many seconds, whether or not anybody looks after it; 0 for never."""
    until: Annotated[float, Field(ge=0)] = 0
    """Seconds since 1970 from which on it answers nobody, however often it is started; 0 for never."""
    grace_s: Annotated[float, Field(gt=0)] = 10
    """What answers in the making have left after a stop was asked for."""
    models: Annotated[tuple[ServedModel, ...], Field(min_length=1)]
    limits: ServeLimits = ServeLimits()

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [model.name for model in self.models]
        if len(set(names)) != len(names):
            raise ValueError(f"Each model needs a name of its own; found {', '.join(names)}.")
        return self


def read_spec(folder: Path, mounts: Mapping[str, str]) -> ServeSpec:
    """The spec of a folder, with a container's mounts in place of the variables that name them. Raises OSError or ValueError."""
    spec = ServeSpec.model_validate(json.loads((folder / SPEC).read_text(encoding="utf-8")))
    models = tuple(model.model_copy(update={"folder": placed(model.folder, mounts)}) for model in spec.models)
    return spec.model_copy(update={"key_path": placed(spec.key_path, mounts), "models": models})


def placed(path: str, mounts: Mapping[str, str]) -> str:
    """A path that begins with one of `MOUNTS`, such as `$LUTHIER_TUNED/…`, where that mount is; any other as it stands."""
    name, slash, rest = path.partition("/")
    if not name.startswith("$"):
        return path
    if name[1:] not in MOUNTS or not mounts.get(name[1:]):
        raise ValueError(f"The mount {name} of the spec is not there.")
    return f"{mounts[name[1:]]}{slash}{rest}"
