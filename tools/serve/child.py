"""A long-lived engine child that is asked in JSON lines: started on the first question, again after it died, ended by `close`."""

import json
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import IO, Any

from policies.tool import ToolFailed
from tools.serve.children import EngineChildren, open_log


class _Process:
    """One life of the child, with a thread that reads its replies into a queue; None in the queue is its end."""

    def __init__(self, command: list[str], folder: Path, environment: Mapping[str, str], log: Path) -> None:
        with open_log(log) as err:
            self.child = subprocess.Popen(
                command, cwd=folder, env=dict(environment), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=err,
                start_new_session=True,
            )
        self.replies: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        assert self.child.stdout is not None
        self._reader = threading.Thread(target=self._read, args=(self.child.stdout,), daemon=True, name=f"child-{self.child.pid}")
        self._reader.start()

    def _read(self, out: IO[bytes]) -> None:
        for line in out:
            with suppress(ValueError):
                reply = json.loads(line)
                if isinstance(reply, dict):
                    self.replies.put(reply)
        self.replies.put(None)

    def send(self, message: Mapping[str, Any]) -> None:
        """Write one line; BrokenPipeError when it is gone."""
        assert self.child.stdin is not None
        self.child.stdin.write(json.dumps(message, ensure_ascii=False).encode() + b"\n")
        self.child.stdin.flush()

    def end(self, patience_s: float = 2.0) -> None:
        """Close its input, and end it by force when that does not suffice in time."""
        with suppress(BrokenPipeError, OSError):
            if self.child.stdin is not None:
                self.child.stdin.close()
        try:
            self.child.wait(patience_s)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(self.child.pid, signal.SIGKILL)
            self.child.wait()
        self._reader.join(5)
        if self.child.stdout is not None:
            self.child.stdout.close()


class JsonChild:
    """Asks one child one question at a time. Thread-safe: questions wait for each other."""

    def __init__(self, engine: EngineChildren, verb: tuple[str, ...], folder: Path, threads: int = 1) -> None:
        self._engine, self._verb, self._folder, self._threads = engine, verb, folder, threads
        self._turn, self._ids = threading.Lock(), count(1)
        self._process: _Process | None = None
        self._closed = False
        self._used = 0.0

    @property
    def pid(self) -> int | None:
        """The child's pid; None while there is none."""
        return self._process.child.pid if self._process is not None and self._process.child.poll() is None else None

    def ask(self, message: Mapping[str, Any], timeout_s: float) -> Iterator[dict[str, Any]]:
        """Send one request and yield its replies; the last one has `done`, `error` or is the only one. Start the child where needed.

        ToolFailed when it dies twice or does not answer in time; it is ended then, and the next question starts another.
        """
        with self._turn:
            fresh = self.pid is None
            try:
                yield from self._once(message, timeout_s)
            except _Died as died:
                if fresh or died.spoke:
                    raise self._failed(died) from died
                # It had ended by itself, idle, just as we asked: ask a new one.
                try:
                    yield from self._once(message, timeout_s)
                except _Died as again:
                    raise self._failed(again) from again

    def _once(self, message: Mapping[str, Any], timeout_s: float) -> Iterator[dict[str, Any]]:
        process, ident, spoke = self._living(), str(next(self._ids)), False
        deadline = time.monotonic() + timeout_s
        try:
            process.send({**message, "id": ident})
        except (BrokenPipeError, OSError) as error:
            self._drop()
            raise _Died(process.child.returncode, False) from error
        whole = False
        try:
            while True:
                try:
                    reply = process.replies.get(timeout=max(0.0, deadline - time.monotonic()))
                except queue.Empty:
                    raise ToolFailed(
                        "Get an answer from the model", f"It did not answer within {timeout_s:.0f} seconds and was stopped.",
                        "Ask again, or ask for a shorter answer.", kind="timeout",
                    ) from None
                if reply is None:
                    raise _Died(process.child.wait(), spoke)
                if reply.get("id") != ident:
                    continue
                spoke, whole = True, "delta" not in reply
                yield reply
                if whole:
                    return
        finally:
            self._used = time.monotonic()
            if not whole:  # given up in the middle: what it still says belongs to nobody
                self._drop(patience_s=0.0)

    def _living(self) -> _Process:
        if self._closed:
            raise ToolFailed("Ask the model", "Luthier is closing.", "Start it again.", kind="closing")
        if self._process is not None and self._process.child.poll() is not None:
            self._drop()
        if self._process is None:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                self._process = _Process(self._engine.command(*self._verb), self._folder, self._engine.environment(self._threads), self.log)
            except OSError as error:
                raise ToolFailed("Start the engine", f"{error.strerror}.", "Run `python -m ui doctor`.", kind="engine") from error
        return self._process

    @property
    def log(self) -> Path:
        """What the child says on its error stream."""
        return self._folder / f"{self._verb[0]}.log"

    def _failed(self, died: "_Died") -> ToolFailed:
        how = f"signal {-died.rc}" if died.rc is not None and died.rc < 0 else f"status {died.rc}"
        return ToolFailed("Get an answer from the model", f"The answering process ended with {how}.",
                          f"Ask again; if it repeats, its log is {self.log}.", kind="child_died")

    def _drop(self, patience_s: float = 2.0) -> None:
        if self._process is not None:
            process, self._process = self._process, None
            process.end(patience_s)

    def tidy(self, idle_s: float) -> None:
        """End a child that nobody has asked for `idle_s` seconds; does not wait for a question under way."""
        if self._process is not None and time.monotonic() - self._used > idle_s and self._turn.acquire(blocking=False):
            try:
                self._drop()
            finally:
                self._turn.release()

    def close(self) -> None:
        """End the child, whatever it does; nothing can be asked afterwards."""
        self._closed = True
        process = self._process
        if process is not None:
            with suppress(ProcessLookupError):
                os.killpg(process.child.pid, signal.SIGKILL)
        with self._turn:
            self._drop()


class _Died(Exception):
    """The child ended before it had answered."""

    def __init__(self, rc: int | None, spoke: bool) -> None:
        super().__init__(f"status {rc}")
        self.rc, self.spoke = rc, spoke
