"""A53-A54: somebody writes into the files themselves: the conversation's checkpoints, and the record of what was done."""

import inspect
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ormsgpack
import pytest

from policies.gateway import Gateway
from tests.agent.scripted import call
from tests.attacks.siege import ME, Siege, hostile, waiting
from tests.attacks.verifying import first_bad, verified

CRATER = "luthier-crater"


def crafted(crater: Path) -> bytes:
    """A checkpoint value that names a function to be called when it is read: extension 0 is a constructor with one argument."""
    return ormsgpack.packb(ormsgpack.Ext(0, ormsgpack.packb(("os", "mkdir", str(crater)))))


async def test_a53_a_checkpoint_that_names_a_function_calls_nothing(siege: Siege) -> None:
    await siege.attack(call("look"))
    crater = siege.folder / CRATER
    with sqlite3.connect(siege.path / "memory.sqlite") as memory:
        assert memory.execute("UPDATE checkpoints SET type = 'msgpack', checkpoint = ?", (crafted(crater),)).rowcount
        memory.execute("UPDATE writes SET type = 'msgpack', value = ?", (crafted(crater),))
    async with siege.workshop(hostile(call("look"))) as shop:
        events = [event async for event in shop.say("t1", "go on", ME)]
    assert events and not crater.exists()


READ = """
import sys
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
JsonPlusSerializer().loads_typed(("msgpack", sys.stdin.buffer.read()))
"""


@pytest.mark.parametrize(("strict", "harmed"), [("false", True), ("true", False)], ids=["the attack is real", "strict reading stops it"])
def test_a53_the_same_bytes_do_harm_where_reading_is_not_strict(tmp_path: Path, strict: str, harmed: bool) -> None:
    env = {**os.environ, "LANGGRAPH_STRICT_MSGPACK": strict}
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", READ], input=crafted(tmp_path / CRATER), env=env, capture_output=True, check=False
    )
    assert (tmp_path / CRATER).exists() is harmed


@pytest.mark.parametrize("thread", ["t1' OR '1'='1", "t1'; DROP TABLE checkpoints; --", "%", "t1\x00"], ids=ascii)
async def test_a53_sql_in_a_threads_name_reads_no_other_thread(siege: Siege, thread: str) -> None:
    await siege.attack(call("look"), words="remember the word xylophone")
    ended = await siege.attack(call("look"), words="what was the word?", thread=thread)
    assert "xylophone" not in ended.told
    with sqlite3.connect(siege.path / "memory.sqlite") as memory:
        assert memory.execute("SELECT count(*) FROM checkpoints WHERE thread_id = 't1'").fetchone()[0] == 1


async def some_records(siege: Siege) -> Path:
    """A closed book with a dozen records and, at its end, a signed checkpoint; its path."""
    gateway = Gateway.open(
        home=siege.path, tools=siege.toolbox.tools, book=siege.book, people=siege.people, defaults=siege.toolbox.defaults
    )
    for n in range(3):
        view = await waiting(gateway, "launch", name=f"n{n}")
        await gateway.decide(view.id, "approve", ME)
    if closing := getattr(gateway, "close", None):
        ended = closing()
        if inspect.isawaitable(ended):
            await ended
    siege.book.close()
    return siege.path / "book.sqlite"


def sql(book: Path, *statements: str) -> None:
    """Change rows as somebody with the file can: the triggers are in nobody's way."""
    with sqlite3.connect(book) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f'DROP TRIGGER "{name}"')
        for statement in statements:
            connection.execute(statement)


TAMPERING: dict[str, tuple[tuple[str, ...], int]] = {
    "edited": (("UPDATE audit SET record = replace(record, 'owner', 'ownex') WHERE seq = 4",), 4),
    "one byte": (("UPDATE audit SET record = CAST(substr(record, 1, 20) || 'X' || substr(record, 22) AS BLOB) WHERE seq = 5",), 5),
    "deleted": (("DELETE FROM audit WHERE seq = 3",), 3),
    "reordered": (
        ("UPDATE audit SET seq = -4 WHERE seq = 4", "UPDATE audit SET seq = 4 WHERE seq = 5", "UPDATE audit SET seq = 5 WHERE seq = -4"),
        4,
    ),
    "doubled": (
        (
            "UPDATE audit SET seq = seq + 1000 WHERE seq > 6",
            "UPDATE audit SET seq = seq - 999 WHERE seq > 1000",
            "INSERT INTO audit SELECT * FROM audit WHERE seq = 6",
        ),
        7,
    ),
}


@pytest.mark.parametrize("harm", TAMPERING)
async def test_a54_a_changed_history_is_found_with_its_first_bad_number(siege: Siege, harm: str) -> None:
    book = await some_records(siege)
    assert verified(book)[0] == 0
    statements, bad = TAMPERING[harm]
    try:
        sql(book, *statements)
    except sqlite3.IntegrityError:
        sql(book, "UPDATE audit SET record = (SELECT record FROM audit WHERE seq = 6) WHERE seq = 7")
    code, words = verified(book)
    assert code in (1, 2) and first_bad(words) == bad, words


async def test_a54_a_cut_tail_is_found_against_a_checkpoint_kept_elsewhere(siege: Siege) -> None:
    book = await some_records(siege)
    outside = siege.folder / "checkpoint.txt"
    keep_checkpoint(book, outside)
    sql(book, "DELETE FROM audit WHERE seq > 5")
    code, words = verified(book, "--checkpoint", str(outside))
    assert code in (1, 2), words


async def test_a54_an_older_copy_is_found_against_a_checkpoint_kept_elsewhere(siege: Siege) -> None:
    gateway = siege.gateway()
    await waiting(gateway, "launch", name="first")
    shutil.copytree(siege.path, siege.folder / "older")
    book = await some_records(siege)
    outside = siege.folder / "checkpoint.txt"
    keep_checkpoint(book, outside)
    for path in (siege.folder / "older").glob("book.sqlite*"):
        shutil.copy(path, siege.path / path.name)
    code, words = verified(book, "--checkpoint", str(outside))
    assert code in (1, 2), words


def keep_checkpoint(book: Path, outside: Path) -> None:
    """Keep the newest signed checkpoint outside the book, as a witness does."""
    with sqlite3.connect(book) as connection:
        (note,) = connection.execute("SELECT note FROM audit_checkpoints ORDER BY size DESC LIMIT 1").fetchone()
    outside.write_bytes(note)


@pytest.mark.parametrize(
    "harm",
    [lambda path: path.write_bytes(b""), lambda path: path.write_bytes(os.urandom(4096)), lambda path: path.unlink()],
    ids=["empty", "noise", "gone"],
)
async def test_a54_a_book_that_cannot_be_read_is_said_to_be_so_without_a_traceback(siege: Siege, harm: Callable[[Path], Any]) -> None:
    book = await some_records(siege)
    for path in siege.path.glob("book.sqlite-*"):
        path.unlink()
    harm(book)
    code, words = verified(book)
    assert code in (2, 3) and "Traceback" not in words
