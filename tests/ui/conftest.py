"""Chainlit reads its root and its settings when it is imported, so the stage is set before any test module is."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ui.served import ROOT, Served
from ui.stage import set_process_variables, set_the_stage

set_process_variables(os.environ)
set_the_stage(ROOT, Path(tempfile.mkdtemp(prefix="luthier-tests-")), os.environ)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server process on the small workshop, shared by a module's tests."""
    server = Served(tmp_path_factory.mktemp("served") / "home").start()
    yield server
    server.stop()
    assert "An error occurred" not in server.errors(), server.errors()


@pytest.fixture
def own_home(served: Served, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This process's commands go to the module's server."""
    monkeypatch.setenv("LUTHIER_HOME", str(served.home))
    return served.home
