"""Asks pip's index which build of torch it offers here, and how big it is, before anything of it is downloaded."""

import json
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from install.packages import pip_command, pip_environment
from install.progress import size
from install.trouble import SetupFailed

VERSION = "2.13.0"
INSTALL_PAGE = "https://pytorch.org/get-started/locally/"
KNOWN_BYTES = {"cpu": 190_000_000, "cuda": 530_000_000, "mac": 80_000_000}
CUDA_LIBRARIES_BYTES = 2_400_000_000
"""What the CUDA build pulls along (cuBLAS, cuDNN, NCCL, Triton, …), as downloads."""
DISK_BYTES = {"cpu": 900_000_000, "cuda": 6_500_000_000, "mac": 500_000_000}

Kind = Literal["cpu", "cuda", "mac"]
UNITS = {"kB": 1e3, "MB": 1e6, "GB": 1e9}
PROCESSING = re.compile(r"^Processing (.*/(torch-[^/]+\.whl))$")
FETCHING = re.compile(r"^\s+(Downloading|Using cached) (?:\S*/)?(torch-[^/ ]+\.whl)(?: \(([\d.]+) ([kMG]B)\))?$")


@dataclass(frozen=True)
class Build:
    """One build of torch that the index offers."""

    file: str
    version: str
    kind: Kind
    bytes: int
    measured: bool
    """False when the size is our own figure, because the index told none."""
    local: bool
    """True when the file lies on this machine already."""

    @property
    def download_bytes(self) -> int:
        """What is downloaded for it, libraries included."""
        extra = CUDA_LIBRARIES_BYTES if self.kind == "cuda" else 0
        return extra + (0 if self.local else self.bytes)

    @property
    def disk_bytes(self) -> int:
        """What it takes on disk."""
        return DISK_BYTES[self.kind]

    def words(self) -> str:
        """One line for the person: version, build, size."""
        name = {"cpu": "CPU build", "cuda": "CUDA build for NVIDIA GPUs", "mac": "macOS build"}[self.kind]
        where = "a file on this machine" if self.local else "a download"
        text = f"torch {self.version}, {name}: {where} of {'' if self.measured else 'about '}{size(self.bytes)}"
        if self.kind == "cuda":
            text += f", and about {size(CUDA_LIBRARIES_BYTES)} of NVIDIA's libraries"
        return text


def kind_of(file: str) -> Kind:
    """CPU, CUDA or macOS build, by the wheel's name. On Linux x86-64 a build without a local version is the CUDA build."""
    if "macosx" in file:
        return "mac"
    local = re.search(r"\+([a-z]+)", file)
    if local:
        return "cuda" if local.group(1) in {"cu", "cuda"} else "cpu"
    return "cuda" if "x86_64" in file else "cpu"


def read_line(line: str) -> Build | None:
    """The build that a line of pip's output names, or None. pip writes the line before it downloads the file."""
    if found := PROCESSING.match(line):
        path = Path(unquote(found.group(1)))
        there = path.is_file()
        file = unquote(found.group(2))
        return _build(file, path.stat().st_size if there else None, local=there)
    if found := FETCHING.match(line):
        known = int(float(found.group(3)) * UNITS[found.group(4)]) if found.group(3) else None
        return _build(unquote(found.group(2)), known, local=found.group(1) == "Using cached")
    return None


def read_report(report: dict[str, Any], measure: bool = True) -> Build | None:
    """The build in a `pip install --dry-run --report` document: where the index gives metadata alone, nothing else names it."""
    for entry in report.get("install", []):
        if entry.get("metadata", {}).get("name") != "torch":
            continue
        url = entry["download_info"]["url"]
        path = unquote(urlsplit(url).path)
        if url.startswith("file:"):
            there = Path(path).is_file()
            return _build(Path(path).name, Path(path).stat().st_size if there else None, local=there)
        return _build(Path(path).name, ask_size(url) if measure else None, local=False)
    return None


def _build(file: str, known: int | None, *, local: bool) -> Build:
    kind = kind_of(file)
    return Build(file, file.split("-")[1], kind, known or KNOWN_BYTES[kind], known is not None, local)


def ask_size(url: str) -> int | None:
    """The length of a file by a HEAD request, or None when the server, a proxy or a certificate says no."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=10) as answer:
            return int(answer.headers["Content-Length"])
    except (OSError, TypeError, ValueError):
        return None


def torch_arguments(index: str) -> list[str]:
    """What pip is told: the version alone, and `LUTHIER_TORCH_INDEX` when it is set."""
    return [*(["--index-url", index] if index else []), f"torch=={VERSION}"]


def ask_index(python: Path, index: str, temp: Path, log: Path) -> Build:
    """Ask pip which build it would take. pip is stopped as soon as it names the file, before the download."""
    temp.mkdir(parents=True, exist_ok=True)
    report = temp / "torch-report.json"
    command = pip_command(python, "install", [
        "--dry-run", "--ignore-installed", "--no-deps", "--progress-bar", "off", "--report", str(report), *torch_arguments(index),
    ])
    log.parent.mkdir(parents=True, exist_ok=True)
    said: list[str] = []
    with log.open("a") as kept:
        kept.write(f"$ {' '.join(command)}\n")
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              errors="replace", env=pip_environment(temp), cwd=temp) as child:
            assert child.stdout is not None
            try:
                found = _first(child.stdout, said)
            finally:
                child.terminate()
                kept.writelines(said)
    if found is None and report.is_file():
        found = read_report(json.loads(report.read_text()))
    if found is None:
        errors = [line.removeprefix("ERROR:").strip() for line in said if line.startswith("ERROR:")]
        raise SetupFailed(f"pip's index offers no torch {VERSION} for this machine", (errors or ["It gave no reason."])[0],
                          f"Set LUTHIER_TORCH_INDEX to an index that does (see {INSTALL_PAGE}). The whole story is in {log}.")
    return found


def _first(lines: Iterable[str], said: list[str]) -> Build | None:
    for line in lines:
        said.append(line)
        found = read_line(line.rstrip("\n"))
        if found is not None:
            return found
    return None


def has_nvidia() -> bool:
    """Whether this machine has an NVIDIA driver, seen without loading it."""
    marks = ("/proc/driver/nvidia/version", "/dev/nvidia0", "/usr/lib/wsl/lib/libcuda.so.1")
    return any(Path(mark).exists() for mark in marks) or shutil.which("nvidia-smi") is not None


def advice(build: Build, nvidia: bool, accelerator: str) -> str:
    """What to say about this build on this machine; empty when it fits."""
    if accelerator == "cuda" and build.kind != "cuda":
        return (f"LUTHIER_ACCELERATOR=cuda asks for a GPU, and the index offers a {build.kind} build of torch. "
                f"Set LUTHIER_TORCH_INDEX to the index of a CUDA build, as {INSTALL_PAGE} names it.")
    if build.kind == "cuda" and not nvidia:
        return (f"This machine has no NVIDIA GPU, so the CPU build is recommended: it is about a tenth of the size. "
                f"{INSTALL_PAGE} (choose Pip, then CPU) shows an index URL; stop this with Ctrl-C and run "
                f"`LUTHIER_TORCH_INDEX=<that URL> make run`.")
    return ""
