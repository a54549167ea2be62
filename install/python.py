"""Finds a Python that Luthier runs on. Written so that older Pythons can read it and say what is missing."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from pathlib import Path

from install.trouble import SetupFailed

LOWEST = (3, 11)
HIGHEST = (3, 13)
NAMES = ("python3.13", "python3.12", "python3.11", "python3", "python")
PROBE = "import sys, venv, ensurepip, ssl, sqlite3, ctypes; print('%d.%d' % sys.version_info[:2])"


def check_system(system: str | None = None) -> None:
    """Refuse native Windows, where neither the training environment nor the control socket works."""
    if (system or platform.system()) == "Windows":
        raise SetupFailed(
            "Luthier does not run on native Windows",
            "its training engine and its control socket need Linux.",
            "Install WSL 2 (`wsl --install` in an administrator's terminal), open its Linux terminal, and run `make run` there.",
        )


def probe(program: str) -> tuple[tuple[int, int] | None, str]:
    """Run a Python and return its (major, minor), or None with the reason. A name on PATH may be an empty shim."""
    try:
        done = subprocess.run([program, "-c", PROBE], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, f"does not start ({error})"
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it ended with an error"])[-1]
        return None, last.strip()
    major, minor = done.stdout.strip().split(".")
    return (int(major), int(minor)), ""


def fits(version: tuple[int, int]) -> bool:
    """Whether Luthier runs on this (major, minor)."""
    return LOWEST <= version <= HIGHEST


def choose_python(path: str | None = None, current: str | None = None) -> str:
    """Return the absolute path of the Python to build the environments with: this one if it fits, else one on PATH.

    `path` is searched in place of PATH and `current` stands for the running Python; both are for tests.
    """
    tried = []
    here = sys.executable if current is None else current
    found = [here] if here else []
    for name in NAMES:
        where = shutil.which(name, path=path)
        if where and where not in found:
            found.append(where)
    for program in found:
        version, reason = probe(program)
        if version is None:
            tried.append(f"{program}: {reason}")
        elif not fits(version):
            tried.append(f"{program}: is Python {version[0]}.{version[1]}")
        else:
            return str(Path(program).absolute())
    raise SetupFailed(
        "Luthier needs Python 3.11, 3.12 or 3.13",
        "none was found that runs. Tried: " + ("; ".join(tried) or "nothing on PATH") + ".",
        "Install one (Debian and Ubuntu: `apt install python3 python3-venv`; macOS: python.org), then run this again.",
    )


def root() -> Path:
    """The project's root folder."""
    return Path(__file__).resolve().parent.parent
