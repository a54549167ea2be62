"""The log: a gapless chain, inside the caller's transaction, that refuses to be changed by accident."""

import hashlib
import json
import threading

import pytest
from sqlalchemy import Connection, delete, select, update
from sqlalchemy.exc import IntegrityError

from policies.audit.log import AuditLog
from policies.audit.record import Record, commit
from policies.audit.verify import verify
from policies.people import Caller
from policies.tables import audit, audit_originals
from tests.policies.home import OWNER, Home


@pytest.fixture
def log(home: Home) -> AuditLog:
    """The log of the home."""
    return AuditLog(home.book.home_id())


def add(home: Home, log: AuditLog, event: str = "x", **more: object) -> int:
    """Append one record."""
    return home.book.write(lambda conn: log.append(conn, Record("admin", event, OWNER, **more)))  # pyright: ignore[reportArgumentType]


def test_numbers_are_gapless_and_each_record_names_the_one_before(home: Home, log: AuditLog) -> None:
    assert [add(home, log) for _ in range(5)] == [1, 2, 3, 4, 5]
    rows = home.book.read(lambda conn: conn.execute(select(audit).order_by(audit.c.seq)).all())
    for before, row in zip([None, *rows], rows, strict=False):
        record = json.loads(row.record)
        assert record["prev"] == ("0" * 64 if before is None else before.hash)
        assert row.hash == hashlib.sha256(row.record).hexdigest()


def test_a_transaction_that_fails_takes_its_record_along_and_leaves_no_gap(home: Home, log: AuditLog) -> None:
    def half(conn: Connection) -> None:
        log.append(conn, Record("admin", "x", OWNER))
        raise KeyError

    add(home, log)
    with pytest.raises(KeyError):
        home.book.write(half)
    assert add(home, log) == 2 and verify(home.path, strict=True)[0] == 0


@pytest.mark.parametrize("change", [update(audit).values(kind="x"), delete(audit)], ids=["update", "delete"])
def test_a_record_can_be_neither_changed_nor_deleted_through_the_book(home: Home, log: AuditLog, change: object) -> None:
    add(home, log)
    with pytest.raises(IntegrityError, match="append-only"):
        home.book.write(lambda conn: conn.execute(change))  # pyright: ignore[reportCallIssue, reportArgumentType]


def test_the_original_arguments_lie_beside_and_can_be_erased_without_breaking_the_chain(home: Home, log: AuditLog) -> None:
    add(home, log, args={"prompt": "What is my salary, please tell me?", "rate": 0.5})
    row = home.book.read(lambda conn: conn.execute(select(audit_originals)).one())
    record = home.records()[0]
    assert record["args"] == {"prompt": "<text: 34 characters>", "rate": "0.5"}
    assert record["args_commit"] == commit(row.salt, row.original) and json.loads(row.original)["rate"] == 0.5
    home.book.write(lambda conn: conn.execute(delete(audit_originals)))
    assert verify(home.path, strict=True)[0] == 0


def test_a_record_that_cannot_be_canonical_fails_the_whole_transaction(home: Home, log: AuditLog) -> None:
    with pytest.raises(ValueError, match="not canonical"):
        add(home, log, args={"a": float("nan")})
    assert home.records() == []


def test_many_writers_make_one_chain(home: Home, log: AuditLog) -> None:
    def work() -> None:
        for _ in range(50):
            add(home, log)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verify(home.path, strict=True) == (0, verify(home.path)[1]) and len(home.records()) == 200


def test_the_system_is_an_actor_like_any_other(home: Home, log: AuditLog) -> None:
    home.book.write(lambda conn: log.append(conn, Record("policy", "loaded", Caller("system", "system"))))
    assert home.records()[0]["actor"]["sub"] == "system"
