"""The machine: GPUs of every kind, none at all, containers, and what is said about what is missing."""

from pathlib import Path

import psutil
import pytest

from policies.proposal import Effect
from policies.tool import Call, Recall
from tests.tools.fakes_machine import RTX_3050, RTX_4060, RTX_4090, TESLA_T4, FakeNvml, machine
from tools.gpus import NvmlFailure
from tools.hardware import GIB, Hardware, InspectHardware, Machine
from tools.places import Places

PROC_X86 = "processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: fpu sse4_2 avx avx2 fma {more}\n\nprocessor\t: 1\nmodel name\t: Other\n"


def system(root: Path, files: dict[str, str] | None = None) -> Path:
    """A made-up /proc, /sys and /dev."""
    for name, text in {"proc/cpuinfo": PROC_X86.format(more=""), **(files or {})}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def read(tmp_path: Path, nvml: FakeNvml | None = None, *, accelerator: str = "cpu", files: dict[str, str] | None = None) -> Machine:
    places = Places(tmp_path, tmp_path / "home", accelerator="cuda" if accelerator == "cuda" else "cpu")
    return Hardware(places, nvml or FakeNvml(broken=NvmlFailure("no_library", "x")), system=system(tmp_path / "sys", files)).machine()


def said(found: Machine, words: str) -> bool:
    return any(words in note for note in found.notes)


def test_a_machine_without_a_gpu_is_a_normal_answer_with_its_reason(tmp_path: Path) -> None:
    found = read(tmp_path)
    assert found.gpus == ()
    assert said(found, "libnvidia-ml) is not installed")
    assert found.cpu.name == "Some CPU"
    assert found.cpu.isa == ("sse4.2", "avx", "avx2", "fma")
    assert 1 <= found.free_cores() <= found.cpu.cores


@pytest.mark.parametrize(("kind", "words"), [
    ("no_driver", "kernel driver is not loaded"), ("mismatch", "Restart the machine"), ("denied", "Grant access"), ("other", "odd thing"),
])
def test_a_broken_driver_is_told_with_what_to_do(tmp_path: Path, kind: str, words: str) -> None:
    assert said(read(tmp_path, FakeNvml(broken=NvmlFailure(kind, "odd thing"))), words)  # type: ignore[arg-type]


def test_a_working_driver_without_a_device_says_so(tmp_path: Path) -> None:
    assert said(read(tmp_path, FakeNvml()), "counts no device")


@pytest.mark.parametrize(("card", "words"), [
    (RTX_3050, "below the 8 GB floor"), (RTX_4060, "below the advised 16 GB"), (RTX_4090, ""), (TESLA_T4, "does not compute bfloat16"),
], ids=["3050", "4060", "4090", "T4"])
def test_each_card_is_judged(tmp_path: Path, card, words: str) -> None:
    nvml = FakeNvml(card)
    found = read(tmp_path, nvml, accelerator="cuda")
    gpu = found.gpus[0]
    assert (gpu.name, gpu.memory_total_bytes, gpu.memory_free_bytes) == (card.name, card.total_bytes, card.free_bytes)
    assert (gpu.driver, gpu.compute_capability, gpu.vendor) == ("580.95", card.compute_capability, "NVIDIA")
    judged = [note for note in found.notes if note.startswith("GPU 0")]
    assert any(words in note for note in judged) if words else judged == []
    assert nvml.open_count == 0


def test_of_two_gpus_the_roomier_is_chosen_and_one_that_fails_is_a_note(tmp_path: Path) -> None:
    found = read(tmp_path, FakeNvml(RTX_3050, NvmlFailure("lost", "x"), RTX_4090), accelerator="cuda")
    assert [gpu.index for gpu in found.gpus] == [0, 2]
    assert found.roomiest() is not None and found.free_for("cuda") == RTX_4090.free_bytes
    assert said(found, "GPU 1 does not answer")


def test_a_gpu_without_its_environment_is_said_to_be_unused(tmp_path: Path) -> None:
    assert said(read(tmp_path, FakeNvml(RTX_4090)), "GPU present, not used: prepare it with LUTHIER_ACCELERATOR=cuda make run.")


def test_the_cuda_environment_without_a_gpu_is_a_note(tmp_path: Path) -> None:
    assert said(read(tmp_path, accelerator="cuda"), "no GPU answers")


@pytest.mark.parametrize("files", [
    {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": str(3 * GIB), "sys/fs/cgroup/memory.current": str(2 * GIB),
     "sys/fs/cgroup/memory.stat": f"anon 5\ninactive_file {GIB}\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"},
    {"proc/self/cgroup": "4:memory:/box\n2:cpu,cpuacct:/box\n", "sys/fs/cgroup/memory/box/memory.limit_in_bytes": str(3 * GIB),
     "sys/fs/cgroup/memory/box/memory.usage_in_bytes": str(2 * GIB),
     "sys/fs/cgroup/memory/box/memory.stat": f"total_inactive_file {GIB}\n",
     "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
     "sys/fs/cgroup/cpu/box/cpu.cfs_quota_us": "150000", "sys/fs/cgroup/cpu/box/cpu.cfs_period_us": "100000"},
], ids=["version 2", "version 1"])
@pytest.mark.skipif(psutil.virtual_memory().total < 4 * GIB, reason="the limit must be below what the machine has")
def test_a_containers_limits_are_honoured(tmp_path: Path, files: dict[str, str]) -> None:
    found = read(tmp_path, files=files)
    assert found.memory.total_bytes == 3 * GIB
    assert 0 < found.memory.available_bytes <= 2 * GIB
    assert found.cpu.cores == 1
    assert said(found, "memory limit is 3.0 of")


def test_a_limit_higher_up_counts_too(tmp_path: Path) -> None:
    files = {"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "max", "sys/fs/cgroup/a/memory.max": str(GIB)}
    assert read(tmp_path, files=files).memory.total_bytes == GIB


@pytest.mark.parametrize(("more", "native"), [("", False), ("avx512f", False), ("avx512f avx512_bf16", True), ("amx_tile amx_bf16", True)])
def test_bfloat16_counts_only_where_the_processor_computes_it(tmp_path: Path, more: str, native: bool) -> None:
    found = read(tmp_path, files={"proc/cpuinfo": PROC_X86.format(more=more)})
    assert found.cpu.bf16_native is native
    assert found.dtype_for("cpu") == ("bfloat16" if native else "float32")


def test_arm_flags_are_read_too(tmp_path: Path) -> None:
    found = read(tmp_path, files={"proc/cpuinfo": "processor : 0\nFeatures : fp asimd bf16\n"})
    assert found.cpu.isa == ("neon", "arm_bf16")


def test_other_graphics_and_an_npu_are_named_and_not_used(tmp_path: Path) -> None:
    files = {"sys/class/drm/card0/device/vendor": "0x1002\n", "sys/class/accel/accel0/dev": "261:0"}
    found = read(tmp_path, files=files)
    assert found.npu == "NPU"
    assert said(found, "AMD graphics found, not used") and said(found, "not used for training here")


@pytest.mark.parametrize(("cores", "load", "free"), [(2, 0.1, 2), (2, 0.9, 1), (2, 9.0, 1), (16, 0.0, 15), (16, 12.0, 4), (1, 0.0, 1)])
def test_only_free_cores_are_given_to_training(cores: int, load: float, free: int) -> None:
    assert machine(cores=cores, load=load).free_cores() == free


def test_a_busy_machine_gives_threads_a_part_of_their_time() -> None:
    assert machine(cores=2, load=0.0).share_for(2) == 1.0
    assert machine(cores=2, load=9.0).share_for(1) == 0.2
    assert machine(cores=2, load=900.0).share_for(1) == 0.1


def test_inspect_hardware_gives_the_fields_everything_shares(tmp_path: Path) -> None:
    tool = InspectHardware(Hardware(Places(tmp_path, tmp_path), FakeNvml(RTX_4060), system=system(tmp_path / "s")))
    args = tool.Args()
    assert tool.propose(args).effects == {Effect.READ}
    answer = tool.perform(args, Call("c", "owner"))
    assert {"cpu", "memory", "gpus", "npu", "disk", "os", "notes"} <= set(answer.result)
    assert {"name", "cores", "isa"} <= set(answer.result["cpu"])  # type: ignore[arg-type]
    gpu = answer.result["gpus"][0]  # type: ignore[index,call-overload]
    assert set(gpu) == {"index", "vendor", "name", "memory_total_bytes", "memory_free_bytes", "driver", "compute_capability"}  # type: ignore[arg-type]
    assert answer.for_brain["gpus"] == ["0: NVIDIA GeForce RTX 4060, 7.2 of 8.0 GiB free"]
    assert tool.recall("c") is Recall.NOT_STARTED
