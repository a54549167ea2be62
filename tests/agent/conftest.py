"""Strict checkpoints for every test of the room, before anything imports LangGraph; and a home for each test."""

import os

os.environ["LANGGRAPH_STRICT_MSGPACK"] = "true"
os.environ["LANGSMITH_TRACING"] = "false"

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from policies.book import Book
from tests.agent.home import Home


@pytest.fixture(scope="session")
def migrated_book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty book, migrated once: copying it is much quicker."""
    path = tmp_path_factory.mktemp("migrated") / "book.sqlite"
    Book.open(path).close()
    return path


@pytest.fixture
def home(tmp_path: Path, migrated_book: Path) -> Iterator[Home]:
    """A fresh home with fake tools behind a real gateway."""
    path = tmp_path / "home"
    path.mkdir(mode=0o700)
    shutil.copy(migrated_book, path / "book.sqlite")
    made = Home(path)
    yield made
    made.close()
