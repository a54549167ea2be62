"""A disk that is full or may only be read, and a book with a damaged page: said in a sentence, nothing begun, nothing lost."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults.namespace import inside, played
from tests.faults.proof import proves
from tests.faults.town import Town
from tests.tools.fakes_runs import ROOT

SMALL = 'cp -a "$1" "$1.old"; mount -t tmpfs -o size=4m,mode=700 tmpfs "$1"; cp -a "$1.old/." "$1"'


def test_on_a_full_disk_a_start_says_so_leaves_nobody_and_goes_on_when_there_is_room(town: Town, tmp_path: Path) -> None:
    rooms = [0, 4096, 16_384, 65_536, 131_072]
    said = played(SMALL, "full", town.home, tmp_path / "said.jsonl", rooms=rooms, judged=True)
    answers = {one["room"]: one["answer"] for one in said if "room" in one}
    assert list(answers) == rooms and answers[0]
    for words in filter(None, answers.values()):
        assert "Internal error" not in words and "Traceback" not in words, words
        assert any(word in words for word in ("full", "space", "disk")), words
    assert next(one["broken"] for one in said if "broken" in one) == []


def terminal(home: Path) -> dict[str, str]:
    """The environment of a command over a home."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LUTHIER_")}
    return {**kept, "LUTHIER_HOME": str(home)}


def test_in_a_home_that_may_only_be_read_a_command_says_so_without_a_traceback(town: Town) -> None:
    script = f'mount --bind "$1" "$1"; mount -o remount,bind,ro "$1"; exec {sys.executable} -m ui call list_runs'
    done = inside(script, "sh", str(town.home), env=terminal(town.home))
    assert done.returncode not in {0, 3} and "Traceback" not in done.stderr + done.stdout
    assert "LUTHIER_HOME" in done.stderr or "permissions" in done.stderr, done.stderr


def damage(path: Path) -> None:
    """Overwrite every page of a book but the first with nonsense."""
    with closing(sqlite3.connect(path)) as book:
        book.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (size - 4096))


@pytest.mark.parametrize("words", [("call", "list_runs"), ("call", "cancel_run"), ("doctor",)], ids=["a look", "a stop", "the doctor"])
@proves("F22", "the book is read-only or has a damaged page",
        "nothing is opened and no tool runs; a sentence says what to do, and `audit fsck` what can be read; no traceback")
def test_with_a_damaged_book_no_tool_runs_and_a_sentence_says_what_to_do(town: Town, words: tuple[str, ...]) -> None:
    damage(town.home / "book.sqlite")
    before = (town.home / "book.sqlite").read_bytes()
    done = subprocess.run([sys.executable, "-m", "ui", *words], cwd=ROOT, env=terminal(town.home), capture_output=True, text=True,
                          timeout=60)
    said = done.stdout + done.stderr
    assert done.returncode != 0 and "Traceback" not in said, said
    assert "SQLite says" in said and "audit fsck" in said and "backup" in said, said
    fsck = [sys.executable, "-m", "ui", "audit", "fsck"]
    looked = subprocess.run(fsck, cwd=ROOT, env=terminal(town.home), capture_output=True, text=True, timeout=60)
    assert looked.returncode == 1 and "can be read" in looked.stdout and "Traceback" not in looked.stderr, looked
    assert (town.home / "book.sqlite").read_bytes() == before
