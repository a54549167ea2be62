"""What executions do in the stand-in: run their command as a child process on the share's folder, or follow a test's script."""

import contextlib
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from tests.azure.world import Execution, World

SUBSTITUTED = ("command", "args")


class MountFailed(Exception):
    """The platform could not mount what the template asks for."""


def mounts_of(world: World, rid: str, name: str, template: dict[str, Any]) -> dict[str, Path]:
    """Where each mount path of the first container lies here. Raises MountFailed: nobody promises that a missing subPath is made."""
    volumes = {each["name"]: each for each in template.get("volumes") or []}
    found: dict[str, Path] = {}
    for mount in template["containers"][0].get("volumeMounts") or []:
        volume = volumes[mount["volumeName"]]
        if volume["storageType"] == "AzureFile":
            folder = world.share_root / mount.get("subPath", "")
            if not folder.is_dir():
                raise MountFailed(f"mount of {mount['mountPath']} failed: subPath '{mount.get('subPath', '')}' does not exist on the share")
        elif volume["storageType"] == "Secret":
            folder = world.scratch / f"secrets-{name}" / mount["volumeName"]
            _write_secrets(folder, volume, world.hidden.get(rid, {}))
        else:
            folder = world.scratch / f"empty-{name}" / mount["volumeName"]
            folder.mkdir(parents=True, exist_ok=True)
        found[mount["mountPath"]] = folder
    return found


def _write_secrets(folder: Path, volume: dict[str, Any], values: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    wanted = volume.get("secrets") or [{"secretRef": each, "path": each} for each in values]
    for each in wanted:
        fd = os.open(folder / (each.get("path") or each["secretRef"]), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(fd, "w") as file:
            file.write(values[each["secretRef"]])


def put_in(text: str, mounts: dict[str, Path]) -> str:
    """A text of the container with its mount paths as they lie here, the longest first."""
    for path in sorted(mounts, key=len, reverse=True):
        text = text.replace(path, str(mounts[path]))
    return text


def command_of(world: World, template: dict[str, Any], mounts: dict[str, Path]) -> list[str]:
    """The command line of the first container; `python3` is the engine's interpreter."""
    container = template["containers"][0]
    words = [put_in(str(each), mounts) for name in SUBSTITUTED for each in container.get(name) or []]
    return [str(world.engine_python) if each == "python3" else each for each in words]


def environment_of(world: World, rid: str, template: dict[str, Any], mounts: dict[str, Path], home: Path) -> dict[str, str]:
    """The environment of the first container: nothing of the test's own reaches it but the path of programs."""
    home.mkdir(parents=True, exist_ok=True)
    plain = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": str(home), "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}
    secrets = world.hidden.get(rid, {})
    for each in template["containers"][0].get("env") or []:
        value = secrets[each["secretRef"]] if each.get("secretRef") else str(each.get("value") or "")
        plain[each["name"]] = put_in(value, mounts)
    return plain


class Child:
    """A container's command as a child process, ended as the platform ends it."""

    def __init__(self, command: list[str], environment: dict[str, str], folder: Path, log: Path) -> None:
        """Raises OSError."""
        with log.open("ab") as output:
            self.process = subprocess.Popen(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                            start_new_session=True)

    def terminate(self) -> None:
        """SIGTERM to the first process, as a container gets it."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL to all that it started."""
        with contextlib.suppress(psutil.NoSuchProcess):
            parent = psutil.Process(self.process.pid)
            for each in [*parent.children(recursive=True), parent]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.kill()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)


class RunnerExecution:
    """Runs the container's command; a person's stop and the time limit give SIGTERM, then the grace, then SIGKILL."""

    def __init__(self) -> None:
        self._why, self._asked = "", threading.Event()
        self.child: Child | None = None

    def start(self, world: World, execution: Execution) -> None:
        """Mount, start the child, and watch it on a thread."""
        self._world, self._execution = world, execution
        folder = world.scratch / f"workdir-{execution.name}"
        folder.mkdir(parents=True, exist_ok=True)
        job = world.resources[execution.job]["name"]
        try:
            execution.mounts = mounts_of(world, execution.job, execution.name, execution.template)
            environment = environment_of(world, execution.job, execution.template, execution.mounts, folder / "home")
            environment.update(CONTAINER_APP_JOB_NAME=job, CONTAINER_APP_JOB_EXECUTION_NAME=execution.name,
                               CONTAINER_APP_REPLICA_NAME=f"{execution.name}-0")
            self.child = Child(command_of(world, execution.template, execution.mounts), environment, folder, folder / "console.txt")
        except (MountFailed, OSError, IndexError) as error:
            execution.end("Failed", None, "BackoffLimitExceeded", str(error), at=world.now())
            return
        execution.running_state = "Running"
        threading.Thread(target=self._watch, name=f"execution {execution.name}", daemon=True).start()

    def stop(self, why: str) -> None:
        """Begin to end it."""
        self._why = self._why or why
        self._asked.set()

    def _watch(self) -> None:
        child, execution, world = self.child, self._execution, self._world
        assert child is not None
        waiter = threading.Thread(target=child.process.wait, daemon=True)
        waiter.start()
        limit = threading.Timer(execution.timeout_s, self.stop, ["deadline"])
        limit.daemon = True
        limit.start()
        while waiter.is_alive() and not self._asked.wait(0.02):
            pass
        limit.cancel()
        if waiter.is_alive():
            if self._why != "closed":
                child.terminate()
                waiter.join(world.grace_s)
            child.kill()
            waiter.join()
        code = child.process.returncode
        shown = code if code >= 0 else 128 - code
        match self._why:
            case "stopped" | "closed":
                execution.end("Stopped", shown, at=world.now())
            case "deadline":
                execution.end("Failed", shown, "DeadlineExceeded", "Job was active longer than specified deadline", at=world.now())
            case _ if code == 0:
                execution.end("Succeeded", 0, at=world.now())
            case _:
                execution.end("Failed", shown, "BackoffLimitExceeded", "Job has reached the specified backoff limit", at=world.now())
        shutil.rmtree(world.scratch / f"secrets-{execution.name}", ignore_errors=True)


class ScriptedExecution:
    """Does what a test says: `began(execution)` runs at the start, with the mounts in place; without more it stays Running."""

    def __init__(self, began: Callable[[Execution], object] | None = None, *, ignores_stop: bool = False, state: str = "Running",
                 detail: str = "") -> None:
        self._began, self._ignores, self._state, self._detail = began, ignores_stop, state, detail
        self.stops: list[str] = []
        """Each stop it was asked for."""
        self.execution: Execution | None = None

    def start(self, world: World, execution: Execution) -> None:
        """Mount and begin."""
        self._world, self.execution = world, execution
        execution.running_state, execution.detail = self._state, self._detail
        try:
            execution.mounts = mounts_of(world, execution.job, execution.name, execution.template)
        except MountFailed as error:
            execution.end("Failed", None, "BackoffLimitExceeded", str(error), at=world.now())
            return
        if self._began is not None:
            self._began(execution)

    def stop(self, why: str) -> None:
        """Stopped at once, unless it ignores stops."""
        self.stops.append(why)
        if self.execution is not None and not self.execution.ended.is_set() and (why == "closed" or not self._ignores):
            self.execution.end("Stopped", 137, at=self._world.now())


def never_starts() -> ScriptedExecution:
    """Running, but its container waits for a machine for ever."""
    return ScriptedExecution(state="Waiting", detail="Replica is waiting with reason: AssigningReplica")


def fails_at_once() -> ScriptedExecution:
    """Failed within seconds, image never pulled, no log."""
    return ScriptedExecution(lambda each: each.end("Failed", None, "BackoffLimitExceeded", "Job has reached the specified backoff limit"))


def close(world: World) -> None:
    """End every execution and replica now."""
    for each in world.all_executions():
        if each.behaviour is not None and not each.ended.is_set():
            each.behaviour.stop("closed")
    for replica in world.apps.values():
        replica.close()
    for each in world.all_executions():
        each.ended.wait(10)
