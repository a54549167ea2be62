"""One nursery for all, and a home that was opened once, to be copied for each test."""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.evidence import processes
from tests.faults.nursery import Nursery
from tests.faults.town import Town

NewTown = Callable[[], Town]


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """Forks programs."""
    made = Nursery()
    yield made
    made.close()


@pytest.fixture(scope="session")
def blank(tmp_path_factory: pytest.TempPathFactory, nursery: Nursery) -> Path:
    """A home that was opened and closed."""
    town = Town(nursery, tmp_path_factory.mktemp("blank") / "home")
    assert town.live("look") == 0, town.trouble()
    return town.home


@pytest.fixture
def new_town(nursery: Nursery, blank: Path, tmp_path: Path) -> Iterator[NewTown]:
    """Makes homes as new; whatever still works in them at the end is ended."""
    homes: list[Path] = []

    def make() -> Town:
        homes.append(tmp_path / f"home-{len(homes)}")
        shutil.copytree(blank, homes[-1])
        return Town(nursery, homes[-1])

    yield make
    for pid in processes(tmp_path):
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def town(new_town: NewTown) -> Town:
    """One home as new."""
    return new_town()
