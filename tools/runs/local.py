"""Runs on this machine: makes the folder, sends the runner off on its own, stops it, begins the next attempt."""

import contextlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import JsonValue

from policies import fault
from policies.tool import ToolFailed
from tools.engine.spec import TrainSpec
from tools.places import Places
from tools.runs import runner
from tools.runs.identity import is_alive, lock_state, read_identity
from tools.runs.kernel import machine_id
from tools.runs.keys import home_key, run_key
from tools.runs.moment import mark, seconds_since
from tools.runs.rid import is_rid
from tools.runs.watch import read_json

GRACE_S = 30.0
"""Seconds between the request to stop and the end by force."""
KEY = "run.key"
ORIGIN = "origin.json"


class MachineTaken(Exception):
    """Another run, perhaps of another home that shares the folder, has the machine."""


class LocalRuns:
    """The run folders below one home and the processes that fill them."""

    def __init__(
        self, places: Places, environment: Callable[[int], Mapping[str, str]], *, home_id: str = "", grace_s: float = GRACE_S,
        beat_s: float = 2.0,
    ) -> None:
        """`home_id` marks the folders that this home makes, so that another home's is never taken for one."""
        self._places, self._environment, self._home_id = places, environment, home_id
        self._grace_s, self._beat_s = grace_s, beat_s

    def folder(self, run_id: str) -> Path:
        """Where a run lies; the id is checked, so that no text becomes a path."""
        if not is_rid(run_id):
            raise ToolFailed("Open a run", "A run id has ten letters and digits.", "List the runs with list_runs.", kind="no_such_run")
        return self._places.runs / run_id

    def make(self, run_id: str, fill: Callable[[Path, Path], TrainSpec]) -> TrainSpec:
        """Make the folder as a whole: `fill(part, final)` writes the data into `part` and gives the spec, whose paths lie in `final`."""
        final = self.folder(run_id)
        if (final / "spec.json").exists():
            return TrainSpec.model_validate_json((final / "spec.json").read_bytes())
        self._places.runs.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = final.with_name(f"{run_id}.part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(mode=0o700)
        try:
            spec = fill(part, final).model_copy(update={"key_path": KEY})
            self._write_key(run_id, part)
            runner.write_atomically(part / ORIGIN, {"home": self._home_id, "machine": machine_id(), "run": run_id})
            fault.point("runs.spec.before")
            runner.write_atomically(part / "spec.json", spec.model_dump(mode="json"))
            os.replace(part, final)
            fault.point("runs.spec.after")
        except OSError as error:
            shutil.rmtree(part, ignore_errors=True)
            raise ToolFailed(
                "Make the run's folder", f"{error.strerror or type(error).__name__}.",
                "Free some disk space below Luthier's home, then start again.", kind="disk",
            ) from error
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        return spec

    def _write_key(self, run_id: str, folder: Path) -> None:
        key = run_key(home_key(self._places.keys), run_id)
        fd = os.open(folder / KEY, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(fd, "w") as file:
            file.write(key)

    def is_ours(self, run_id: str) -> bool:
        """Whether a run folder does not bear the mark of another home."""
        home = (read_json(self.folder(run_id) / ORIGIN) or {}).get("home")
        return not (self._home_id and isinstance(home, str) and home and home != self._home_id)

    def start(self, run_id: str, attempt: int, owner: str, threads: int, limit_s: float = 0) -> None:
        """Send the runner off; returns when it holds the attempt's lock. An attempt that was started before is left alone.

        Raises MachineTaken while another run has the machine, ToolFailed when the process cannot be started.
        """
        folder = self.folder(run_id)
        lock = folder / f"attempt-{attempt}.lock"
        if lock.exists():
            return
        self._home_cache()
        machine = self._machine_lock()
        if lock_state(machine) == "held":
            raise MachineTaken
        command = [
            sys.executable, "-I", "-S", str(Path(runner.__file__).resolve()), str(folder), "--engine", str(self._places.engine_python),
            "--root", str(self._places.root), "--attempt", str(attempt), "--owner", owner, "--limit-s", str(limit_s),
            "--grace-s", str(self._grace_s), "--beat-s", str(self._beat_s), "--machine", str(machine), "--detach",
        ]
        try:
            self._write_key(run_id, folder)  # anew, so that a folder of another home cannot bring its own
            log = os.open(folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            raise self._not_started(error.strerror or type(error).__name__) from error
        try:
            rc = subprocess.run(
                command, cwd=folder, env=dict(self._environment(threads)), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, timeout=60, check=False,
            ).returncode
        except (OSError, subprocess.TimeoutExpired) as error:
            raise self._not_started(type(error).__name__) from error
        finally:
            os.close(log)
        if rc == runner.MACHINE_TAKEN:
            raise MachineTaken
        # Taken by somebody else's runner in the same moment: then the attempt was started, and once.
        if rc != 0 and not (rc == runner.NOT_STARTED and lock.exists()):
            raise self._not_started(f"the runner ended with status {rc}")

    def _machine_lock(self) -> Path:
        """The machine's lock, in a folder that is ours alone: in one that another user can write, the lock could be taken away."""
        lock = self._places.machine_lock
        try:
            lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = lock.parent.stat()
        except OSError as error:
            raise self._not_started(f"{lock.parent} cannot be used ({error.strerror or type(error).__name__})") from error
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
            raise ToolFailed(
                "Start the training process", f"The folder of the machine's lock, {lock.parent}, is not yours alone.",
                "Remove it, or set LUTHIER_RUNTIME to a folder that only you can write.", kind="start",
            )
        return lock

    @staticmethod
    def _not_started(because: str) -> ToolFailed:
        return ToolFailed("Start the training process", f"It could not be started: {because}.",
                          "Look at the run's log with tail_logs; `python -m ui doctor` checks the installation.", kind="start")

    def _home_cache(self) -> None:
        (self._places.home / "cache").mkdir(mode=0o700, parents=True, exist_ok=True)

    def stop(self, run_id: str, attempt: int, by: str = "") -> bool:
        """Ask an attempt to save and end; False when nothing of it lives. The request is kept, so that it holds after a restart."""
        folder = self.folder(run_id)
        marker = folder / f"stop-{attempt}.json"
        if folder.is_dir() and not marker.exists():
            fault.point("runs.stop.before")
            runner.write_atomically(marker, {"t": time.time(), "by": by, **mark()})
            fault.point("runs.stop.after")
        if _send(read_json(folder / "runner.json"), signal.SIGTERM, group=False):
            return True
        return _send(read_json(folder / "engine.json"), signal.SIGTERM, group=True)

    def press(self, run_id: str, attempt: int) -> None:
        """Repeat a stop whose runner is gone: after the grace, end what is left of the engine's group by force."""
        folder = self.folder(run_id)
        asked = read_json(folder / f"stop-{attempt}.json")
        if asked is None or _alive(read_json(folder / "runner.json")):
            return
        waited = seconds_since(asked)
        overdue = waited is None or waited > self._grace_s
        _send(read_json(folder / "engine.json"), signal.SIGKILL if overdue else signal.SIGTERM, group=True)

    def worked_s(self, run_id: str, attempt: int) -> float | None:
        """How long ago an attempt's runner began, whatever the clock was set to since; None when nothing of this boot says so."""
        began = read_json(self.folder(run_id) / "runner.json") or {}
        return seconds_since(began) if began.get("attempt") == attempt else None

    def prepare_attempt(self, run_id: str, attempt: int, call_id: str) -> None:
        """Lay the last attempt's end aside, so that the next one is not judged by it, and note which call asked for this one."""
        folder = self.folder(run_id)
        fault.point("runs.resume.before")
        runner.write_atomically(folder / "resumed.json", {"call": call_id, "attempt": attempt})
        for name in ("exit.json", "result.json", "runner.json", "engine.json", "heartbeat"):
            with contextlib.suppress(FileNotFoundError):
                os.replace(folder / name, folder / f"attempt-{attempt - 1}.{name}")
        fault.point("runs.resume.after")

    def spec(self, run_id: str) -> TrainSpec:
        """The spec in the run folder."""
        try:
            return TrainSpec.model_validate_json((self.folder(run_id) / "spec.json").read_bytes())
        except (OSError, ValueError) as error:
            raise ToolFailed(f"Read the settings of run {run_id}", "Its folder or its spec.json is missing or damaged.",
                             "Start a new run with start_finetune.", kind="lost") from error

    def note(self, run_id: str, name: str) -> dict[str, JsonValue]:
        """One JSON file of the folder; empty when missing."""
        return read_json(self.folder(run_id) / name) or {}


def _alive(value: Mapping[str, object] | None) -> bool:
    who = read_identity(value)
    return who is not None and is_alive(who)


def _send(value: Mapping[str, object] | None, signum: int, *, group: bool) -> bool:
    """Signal exactly the process a file names, or its group; False when it is gone. A pid that somebody else has now is never touched."""
    who = read_identity(value)
    if who is None or not is_alive(who):
        return False
    try:
        if group:
            os.killpg(who.pid, signum)
        else:
            handle = os.pidfd_open(who.pid)
            try:
                if not is_alive(who):
                    return False
                signal.pidfd_send_signal(handle, signum)
            finally:
                os.close(handle)
    except ProcessLookupError:
        return False
    return True
