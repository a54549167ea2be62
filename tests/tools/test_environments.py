"""The training environments, as doctor tells them."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tools.environments import STAMP, environments
from tools.places import Places

LOCK = b"torch==1\n"


def make(root: Path, name: str = ".engine-cpu", python: bool = True, stamp: str | None = None) -> Path:
    folder = root / name
    (folder / "bin").mkdir(parents=True)
    (folder / "lib").mkdir()
    (folder / "lib" / "big.so").write_bytes(b"x" * 5000)
    if python:
        (folder / "bin" / "python").write_bytes(b"#!")
    digest = hashlib.sha256(LOCK).hexdigest()
    (folder / STAMP).write_text(json.dumps({"layers": {"engine-cpu": digest}}) if stamp is None else stamp)
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks" / "engine-cpu.txt").write_bytes(LOCK)
    return tmp_path


def test_a_finished_one_is_there_with_its_size_and_needs_no_command(root: Path) -> None:
    make(root)
    first, second = environments(Places(root, root / "home"))
    assert (first.name, first.used, first.there, first.problem, first.command, first.needs_bytes) == (".engine-cpu", True, True, "", "", 0)
    assert first.bytes > 5000 and (second.name, second.used, second.there, second.problem) == (".engine-cuda", False, False, "")
    assert second.needs_bytes > first.needs_bytes and second.command == "LUTHIER_ACCELERATOR=cuda make run"


CASES: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda root: None, "has not been made"),
    "half made": (lambda root: make(root, ".engine-cpu.part"), "half made"),
    "no interpreter": (lambda root: make(root, python=False), "interpreter is missing"),
    "a link to a Python that is gone": (
        lambda root: (make(root, python=False) / "bin" / "python").symlink_to("/nowhere/python3"), "made with is gone",
    ),
    "no stamp": (lambda root: (make(root) / STAMP).unlink(), "never finished"),
    "a damaged stamp": (lambda root: make(root, stamp="{"), "never finished"),
    "an older lock": (lambda root: make(root, stamp='{"layers": {"engine-cpu": "old"}}'), "older lock"),
}


@pytest.mark.parametrize(("prepare", "words"), CASES.values(), ids=CASES.keys())
def test_what_is_wrong_is_said_with_the_command_and_the_size(root: Path, prepare: Callable[[Path], object], words: str) -> None:
    prepare(root)
    first = environments(Places(root, root / "home"))[0]
    assert words in first.problem and not first.there and first.needs_bytes > 1e9
    assert first.command == "LUTHIER_ACCELERATOR=cpu make run" and json.dumps(first.as_json())


def test_one_that_a_person_pointed_to_elsewhere_is_theirs(root: Path, tmp_path: Path) -> None:
    python = tmp_path / "own" / "python"
    python.parent.mkdir()
    python.touch()
    first = environments(Places(root, root / "home", engine_python=python))[0]
    assert first.there and not first.problem
