"""Which build of torch an index offers, read from what pip prints and reports."""

from pathlib import Path

import pytest

from install.torch import Build, advice, kind_of, read_line, read_report

CPU = "torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl"
CUDA = "torch-2.13.0-cp311-cp311-manylinux_2_28_x86_64.whl"
MAC = "torch-2.13.0-cp312-none-macosx_11_0_arm64.whl"


@pytest.mark.parametrize(("file", "kind"), [
    (CPU, "cpu"), (CUDA, "cuda"), (MAC, "mac"), ("torch-2.13.0+cu130-cp311-cp311-manylinux_2_28_x86_64.whl", "cuda"),
    ("torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_aarch64.whl", "cpu"), ("torch-2.13.0-cp311-cp311-manylinux_2_28_aarch64.whl", "cpu"),
])
def test_the_wheels_name_tells_the_build(file: str, kind: str) -> None:
    assert kind_of(file) == kind


def test_the_line_before_a_download_tells_build_and_size() -> None:
    build = read_line(f"  Downloading {CUDA} (526.6 MB)")
    assert build is not None and (build.kind, build.bytes, build.measured, build.local) == ("cuda", 526_600_000, True, False)
    assert build.words().startswith("torch 2.13.0, CUDA build for NVIDIA GPUs: a download of 527 MB")
    assert build.download_bytes > 2_000_000_000


def test_a_line_with_the_whole_address_is_read_too() -> None:
    build = read_line("  Downloading https://index.example/whl/cpu/torch-2.13.0%2Bcpu-cp311-cp311-manylinux_2_28_x86_64.whl (190.1 MB)")
    assert build is not None and (build.kind, build.version, build.bytes) == ("cpu", "2.13.0+cpu", 190_100_000)


def test_a_cached_file_is_no_download() -> None:
    build = read_line(f"  Using cached {CUDA} (526.6 MB)")
    assert build is not None and build.local


def test_a_file_on_this_machine_is_measured(tmp_path: Path) -> None:
    wheel = tmp_path / CPU
    wheel.write_bytes(b"x" * 2_000_000)
    build = read_line(f"Processing {wheel}")
    assert build is not None and (build.kind, build.bytes, build.local, build.download_bytes) == ("cpu", 2_000_000, True, 0)
    assert build.words() == "torch 2.13.0+cpu, CPU build: a file on this machine of 2 MB"


@pytest.mark.parametrize("line", [
    "Collecting torch==2.13.0", f"  Downloading {CUDA}.metadata (30 kB)", "  Downloading filelock-4.2.12-py3-none-any.whl (222 kB)",
    "WARNING: Location 'file:///somewhere/simple/torch/' is ignored", "",
])
def test_other_lines_tell_nothing(line: str) -> None:
    assert read_line(line) is None


def report(url: str) -> dict[str, object]:
    """What `pip install --dry-run --no-deps --report` writes, shortened to what is read."""
    entry = {"download_info": {"url": url, "archive_info": {}}, "is_direct": False, "requested": True,
             "metadata": {"metadata_version": "2.4", "name": "torch", "version": "2.13.0"}}
    return {"version": "1", "pip_version": "26.3", "install": [entry], "environment": {}}


def test_an_index_that_gives_metadata_alone_is_read_from_the_report() -> None:
    build = read_report(report("https://index.example/whl/cpu/torch-2.13.0%2Bcpu-cp311-cp311-manylinux_2_28_x86_64.whl"), measure=False)
    assert build is not None and (build.version, build.kind, build.measured) == ("2.13.0+cpu", "cpu", False)
    assert "about 190 MB" in build.words()


def test_a_report_of_a_local_file_is_measured(tmp_path: Path) -> None:
    wheel = tmp_path / CPU
    wheel.write_bytes(b"x" * 3_000_000)
    build = read_report(report(wheel.as_uri()), measure=False)
    assert build is not None and build.local and build.bytes == 3_000_000


def test_a_report_without_torch_tells_nothing() -> None:
    assert read_report({"install": []}) is None


def test_a_cuda_build_on_a_machine_without_a_gpu_is_advised_against() -> None:
    build = Build(CUDA, "2.13.0", "cuda", 1, True, False)
    words = advice(build, nvidia=False, accelerator="cpu")
    assert "CPU build is recommended" in words and "https://pytorch.org/get-started/locally/" in words and "LUTHIER_TORCH_INDEX" in words
    assert advice(build, nvidia=True, accelerator="cpu") == ""


def test_a_gpu_environment_needs_a_cuda_build() -> None:
    assert "LUTHIER_TORCH_INDEX" in advice(Build(CPU, "2.13.0+cpu", "cpu", 1, True, False), nvidia=True, accelerator="cuda")
