"""What a run is bound to: its settings, its data and its base weights. A checkpoint made under others is not gone on from."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.engine.folders import file_digest
from tools.engine.spec import TrainSpec

SETTINGS = (
    "method", "max_steps", "epochs", "learning_rate", "batch_size", "grad_accumulation", "max_length", "lora_r", "lora_alpha",
    "lora_dropout", "quant_type", "double_quant", "gradient_checkpointing", "warmup_ratio", "weight_decay", "scheduler", "seed", "dtype",
    "device", "patience", "keep_best",
)  # fmt: skip
"""Fields of the spec that decide what is learned and when training ends. Threads are recorded at the start and repeated."""


@dataclass(frozen=True, slots=True)
class Binding:
    """Settings by name, and the digests of the rows and of the weights that were read."""

    settings: Mapping[str, Any]
    data: str
    weights: str

    def as_json(self) -> dict[str, Any]:
        """As it stands in `started.json` and in every seal."""
        return {"settings": dict(self.settings), "data_sha256": self.data, "weights_sha256": self.weights}


def bind(spec: TrainSpec, data: str, weights: str) -> Binding:
    """The binding of a spec to what was found on disk."""
    names = (*SETTINGS, "eval_steps") if spec.patience is not None else SETTINGS
    return Binding({name: getattr(spec, name) for name in names}, data, weights)


def differences(before: Mapping[str, Any], now: Binding) -> list[str]:
    """What a person must put back, each as `learning_rate was 0.001, is 0.01`; empty when nothing differs.

    `before` is a binding as JSON; a setting that it does not name was not known then and is no difference.
    """
    settings = before.get("settings", {})
    found = [
        f"{name} was {settings[name]}, is {value}" for name, value in now.settings.items() if name in settings and settings[name] != value
    ]
    for what, name, digest in (("the data", "data_sha256", now.data), ("the base model's weights", "weights_sha256", now.weights)):
        was = before.get(name, digest)
        if was != digest:
            verb = "were" if what.endswith("s") else "was"
            found.append(f"{what} {verb} {str(was)[:12]}, {'are' if verb == 'were' else 'is'} {digest[:12]}")
    return found


def files_sha256(folder: Path) -> str:
    """One SHA-256 over the training and validation files: Olive's cache looks at settings, not at data."""
    whole_digest = hashlib.sha256()
    for name in ("train.jsonl", "validation.jsonl"):
        if (folder / name).is_file():
            whole_digest.update(bytes.fromhex(file_digest(folder / name)))
    return whole_digest.hexdigest()


def weights_sha256(folder: Path) -> str:
    """One SHA-256 over a model folder's config and weights: what the numbers come from, whatever the folder is called."""
    paths = [folder / "config.json", *sorted(folder.glob("*.safetensors"))]
    lines = "".join(f"{path.name} {file_digest(path)}\n" for path in paths)
    return hashlib.sha256(lines.encode()).hexdigest()
