"""Strict checkpoints before anything imports LangGraph, and a besieged home for each test."""

import os

os.environ["LANGGRAPH_STRICT_MSGPACK"] = "true"
os.environ["LANGSMITH_TRACING"] = "false"

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from policies.book import Book
from tests.attacks.siege import Siege


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty book, migrated once: copying it is much quicker."""
    path = tmp_path_factory.mktemp("besieged") / "book.sqlite"
    Book.open(path).close()
    return path


@pytest.fixture
def siege(tmp_path: Path, migrated: Path) -> Iterator[Siege]:
    """A home with every tool, some weapons beside them, and nobody but its owner."""
    (tmp_path / "home").mkdir(mode=0o700)
    shutil.copy(migrated, tmp_path / "home" / "book.sqlite")
    made = Siege(tmp_path)
    yield made
    made.close()
