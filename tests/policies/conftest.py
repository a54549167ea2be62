"""Fixtures of the room: a fresh home for each test."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from policies.book import Book
from policies.people import People
from tests.policies.home import Home


@pytest.fixture(scope="session")
def blank_book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated book with its owner, made once: copying it is much quicker than migrating anew."""
    path = tmp_path_factory.mktemp("blank") / "book.sqlite"
    book = Book.open(path)
    People(book).ensure_owner("Ada")
    book.close()
    return path


@pytest.fixture
def home(tmp_path: Path, blank_book: Path) -> Iterator[Home]:
    """A home with its owner and nobody else: solo mode."""
    path = tmp_path / "book.sqlite"
    shutil.copyfile(blank_book, path)
    book = Book.open(path)
    yield Home(path, book, People(book))
    book.close()
