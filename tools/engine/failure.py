"""Why a run failed, in one word for programs and one sentence for people."""

import errno
from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "oom", "gpu_oom", "gpu_lost", "disk", "data", "diverged", "changed", "foreign", "missing", "model", "bug", "no_adapter", "export"
]


class EngineFailed(Exception):
    """A failure whose kind and sentence are known where it is raised."""

    def __init__(self, kind: Kind, message: str) -> None:
        super().__init__(message)
        self.kind: Kind = kind
        self.message = message


class Cancelled(BaseException):
    """A person stopped the run. No Exception: Olive would swallow it and save the pass as finished."""


@dataclass(frozen=True, slots=True)
class Scene:
    """The settings that memory depends on, and what was foretold and seen of it, in bytes."""

    batch_size: int
    max_length: int
    gradient_checkpointing: bool
    predicted_bytes: int | None = None
    peak_bytes: int = 0


_GPU_NO_MEMORY = ("CUDA out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDA error: out of memory", "cudaErrorMemoryAllocation")
_NO_MEMORY = ("not enough memory", "can't allocate memory", "out of memory", "std::bad_alloc", "Cannot allocate memory")
_NO_DISK = (
    "No space left on device", "disk quota exceeded", "Disk quota exceeded", "os error 28", "os error 122",
    "PytorchStreamWriter failed writing file", "unexpected pos",
)  # fmt: skip
"""safetensors and torch say a full disk in words of their own, without an errno."""
_GPU_LOST = (
    ("device-side assert", "it refused a computation; a token id outside the model's vocabulary does that"),
    ("illegal memory access", "it read outside its memory"),
    ("unspecified launch failure", "a computation on it broke off"),
    ("launch timed out", "a computation on it took longer than the system allows"),
    ("uncorrectable ECC error", "its memory has errors that can't be corrected"),
    ("fallen off the bus", "the system lost sight of it"),
    ("GPU is lost", "the system lost sight of it"),
    ("NVML_ERROR_GPU_IS_LOST", "the system lost sight of it"),
    ("Xid", "its driver reported a fault (Xid)"),
    ("XID", "its driver reported a fault (XID)"),
    ("no CUDA-capable device", "none is there any more"),
    ("CUDA driver error", "its driver reported a fault"),
    ("CUDNN_STATUS_EXECUTION_FAILED", "a computation on it broke off"),
    ("CUBLAS_STATUS_EXECUTION_FAILED", "a computation on it broke off"),
    ("CUDA error", "its driver reported a fault"),
)
"""A sign in the error's text, the most telling first, and what it means."""


def _chain(error: BaseException) -> list[BaseException]:
    """The error and what led to it, outermost first."""
    chain: list[BaseException] = []
    seen: BaseException | None = error
    while seen is not None and seen not in chain:
        chain.append(seen)
        seen = seen.__cause__ or seen.__context__
    return chain


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"


def advice(scene: Scene | None) -> str:
    """The one setting to change for less memory, with the value to try."""
    if scene is None:
        return "Choose a smaller batch, shorter rows or gradient checkpointing, and start again."
    if scene.batch_size > 1:
        half = scene.batch_size // 2
        return f"Start again with batch_size {half} instead of {scene.batch_size}; gradient accumulation makes up for it."
    if not scene.gradient_checkpointing:
        return "Start again with gradient_checkpointing: about a third less memory for a third more time."
    if scene.max_length > 64:
        return f"Start again with max_length {scene.max_length // 2} instead of {scene.max_length}, or choose a smaller model."
    return "Choose a smaller model, or a machine with more memory."


def _memory(what: str, scene: Scene | None) -> str:
    seen = ""
    if scene is not None and scene.peak_bytes:
        foretold = "" if scene.predicted_bytes is None else f"; {_gib(scene.predicted_bytes)} were foretold"
        seen = f" (it held {_gib(scene.peak_bytes)}{foretold})"
    return f"{what} was not enough{seen}. {advice(scene)}"


def explain(error: BaseException, scene: Scene | None = None) -> tuple[Kind, str]:
    """The kind of a failure and a sentence that says what to do; never a traceback, never the error's own text."""
    chain = _chain(error)
    for link in chain:
        if isinstance(link, EngineFailed):
            return link.kind, link.message
    for link in chain:
        text = str(link)
        if (isinstance(link, OSError) and link.errno in (errno.ENOSPC, errno.EDQUOT)) or any(sign in text for sign in _NO_DISK):
            return "disk", "The disk is full. Free some space and resume the run; the last checkpoint is kept."
        if type(link).__name__ == "OutOfMemoryError" or any(sign in text for sign in _GPU_NO_MEMORY):
            return "gpu_oom", _memory("The GPU's memory", scene)
        if isinstance(link, MemoryError) or any(sign in text for sign in _NO_MEMORY):
            return "oom", _memory("The memory", scene)
    for link in chain:
        meaning = next((meaning for sign, meaning in _GPU_LOST if sign in str(link)), None)
        if meaning is not None:
            again = "Resume the run; should it happen again, restart the machine."
            return "gpu_lost", f"The GPU stopped working: {meaning}. The last checkpoint is kept. {again}"
    name = type(error).__name__
    return "bug", f"The engine stopped on an error it does not know ({name}). The run's log has the details; please report it."
