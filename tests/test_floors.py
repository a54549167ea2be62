"""No package is older than the release that mended a known hole: in the locks, and as installed."""

import importlib.metadata
import os
import re
from pathlib import Path

import pytest

LOCKS = Path(__file__).resolve().parent.parent / "locks"
FLOORS = {
    "chainlit": ("2.10.1", "CVE-2026-22218, CVE-2026-22219 (2.9.4), and the socket restore of 2.10.1"),
    "langgraph-checkpoint": ("4.0.0", "CVE-2025-64439, CVE-2026-27794"),
    "langgraph": ("1.0.10", "CVE-2026-28277, with strict msgpack"),
    "langgraph-checkpoint-sqlite": ("3.0.1", "CVE-2025-67644, CVE-2025-8709"),
    "langchain-core": ("1.2.5", "CVE-2025-68664, CVE-2026-34070"),
    "langchain-openai": ("1.1.14", "CVE-2026-26013, CVE-2026-41488"),
    "starlette": ("0.49.1", "CVE-2025-54121, CVE-2025-62727"),
    "python-socketio": ("5.14.0", "CVE-2025-61765"),
    "transformers": ("5.3.0", "CVE-2026-4372, CVE-2026-5241, CVE-2026-1839"),
    "onnx": ("1.21.0", "CVE-2026-27489, CVE-2026-34446, CVE-2026-34447"),
    "torch": ("2.6", "CVE-2025-32434"),
    "picklescan": ("1.0.4", "CVE-2025-1716, CVE-2025-10155, CVE-2025-10156, CVE-2025-10157, CVE-2026-56315"),
}
"""Package → lowest release without the hole, and which hole."""


def number(version: str) -> tuple[int, ...]:
    """A release as numbers that compare; what follows the release part is left out."""
    return tuple(int(part) for part in re.match(r"[\d.]*\d", version).group().split("."))  # type: ignore[union-attr]


def locked(lock: str) -> dict[str, str]:
    """Package → version of one lock file."""
    pins = re.findall(r"^([A-Za-z0-9_.-]+)==([^\s;\\]+)", (LOCKS / lock).read_text(), re.MULTILINE)
    return dict(pins)


@pytest.mark.parametrize("lock", ["chat.txt", "dev.txt", "brains.txt", "engine-cpu.txt", "engine-cuda.txt"])
def test_a_lock_holds_nothing_below_its_floor(lock: str) -> None:
    pins = locked(lock)
    assert not [f"{name} {pins[name]} < {floor}: {hole}" for name, (floor, hole) in FLOORS.items()
                if name in pins and number(pins[name]) < number(floor)]


@pytest.mark.parametrize("package", ["chainlit", "langgraph-checkpoint", "langgraph", "langgraph-checkpoint-sqlite", "langchain-core",
                                     "starlette", "python-socketio"])
def test_the_installed_chat_packages_are_not_below_their_floor(package: str) -> None:
    floor, hole = FLOORS[package]
    assert number(importlib.metadata.version(package)) >= number(floor), hole


@pytest.mark.parametrize("package", ["transformers", "onnx", "torch"])
def test_the_installed_training_packages_are_not_below_their_floor(package: str) -> None:
    floor, hole = FLOORS[package]
    found = list(Path(LOCKS.parent).glob(f".engine-*/lib/python3*/site-packages/{package}-[0-9]*.dist-info"))
    if not found:
        assert "CI" not in os.environ, "the training environment is missing: make check installs it"
        pytest.skip("no training environment here yet: `make run` makes it")
    assert all(number(path.name.removeprefix(f"{package}-").removesuffix(".dist-info")) >= number(floor) for path in found), hole


def test_the_torch_that_set_up_installs_is_not_below_its_floor() -> None:
    from install.torch import VERSION

    assert number(VERSION) >= number(FLOORS["torch"][0])


def test_every_floor_is_held_by_some_lock_or_kept_out_of_all() -> None:
    everywhere = {name for path in LOCKS.glob("*.txt") for name in locked(path.name)}
    assert set(FLOORS) - everywhere <= {"torch", "picklescan"}
