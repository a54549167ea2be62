"""An adapter is merged in float32 and built into GenAI files, which are loaded and asked before they count as done."""

import contextlib
import gc
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tools.engine import environment
from tools.engine.failure import EngineFailed
from tools.engine.folders import digests, whole, write_json
from tools.engine.served import prove_served
from tools.engine.spec import ExportSpec, Precision

RECIPES: dict[Precision, dict[str, str]] = {
    "fp32": {},
    "int8": {},
    "int4": {"algo_config": "k_quant", "is_symmetric": "false"},
}
"""GenAI 0.18 builder options; it ignores unknown names in silence, so each was tried."""


def merge(model: Any, out: Path, tokenizer: Any) -> None:
    """Save a float32 PEFT model with its adapter merged, and its tokenizer, to `out`."""
    merged = model.merge_and_unload()
    merged.save_pretrained(out)
    tokenizer.save_pretrained(out)


def merge_adapter(model_dir: Path, adapter_dir: Path, out: Path) -> None:
    """Load the base in float32, merge the adapter, save to `out`."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base = AutoModelForCausalLM.from_pretrained(str(model_dir), dtype=torch.float32, use_safetensors=True)
    tuned = PeftModel.from_pretrained(base, str(adapter_dir), use_safetensors=True)
    merge(tuned, out, AutoTokenizer.from_pretrained(str(model_dir)))


def build(source: Path, out: Path, precision: Precision, threads: int, report: Callable[[str, float], None] = lambda *_: None) -> None:
    """Build `source` (safetensors) into GenAI files at `out`, whole or not at all; proven by loading and asking."""
    from onnxruntime_genai.models.builder import create_model, parse_extra_options

    with whole(out) as part:
        cache = part / "builder-cache"
        options = [f"{name}={value}" for name, value in RECIPES[precision].items()]
        report("building", 0.1)
        with contextlib.redirect_stdout(sys.stderr):
            parsed = parse_extra_options("", str(source), str(part), precision, "cpu", str(cache), options)
            create_model("", str(source), str(part), precision, "cpu", str(cache), **parsed)
        shutil.rmtree(cache, ignore_errors=True)
        gc.collect()
        report("asking the built files", 0.9)
        try:
            prove_served(part, threads)
        except Exception as error:
            raise EngineFailed("export", f"The {precision} files were built but do not answer: {type(error).__name__}.") from error
    report("built", 1.0)


def export(spec: ExportSpec) -> None:
    """`python -m tools.engine export`: fills `spec.out` and writes its `result.json`."""
    environment.settle(spec.threads)
    started = time.monotonic()
    model_dir, out = Path(spec.model_dir).resolve(), Path(spec.out).resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    if spec.adapter_dir is None:
        build(model_dir, out, spec.precision, spec.threads)
    else:
        merged = out.with_name(out.name + ".merged")
        shutil.rmtree(merged, ignore_errors=True)
        try:
            merge_adapter(model_dir, Path(spec.adapter_dir).resolve(), merged)
            build(merged, out, spec.precision, spec.threads)
        finally:
            shutil.rmtree(merged, ignore_errors=True)
    files = digests(out)
    size = sum((out / name).stat().st_size for name in files)
    done = {"outcome": "finished", "model": spec.model_id, "adapter": spec.adapter_dir, "precision": spec.precision, "files": files}
    write_json(out / "result.json", {**done, "bytes": size, "seconds": round(time.monotonic() - started, 1)})
