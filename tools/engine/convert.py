"""A GGUF file becomes a safetensors folder, once; tokenizer and chat template come along."""

import json
from pathlib import Path
from typing import Any

from tools.engine import environment
from tools.engine.folders import digests, file_digest, whole
from tools.engine.spec import ConvertSpec


def convert(spec: ConvertSpec) -> None:
    """Dequantise `spec.gguf` to float32 in `spec.out`, whole or not at all.

    Peak memory is about three times the float32 model. `save_pretrained` refuses a model loaded from GGUF,
    so its weights move into a fresh one first (transformers 5.23, 2026-11).
    """
    environment.settle(threads=1)
    gguf, out = Path(spec.gguf).resolve(), Path(spec.out).resolve()
    if not gguf.is_file():
        raise FileNotFoundError(f"Converting needs a GGUF file; {gguf.name} is not there. Install the bundled model again.")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.quantization_config import GgufConfig

    loaded = AutoModelForCausalLM.from_pretrained(
        str(gguf.parent), gguf_file=gguf.name, quantization_config=GgufConfig(dequantize=True), dtype=torch.float32
    )
    config = loaded.config
    if hasattr(config, "quantization_config"):
        delattr(config, "quantization_config")
    fresh: Any = type(loaded)(config)
    fresh.load_state_dict(loaded.state_dict())
    fresh.tie_weights()
    fresh.generation_config = loaded.generation_config
    tokenizer = AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
    del loaded
    with whole(out) as part:
        fresh.save_pretrained(part)
        tokenizer.save_pretrained(part)
        origin = {"gguf": gguf.name, "gguf_sha256": file_digest(gguf), "note": "a dequantised copy of a 4-bit file"}
        (part / "origin.json").write_text(json.dumps({**origin, "files": digests(part)}, indent=1), encoding="utf-8")
