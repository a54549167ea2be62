"""Runs the engine for one attempt of one run: holds the lock, keeps the heartbeat, passes signals on, writes `exit.json` last.

Standard library only, and a program of its own: the chat may be killed while it goes on, and in the cloud it is the container's
entry. Everything goes to files, never to a pipe, whose reader could vanish.

    python runner.py RUN_FOLDER --engine PYTHON --root PROJECT --attempt N (--owner NAME | --owner-env VARIABLE) [--boot FILE]
                     [--limit-s S] [--grace-s S] [--beat-s S] [--machine LOCK] [--detach]

With `--owner-env` the folder is a share: its locks bind nobody, its files are seen by others only once they are synced.
"""

import argparse
import contextlib
import errno
import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

if __name__ == "__main__":  # started by its path alone, in isolation or in a container
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tools.runs.kernel import identity, oom_kills
from tools.runs.locks import claim, take_lock, take_machine

NOT_STARTED = 3
"""Our own exit status when the lock is taken by another runner: nothing was touched."""
MACHINE_TAKEN = 4
"""Our own exit status when another run, of this home or another one, has the machine: nothing was touched."""
ANOTHER_EXECUTION = 73
"""Our own exit status on a share when another execution has the attempt: nothing was touched."""
CANCELLED, NO_RESULT = 75, 70
SYNC_S = 2.0
"""On a share: seconds between two syncs of what grows, so that others see it."""
SHARE_GRACE_S = 22.0
"""On a share: the platform kills 30 seconds after its SIGTERM, and the end must be on the share before that."""
_FAULT = os.environ.get("LUTHIER_FAULT", "")


def point(name: str) -> None:
    """A place where a test may kill this process (`name`) or fill its disk (`name:1:raise`); policies/fault.py has the other twin."""
    if name == _FAULT.partition(":")[0]:
        if _FAULT.endswith(":raise"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.write(2, f"ended by the fault {name}\n".encode())
        os.kill(os.getpid(), signal.SIGKILL)


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
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a share may know no sync of folders
            raise
    finally:
        os.close(folder)


def detach() -> int | None:
    """Go on in a process of our own that nobody waits for; the first one ends when the lock is held. Gives the pipe to say so."""
    reader, writer = os.pipe()
    if os.fork():
        os.close(writer)
        os._exit({b"+": 0, b"m": MACHINE_TAKEN}.get(os.read(reader, 1), NOT_STARTED))
    os.close(reader)
    os.setsid()
    return writer


class Runner:
    """One attempt: the engine as a child in its own process group, watched until nothing of the group is left."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.folder, self.shared = args, Path(args.folder).absolute(), bool(args.owner_env)
        self.stop_asked, self.killed = "", False
        self.stop_at: float | None = None
        self.child: subprocess.Popen[bytes] | None = None
        self.watch: select.poll | None = None

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

    def sync(self) -> None:
        """Bring to the share what the engine has appended."""
        for name in ("events.jsonl", "log.txt"):
            with contextlib.suppress(OSError):
                fd = os.open(self.folder / name, os.O_WRONLY)
                try:
                    os.fsync(fd)
                finally:
                    os.close(fd)

    def run(self, locks: tuple[int, ...]) -> dict[str, object]:
        """Start the engine, wait for its end, and give the facts of `exit.json`."""
        began, kills = time.monotonic(), oom_kills()
        problem, number = "", 0
        if (self.folder / f"stop-{self.args.attempt}.json").exists():
            # Whoever stops writes this file and then looks at the lock; we hold the lock and then look at the file. One sees the other.
            self.stop_asked = "signal"
        else:
            try:
                self.spawn(locks)
            except OSError as error:
                problem, number = f"{type(error).__name__}: {error.strerror}", error.errno or 0
                self.signal_group(signal.SIGKILL)  # nobody could stop an engine whose name is not on disk
        if self.child is not None:
            self.wait(began)
        code = self.child.returncode if self.child is not None else None
        by = -code if code is not None and code < 0 else None
        return {
            "attempt": self.args.attempt, "rc": code if by is None else 128 + by, "signal": by,
            "seconds": round(time.monotonic() - began, 3), "oom_kills": oom_kills() - kills,
            "max_rss_bytes": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024,
            "stop": self.stop_asked, "killed_by_runner": self.killed, "problem": problem, "errno": number,
        }

    def spawn(self, locks: tuple[int, ...]) -> None:
        """Start the engine in a group of its own and write its name down. Raises OSError."""
        point("runner.spawn.before")
        log = os.open(self.folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with contextlib.suppress(PermissionError):  # a share knows no rights
            os.fchmod(log, 0o600)
        # The engine inherits the locks: should this runner be killed, the run still counts as alive while the engine goes on.
        engine = [self.args.boot, "--root", self.args.root, "--"] if self.args.boot else ["-m", "tools.engine"]
        self.child = subprocess.Popen(
            [self.args.engine, *engine, "train", "."], cwd=self.folder, env=dict(os.environ, PYTHONPATH=self.args.root),
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=locks, process_group=0,
            preexec_fn=self.sign,  # noqa: PLW1509 - nothing here has threads
        )
        os.close(log)
        point("runner.spawn.after")
        write_atomically(self.folder / "engine.json", identity(self.child.pid))
        if self.stop_asked:  # the stop came before there was anybody to tell
            self.signal_group(signal.SIGTERM)

    def sign(self) -> None:
        """In the child, before it becomes the engine: write its name down, so that it can be stopped even if we die in this moment."""
        with contextlib.suppress(OSError):  # then we cannot either, and say why
            write_atomically(self.folder / "engine.json", identity(os.getpid()))

    def wait(self, began: float) -> None:
        """Wait for the engine; keep the heartbeat, the time limit and the grace; leave nobody of its group behind."""
        assert self.child is not None
        with contextlib.suppress(OSError, AttributeError):  # no pidfd on this system
            watch = select.poll()
            watch.register(os.pidfd_open(self.child.pid), select.POLLIN)
            self.watch = watch
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
            look = min(self.args.beat_s, SYNC_S) if self.shared else self.args.beat_s
            if self.ended(look if self.watch is not None and not self.stop_asked else min(look, 0.5)):
                break
            if self.shared:
                self.sync()
        if self.shared:
            self.sync()
        self.signal_group(signal.SIGKILL)  # children that outlived the engine

    def ended(self, within_s: float) -> bool:
        """Whether the engine ends within so many seconds; asleep where the kernel can wake us (`wait` looks 20 times a second)."""
        assert self.child is not None
        if self.watch is not None:
            self.watch.poll(within_s * 1000)
            return self.child.poll() is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.child.wait(timeout=within_s)
        return self.child.returncode is not None

    def status(self, rc: object) -> int:
        """Our own exit status: the engine's, and never 0 without a result."""
        if not isinstance(rc, int):
            return CANCELLED if self.stop_asked else 1
        return NO_RESULT if rc == 0 and not (self.folder / "result.json").exists() else rc

    def write_exit(self, outcome: dict[str, object]) -> None:
        """Say last how it ended; on a full disk in the place of the heartbeat, which nobody needs any more."""
        point("runner.exit.before")
        try:
            write_atomically(self.folder / "exit.json", outcome)
        except OSError:
            with contextlib.suppress(OSError):
                (self.folder / "heartbeat").unlink()
            write_atomically(self.folder / "exit.json", outcome)
        point("runner.exit.after")


def arguments(argv: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Run the engine for one attempt of a run.")
    parser.add_argument("folder")
    parser.add_argument("--attempt", type=int, required=True)
    for name, text in (("engine", "the Python of the engine's environment"), ("root", "the project")):
        parser.add_argument(f"--{name}", required=True, help=text)
    owner = parser.add_mutually_exclusive_group(required=True)
    owner.add_argument("--owner", default="", help="written into the lock")
    owner.add_argument("--owner-env", default="", help="the variable that names the owner; the folder is a share")
    parser.add_argument("--boot", default="", help="the program that makes the engine's packages importable and becomes the engine")
    for name, seconds, text in (("limit", 0.0, "stop after so many seconds; 0 for never"), ("grace", 30.0, "between SIGTERM and SIGKILL"),
                                ("beat", 2.0, "between heartbeats")):
        parser.add_argument(f"--{name}-s", type=float, default=seconds, help=text)
    parser.add_argument("--machine", default="", help="the lock that stands for this machine's one place to train")
    parser.add_argument("--detach", action="store_true", help="return as soon as the lock is held, and go on alone")
    args = parser.parse_args(argv)
    if args.owner_env:
        args.owner, args.grace_s = os.environ.get(args.owner_env, ""), min(args.grace_s, SHARE_GRACE_S)
        if not args.owner:
            parser.error(f"the variable {args.owner_env} is not set")
    return args


def main(argv: list[str]) -> int:
    """Run one attempt; the exit status is the engine's."""
    args = arguments(argv)
    os.umask(0o077)
    told, runner = detach() if args.detach else None, Runner(args)
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: runner.stop("signal"))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    machine = take_machine(args.machine) if args.machine else -1
    if machine is None:
        if told is not None:
            os.write(told, b"m")
        return MACHINE_TAKEN
    point("runner.lock.before")
    path, locks = runner.folder / f"attempt-{args.attempt}.lock", () if machine < 0 else (machine,)
    if runner.shared:
        if not claim(path, args.owner):
            return ANOTHER_EXECUTION
    else:
        lock = take_lock(path, args.owner)
        if lock is None:
            return NOT_STARTED
        locks = (lock, *locks)
    point("runner.lock.after")
    me = {**identity(os.getpid()), "mono": time.monotonic(), "attempt": args.attempt, "oom_kills": oom_kills(), "owner": args.owner}
    write_atomically(runner.folder / "runner.json", me)
    if told is not None:
        os.write(told, b"+")
    outcome = runner.run(locks)
    runner.write_exit(outcome)
    return runner.status(outcome["rc"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
