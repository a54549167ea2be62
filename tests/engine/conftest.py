"""One tiny model, one full run and a shared network trap for the engine's tests; collected only where torch is installed."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine.nursery import Nursery

ROOT = Path(__file__).resolve().parents[2]
collect_ignore_glob = [] if importlib.util.find_spec("torch") else ["test_*.py"]

TRAP = '''
"""Notes every attempt to reach another machine, then refuses it."""
import os, socket

def _refuse(self, address):
    if self.family not in (socket.AF_INET, socket.AF_INET6) or address[0] in ("127.0.0.1", "::1", "localhost"):
        return _connect(self, address)
    with open(os.environ["LUTHIER_TEST_TRAP"], "a") as file:
        file.write(repr(address) + "\\\\n")
    raise OSError("the test allows no connection")

def _lookup(host, *args, **kwargs):
    if host not in (None, "", "localhost", "127.0.0.1", "::1"):
        with open(os.environ["LUTHIER_TEST_TRAP"], "a") as file:
            file.write(repr(host) + "\\\\n")
        raise socket.gaierror("the test allows no look-up")
    return _getaddrinfo(host, *args, **kwargs)

_connect, _getaddrinfo = socket.socket.connect, socket.getaddrinfo
socket.socket.connect, socket.getaddrinfo = _refuse, _lookup
'''.replace("\\\\n", "\\n")

SYSTEM = "Reply with category and priority."
SUBJECTS = ("printer", "router", "password", "laptop", "badge", "phone")


def rows(count: int, start: int = 0) -> list[dict[str, Any]]:
    """Small tickets with answers."""
    found = []
    for at in range(start, start + count):
        subject, urgent = SUBJECTS[at % len(SUBJECTS)], at % 2 == 0
        asked = f"The {subject} number {at} is broken, {'now' if urgent else 'some day'}."
        messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": asked}]
        found.append({"messages": [*messages, {"role": "assistant", "content": f"{subject} | {'high' if urgent else 'low'}"}]})
    return found


def write_rows(path: Path, found: list[dict[str, Any]]) -> None:
    """Write JSONL."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in found), encoding="utf-8")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model's folder."""
    from tests.tiny_model import make_tiny_model

    return make_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="session")
def environ(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of engine children: nothing of ours but the root and the trap."""
    folder = tmp_path_factory.mktemp("trap")
    (folder / "sitecustomize.py").write_text(TRAP, encoding="utf-8")
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
    return {**kept, "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}", "LUTHIER_TEST_TRAP": str(folder / "attempts")}


@pytest.fixture(scope="session")
def new_run(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Make a run folder with data and a spec; keyword arguments replace the spec's fields."""

    def make(**fields: Any) -> Path:
        folder = tmp_path_factory.mktemp("run")
        data = folder / "data"
        write_rows(data / "train.jsonl", rows(24))
        write_rows(data / "validation.jsonl", rows(4, 100))
        write_rows(data / "test.jsonl", rows(6, 200))
        spec = {
            "run_id": "0123456789", "model_id": "tiny", "model_dir": str(tiny), "model_digest": "m", "data_dir": str(data),
            "data_digest": "d", "method": "qlora", "max_steps": 6, "epochs": 9, "learning_rate": 0.01, "eval_steps": 3, "save_steps": 2,
            "max_length": 200, "score_rows": 4, "lora_dropout": 0.1,
        }  # fmt: skip
        (folder / "spec.json").write_text(json.dumps({**spec, **fields}), encoding="utf-8")
        return folder

    return make


@pytest.fixture(scope="session")
def start(environ: dict[str, str]) -> Callable[..., subprocess.Popen[str]]:
    """Start an engine verb as a child in a folder."""

    def begin(folder: Path, *words: str, **more: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tools.engine", *words]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=folder, env={**environ, **more}, stdin=pipe, stdout=pipe, stderr=pipe, text=True)

    return begin


@pytest.fixture(scope="session")
def python() -> str:
    """The Python of this environment."""
    return sys.executable


@pytest.fixture(scope="session")
def nursery(environ: dict[str, str]) -> Iterator[Nursery]:
    """Engine processes that start in a moment, for tests that need many."""
    nursery = Nursery(environ)
    yield nursery
    nursery.close()


@pytest.fixture(scope="session")
def finished(new_run: Callable[..., Path], start: Callable[..., subprocess.Popen[str]]) -> Path:
    """One whole QLoRA run of the tiny model, shared."""
    folder = new_run()
    child = start(folder, "train", ".")
    _, errors = child.communicate(timeout=150)
    assert child.returncode == 0, errors + (folder / "log.txt").read_text(encoding="utf-8")[-3000:]
    return folder


def events_of(folder: Path, kind: str = "") -> list[dict[str, Any]]:
    """The events of a run, of one kind; a line that is being written does not count yet."""
    text = (folder / "events.jsonl").read_text(encoding="utf-8")
    lines = text[: text.rfind("\n") + 1].splitlines()
    return [event for event in map(json.loads, lines) if not kind or event["kind"] == kind]


def result_of(folder: Path) -> dict[str, Any]:
    """The engine's last word on a run."""
    return json.loads((folder / "result.json").read_text(encoding="utf-8"))


def edit(folder: Path, **fields: Any) -> None:
    """Change the spec of a run folder, as a hand would."""
    spec = json.loads((folder / "spec.json").read_text(encoding="utf-8"))
    (folder / "spec.json").write_text(json.dumps({**spec, **fields}), encoding="utf-8")


def log_of(folder: Path) -> str:
    """The end of a run's log, for the message of a failed assertion."""
    return (folder / "log.txt").read_text(encoding="utf-8")[-3000:]
