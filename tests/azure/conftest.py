"""A stand-in for Azure, and the product's client pointed at it."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

os.environ["LANGGRAPH_STRICT_MSGPACK"] = "true"

import pytest

from tests.azure.cloud import WORKSPACE, Cloud, signed_out

if TYPE_CHECKING:
    from tests.azure.run_home import RunHome
    from tools.azure.client import Azure


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """Azure on loopback, signed in; a request body that breaks a schema fails the test."""
    for name in signed_out():
        monkeypatch.delenv(name)
    with Cloud(tmp_path / "azure") as running:
        for name, value in running.identity.items():
            monkeypatch.setenv(name, value)
        yield running
    assert running.violations == []


@pytest.fixture
def azure(cloud: Cloud) -> "Iterator[Azure]":
    """The product's client, signed in to the stand-in."""
    from tools.azure.client import Azure

    made = Azure(cloud.choice(), WORKSPACE)
    yield made
    made.close()


@pytest.fixture
def home(tmp_path: Path, cloud: Cloud) -> "Iterator[RunHome]":
    """A home that has prepared a region."""
    from tests.azure.run_home import RunHome

    made = RunHome(tmp_path / "home", cloud)
    made.prepare()
    yield made
    made.close()
