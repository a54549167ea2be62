"""Runs pip in an environment and shows how far it is; pip's own words go to a log file."""

import os
import re
import subprocess
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from install.progress import Progress, size
from install.trouble import SetupFailed

TICK_S = 0.5
TAKEN = re.compile(r"^(?:Collecting|Processing|Requirement already satisfied:) (\S+)")
FETCHED = re.compile(r"^\s+(?:Downloading|Using cached) (\S+)(?: \(([^)]*)\))?")


@dataclass
class Reading:
    """What pip has said so far, as counts."""

    names: set[str] = field(default_factory=set)
    current: str = ""
    installing: bool = False
    errors: list[str] = field(default_factory=list)

    def take(self, line: str) -> None:
        """Read one line of pip's output."""
        if found := TAKEN.match(line):
            self.current = package_name(found.group(1))
            self.names.add(self.current)
        elif found := FETCHED.match(line):
            self.current = Path(found.group(1)).name.split("-")[0]
        elif line.startswith("Installing collected packages:"):
            self.installing = True
        elif line.startswith("ERROR:") or "No space left" in line:
            self.errors.append(line.removeprefix("ERROR:").strip())


def package_name(requirement: str) -> str:
    """`foo==1.2`, `foo[x]>=1` or a path to `foo-1.2-….whl` as `foo`."""
    last = requirement.rsplit("/", 1)[-1]
    name = last.split("-")[0] if last.endswith((".whl", ".tar.gz", ".zip")) else re.split(r"[\[=<>!~;]", last)[0]
    return name.lower().replace("_", "-")


def count_packages(lock: Path) -> int:
    """How many packages a lock file names."""
    return sum(1 for line in lock.read_text().splitlines() if line[:1].isalnum())


def pip_command(python: Path, verb: str, arguments: Sequence[str]) -> list[str]:
    """The command line: pip as a module, apart from the current folder, with the person's pip configuration in force."""
    return [str(python), "-I", "-m", "pip", verb, "--disable-pip-version-check", "--no-input", *arguments]


def pip_environment(temp: Path | None) -> dict[str, str]:
    """The variables for pip: the person's own, less what would send packages elsewhere than into the environment."""
    elsewhere = {"PIP_TARGET", "PIP_PREFIX", "PYTHONPATH", "PYTHONHOME"}
    kept = {name: value for name, value in os.environ.items() if name not in elsewhere}
    kept["PIP_USER"] = "0"
    kept["PYTHONUNBUFFERED"] = "1"
    if temp is not None:
        temp.mkdir(parents=True, exist_ok=True)
        kept["TMPDIR"] = str(temp)
    return kept


def install_packages(
    python: Path, arguments: Sequence[str], *, title: str, total: int, log: Path, temp: Path, progress: Progress
) -> None:
    """`pip install` with a moving line; raises SetupFailed with pip's reason and the log's path."""
    command = pip_command(python, "install", ["--progress-bar", "off", *arguments])
    before = {folder.name for folder in installed(python)}
    reading = Reading()
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as kept:
        kept.write(f"$ {' '.join(command)}\n")
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            env=pip_environment(temp), cwd=temp,
        ) as child:
            assert child.stdout is not None
            reader = threading.Thread(target=_read, args=(child.stdout, reading, kept), daemon=True)
            reader.start()
            try:
                while reader.is_alive():
                    reader.join(TICK_S)
                    progress.update(f"{title}: {describe(reading, total, python, temp, before)}")
            except BaseException:
                child.terminate()
                reader.join()
                raise
    if child.returncode:
        raise explain(title, reading.errors, log)


def _read(lines: Iterable[str], reading: Reading, kept: TextIO) -> None:
    for line in lines:
        kept.write(line)
        reading.take(line.rstrip("\n"))


def describe(reading: Reading, total: int, python: Path, temp: Path, before: set[str]) -> str:
    """How far pip is, in one line: package n of m, or how many are unpacked."""
    if reading.installing:
        done = sum(1 for folder in installed(python) if folder.name not in before)
        return f"unpacking, {min(done, len(reading.names))} of {len(reading.names)}"
    text = f"package {min(len(reading.names), total)} of {total}"
    if reading.current:
        text += f" ({reading.current}"
        largest = largest_file(temp)
        text += f", {size(largest)})" if largest >= 5_000_000 else ")"
    return text


def installed(python: Path) -> list[Path]:
    """The packages' records in the environment that `python` belongs to."""
    return list(python.parent.parent.glob("lib/python3*/site-packages/*.dist-info"))


def largest_file(temp: Path) -> int:
    """Bytes of the largest file that pip downloads at the moment."""
    most = 0
    for folder, _, names in os.walk(temp):
        for name in names:
            try:
                most = max(most, os.stat(os.path.join(folder, name)).st_size)
            except OSError:
                continue
    return most


def explain(title: str, errors: Sequence[str], log: Path) -> SetupFailed:
    """Turn pip's errors into what to do next."""
    said = " ".join(errors) or "pip ended with an error."
    first = errors[0] if errors else said
    if "No space left" in said:
        return SetupFailed(title, "the disk is full.", "Free some space and run the same command again.")
    if "DO NOT MATCH THE HASHES" in said:
        return SetupFailed(title, "a downloaded package is not the one that the lock file names.",
                           f"Try again with PIP_NO_CACHE_DIR=1; if it stays, do not install it, and see {log}.")
    if "Could not find a version" in said or "No matching distribution" in said:
        return SetupFailed(title, first, "Check the network, pip's index and proxy settings (`python3 -m pip config list`); "
                           f"the whole story is in {log}.")
    return SetupFailed(title, first[:500], f"The whole story is in {log}; `make run` starts again from here.")
