"""The engine's contract: what a caller writes for it to read, and what it writes back. Both environments import this."""

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

SPEC_VERSION = 1

MOUNTS = ("LUTHIER_RUN", "LUTHIER_ENGINE", "LUTHIER_MODELS", "LUTHIER_SECRETS")
"""Variables that a path of a spec may begin with, as `$LUTHIER_RUN/data`: in a container only its platform knows where folders lie."""
PATHS = ("model_dir", "data_dir", "key_path", "base_served_dir")

Method = Literal["lora", "qlora", "full"]
Precision = Literal["fp32", "int8", "int4"]
Report = Literal["tensorboard", "mlflow", "wandb", "trackio"]
Stage = Literal["prepare", "baseline", "train", "score", "export", "score_export", "done"]


class Closed(BaseModel):
    """Refuses unknown fields, on both sides of the process border."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TrainSpec(Closed):
    """One run: train, score before and after, export, score the served file. Lies as `spec.json` in the run folder."""

    version: int = SPEC_VERSION
    run_id: str = Field(pattern=r"^[0-9a-hjkmnp-tv-z]{10}$")
    model_id: str
    model_dir: str
    """A folder with config.json, *.safetensors and the tokenizer. Absolute."""
    model_digest: str
    data_dir: str
    """A folder with train.jsonl, validation.jsonl and test.jsonl, each row `{"messages": [...]}` or `{"text": ...}`."""
    data_digest: str
    method: Method = "qlora"
    max_steps: int = Field(ge=1, le=1_000_000)
    epochs: float = Field(gt=0, le=1000)
    """Training ends after so many passes over the rows that fit, or after max_steps, whichever comes first."""
    learning_rate: float = Field(gt=0, le=1)
    batch_size: int = Field(default=4, ge=1, le=1024)
    grad_accumulation: int = Field(default=1, ge=1, le=1024)
    max_length: int = Field(default=512, ge=8, le=131_072)
    """Tokens of a row; a longer row is left out and counted, never cut in the middle."""
    lora_r: int = Field(default=8, ge=1, le=1024)
    lora_alpha: int = Field(default=16, ge=1, le=4096)
    lora_dropout: float = Field(default=0.05, ge=0, lt=1)
    quant_type: Literal["nf4", "fp4"] = "nf4"
    double_quant: bool = True
    gradient_checkpointing: bool = False
    warmup_ratio: float = Field(default=0.05, ge=0, le=0.5)
    weight_decay: float = Field(default=0.0, ge=0, le=1)
    scheduler: Literal["linear", "cosine", "constant"] = "linear"
    eval_steps: int = Field(default=20, ge=1)
    save_steps: int = Field(default=20, ge=1)
    seed: int = 0
    threads: int = Field(default=1, ge=1, le=1024)
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """auto: bfloat16 where the device computes it natively, else float32."""
    device: Literal["cpu", "cuda"] = "cpu"
    patience: int | None = Field(default=None, ge=1, le=1000)
    """Evaluations without improvement of the validation loss after which training ends; None never ends it early."""
    keep_best: bool = True
    """With patience and validation rows: the checkpoint of the best evaluation is kept, scored and exported, not the last one."""
    explode: float = Field(default=4.0, gt=1, le=1_000_000)
    """The run ends as diverged when the loss is so many times the median of the last 20, three steps in a row."""
    key_path: str | None = None
    """A file with the run's HMAC key, in the run folder or absolute; None seals checkpoints by SHA-256 alone."""
    report_to: list[Report] = []
    """Where else the numbers go, always into the run folder; off by default."""
    predicted_peak_bytes: int | None = Field(default=None, ge=0)
    """What the plan foretold, for the words on a run that ran out of memory."""
    score_rows: int = Field(default=40, ge=0, le=10_000)
    """Held-out rows that are answered for exact match; 0 leaves scoring out."""
    answer_tokens: int = Field(default=64, ge=1, le=4096)
    export: Precision | None = "int8"
    """Precision of the served file; None leaves the export out."""
    base_served_dir: str | None = None
    """The untuned model at the same precision, already exported; built by the run when None or missing."""


def expanded(spec: TrainSpec, mounts: Mapping[str, str]) -> TrainSpec:
    """The spec with its paths as they lie here. ValueError when a path names a variable that `mounts` has not."""
    found: dict[str, str] = {}
    for field in PATHS:
        path = getattr(spec, field)
        name, slash, rest = path[1:].partition("/") if path and path.startswith("$") else ("", "", "")
        if name in MOUNTS:
            if not mounts.get(name):
                raise ValueError(f"{field} is {path}, and {name} is not set here.")
            found[field] = f"{mounts[name]}{slash}{rest}"
    return spec.model_copy(update=found)


class Score(Closed):
    """One model on the held-out rows."""

    model: str
    adapter: str | None
    precision: str
    rows: int
    exact_match: float
    """Share of rows answered word for word, 0..1."""
    loss: float | None
    """Mean cross-entropy in nats a token over the answers; None where the runtime gives no logits."""
    tokens_per_s: float | None = None


class RunResult(Closed):
    """`result.json`, written last and atomically by the engine."""

    version: int = SPEC_VERSION
    outcome: Literal["finished", "cancelled", "failed"]
    error_kind: str = ""
    """Empty, or one of `failure.Kind`: oom, gpu_oom, gpu_lost, disk, data, diverged, changed, foreign, missing, model, bug, no_adapter,
    export."""
    message: str = ""
    step: int = 0
    steps: int = 0
    loss: float | None = None
    eval_loss: float | None = None
    best_step: int | None = None
    """The step whose adapter is kept, when the best one was asked for."""
    best_eval_loss: float | None = None
    stopped_early: bool = False
    """Whether patience ended the training before its last step."""
    seconds: float = 0
    stage_seconds: dict[str, float] = {}
    peak_memory_bytes: int = 0
    """The most that training held, start-up included; scoring and export are not in it."""
    baseline: Score | None = None
    tuned: Score | None = None
    base_served: Score | None = None
    exported: Score | None = None
    adapter_dir: str | None = None
    """Relative to the run folder."""
    served_dir: str | None = None
    base_served_dir: str | None = None
    """The untuned model at the same precision, absolute: what a comparison asks."""
    skipped_rows: int = 0


class ScoreSpec(Closed):
    """`python -m tools.engine score SPEC`: answer and score held-out rows with one model; writes `out`/result.json (list of Score)."""

    out: str
    model_id: str
    model_dir: str
    adapter_dir: str | None = None
    served_dirs: dict[str, str] = {}
    """Label → GenAI folder, scored with the same rows."""
    rows_path: str
    rows: int = Field(default=40, ge=1, le=10_000)
    answer_tokens: int = Field(default=64, ge=1, le=4096)
    threads: int = Field(default=1, ge=1)


class ExportSpec(Closed):
    """`python -m tools.engine export SPEC`: merge an adapter (or none) and build GenAI files; writes `out`/result.json."""

    out: str
    model_id: str
    model_dir: str
    adapter_dir: str | None = None
    precision: Precision = "int8"
    threads: int = Field(default=1, ge=1)


class ConvertSpec(Closed):
    """`python -m tools.engine convert SPEC`: a GGUF file to a safetensors folder, once."""

    gguf: str
    out: str
