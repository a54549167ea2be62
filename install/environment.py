"""Makes a virtual environment from a lock file: in `NAME.part`, renamed when complete, with a stamp that says what it holds."""

import hashlib
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from install.packages import count_packages, install_packages, pip_command, pip_environment
from install.progress import Progress
from install.trouble import SetupFailed

STAMP = "luthier-stamp.json"


@dataclass(frozen=True)
class Layer:
    """A lock file that is installed into an environment, by name."""

    name: str
    lock: Path

    def digest(self) -> str:
        """SHA-256 of the lock file."""
        return hashlib.sha256(self.lock.read_bytes()).hexdigest()


@dataclass(frozen=True)
class Environment:
    """One environment: its folder, the lock it is made from, and what else decides whether it must be made anew."""

    folder: Path
    base: Layer
    torch: str = ""
    """The version of torch that is installed first; empty for none."""
    torch_index: str = ""

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    @property
    def part(self) -> Path:
        """Where it is being made."""
        return self.folder.with_name(self.folder.name + ".part")

    @property
    def old(self) -> Path:
        """Where the one it replaces waits to be removed."""
        return self.folder.with_name(self.folder.name + ".old")


@dataclass(frozen=True)
class Stamp:
    """What an environment holds."""

    python: str
    machine: str
    torch: str
    torch_index: str
    layers: dict[str, str] = field(default_factory=dict)
    """Layer name → digest of its lock."""


def read_stamp(folder: Path) -> Stamp | None:
    """The stamp of an environment; None when there is none, or nothing that can be read."""
    try:
        return Stamp(**json.loads((folder / STAMP).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def write_stamp(folder: Path, stamp: Stamp) -> None:
    """Write the stamp whole or not at all."""
    part = folder / (STAMP + ".part")
    part.write_text(json.dumps(vars(stamp), indent=1))
    os.replace(part, folder / STAMP)


def need(environment: Environment, version: str) -> str:
    """Why the environment must be made, or an empty string. Reads two small files and starts nothing."""
    stamp = read_stamp(environment.folder)
    if not environment.python.exists():
        return "it is not there yet"
    if stamp is None:
        return "it holds no stamp of this set-up"
    if stamp.layers.get(environment.base.name) != environment.base.digest():
        return "its lock file has changed"
    if (stamp.python, stamp.machine) != (version, platform.machine()):
        return f"it was made by Python {stamp.python} on {stamp.machine}"
    if stamp.torch != environment.torch:
        return f"it holds torch {stamp.torch}"
    if environment.torch_index and environment.torch_index != stamp.torch_index:
        return "LUTHIER_TORCH_INDEX has changed"
    return ""


def lacks(environment: Environment, layer: Layer) -> bool:
    """Whether a layer is missing or older than its lock."""
    stamp = read_stamp(environment.folder)
    return stamp is None or stamp.layers.get(layer.name) != layer.digest()


def begin(environment: Environment, python: str) -> Path:
    """Make an empty environment in `NAME.part`, in place of what an interrupted set-up left; return its interpreter."""
    clear(environment)
    command = [python, "-m", "venv", "--prompt", environment.folder.name, str(environment.part)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stdout + done.stderr).strip().splitlines()
        raise SetupFailed(f"making {environment.folder.name}", (last or ["`python -m venv` failed."])[-1],
                          "On Debian and Ubuntu: `apt install python3-venv`; then run this again.")
    return environment.part / "bin" / "python"


def clear(environment: Environment) -> None:
    """Remove what an interrupted set-up left, and bring back an environment that was moved aside for it."""
    if environment.old.exists():
        if environment.folder.exists():
            shutil.rmtree(environment.old)
        else:
            environment.old.rename(environment.folder)
    if environment.part.exists():
        shutil.rmtree(environment.part)


def fill(environment: Environment, arguments: list[str], log: Path, progress: Progress) -> None:
    """Install into `NAME.part`: torch first where there is one, by version alone, then the lock with its hashes."""
    python, temp, title = environment.part / "bin" / "python", environment.part / "tmp", environment.folder.name
    if environment.torch:
        install_packages(python, arguments, title=f"{title}, torch", total=10, log=log, temp=temp, progress=progress)
    lock = environment.base.lock
    install_packages(python, ["--require-hashes", "-r", str(lock)], title=title, total=count_packages(lock), log=log, temp=temp,
                     progress=progress)
    agree(python, temp, log, title)


def agree(python: Path, temp: Path, log: Path, title: str) -> None:
    """`pip check`: every package finds what it needs."""
    command = pip_command(python, "check", [])
    done = subprocess.run(command, capture_output=True, text=True, env=pip_environment(temp), cwd=temp, check=False)
    with log.open("a") as kept:
        kept.write(done.stdout)
    if done.returncode:
        raise SetupFailed(f"checking {title}", done.stdout.strip().splitlines()[0], f"The whole story is in {log}.")


def finish(environment: Environment, version: str) -> None:
    """Stamp `NAME.part` and rename it to NAME; the one it replaces is removed last."""
    part, folder, old = environment.part, environment.folder, environment.old
    shutil.rmtree(part / "tmp", ignore_errors=True)
    readdress(part, folder)
    write_stamp(part, Stamp(version, platform.machine(), environment.torch, environment.torch_index,
                            {environment.base.name: environment.base.digest()}))
    if folder.exists():
        folder.rename(old)
    part.rename(folder)
    if old.exists():
        shutil.rmtree(old)


def readdress(part: Path, folder: Path) -> None:
    """Write the final path into the scripts and settings of an environment that is about to be renamed."""
    before, after = os.fsencode(part), os.fsencode(folder)
    for path in [part / "pyvenv.cfg", *(part / "bin").iterdir()]:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > 1_000_000:
            continue
        content = path.read_bytes()
        if before in content:
            path.write_bytes(content.replace(before, after))


def add_layer(environment: Environment, layer: Layer, log: Path, progress: Progress) -> None:
    """Install one more lock into a finished environment; its stamp says so only when all of it is there."""
    temp = environment.folder / "tmp"
    install_packages(environment.python, ["--require-hashes", "-r", str(layer.lock)], title=f"{environment.folder.name}, {layer.name}",
                     total=count_packages(layer.lock), log=log, temp=temp, progress=progress)
    shutil.rmtree(temp, ignore_errors=True)
    stamp = read_stamp(environment.folder)
    if stamp is None:
        raise SetupFailed(f"adding {layer.name}", f"{environment.folder.name} has lost its stamp.", "Run `make run`, then this again.")
    write_stamp(environment.folder, Stamp(**{**vars(stamp), "layers": {**stamp.layers, layer.name: layer.digest()}}))


def make(environment: Environment, python: str, version: str, arguments: list[str], log: Path, progress: Progress,
         settle: Callable[[], None] = lambda: None) -> None:
    """Begin, fill and finish one environment; `settle` runs between the filling and the rename."""
    begin(environment, python)
    fill(environment, arguments, log, progress)
    settle()
    finish(environment, version)
