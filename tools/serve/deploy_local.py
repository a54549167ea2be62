"""Deployments on this machine: folder, API key and process of each; begun, looked at, and ended."""

import contextlib
import json
import os
import secrets
import select
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from policies.tool import ToolFailed
from tools.engine.serve_spec import EXIT, LOCK, SERVING, SPEC, STOP, ServeSpec
from tools.places import Places
from tools.runs.identity import lock_state
from tools.runs.kernel import boot_id
from tools.runs.rid import is_rid
from tools.runs.runner import write_atomically
from tools.runs.watch import read_json
from tools.serve.children import EngineChildren, open_log
from tools.serve.deploy_state import Traces

GRACE_S = 10.0
"""What answers in the making have left after a stop."""
FORCE_S = 15.0
"""Seconds after the request from which a process that is still there is ended by force."""
TAKEN = 3
"""The serving program's exit status when its folder is served already."""


class LocalDeployments:
    """The folders below `home/deployments` and the processes that serve from them."""

    def __init__(self, places: Places, engine: EngineChildren) -> None:
        self._home, self._engine = places.home, engine

    def folder(self, ident: str, revision: int) -> Path:
        """Where a revision lies; the id is checked, so that no text becomes a path."""
        return self._of(ident) / str(int(revision))

    def _of(self, ident: str) -> Path:
        if not is_rid(ident):
            raise ToolFailed("Open a deployment", "A deployment id has ten letters and digits.", "List yours with list_deployments.",
                             kind="no_such_deployment")
        return self._home / "deployments" / ident

    def key_file(self, ident: str) -> Path:
        """Where a deployment's API key lies, for people and for the serving program."""
        self._of(ident)
        return self._home / "secrets" / "deployments" / f"{ident}.key"

    def make_key(self, ident: str) -> str:
        """Make the API key, once, in a file that only its owner may read; gives its last four characters."""
        path = self.key_file(ident)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "w") as file:
            file.write(f"lk-{secrets.token_urlsafe(32)}")
            file.flush()
            os.fsync(file.fileno())
        try:
            with contextlib.suppress(FileExistsError):
                os.link(part, path)
        finally:
            part.unlink()
        return self.key(ident)[-4:]

    def key(self, ident: str) -> str:
        """The API key. ToolFailed when its file is gone."""
        try:
            return self.key_file(ident).read_text(encoding="ascii").strip()
        except OSError as error:
            raise ToolFailed(f"Read the API key of {ident}", "Its file is gone.", "Stop it and deploy it again.", kind="key") from error

    def begin(self, spec: ServeSpec) -> None:
        """Send the serving program off; returns when it holds the folder's lock. One that was begun before is left alone. ToolFailed."""
        folder = self.folder(spec.deployment_id, spec.revision)
        if (folder / LOCK).exists():
            return
        command = self._engine.command("serve", str(folder), "--detach")
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomically(folder / SPEC, spec.model_dump(mode="json"))
            with open_log(folder / "log.txt") as log:
                rc = subprocess.run(command, cwd=folder, env=self._engine.environment(spec.threads), stdin=subprocess.DEVNULL, stdout=log,
                                    stderr=log, start_new_session=True, timeout=60, check=False).returncode
        except (OSError, subprocess.TimeoutExpired) as error:
            raise self._not_begun(folder, type(error).__name__) from error
        if rc not in (0, TAKEN):
            raise self._not_begun(folder, f"status {rc}")

    def _not_begun(self, folder: Path, because: str) -> ToolFailed:
        return ToolFailed("Start the serving program", f"It could not be started: {because}.",
                          f"Its log is {folder / 'log.txt'}; `python -m ui doctor` checks the installation.", kind="start")

    def traces(self, ident: str, revision: int, stop_by: str = "", waited_s: float = 0.0, ran: bool = False) -> Traces:
        """What the folder of a revision shows. The lock is read first: what was written before it was let go is then there."""
        folder = self.folder(ident, revision)
        lock = lock_state(folder / LOCK)
        asked = read_json(folder / STOP) or {}
        holder = read_json(folder / LOCK) or {}
        return Traces(
            lock=lock, serving=read_json(folder / SERVING), exit=None if lock == "held" else read_json(folder / EXIT),
            same_boot=holder.get("boot") == boot_id(), stop_by=str(asked.get("by") or stop_by), waited_s=waited_s, ran=ran,
        )

    def serving(self, ident: str, revision: int) -> dict[str, Any]:
        """Port, memory and the like, as the serving program says them; empty before."""
        return dict(read_json(self.folder(ident, revision) / SERVING) or {})

    def ask_to_stop(self, ident: str, revision: int, by: str) -> None:
        """Keep the wish, so that it holds after a restart, and tell the process."""
        folder = self.folder(ident, revision)
        if folder.is_dir() and not (folder / STOP).exists():
            write_atomically(folder / STOP, {"t": time.time(), "by": by})
        self._signal(folder, signal.SIGTERM)

    def press(self, ident: str, revision: int, force: bool = False) -> None:
        """Repeat a stop; by force when asked, or once it is overdue."""
        folder = self.folder(ident, revision)
        at = (read_json(folder / STOP) or {}).get("t")
        overdue = force or (isinstance(at, int | float) and time.time() - at > FORCE_S)
        self._signal(folder, signal.SIGKILL if overdue else signal.SIGTERM)

    def wait_for_end(self, ident: str, revision: int, within_s: float) -> bool:
        """Whether the process of a revision has ended within so many seconds."""
        folder = self.folder(ident, revision)
        handle = self._open(folder)
        if handle is None:
            return lock_state(folder / LOCK) != "held"
        try:
            watch = select.poll()
            watch.register(handle, select.POLLIN)
            return bool(watch.poll(within_s * 1000))
        finally:
            os.close(handle)

    def _open(self, folder: Path) -> int | None:
        """A handle on the process that holds the lock; None when none does. The lock is looked at again: a pid alone may be reused."""
        pid = (read_json(folder / LOCK) or {}).get("pid")
        if not isinstance(pid, int) or pid <= 1:
            return None
        try:
            handle = os.pidfd_open(pid)
        except OSError:
            return None
        if lock_state(folder / LOCK) != "held":
            os.close(handle)
            return None
        return handle

    def _signal(self, folder: Path, signum: int) -> None:
        handle = self._open(folder)
        if handle is not None:
            try:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(handle, signum)
            finally:
                os.close(handle)

    def living(self) -> list[tuple[str, int, dict[str, Any]]]:
        """Id, revision and what is told of every process that serves from this home, whether or not the book knows it."""
        found = []
        for lock in sorted((self._home / "deployments").glob(f"*/*/{LOCK}")):
            ident, revision = lock.parent.parent.name, lock.parent.name
            if is_rid(ident) and revision.isdigit() and lock_state(lock) == "held":
                found.append((ident, int(revision), dict(read_json(lock.parent / SERVING) or {})))
        return found

    def delete(self, ident: str) -> None:
        """Remove the folders and the key; whatever is already gone is no trouble."""
        shutil.rmtree(self._of(ident), ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):
            self.key_file(ident).unlink()


def curl_line(url: str, key_file: Path, model: str, system: str | None) -> str:
    """A ready line for a shell, which reads the key from its file."""
    asked: list[dict[str, str]] = [{"role": "user", "content": "Hello"}]
    body = {"model": model, "messages": [{"role": "system", "content": system}, *asked] if system else asked, "max_tokens": 64}
    quoted = shlex.quote(json.dumps(body, ensure_ascii=False))
    key = f'-H "Authorization: Bearer $(cat {shlex.quote(str(key_file))})"'
    return f"curl -s {url}/chat/completions {key} -H 'Content-Type: application/json' -d {quoted}"
