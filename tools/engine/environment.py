"""The process the engine runs in: nothing is sent, nothing is fetched, threads are set before the first heavy import."""

import contextlib
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, MutableMapping
from importlib import metadata
from pathlib import Path

from tools.engine.spec import MOUNTS

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


def cache_folder(folder: Path, needs: int, device: str, environ: Mapping[str, str] = os.environ,
                 quick: tuple[Path, Path] = (Path("/dev/shm"), Path(tempfile.gettempdir()))) -> Path:  # noqa: S108 - a container's own
    """Where what can be made again is kept: in the run's folder; in a container, whose run folder is far away, on its own small disk.

    `needs`: bytes, Olive's whole copy of the model among them. `quick`: memory, taken only beside a GPU, whose machine has plenty, and
    only a third of what is free; and the disk. The run's folder serves where neither has room.
    """
    if environ.get("LUTHIER_ENGINE"):
        for place, times in zip(quick, (3, 1), strict=True):
            with contextlib.suppress(OSError):
                if (device == "cuda" or place is not quick[0]) and shutil.disk_usage(place).free >= times * needs:
                    return place / f"luthier-{folder.name}-cache"
    return folder / "cache"


def mounts(environ: Mapping[str, str] = os.environ, names: Iterable[str] = MOUNTS) -> dict[str, str]:
    """Where a container's platform put the folders that a spec may name; empty outside of one."""
    return {name: environ[name] for name in names if environ.get(name)}


def whereabouts(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What a container is: the execution's name, the digests of its image and of this program, the GPU. Empty outside of one."""
    if not environ.get("LUTHIER_ENGINE"):
        return {}
    found = {
        "execution": environ.get("CONTAINER_APP_JOB_EXECUTION_NAME", ""), "image": environ.get("LUTHIER_IMAGE", ""),
        "engine": program_digest(Path(environ["LUTHIER_ENGINE"])), "gpu": gpu_name(),
    }
    return {name: value for name, value in found.items() if value}


def program_digest(root: Path) -> str:
    """One SHA-256 over the program's files, by path: what its folder on the share is called after. Empty where it cannot be read."""
    files = [path for part in ("tools", "locks") for path in root.glob(f"{part}/**/*") if path.is_file() and path.suffix in {".py", ".txt"}]
    lines = []
    try:
        for path in sorted(files, key=lambda each: each.relative_to(root).as_posix()):
            lines.append(f"{path.relative_to(root).as_posix()} {hashlib.sha256(path.read_bytes()).hexdigest()}\n")
    except OSError:
        return ""
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:32]


def gpu_name() -> str:
    """Name, memory and driver of the GPUs as nvidia-smi reports them, one line each; empty without any."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ""
    asked = [program, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, errors="replace", timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()[:1000] if done.returncode == 0 else ""


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
