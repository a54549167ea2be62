"""Makes the engine's packages importable in a container, then becomes the engine. Standard library only.

    python boot.py [--root PROJECT] [--lock FILE] [--place FOLDER] -- VERB …

Where every package of the lock is there in its version the engine begins at once. Else what is pinned is installed, by hash, into a
virtual environment that also sees the image's packages: torch comes with the image. It lies outside the container's working folder,
which the platform walks through file by file when it starts one.
"""

import argparse
import contextlib
import hashlib
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

FAILED, CANCELLED = 1, 75
_PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;\\]+)[^\S\n]*(?:;([^\\\n]*))?", re.MULTILINE)
_CLAUSE = re.compile(r"^(sys_platform|python_full_version) (==|!=|<|>=) '([^']*)'$")


class BootFailed(Exception):
    """The packages cannot be had; says why and what to do."""


def pins(lock: str) -> dict[str, str]:
    """Name and version of every package of a lock that this Python needs."""
    return {name: version for name, version, marker in _PIN.findall(lock) if applies(marker)}


def applies(marker: str) -> bool:
    """Whether a package's condition holds here; one that is not understood counts as holding, so that pip is asked."""
    return all(_holds(each.strip()) for each in marker.split(" and ") if each.strip())


def _holds(clause: str) -> bool:
    found = _CLAUSE.match(clause)
    if found is None:
        return True
    name, compared, wanted = found.groups()
    if name == "sys_platform":
        return (sys.platform == wanted) is (compared == "==")
    here, there = _numbers(platform.python_version()), _numbers(wanted)
    return {"<": here < there, ">=": here >= there, "==": here == there, "!=": here != there}[compared]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(each) for each in re.findall(r"\d+", version)[:3])


def missing(wanted: dict[str, str]) -> list[str]:
    """What is not here in its version, each as `name==version`."""
    found = []
    for name, version in wanted.items():
        try:
            here = metadata.version(name)
        except metadata.PackageNotFoundError:
            here = ""
        if here != version:
            found.append(f"{name}=={version}")
    return found


def lock_of(root: Path, named: str) -> Path:
    """The lock to install: the one that was named, else the one for the device in the run's spec."""
    if named:
        return Path(named)
    try:
        device = json.loads(Path("spec.json").read_bytes()).get("device")
    except (OSError, ValueError, AttributeError):
        device = "cpu"
    return root / "locks" / ("engine-cuda.txt" if device == "cuda" else "engine-cpu.txt")


def install(lock: Path, place: Path) -> Path:
    """A Python that has all of the lock. Raises BootFailed."""
    name = hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()[:16]
    folder = place / f"engine-{name}"
    python = folder / "bin" / "python"
    if (folder / "complete").exists():
        return python
    # Without a pip of its own: some distributions leave out what would install one. The image's installs into it.
    run([sys.executable, "-m", "venv", "--system-site-packages", "--without-pip", "--clear", str(folder)],
        "A virtual environment could not be made", "Use an image whose Python has venv and pip, or one made from infra/engine.Dockerfile.")
    run([sys.executable, "-I", "-m", "pip", "--python", str(python), "--disable-pip-version-check", "--no-input", "install", "--no-deps",
         "--require-hashes", "-r", str(lock)],
        "The training packages could not be installed",
        "Check that the container may reach the package index, or set LUTHIER_AZURE_IMAGE to one made from infra/engine.Dockerfile.")
    (folder / "complete").touch()
    return python


def run(command: list[str], what: str, remedy: str) -> None:
    """Run a program to its end; its words go to the log. Raises BootFailed."""
    try:
        rc = subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode
    except OSError as error:
        raise BootFailed(f"{what}: {error.strerror or type(error).__name__}. {remedy}") from error
    if rc:
        raise BootFailed(f"{what} (exit status {rc}; the log says more). {remedy}")


def tell(text: str) -> None:
    """Say in the run's events how far it is, where there are any, and in the log."""
    print(text, file=sys.stderr, flush=True)
    if Path("spec.json").is_file():
        event = {"t": round(time.time(), 3), "kind": "progress", "stage": "prepare", "text": text, "fraction": None}
        with contextlib.suppress(OSError), open("events.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(event) + "\n")


def give_up(message: str) -> int:
    """Leave the engine's last word in its place, so that the failure has a reason."""
    print(message, file=sys.stderr, flush=True)
    if Path("spec.json").is_file():
        with contextlib.suppress(OSError):
            part = Path("result.json.part")
            part.write_text(json.dumps({"version": 1, "outcome": "failed", "error_kind": "missing", "message": message}), encoding="utf-8")
            os.replace(part, "result.json")
    return FAILED


def main(argv: list[str]) -> int:
    """Become the engine; a status of our own only when that fails."""
    parser = argparse.ArgumentParser(description="Make the engine's packages importable, then become the engine.")
    parser.add_argument("--root", default=str(Path(__file__).resolve().parents[2]), help="the project")
    parser.add_argument("--lock", default="", help="what must be there; left out, chosen by the device in spec.json")
    parser.add_argument("--place", default=tempfile.gettempdir(), help="where a virtual environment may be made")
    parser.add_argument("words", nargs="+", help="the engine's verb and its arguments")
    args = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(CANCELLED))
    root = Path(args.root)
    lock = lock_of(root, args.lock)
    try:
        lacking = missing(pins(lock.read_text(encoding="utf-8")))
        python = sys.executable
        if lacking:
            try:
                metadata.version("torch")
            except metadata.PackageNotFoundError:
                raise BootFailed("The image has no PyTorch. Set LUTHIER_AZURE_IMAGE to one that has, then run prepare_cloud.") from None
            tell(f"installing {len(lacking)} training packages, as this image lacks them")
            python = str(install(lock, Path(args.place)))
    except (OSError, BootFailed) as error:
        return give_up(str(error))
    # -P: the run folder, where others write, is not looked into for modules.
    return os.execve(python, [python, "-P", "-m", "tools.engine", *args.words], dict(os.environ, PYTHONPATH=str(root)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
