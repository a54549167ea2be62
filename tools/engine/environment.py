"""The process the engine runs in: nothing is sent, nothing is fetched, threads are set before the first heavy import."""

import logging
import os
import platform
from collections.abc import Mapping, MutableMapping
from importlib import metadata
from pathlib import Path

SILENCE: Mapping[str, str] = {
    "CI": "1",  # Olive sends its heartbeat even with its own switch off; it stays silent in a pipeline (olive-ai 0.13.0, 2026-11)
    "OLIVE_DISABLE_TELEMETRY": "1",
    "ORT_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TQDM_DISABLE": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
}
NATIVE_BF16 = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""Flags of /proc/cpuinfo (x86 and Arm) of processors that multiply bfloat16 natively."""
PACKAGES = ("torch", "transformers", "peft", "olive-ai", "bitsandbytes", "accelerate", "onnxruntime", "onnxruntime-genai", "tokenizers")


def settle(threads: int, cache: Path | None = None, environ: MutableMapping[str, str] = os.environ) -> None:
    """Set the process-wide variables. Call before torch, transformers, olive or onnxruntime is imported.

    `cache` is where Hugging Face and Olive may write; without it they keep their own places.
    """
    environ.update(SILENCE)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        environ[name] = str(threads)
    if cache is not None:
        cache.mkdir(parents=True, exist_ok=True)
        environ["HF_HOME"] = str(cache / "hf")
        environ["HF_DATASETS_CACHE"] = str(cache / "datasets")
        environ["OLIVE_TELEMETRY_CACHE_DIR"] = str(cache / "olive-silent")


def report_into(folder: Path, run_id: str, environ: MutableMapping[str, str] = os.environ) -> None:
    """Let TensorBoard, MLflow, Weights & Biases and Trackio write below `folder`, under the run's id, and send nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    environ.update({
        "TENSORBOARD_LOGGING_DIR": str(folder / "tensorboard"),
        "WANDB_MODE": "offline", "WANDB_DIR": str(folder), "WANDB_PROJECT": "luthier", "WANDB_NAME": run_id, "WANDB_SILENT": "true",
        "WANDB_ERROR_REPORTING": "false", "WANDB_LOG_MODEL": "false", "WANDB_WATCH": "false",
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}", "MLFLOW_EXPERIMENT_NAME": "luthier",
        "MLFLOW_DISABLE_TELEMETRY": "true", "HF_MLFLOW_LOG_ARTIFACTS": "FALSE",
        "TRACKIO_DIR": str(folder / "trackio"),
    })
    for name in ("TRACKIO_SPACE_ID", "MLFLOW_RUN_ID", "WANDB_RUN_ID"):
        environ.pop(name, None)


def cpu_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """The processor's instruction sets as Linux names them; empty where they can't be read."""
    try:
        text = cpuinfo.read_text(encoding="ascii", errors="replace")
    except OSError:
        return frozenset()
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()


def choose_dtype(wanted: str, device: str, flags: frozenset[str], cuda_bf16: bool = False) -> str:
    """The training dtype: `wanted`, or for "auto" bfloat16 where the device multiplies it natively, else float32.

    A bfloat16 matmul is nine times slower than float32 on a processor with AVX2 alone.
    """
    if wanted != "auto":
        return wanted
    native = cuda_bf16 if device == "cuda" else bool(flags & NATIVE_BF16)
    return "bfloat16" if native else "float32"


def versions() -> dict[str, str]:
    """Python's version and those of the packages that decide a run's numbers."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def quiet() -> None:
    """Keep the builder's line per tensor out of the log."""
    for name in ("onnxruntime.quantization.matmul_nbits_quantizer", "onnxruntime"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def memory_bytes() -> int:
    """This process's resident memory now, bytes; 0 where it can't be read."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def peak_memory_bytes() -> int:
    """The most resident memory this process has held, bytes."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else peak * 1024
