"""Runs the engine for one attempt of one run: holds the lock, keeps the heartbeat, passes signals on, writes `exit.json` last.

Standard library only, and a program of its own: the chat may be killed while it goes on, and in the cloud it is the container's
entry. Everything goes to files, never to a pipe, whose reader could vanish.

    python runner.py RUN_FOLDER --engine PYTHON --root PROJECT --attempt N --owner NAME [--limit-s S] [--grace-s S] [--beat-s S] [--detach]
"""

import argparse
import contextlib
import fcntl
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

NOT_STARTED = 3
"""Our own exit status when the lock is taken by another runner: nothing was touched."""


def write_atomically(path: Path, value: dict[str, object]) -> None:
    """Write JSON so that a reader sees all of it or none, even after a power cut."""
    part = path.with_name(path.name + ".part")
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def take_lock(path: Path, owner: str) -> int | None:
    """Create the attempt's lock, which must not exist, and hold it; None when somebody has had it already."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return None
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.write(fd, json.dumps({"owner": owner, "pid": os.getpid(), "at": time.time()}).encode())
    os.fsync(fd)
    return fd


def oom_kills() -> int:
    """OOM kills that this process's control group has seen; 0 where the kernel does not say. Reads cgroup v2, else v1."""
    try:
        groups = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return 0
    for line in groups:
        _, controllers, path = line.split(":", 2)
        if controllers == "memory":
            events = Path("/sys/fs/cgroup/memory") / path.lstrip("/") / "memory.oom_control"
        elif controllers == "":
            events = Path("/sys/fs/cgroup") / path.lstrip("/") / "memory.events"
        else:
            continue
        with contextlib.suppress(OSError, ValueError):
            for entry in events.read_text().splitlines():
                key, _, value = entry.partition(" ")
                if key == "oom_kill":
                    return int(value)
    return 0


def boot_id() -> str:
    """The kernel's id of this boot; empty where there is none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def start_ticks(pid: int) -> int | None:
    """The kernel's start time of a process, in clock ticks since boot: with the pid and the boot id it names one process for ever."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


def identity(pid: int) -> dict[str, object]:
    """Boot id, pid and start time of a process, as a file holds them."""
    return {"boot": boot_id(), "pid": pid, "start": start_ticks(pid)}


def detach() -> int | None:
    """Go on in a process of our own that nobody waits for; the first one ends when the lock is held. Gives the pipe to say so."""
    reader, writer = os.pipe()
    if os.fork():
        os.close(writer)
        os._exit(0 if os.read(reader, 1) == b"+" else NOT_STARTED)
    os.close(reader)
    os.setsid()
    return writer


class Runner:
    """One attempt: the engine as a child in its own process group, watched until nothing of the group is left."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.folder = Path(args.folder)
        self.stop_asked = ""
        self.stop_at: float | None = None
        self.killed = False
        self.child: subprocess.Popen[bytes] | None = None

    def on_signal(self, signum: int, _frame: FrameType | None) -> None:
        """A stop from outside: pass it on, once."""
        self.stop("signal")

    def stop(self, why: str) -> None:
        """Ask the engine to save and end; the group is killed when the grace has passed."""
        if self.stop_asked:
            return
        self.stop_asked, self.stop_at = why, time.monotonic()
        self.signal_group(signal.SIGTERM)

    def signal_group(self, signum: int) -> None:
        """Send a signal to all that the engine started."""
        if self.child is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.child.pid, signum)

    def beat(self) -> None:
        """Say that we live: the time and the engine's pid, replaced as a whole."""
        part = self.folder / "heartbeat.part"
        with contextlib.suppress(OSError):  # a full disk must not end the run; the lock says that it lives
            part.write_text(json.dumps({"t": time.time(), "pid": os.getpid(), "engine": self.child.pid if self.child else None}))
            os.replace(part, self.folder / "heartbeat")

    def run(self, lock: int) -> dict[str, object]:
        """Start the engine, wait for its end, and give the facts of `exit.json`."""
        began, kills = time.monotonic(), oom_kills()
        log = os.open(self.folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.fchmod(log, 0o600)
        command = [self.args.engine, "-m", "tools.engine", "train", "."]
        env = dict(os.environ, PYTHONPATH=self.args.root)
        problem = ""
        try:
            # The engine inherits the lock: should this runner be killed, the run still counts as alive while the engine goes on.
            self.child = subprocess.Popen(
                command, cwd=self.folder, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=(lock,), process_group=0
            )
        except OSError as error:
            problem = f"{type(error).__name__}: {error.strerror}"
        if self.child is not None:
            write_atomically(self.folder / "engine.json", identity(self.child.pid))
            if self.stop_asked:  # the stop came before there was anybody to tell
                self.signal_group(signal.SIGTERM)
            self.wait(began)
        code = None if self.child is None else self.child.returncode
        return {
            "attempt": self.args.attempt,
            "rc": code if code is None or code >= 0 else 128 - code,
            "signal": None if code is None or code >= 0 else -code,
            "seconds": round(time.monotonic() - began, 3),
            "max_rss_bytes": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024,
            "oom_kills": oom_kills() - kills,
            "stop": self.stop_asked,
            "killed_by_runner": self.killed,
            "problem": problem,
            "at": time.time(),
        }

    def wait(self, began: float) -> None:
        """Wait for the engine; keep the heartbeat, the time limit and the grace; leave nobody of its group behind."""
        assert self.child is not None
        next_beat = 0.0
        while True:
            now = time.monotonic()
            if now >= next_beat:
                self.beat()
                next_beat = now + self.args.beat_s
            if self.args.limit_s and now - began > self.args.limit_s:
                self.stop("deadline")
            if self.stop_at is not None and now - self.stop_at > self.args.grace_s and not self.killed:
                self.killed = True
                self.signal_group(signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.child.wait(timeout=min(self.args.beat_s, 0.5))
                break
        self.signal_group(signal.SIGKILL)  # children that outlived the engine


def arguments(argv: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Run the engine for one attempt of a run.")
    parser.add_argument("folder")
    parser.add_argument("--engine", required=True, help="the Python of the engine's environment")
    parser.add_argument("--root", required=True, help="the project's folder")
    parser.add_argument("--attempt", type=int, required=True)
    parser.add_argument("--owner", required=True, help="written into the lock")
    parser.add_argument("--limit-s", type=float, default=0.0, help="stop the run after so many seconds; 0 for never")
    parser.add_argument("--grace-s", type=float, default=30.0, help="seconds between SIGTERM and SIGKILL")
    parser.add_argument("--detach", action="store_true", help="return as soon as the lock is held, and go on alone")
    parser.add_argument("--beat-s", type=float, default=2.0, help="seconds between heartbeats")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    """Run one attempt; the exit status is the engine's."""
    args = arguments(argv)
    os.umask(0o077)
    told = detach() if args.detach else None
    runner = Runner(args)
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, runner.on_signal)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    lock = take_lock(runner.folder / f"attempt-{args.attempt}.lock", args.owner)
    if lock is None:
        return NOT_STARTED
    write_atomically(runner.folder / "runner.json", {**identity(os.getpid()), "attempt": args.attempt, "oom_kills": oom_kills()})
    if told is not None:
        os.write(told, b"+")
        os.close(told)
    outcome = runner.run(lock)
    write_atomically(runner.folder / "exit.json", outcome)
    os.close(lock)
    rc = outcome["rc"]
    return rc if isinstance(rc, int) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
