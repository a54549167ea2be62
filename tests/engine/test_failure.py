"""Errors become one kind and one sentence that says what to change."""

import errno

import pytest

from tools.engine.failure import EngineFailed, Scene, explain

GIB = 2**30


def because(outer: Exception, inner: Exception) -> Exception:
    outer.__cause__ = inner
    return outer


class OutOfMemoryError(RuntimeError):
    """As torch names its own."""


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        pytest.param(MemoryError(), "oom", id="memory"),
        pytest.param(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"), "oom", id="torch on a CPU"),
        pytest.param(OSError(errno.ENOMEM, "Cannot allocate memory"), "oom", id="the system"),
        pytest.param(RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "gpu_oom", id="torch on a GPU"),
        pytest.param(OutOfMemoryError("CUDA out of memory."), "gpu_oom", id="torch's own class"),
        pytest.param(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "gpu_oom", id="cuBLAS"),
        pytest.param(RuntimeError("CUDA error: out of memory"), "gpu_oom", id="the CUDA driver"),
        pytest.param(RuntimeError("CUDA error: unspecified launch failure\nCUDA kernel errors might be"), "gpu_lost", id="launch failure"),
        pytest.param(RuntimeError("CUDA error: device-side assert triggered"), "gpu_lost", id="device-side assert"),
        pytest.param(RuntimeError("CUDA error: an illegal memory access was encountered"), "gpu_lost", id="illegal access"),
        pytest.param(RuntimeError("CUDA error: uncorrectable ECC error encountered"), "gpu_lost", id="ECC"),
        pytest.param(RuntimeError("NVML_ERROR_GPU_IS_LOST"), "gpu_lost", id="NVML"),
        pytest.param(RuntimeError("Unable to determine the device handle: GPU is lost. Reboot the system"), "gpu_lost", id="NVML in words"),
        pytest.param(RuntimeError("NVRM: Xid (PCI:0000:01:00): 79, GPU has fallen off the bus."), "gpu_lost", id="XID 79"),
        pytest.param(RuntimeError("No CUDA GPUs: no CUDA-capable device is detected"), "gpu_lost", id="no device any more"),
        pytest.param(RuntimeError("CUDA error: unknown error"), "gpu_lost", id="a CUDA error that nobody named"),
        pytest.param(OSError(errno.ENOSPC, "No space left on device"), "disk", id="disk"),
        pytest.param(OSError(errno.EDQUOT, "x"), "disk", id="quota"),
        pytest.param(RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"), "disk", id="safetensors"),
        pytest.param(RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 93248 vs 93140"), "disk", id="torch.save"),
        pytest.param(RuntimeError("PytorchStreamWriter failed writing file data/3: file write failed"), "disk", id="torch's writer"),
        pytest.param(because(RuntimeError("pass failed"), OSError(errno.ENOSPC, "x")), "disk", id="disk inside another error"),
        pytest.param(because(RuntimeError("x"), EngineFailed("diverged", "The loss …")), "diverged", id="known inside another error"),
        pytest.param(because(RuntimeError("x"), RuntimeError("CUDA error: unspecified launch failure")), "gpu_lost", id="GPU inside"),
        pytest.param(ValueError("a secret path /home/x"), "bug", id="unknown"),
    ],
)
def test_errors_have_a_kind_and_a_sentence_without_their_text(error: Exception, kind: str) -> None:
    found, message = explain(error)
    assert found == kind and "/home/x" not in message and "\n" not in message and message.endswith((".", "…"))
    assert len(str(error)) < 12 or str(error) not in message


@pytest.mark.parametrize(
    ("scene", "says"),
    [
        pytest.param(Scene(8, 512, False), "batch_size 4 instead of 8", id="the batch first"),
        pytest.param(Scene(1, 512, False), "gradient_checkpointing", id="then checkpointing"),
        pytest.param(Scene(1, 512, True), "max_length 256 instead of 512", id="then shorter rows"),
        pytest.param(Scene(1, 64, True), "a smaller model", id="then nothing is left"),
        pytest.param(Scene(2, 64, True, int(3.2 * GIB), 5 * GIB), "it held 5.0 GiB; 3.2 GiB were foretold", id="what was foretold"),
        pytest.param(Scene(2, 64, True, None, 5 * GIB), "it held 5.0 GiB)", id="nothing was foretold"),
    ],
)
@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA out of memory")], ids=["here", "on a GPU"])
def test_too_little_memory_names_the_setting_to_change_with_its_value(scene: Scene, says: str, error: Exception) -> None:
    assert says in explain(error, scene)[1]
