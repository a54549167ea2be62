"""A damaged book: what can still be read is said, and nothing is changed."""

from pathlib import Path

import pytest

from agent.wreck import examine_wreck
from policies.book import Book

PAGE = 4096


@pytest.fixture
def book(tmp_path: Path) -> Path:
    path = tmp_path / "book.sqlite"
    Book.open(path).close()
    return path


def test_a_whole_book_is_whole(book: Path) -> None:
    said = examine_wreck(book)
    assert said[0] == "SQLite finds nothing wrong with the file." and "audit: all of its 0 rows can be read." in said


@pytest.mark.parametrize("spoil", [
    lambda content: content[: 3 * PAGE],
    lambda content: content[: 4 * PAGE] + b"\xaa" * (20 * PAGE) + content[24 * PAGE:],
    lambda content: b"\xff" * len(content),
    lambda content: b"",
], ids=["cut", "pages overwritten", "all overwritten", "empty"])
def test_of_a_damaged_one_every_sentence_is_said_and_no_byte_is_changed(book: Path, spoil) -> None:
    spoiled = spoil(book.read_bytes())
    book.write_bytes(spoiled)
    said = examine_wreck(book)
    assert any("Keep a copy" in each for each in said) and "put a backup in its place" in said[-1]
    assert not spoiled or any("SQLite" in each or "cannot be" in each or "then:" in each for each in said)
    assert book.read_bytes() == spoiled


def test_a_book_that_is_not_there_is_said_too(tmp_path: Path) -> None:
    assert "cannot be opened" in examine_wreck(tmp_path / "nothing.sqlite")[0]
