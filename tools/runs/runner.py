"""Runs the engine for one attempt of one run: holds the lock, keeps the heartbeat, passes signals on, writes `exit.json` last.

Standard library only, and a program of its own: the chat may be killed while it goes on, and in the cloud it is the container's
entry. Everything goes to files, never to a pipe, whose reader could vanish.

    python runner.py RUN_FOLDER --engine PYTHON --root PROJECT --attempt N --owner NAME [--limit-s S] [--grace-s S] [--beat-s S]
                     [--machine LOCK] [--detach]
"""

import argparse
import contextlib
import errno
import fcntl
import hashlib
import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

NOT_STARTED = 3
"""Our own exit status when the lock is taken by another runner: nothing was touched."""
MACHINE_TAKEN = 4
"""Our own exit status when another run, of this home or another one, has the machine: nothing was touched."""
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
    finally:
        os.close(folder)


def take_lock(path: Path, owner: str) -> int | None:
    """Create the attempt's lock, which must not exist, and hold it; None when somebody has had it already."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return None
    fcntl.flock(fd, fcntl.LOCK_EX)  # only a look at the new file could make us wait, for a moment
    os.write(fd, json.dumps({"owner": owner, "pid": os.getpid(), "at": time.time()}).encode())
    os.fsync(fd)
    return fd


def take_machine(path: str) -> int | None:
    """Hold the machine's lock, which the kernel lets go of when the last process of the run has ended; None while another run has it."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    for pause in (0.01, 0.05, 0.0):  # whoever only looks holds it for a moment
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return fd
        time.sleep(pause)
    return None


def oom_kills() -> int:
    """OOM kills that this process's control group has seen; 0 where the kernel does not say. Reads cgroup v2, else v1."""
    try:
        groups = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return 0
    for line in groups:
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        events = f"memory/{path.lstrip('/')}/memory.oom_control" if controllers else f"{path.lstrip('/')}/memory.events"
        with contextlib.suppress(OSError, ValueError):
            for entry in Path("/sys/fs/cgroup", events).read_text().splitlines():
                key, _, value = entry.partition(" ")
                if key == "oom_kill":
                    return int(value)
    return 0


def boot_id() -> str:
    """The kernel's id of this boot; empty where there is none."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def machine_id() -> str:
    """A short digest of this machine's own id, the same after a restart and another one elsewhere; empty where there is none."""
    with contextlib.suppress(OSError):
        found = Path("/etc/machine-id").read_bytes().strip()
        return hashlib.sha256(b"luthier machine " + found).hexdigest()[:12] if found else ""
    return ""


def start_ticks(pid: int) -> int | None:
    """The kernel's start time of a process, in clock ticks since boot: with the pid and the boot id it names one process for ever."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    return None


def identity(pid: int) -> dict[str, object]:
    """Machine, boot id, pid and start time of a process, as a file holds them."""
    return {"machine": machine_id(), "boot": boot_id(), "pid": pid, "start": start_ticks(pid)}


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
        self.args, self.folder = args, Path(args.folder)
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
        os.fchmod(log, 0o600)
        # The engine inherits the locks: should this runner be killed, the run still counts as alive while the engine goes on.
        self.child = subprocess.Popen(
            [self.args.engine, "-m", "tools.engine", "train", "."], cwd=self.folder, env=dict(os.environ, PYTHONPATH=self.args.root),
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
            if self.ended(self.args.beat_s if self.watch is not None and not self.stop_asked else min(self.args.beat_s, 0.5)):
                break
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
    for name, text in (("engine", "the Python of the engine's environment"), ("root", "the project"), ("owner", "written into the lock")):
        parser.add_argument(f"--{name}", required=True, help=text)
    for name, seconds, text in (("limit", 0.0, "stop after so many seconds; 0 for never"), ("grace", 30.0, "between SIGTERM and SIGKILL"),
                                ("beat", 2.0, "between heartbeats")):
        parser.add_argument(f"--{name}-s", type=float, default=seconds, help=text)
    parser.add_argument("--machine", default="", help="the lock that stands for this machine's one place to train")
    parser.add_argument("--detach", action="store_true", help="return as soon as the lock is held, and go on alone")
    return parser.parse_args(argv)


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
    lock = take_lock(runner.folder / f"attempt-{args.attempt}.lock", args.owner)
    if lock is None:
        return NOT_STARTED
    point("runner.lock.after")
    me = {**identity(os.getpid()), "mono": time.monotonic(), "attempt": args.attempt, "oom_kills": oom_kills()}
    write_atomically(runner.folder / "runner.json", me)
    if told is not None:
        os.write(told, b"+")
    outcome = runner.run((lock,) if machine < 0 else (lock, machine))
    runner.write_exit(outcome)
    return rc if isinstance(rc := outcome["rc"], int) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
