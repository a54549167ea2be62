"""Each promise that a home breaks is found, and named: without this, none of the other tests would mean anything."""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults.evidence import broken
from tests.faults.town import Town


def edited(home: Path, *statements: str) -> None:
    """Change the book behind its back."""
    with closing(sqlite3.connect(home / "book.sqlite")) as book:
        for statement in statements:
            book.execute(statement)
        book.commit()


def started_twice(home: Path) -> None:
    """A second engine for an attempt."""
    path = next((home / "runs").glob("*/starts.jsonl"))
    path.write_text(path.read_text() * 2)


def paid_again(home: Path) -> None:
    """An effect that nobody approved."""
    (home / "receipts" / "nobodys").write_text("x")


SABOTAGE: list[tuple[str, Callable[[Path], None]]] = [
    ("I1", lambda home: edited(home, "update approvals set state = 'denied' where tool = 'start_finetune'")),
    ("I1", paid_again),
    ("I2", started_twice),
    ("I3", lambda home: edited(home, "update ledger set micros = 3000000000 where kind = 'reserve'")),
    ("I3", lambda home: next((home / "receipts").iterdir()).unlink()),
    ("I4", lambda home: edited(home, "drop trigger if exists audit_no_update", "drop trigger if exists audit_no_delete",
                               "delete from audit where seq = 3")),
    ("I5", lambda home: edited(home, "update calls set status = 'failed'")),
    ("I6", lambda home: edited(home, "update runs set state = 'running'")),
]


@pytest.mark.parametrize(("promise", "sabotage"), SABOTAGE, ids=[f"{name}-{at}" for at, (name, _) in enumerate(SABOTAGE)])
def test_a_broken_promise_is_found(town: Town, promise: str, sabotage: Callable[[Path], None]) -> None:
    assert town.live("life") == 0, town.trouble()
    assert broken(town.home, town.said()) == []
    sabotage(town.home)
    assert [one for one in broken(town.home, town.said()) if one.startswith(promise)]


def test_two_engines_at_once_are_found(town: Town) -> None:
    folder = town.home / "runs" / "0123456789"
    folder.mkdir(parents=True)
    program = [sys.executable, "-c", "import signal; signal.pause()", "faults/engine.py"]
    both = [subprocess.Popen(program, cwd=folder) for _ in range(2)]
    try:
        town.until(lambda: any(one.startswith("I2: 2 engines") for one in broken(town.home, [])), "both")
    finally:
        for one in both:
            one.kill()
            one.wait()


def test_a_forgotten_answer_is_found(town: Town) -> None:
    said = [json.loads('{"call": "0000", "status": "done", "run": "k20z0hqdwe", "reason": ""}')]
    assert [one[:2] for one in broken(town.home, said)] == ["I5", "I5", "I5"]
