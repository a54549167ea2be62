"""A model as numbers: its shape, read from config.json whose keys are all known, and the folder it lies in."""

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from policies.tool import ToolFailed

MAX_CONFIG = 4_000_000
FOREIGN_CODE = frozenset({"auto_map", "trust_remote_code", "custom_pipelines", "custom_generate"})
"""Keys that make a loader run code that came with a model."""


@dataclass(frozen=True, slots=True)
class ModelShape:
    """The numbers that memory and time depend on."""

    layers: int
    hidden: int
    intermediate: int
    vocab: int
    heads: int
    kv_heads: int
    head_dim: int
    context: int
    parameters: int
    """All parameters, shared ones counted once."""
    tied: bool = True
    """Input and output embedding are one matrix."""
    gated_mlp: bool = True
    """Three matrices in the feed-forward block (gate, up, down) instead of two."""
    fused: bool = False
    """Query, key and value in one matrix, gate and up in another (Phi-3)."""
    file_bytes: int = 2
    """Bytes of a parameter in the weight files."""

    @property
    def _attention(self) -> int:
        """Output width of query, key and value together."""
        return (self.heads + 2 * self.kv_heads) * self.head_dim

    @property
    def linear_parameters(self) -> int:
        """Parameters of the layers' linear matrices: what is quantised and what LoRA adapts."""
        attention = self.hidden * self._attention + self.heads * self.head_dim * self.hidden
        return self.layers * (attention + (3 if self.gated_mlp else 2) * self.hidden * self.intermediate)

    @property
    def lora_width(self) -> int:
        """Sum of in + out over all linear matrices: times r it is the number of LoRA parameters."""
        out = self.hidden + self.heads * self.head_dim
        if self.fused:
            return self.layers * (3 * self.hidden + self._attention + out + 3 * self.intermediate)
        attention = 3 * self.hidden + self._attention + out
        return self.layers * (attention + (3 if self.gated_mlp else 2) * (self.hidden + self.intermediate))

    @property
    def counted(self) -> int:
        """Parameters as the shape alone gives them: linear matrices and embeddings, without norms and biases."""
        return self.linear_parameters + (1 if self.tied else 2) * self.vocab * self.hidden


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A checked folder: config with known keys only, safetensors complete, tokenizer present, no link out."""

    id: str
    path: Path
    digest: str
    """sha256 over the sorted names, sizes and hashes of its files; 64 hex digits."""
    shape: ModelShape
    architecture: str
    """`model_type` of config.json: llama, qwen2, …"""
    dtype: str
    """The type of most weights, as safetensors names it: F32, BF16, …"""
    bytes: int
    """Size of the weight files."""
    chat_template: bool
    license: str = ""
    revision: str = ""
    """40 hex digits of the hub's commit, where the folder is a hub snapshot."""
    warnings: tuple[str, ...] = ()


def unusable(because: str, try_next: str) -> ToolFailed:
    """The error of a model folder that cannot be used: what was found and what to do."""
    return ToolFailed("Could not use the model", because, try_next, kind="model")


def read_json(path: Path, what: str) -> dict[str, Any]:
    """One small JSON object from a model folder. Raises ToolFailed."""
    try:
        if path.stat().st_size > MAX_CONFIG:
            raise unusable(f"its {what} is larger than {MAX_CONFIG // 1_000_000} MB.", "Get the model again.")
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise unusable(f"its {what} is not readable JSON ({type(error).__name__}).", "Get the model again.") from error
    if not isinstance(found, dict):
        raise unusable(f"its {what} is not a JSON object.", "Get the model again.")
    return found


def check_config(config: Mapping[str, Any]) -> str:
    """Let pass only configurations that name nothing but numbers and known words. Gives `model_type`; raises ToolFailed.

    A key allow-list, because loaders have executed what a key named even with remote code switched off (CVE-2026-4372).
    """
    rules = tomllib.loads((Path(__file__).parent / "model_config.toml").read_text("utf-8"))
    for key in sorted(config):
        if key in FOREIGN_CODE or key.endswith("_internal"):
            raise unusable(
                f"its config.json has the key `{_shown(key)}`, which can make a loader run code that came with the model.",
                "Choose a model without it, or, where the architecture is built in, copy the folder and take the key out.")
        if key == "quantization_config" and config[key]:
            raise unusable("its weights are already quantised (`quantization_config` in config.json).",
                "Add the original in 16 or 32 bits; Luthier quantises it itself.")
    architecture = config.get("model_type")
    if architecture not in rules["architectures"]:
        raise unusable(f"its architecture `{_shown(str(architecture))}` is not one that Luthier tunes.",
            "Choose one of: " + ", ".join(sorted(rules["architectures"])) + ".")
    known = set(rules["keys"])
    unknown = [_shown(key) for key in sorted(config) if key not in known]
    if unknown:
        raise unusable(f"its config.json has keys that Luthier does not know: {', '.join(unknown[:5])}.",
            "If they are harmless, copy the folder and take them out; else choose another model.")
    for key, value in config.items():
        if isinstance(value, dict) and key not in rules["nested"]:
            raise unusable(f"config.json gives an object where a value is expected (`{_shown(key)}`).",
                             "Choose another model.")
    return str(architecture)


def shape_of(config: Mapping[str, Any], parameters: int, file_bytes: int) -> ModelShape:
    """The shape that a checked config.json tells. Raises ToolFailed when a number is missing or absurd."""
    architecture = str(config.get("model_type"))

    def number(key: str, default: int | None = None) -> int:
        value = config.get(key)
        value = default if value is None else value
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= 10_000_000:
            raise unusable(f"config.json gives no sensible `{key}`.", "Get the model again.")
        return value

    hidden, heads = number("hidden_size"), number("num_attention_heads")
    return ModelShape(
        layers=number("num_hidden_layers"), hidden=hidden, intermediate=number("intermediate_size", 4 * hidden),
        vocab=number("vocab_size"), heads=heads, kv_heads=number("num_key_value_heads", heads),
        head_dim=number("head_dim", max(1, hidden // heads)), context=number("max_position_embeddings", 2048),
        parameters=parameters, tied=bool(config.get("tie_word_embeddings", architecture.startswith("gemma"))),
        gated_mlp=architecture not in {"phi", "starcoder2", "gpt_neox"}, fused=architecture == "phi3", file_bytes=file_bytes)


def _shown(text: str) -> str:
    """A foreign word made safe to show: an identifier of at most 40 characters."""
    return re.sub(r"[^A-Za-z0-9_.]", "?", text)[:40]
