"""Engine children of the chat: their environment, and the short-lived ones that export or score and end."""

import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from pydantic import BaseModel

from policies.tool import ToolFailed
from tools.places import Places
from tools.runs.runner import write_atomically
from tools.runs.watch import RunWatch

_PASSED = (
    "PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER",
    "NVIDIA_VISIBLE_DEVICES", "WSL_INTEROP", "WSL_DISTRO_NAME", "LUTHIER_FAULT",
)
"""What an engine may know of the parent's environment. Keys and tokens are never among it."""


def child_environment(places: Places, parent: Mapping[str, str], threads: int = 1) -> dict[str, str]:
    """The variables an engine child is started with; `threads` bounds OpenMP, which takes every core otherwise."""
    cache = str(places.home / "cache")
    return {name: parent[name] for name in _PASSED if name in parent} | {
        "HOME": cache,
        "XDG_CACHE_HOME": cache,
        "HF_HOME": f"{cache}/huggingface",
        "PYTHONPATH": str(places.root),
        "PYTHONSAFEPATH": "1",  # the child's folder is full of data: nothing there may be imported
        "PYTHONNOUSERSITE": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONUTF8": "1",
        "CI": "1",  # Olive 0.13 sends a heartbeat whatever its own switch says, except here
        "OLIVE_DISABLE_TELEMETRY": "1",
        "ORT_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "PASSIVE",
    }


def open_log(path: Path) -> IO[bytes]:
    """Open a log for appending, 0600; one that has grown beyond a megabyte begins anew."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(OSError):
        if path.stat().st_size > 1_000_000:
            path.unlink()
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")


class EngineChildren:
    """Starts engine children of one home and ends those still running when it is closed. Thread-safe."""

    def __init__(self, places: Places, parent: Mapping[str, str] | None = None) -> None:
        self._places = places
        self._parent = dict(os.environ if parent is None else parent)
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._closed = False

    def environment(self, threads: int = 1) -> dict[str, str]:
        """The variables of a child; its cache folder exists afterwards."""
        (self._places.home / "cache").mkdir(mode=0o700, parents=True, exist_ok=True)
        return child_environment(self._places, self._parent, threads)

    def command(self, *verb: str) -> list[str]:
        """The command line of an engine verb; ToolFailed when the engine's environment is not there."""
        if not self._places.engine_python.exists():
            raise ToolFailed("Start the engine", f"Its environment {self._places.engine_python.parent.parent.name} is not installed.",
                             "Run `make run` once: it installs it.", kind="engine")
        return [str(self._places.engine_python), "-m", "tools.engine", *verb]

    def run(self, verb: str, spec: BaseModel, folder: Path, threads: int, timeout_s: float, say: Callable[[str], None]) -> None:
        """Run one verb on a spec to its end, in `folder`, which gets the spec and a log. ToolFailed when it does not succeed."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / f"{verb}.json"
        write_atomically(path, spec.model_dump(mode="json"))
        command = self.command(verb, str(path))
        log = folder / "log.txt"
        with open_log(log) as out, self._lock:
            if self._closed:
                raise ToolFailed(f"Run the engine's {verb}", "Luthier is closing.", "Start it again.", kind="closing")
            child = subprocess.Popen(command, cwd=folder, env=self.environment(threads), stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                     start_new_session=True)
            self._running.add(child)
        say("started")
        try:
            rc = child.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise ToolFailed(f"Run the engine's {verb}", f"It did not end within {timeout_s:.0f} seconds and was stopped.",
                             "Close other programs and try again.", kind="timeout") from error
        finally:
            self._end(child)
        if rc != 0:
            because = f"It ended with status {rc}."
            raise ToolFailed(f"Run the engine's {verb}", because, f"Its log is {log}.", kind="engine",
                             heard=_reason(RunWatch(folder).log(lines=1).lines))

    def _end(self, child: subprocess.Popen[bytes]) -> None:
        if child.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        with self._lock:
            self._running.discard(child)

    def close(self) -> None:
        """End what still runs; nothing can be started afterwards."""
        with self._lock:
            self._closed = True
            running = list(self._running)
        for child in running:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)


KINDS = frozenset({"oom", "disk", "data", "diverged", "model", "bug", "no_adapter", "export", "usage", "too_long"})
"""What the engine calls its failures; any other word of its is not passed on."""


def engine_said(what: str, error: Mapping[str, Any], try_next: str) -> ToolFailed:
    """The failure that an engine child tells of: its kind when it is a known one, its words for people alone."""
    kind = str(error.get("kind"))
    return ToolFailed(what, "The engine could not do it.", try_next, kind=kind if kind in KINDS else "engine",
                      heard=str(error.get("message", ""))[:500])


def _reason(last: tuple[str, ...]) -> str:
    """The engine says a failure as JSON on its last line."""
    try:
        said = json.loads(last[0])["message"]
    except (IndexError, ValueError, KeyError, TypeError):
        return ""
    return str(said)[:400]
