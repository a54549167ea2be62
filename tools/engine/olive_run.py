"""Olive runs the training: our closed spec becomes its LoRA or QLoRA pass, our encoded rows its registered dataset."""

import logging
import math
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.engine.callback import Reporter
from tools.engine.checkpoints import Checkpoint
from tools.engine.data import Encoded
from tools.engine.failure import EngineFailed
from tools.engine.spec import TrainSpec
from tools.engine.trainer import reported

ADAPTER = "adapter_model.safetensors"


@dataclass(frozen=True, slots=True)
class Material:
    """What a training run reads: encoded rows, and the digest of the files they came from."""

    train: Sequence[Encoded]
    validation: Sequence[Encoded]
    sha256: str


def count_steps(spec: TrainSpec, rows: int) -> int:
    """Optimizer steps: the spec's epochs over `rows`, at most its `max_steps`."""
    batches = math.ceil(rows / spec.batch_size)
    per_epoch = math.ceil(batches / spec.grad_accumulation)
    return max(1, min(spec.max_steps, math.ceil(spec.epochs * per_epoch)))


def linear_targets(model_dir: Path) -> list[str]:
    """Names of a model's linear layers except the output head: what bitsandbytes would quantise, so LoRA and QLoRA tune the same."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(str(model_dir)))
    head = model.get_output_embeddings()
    modules = [(name, module) for name, module in model.named_modules() if isinstance(module, torch.nn.Linear) and module is not head]
    if not modules:
        raise EngineFailed("model", "This model has no linear layers to tune. Choose another model.")
    return sorted({name.rpartition(".")[2] for name, _ in modules})


def training_arguments(spec: TrainSpec, steps: int, output: Path, resume: Checkpoint | None, evaluate: bool) -> dict[str, Any]:
    """The Trainer's arguments. `warmup_steps`, not the ratio: Olive drops the ratio since transformers 5 lost it.

    No `save_total_limit`: the Trainer removes old checkpoints before the new one is sealed; `Checkpoints.prune` does it after.
    """
    return {
        "output_dir": str(output),
        "resume_from_checkpoint": str(resume.path) if resume else None,
        "max_steps": steps,
        "learning_rate": spec.learning_rate,
        "lr_scheduler_type": spec.scheduler,
        "warmup_steps": math.ceil(steps * spec.warmup_ratio),
        "weight_decay": spec.weight_decay,
        "per_device_train_batch_size": spec.batch_size,
        "per_device_eval_batch_size": spec.batch_size,
        "gradient_accumulation_steps": spec.grad_accumulation,
        "gradient_checkpointing": spec.gradient_checkpointing,
        "optim": "adamw_torch",
        "seed": spec.seed,
        "data_seed": spec.seed,
        "use_cpu": spec.device == "cpu",
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "include_num_input_tokens_seen": "non_padding",
        "disable_tqdm": True,
        "eval_strategy": "steps" if evaluate else "no",
        "eval_steps": spec.eval_steps,
        "prediction_loss_only": True,
        "save_strategy": "steps",
        "save_steps": spec.save_steps,
        "remove_unused_columns": False,
        "report_to": list(spec.report_to) or "none",
        "run_name": spec.run_id,
        "dataloader_pin_memory": spec.device == "cuda",
    }


def check_arguments(arguments: dict[str, Any]) -> None:
    """Refuse a name that neither Olive nor transformers knows: Olive drops it with a warning. Raises EngineFailed("bug")."""
    import dataclasses

    import transformers
    from olive.passes.pytorch.lora import HFTrainingArguments

    ours = set(HFTrainingArguments.model_json_schema()["properties"])
    theirs = {field.name for field in dataclasses.fields(transformers.TrainingArguments) if field.init}
    unknown = sorted(set(arguments) - theirs - (ours & {"resume_from_checkpoint", "overwrite_output_dir"}))
    if unknown:
        raise EngineFailed("bug", f"The training library does not know the settings {', '.join(unknown)}. Please report it.")


def workflow(spec: TrainSpec, steps: int, dtype: str, work: Path, cache: Path, sha256: str, resume: Checkpoint | None,
             evaluate: bool) -> dict[str, Any]:
    """Olive's configuration: one pass, no cache shared with any other run, no script of anyone's."""
    one_pass: dict[str, Any] = {
        "type": "QLoRA" if spec.method == "qlora" else "LoRA",
        "r": spec.lora_r,
        "alpha": spec.lora_alpha,
        "lora_dropout": spec.lora_dropout,
        "torch_dtype": dtype,
        "device_map": "auto" if spec.device == "cuda" else None,
        "train_data_config": "train_rows",
        "training_args": training_arguments(spec, steps, work / "checkpoints", resume, evaluate),
    }
    if evaluate:
        one_pass["eval_data_config"] = "validation_rows"
    if spec.method == "qlora":
        one_pass |= {"quant_type": spec.quant_type, "double_quant": spec.double_quant, "save_quant_config": False}
    else:
        one_pass["target_modules"] = linear_targets(Path(spec.model_dir))
    check_arguments(one_pass["training_args"])
    load = {"attn_implementation": "sdpa", "use_safetensors": True, "local_files_only": True}
    names = ["train_rows", "validation_rows"] if evaluate else ["train_rows"]
    provider = "CUDAExecutionProvider" if spec.device == "cuda" else "CPUExecutionProvider"
    device = {"device": "gpu" if spec.device == "cuda" else "cpu", "execution_providers": [provider]}
    return {
        "workflow_id": f"luthier-{spec.run_id}-{sha256[:16]}",
        "input_model": {"type": "HfModel", "model_path": spec.model_dir, "task": "text-generation", "load_kwargs": load},
        "systems": {"here": {"type": "LocalSystem", "accelerators": [device]}},
        "data_configs": [
            {"name": name, "load_dataset_config": {"type": f"luthier_{name}"}, "pre_process_data_config": {"type": "skip_pre_process"}}
            for name in names
        ],
        "passes": {"tune": one_pass},
        "host": "here",
        "target": "here",
        "evaluate_input_model": False,
        "cache_dir": str(cache / "olive"),
        "output_dir": str(cache / "olive-out"),
        "log_severity_level": 1,
    }


class Overheard(logging.Handler):
    """Keeps the last exception that Olive logged: a failed pass is swallowed and only logged."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.error: BaseException | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Remember the exception of a record."""
        if record.exc_info and record.exc_info[1] is not None:
            self.error = record.exc_info[1]


def register_rows(name: str, rows: Sequence[Encoded]) -> None:
    """Make rows a dataset that Olive finds by name. Its collator takes `labels` as they are and pads them with -100."""
    from olive.data.registry import Registry

    def load(**_: Any) -> list[dict[str, list[int]]]:
        return [{"input_ids": list(row.ids), "attention_mask": [1] * len(row.ids), "labels": row.labels} for row in rows]

    Registry.register_dataset(f"luthier_{name}")(load)


def tune(spec: TrainSpec, material: Material, steps: int, dtype: str, work: Path, cache: Path, reporter: Reporter,
         resume: Checkpoint | None) -> Path:
    """Run Olive; give the folder of the new adapter, inside `cache`.

    Raises what ended the training, and EngineFailed("no_adapter") when Olive ends well without one.
    """
    from olive.workflows import run
    from transformers import set_seed

    started = time.time()
    for name in ("olive", "olive-out"):
        shutil.rmtree(cache / name, ignore_errors=True)
    register_rows("train_rows", material.train)
    register_rows("validation_rows", material.validation)
    config = workflow(spec, steps, dtype, work, cache, material.sha256, resume, bool(material.validation))
    overheard = Overheard()
    olive_log = logging.getLogger("olive")
    olive_log.addHandler(overheard)
    set_seed(spec.seed)  # Olive makes the adapter before its Trainer seeds
    try:
        with reported(reporter):
            out: Any = run(config, tempdir=str(cache))
    finally:
        olive_log.removeHandler(overheard)
    ended_by = reporter.error or overheard.error
    if ended_by is not None:
        raise ended_by
    new = [path for path in cache.rglob(ADAPTER) if path.stat().st_mtime >= started - 1 and path.parent.name == "adapter"]
    if not out.has_output_model() or not new:
        raise EngineFailed("no_adapter", "The training ended without an adapter. The run's log says more; start it again.")
    return new[0].parent
