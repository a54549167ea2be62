"""What the process is told before the heavy imports."""

import subprocess
import sys
from pathlib import Path

import pytest

from tools.engine.environment import cache_folder, choose_dtype, cpu_flags, settle, versions


def test_nothing_is_sent_or_fetched_and_threads_are_set(tmp_path: Path) -> None:
    environ: dict[str, str] = {}
    settle(3, tmp_path / "cache", environ)
    assert environ["OMP_NUM_THREADS"] == "3" and environ["OMP_WAIT_POLICY"] == "PASSIVE"
    assert environ["HF_HUB_OFFLINE"] == "1" and environ["ORT_DISABLE_TELEMETRY"] == "1" and environ["CI"] == "1"
    assert environ["HF_DATASETS_CACHE"].startswith(str(tmp_path))


@pytest.mark.parametrize(
    ("wanted", "device", "flags", "cuda_bf16", "dtype"),
    [
        ("auto", "cpu", {"avx2"}, False, "float32"),
        ("auto", "cpu", {"avx2", "avx512_bf16"}, False, "bfloat16"),
        ("auto", "cpu", {"amx_bf16"}, False, "bfloat16"),
        ("auto", "cuda", set(), True, "bfloat16"),
        ("auto", "cuda", {"amx_bf16"}, False, "float32"),
        ("float16", "cuda", set(), True, "float16"),
    ],
)
def test_bfloat16_is_chosen_only_where_it_is_native(wanted: str, device: str, flags: set[str], cuda_bf16: bool, dtype: str) -> None:
    assert choose_dtype(wanted, device, frozenset(flags), cuda_bf16) == dtype


def test_flags_are_read_or_empty(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nflags\t\t: fpu avx2\n", encoding="ascii")
    assert cpu_flags(tmp_path / "cpuinfo") == {"fpu", "avx2"}
    assert cpu_flags(tmp_path / "none") == frozenset()


def test_versions_name_python_and_torch() -> None:
    assert {"python", "torch", "peft", "onnxruntime-genai"} <= versions().keys()


def test_the_trap_that_the_run_tests_rely_on_catches_an_attempt(environ: dict[str, str], tmp_path: Path) -> None:
    code = "import socket\ntry:\n    socket.create_connection(('192.0.2.1', 9), timeout=1)\nexcept OSError as error:\n    print(error)"
    attempts = tmp_path / "attempts"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env={**environ, "LUTHIER_TEST_TRAP": str(attempts)}, capture_output=True, text=True, check=True)
    assert "allows no" in done.stdout and "192.0.2.1" in attempts.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("container", "device", "needs", "where"),
    [
        (False, "cuda", 1, "run/cache"),
        (True, "cuda", 1, "memory/luthier-run-cache"),
        (True, "cpu", 1, "disk/luthier-run-cache"),
        (True, "cuda", 1 << 60, "run/cache"),
    ],
    ids=["at home", "beside a gpu", "without one", "no room"],
)
def test_a_containers_caches_lie_on_its_own_disk_or_in_memory(
    tmp_path: Path, container: bool, device: str, needs: int, where: str
) -> None:
    for name in ("run", "memory", "disk"):
        (tmp_path / name).mkdir()
    environ = {"LUTHIER_ENGINE": "/luthier/engine"} if container else {}
    found = cache_folder(tmp_path / "run", needs, device, environ, (tmp_path / "memory", tmp_path / "disk"))
    assert found == tmp_path / where
