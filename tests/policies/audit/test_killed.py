"""Killed at any moment: what was acknowledged is there, the chain and the signatures hold, and the next start goes on."""

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from policies.audit.keys import KeyRing
from policies.audit.record import Record
from policies.audit.verify import verify
from policies.book import BookBroken
from tests.hammer import kill_rounds, producers
from tests.policies.audit.logs import Signed, entry, plunder, rows
from tests.policies.home import OWNER


def test_killed_twenty_times_it_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    facts = kill_rounds(tmp_path, 20)
    assert (facts["lost"], facts["broken"]) == (0, 0) and facts["acknowledged"] >= 20


def test_four_producers_leave_no_gap(tmp_path: Path) -> None:
    facts = producers(tmp_path, each=200)
    assert (facts["records"], facts["last"], facts["status"]) == (800, 800, 0)


@pytest.mark.parametrize("words", [
    "CREATE TRIGGER stop BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'disk I/O error'); END",
    "CREATE TRIGGER stop BEFORE INSERT ON audit_originals BEGIN SELECT RAISE(ABORT, 'disk I/O error'); END",
    "CREATE TRIGGER stop BEFORE INSERT ON audit_checkpoints BEGIN SELECT RAISE(ABORT, 'disk I/O error'); END",
    "DROP TABLE audit_checkpoints", "DROP TABLE audit_originals",
], ids=["the record", "the original", "the checkpoint", "no table of checkpoints", "no table of originals"])
def test_every_way_in_which_an_append_can_fail_leaves_nothing_of_the_transaction(signed: Signed, words: str) -> None:
    raw = plunder(signed.path)
    raw.execute(words)
    raw.commit()
    raw.close()

    def effect(conn: Connection) -> None:
        conn.exec_driver_sql("INSERT INTO meta (key, value) VALUES ('effect', 'done')")
        for number in range(12):
            signed.log.append(conn, entry(number))

    with pytest.raises(Exception, match=r"disk I/O|no such table") as failed:
        signed.book.write(effect)
    assert "audit" in str(failed.value) or isinstance(failed.value, BookBroken)
    found = signed.book.read(lambda conn: conn.exec_driver_sql("SELECT count(*) FROM meta WHERE key = 'effect'").scalar_one())
    assert found == 0 and len(rows(signed.path)) == 24


def test_a_record_that_cannot_be_written_down_leaves_nothing_of_the_transaction(signed: Signed) -> None:
    odd: list[dict[str, Any]] = [{"args": {"a": float("nan")}}, {"args": {"a": "\ud800"}}, {"estimate": 1.5}, {"result_size": 2**60}]
    for more in odd:
        with pytest.raises(ValueError, match="not canonical"):
            signed.book.write(lambda conn, more=more: signed.log.append(conn, Record("admin", "x", OWNER, **more)))
    assert len(rows(signed.path)) == 24


def test_a_full_disk_beside_the_book_stops_no_record(signed: Signed) -> None:
    class Full(KeyRing):
        def remember(self, note: bytes) -> None:
            raise OSError(28, "No space left on device")

    signer = signed.log.signer
    assert signer is not None
    ring = signer.keys
    signer.keys = Full(ring.folder, ring.current, None)
    signed.add(12)
    signer.keys = ring
    signed.seal()
    assert not signed.log.alarm and json.loads(rows(signed.path)[-1][4])["seq"] == 36
    assert verify(signed.path, strict=True)[0] == 0 and b"\n36\n" in (signed.keys / "last.checkpoint").read_bytes()
