"""`python -m tools.engine serve FOLDER`: answers over HTTP as OpenAI's API does, as the folder's `serve.json` says, until it is stopped."""

import argparse
import asyncio
import contextlib
import fcntl
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from tools.engine import environment
from tools.engine.failure import Cancelled, EngineFailed, explain
from tools.engine.folders import write_json
from tools.engine.serve_over import refuse
from tools.engine.serve_spec import EXIT, LOCK, MOUNTS, SERVING, STOP, ServeSpec, read_spec

TAKEN = 3
"""Exit status when another process serves this folder."""
KEY_LENGTH = 16
"""Characters an API key has at least."""
CUT_BEFORE_S = 1.0
"""Answers are cut so long before the grace ends, so that clients still hear why."""


def take_lock(folder: Path) -> int | None:
    """Hold the folder's lock, with our pid in it; None while another process has it. The kernel lets go of it when we end."""
    fd = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    for pause in (0.01, 0.05, 0.2, None):  # whoever only looks holds it for a moment
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if pause is None:
                os.close(fd)
                return None
            time.sleep(pause)
    os.ftruncate(fd, 0)
    os.pwrite(fd, json.dumps({"pid": os.getpid(), "boot": boot_id(), "t": time.time()}).encode(), 0)
    os.fsync(fd)
    return fd


def boot_id() -> str:
    """The kernel's id of this boot; empty where there is none."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ""


def read_key(path: Path, mounted: bool = False) -> str:
    """The API key. EngineFailed when it is missing, short, or others may read it.

    With `mounted` others may read it where the folder is a mount of its own, as a container's volume of secrets is; never write to it.
    """
    try:
        mode, key = path.stat().st_mode, path.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise EngineFailed("missing", "The file with the API key is not there. Deploy again.") from error
    if mode & 0o077 and not (mounted and path.parent.is_mount() and not mode & 0o022):
        raise EngineFailed("foreign", f"Others may read the file with the API key: its mode is {mode & 0o777:o}, 600 was wanted.")
    if len(key) < KEY_LENGTH:
        raise EngineFailed("missing", f"The API key has {len(key)} characters; at least {KEY_LENGTH} were wanted. Deploy again.")
    return key


def bind(host: str, port: int) -> socket.socket:
    """A socket that is ours but does not listen yet: clients are refused until the models are loaded."""
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host, port))
    except OSError as error:
        found.close()
        message = f"Port {port} can't be used: {error.strerror}. Close what has it, or deploy on another port."
        raise EngineFailed("missing", message) from error
    return found


def detach() -> int | None:
    """Go on in a process of our own that nobody waits for; the first one ends when the lock is held. Gives the pipe to say so."""
    reader, writer = os.pipe()
    if os.fork():
        os.close(writer)
        os._exit(0 if os.read(reader, 1) == b"+" else TAKEN)
    os.close(reader)
    os.setsid()
    return writer


class Stopping:
    """SIGTERM, the time limit and a wish in `stop.json`, before and while answers are given."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.why = folder, ""
        self.pass_on: Callable[[], None] | None = None
        """What ends the server in order; until there is one, a stop interrupts the loading."""

    def heard(self, signum: int, _frame: FrameType | None = None) -> None:
        """A signal came."""
        self.why = self.why or ("limit" if signum == signal.SIGALRM else "stop")
        if self.pass_on is None:
            raise Cancelled
        self.pass_on()

    def watch(self, limit_s: float) -> None:
        """Hear SIGTERM and SIGINT from now on, and a clock. Cancelled when a stop was asked for before."""
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
            signal.signal(signum, self.heard)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        if limit_s:
            signal.setitimer(signal.ITIMER_REAL, limit_s)
        # Whoever stops writes the file and then looks at the lock; we hold the lock and then look at the file. One sees the other.
        if (self._folder / STOP).exists():
            self.why = "stop"
            raise Cancelled


def serve(folder: Path, stopping: Stopping, state: Path, port: int = 0) -> None:
    """Load, listen, answer; what is told goes to `state`. Raises Cancelled for a stop while loading, EngineFailed and what GenAI raises."""
    spec = read_spec(folder, environment.mounts(names=MOUNTS))
    environment.settle(spec.threads)
    left = max(0.001, spec.until - time.time()) if spec.until else 0.0
    stopping.watch(min(filter(None, (spec.limit_s, left)), default=0.0))
    key = read_key(Path(spec.key_path), spec.key_mounted)
    listener = bind(spec.host, port or spec.port)
    where: dict[str, Any] = {"pid": os.getpid(), "host": spec.host, "port": listener.getsockname()[1], "revision": spec.revision}
    write_json(state / SERVING, {**where, "state": "loading"})
    from tools.engine.serve_loaded import load

    models = load(spec.models, spec.threads)
    ready = {**where, "state": "running", "memory_bytes": environment.memory_bytes(),
             "models": {name: loaded.fingerprint for name, loaded in models.items()}}
    asyncio.run(listen(spec, models, key, listener, stopping, lambda: write_json(state / SERVING, ready)))
    if spec.until and stopping.why == "limit":
        stopping.pass_on = None
        refuse(spec.host, where["port"])


async def listen(spec: ServeSpec, models: Any, key: str, listener: socket.socket, stopping: Stopping, ready: Callable[[], None]) -> None:
    """Answer on `listener` until a stop; then finish what is in the making, within the grace."""
    import uvicorn

    from tools.engine.serve_api import Api
    from tools.engine.serve_turns import Turns

    turns = Turns(spec.limits.at_once, spec.limits.queue)
    config = uvicorn.Config(
        Api(models, turns, key, spec.limits).app(), lifespan="on", access_log=False, log_level="warning", server_header=False,
        timeout_graceful_shutdown=max(1, round(spec.grace_s)), timeout_keep_alive=30, ws="none", http="h11", loop="asyncio",
    )

    class Server(uvicorn.Server):
        """Signals are ours."""

        @contextlib.contextmanager
        def capture_signals(self) -> Any:
            yield

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            ready()

    server, loop = Server(config), asyncio.get_running_loop()

    def close() -> None:
        turns.close()
        loop.call_later(max(0.0, spec.grace_s - CUT_BEFORE_S), turns.cut)
        server.should_exit = True

    stopping.pass_on = lambda: loop.call_soon_threadsafe(close) and None
    if stopping.why:
        close()
    await server.serve([listener])


def main(options: list[str]) -> int:
    """Serve one folder; exit status 0 after a stop, 1 when it failed, 3 when another process serves it."""
    parser = argparse.ArgumentParser(prog="python -m tools.engine serve")
    parser.add_argument("folder")
    parser.add_argument("--detach", action="store_true", help="return as soon as the folder is ours, and go on alone")
    parser.add_argument("--state", metavar="DIR", help="write what is told here: the folder itself cannot be written to")
    parser.add_argument("--port", type=int, default=0, help="listen here in place of the spec's port, as a container's platform wants it")
    chosen = parser.parse_args(options)
    folder = Path(chosen.folder).resolve()
    state = Path(chosen.state).resolve() if chosen.state else folder
    os.umask(0o077)
    told = detach() if chosen.detach else None
    state.mkdir(parents=True, exist_ok=True)
    if take_lock(state) is None:
        return TAKEN
    if told is not None:
        os.write(told, b"+")
        os.close(told)
    stopping = Stopping(state)
    end: dict[str, Any]
    try:
        serve(folder, stopping, state, chosen.port)
        end = {"outcome": "stopped", "kind": stopping.why or "stop", "message": ""}
    except Cancelled:
        end = {"outcome": "stopped", "kind": stopping.why or "stop", "message": ""}
    except Exception as error:
        kind, message = explain(error)
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        end = {"outcome": "failed", "kind": kind, "message": message}
    write_json(state / EXIT, {**end, "peak_memory_bytes": environment.peak_memory_bytes(), "t": time.time()})
    return 0 if end["outcome"] == "stopped" else 1
