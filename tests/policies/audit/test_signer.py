"""Signing: every so many records, never two stories about one size, and a key that changes hands in the open."""

import hashlib
import json
import shutil
import sqlite3
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, func, select

from policies.audit.checkpoint import Checkpoint, open_note
from policies.audit.keys import KeyRing, KeyTrouble, key_id
from policies.audit.log import AuditLog
from policies.audit.merkle import leaf, root
from policies.audit.signer import Refused
from policies.audit.verify import verify
from policies.tables import audit_checkpoints
from tests.policies.audit.logs import Signed, entry, kept, new_key, open_log, plunder, resign, rewrite, rows, sizes


def again(log: Signed) -> Signed:
    """The same home after a restart."""
    log.book.close()
    return open_log(log.path.parent, log.path, every=log.log.every)


def test_a_checkpoint_is_signed_after_so_many_records_and_at_the_end(signed: Signed) -> None:
    assert sizes(signed) == [10, 20, 24] and kept(signed) == 24
    note = (signed.keys / "last.checkpoint").read_bytes()
    ring = KeyRing.open(signed.keys)
    text, _ = open_note(note, signed.log.origin, {key_id(signed.log.origin, ring.current.public): ring.current.public})
    tree = root(leaf(row[4]) for row in rows(signed.path))
    assert Checkpoint.parse(text) == Checkpoint(signed.log.origin, 24, tree)


def test_every_record_names_the_key_that_was_in_force(signed: Signed) -> None:
    ours = key_id(signed.log.origin, KeyRing.open(signed.keys).current.public)
    assert {json.loads(row[4])["key"] for row in rows(signed.path)} == {ours}


def test_nothing_is_signed_twice_and_nothing_too_early(signed: Signed) -> None:
    last = signed.book.read(lambda conn: conn.execute(select(func.max(audit_checkpoints.c.at))).scalar_one())

    def seal(**more: float) -> bytes | None:
        return signed.book.write(lambda conn: signed.log.seal(conn, datetime.fromisoformat(last) + timedelta(seconds=30), **more))

    assert seal() is None
    signed.add(1)
    assert seal(after_s=60) is None
    assert seal(after_s=20) is not None and sizes(signed)[-1] == 25


def test_an_empty_log_is_not_signed(tmp_path: Path, blank_book: Path) -> None:
    log = open_log(tmp_path / "home", blank_book)
    assert log.seal() is None and sizes(log) == []
    log.book.close()


def test_a_log_that_was_not_signed_yet_is_signed_as_a_whole(tmp_path: Path, blank_book: Path) -> None:
    log = open_log(tmp_path / "home", blank_book)
    bare = AuditLog(log.book.home_id())
    for number in range(30):
        log.book.write(lambda conn, number=number: bare.append(conn, entry(number)))
    log.add(1)
    assert log.seal() is not None and sizes(log) == [31]
    log.book.close()
    assert verify(log.path, strict=True)[0] == 0


def test_a_checkpoint_goes_with_the_transaction_that_fails(signed: Signed) -> None:
    def half(conn: Connection) -> None:
        for number in range(10):
            signed.log.append(conn, entry(number))
        raise KeyError

    with pytest.raises(KeyError):
        signed.book.write(half)
    signed.add(3)
    assert sizes(signed) == [10, 20, 24] and kept(signed) == 24
    signed.seal()
    assert sizes(signed)[-1] == 27 == kept(signed) and verify(signed.path, strict=True)[0] == 0


def test_what_was_committed_is_kept_outside_even_when_the_process_died_before(signed: Signed) -> None:
    signed.add(10)
    (signed.keys / "last.checkpoint").unlink()
    log = again(signed)
    log.add(1)
    assert kept(log) == 34 and not log.log.alarm
    log.book.close()


def refused(log: Signed, code: str) -> None:
    """From now on nothing is signed, the log goes on and says so once."""
    before = sizes(log)
    log.add(15)
    assert log.seal() is None and log.log.alarm and sizes(log) == before
    said = [json.loads(row[4])["detail"] for row in rows(log.path) if b"checkpoint_refused" in row[4]]
    assert said == [{"reason": code}]
    log.book.close()


def test_an_older_copy_of_the_book_is_not_signed(signed: Signed, tmp_path: Path) -> None:
    signed.book.close()
    shutil.copyfile(signed.path, tmp_path / "older")
    log = again(signed)
    log.add(10)
    log.seal()
    log.book.close()
    for name in ("", "-wal", "-shm"):
        Path(f"{log.path}{name}").unlink(missing_ok=True)
    shutil.copyfile(tmp_path / "older", log.path)
    refused(again(log), "not_what_was_signed")
    assert verify(log.path)[0] == 1


def test_a_book_whose_tail_was_cut_is_not_signed(signed: Signed) -> None:
    signed.book.close()
    raw = plunder(signed.path)
    for table in ("audit", "audit_originals"):
        raw.execute(f"DELETE FROM {table} WHERE seq > 15")
    raw.execute("DELETE FROM audit_checkpoints WHERE size > 15")
    raw.commit()
    raw.close()
    refused(again(signed), "not_what_was_signed")


def test_a_log_that_somebody_signed_with_another_key_is_not_signed(signed: Signed) -> None:
    signed.book.close()
    resign(signed.path, new_key())
    (signed.keys / "last.checkpoint").unlink()
    refused(again(signed), "foreign_key")


def test_a_log_with_a_lost_key_is_not_signed_by_a_new_one(signed: Signed) -> None:
    signed.book.close()
    (signed.keys / "audit.key").unlink()
    refused(again(signed), "foreign_key")


def test_a_checkpoint_whose_tree_was_changed_is_not_followed(signed: Signed) -> None:
    signed.book.close()
    raw = plunder(signed.path)
    raw.execute("UPDATE audit_checkpoints SET frontier = zeroblob(length(frontier)) WHERE size = 24")
    raw.commit()
    raw.close()
    refused(again(signed), "root_differs")


def test_a_record_changed_before_it_was_signed_is_not_signed(signed: Signed) -> None:
    signed.add(3)
    signed.book.close()
    rewrite(signed.path, lambda r: [*r[:25], (*r[25][:4], r[25][4].replace(b"allowed", b"refused")), r[26]])
    refused(again(signed), "record_differs")


def test_an_unreadable_last_checkpoint_is_no_reason_to_sign(signed: Signed) -> None:
    signed.book.close()
    (signed.keys / "last.checkpoint").write_bytes(b"no note")
    refused(again(signed), "unreadable")


def rotate(log: Signed) -> int:
    """Change the key."""
    return log.book.write(lambda conn: log.log.rotate(conn, entry(0).caller))


def test_a_rotation_is_a_record_that_both_keys_sign_and_either_key_verifies_all(signed: Signed) -> None:
    signed.add(2)
    first = signed.pub.read_text()
    assert rotate(signed) == 27 and sizes(signed)[-2:] == [26, 27]
    signed.add(12)
    signed.seal()
    second = signed.pub.read_text()
    assert first != second and not (signed.keys / "audit.next.key").exists()
    for name, line in (("old", first), ("new", second)):
        (signed.path.parent / name).write_text(line)
        status, said = verify(signed.path, strict=True, pubkey=signed.path.parent / name)
        assert status == 0 and f"up to record 39 by key {signed.log.origin}+{second.split('+')[1]}" in said
    ids = [json.loads(row[4])["key"] for row in rows(signed.path)]
    assert ids[26] == first.split("+")[1] and ids[27] == second.split("+")[1]
    assert not [key for row in rows(signed.path) for key in json.loads(row[4])["detail"].values() if "<" in str(key)]


def test_keys_can_change_many_times(signed: Signed) -> None:
    first = signed.pub.read_text()
    for _ in range(4):
        rotate(signed)
        signed.add(3)
    signed.seal()
    (signed.path.parent / "first").write_text(first)
    assert verify(signed.path, pubkey=signed.path.parent / "first")[0] == 0
    assert verify(signed.path, first=34, pubkey=signed.path.parent / "first")[0] == 0
    assert verify(signed.path, last=22, pubkey=signed.pub)[0] == 0


def test_a_rotation_that_is_not_committed_changes_nothing(signed: Signed) -> None:
    def half(conn: Connection) -> None:
        signed.log.rotate(conn, entry(0).caller)
        raise KeyError

    before = signed.pub.read_text()
    with pytest.raises(KeyError):
        signed.book.write(half)
    signed.add(12)
    signed.seal()
    assert signed.pub.read_text() == before and not (signed.keys / "audit.next.key").exists()
    assert verify(signed.path, strict=True, pubkey=signed.pub)[0] == 0


def test_a_rotation_that_was_committed_holds_after_a_crash(signed: Signed) -> None:
    before = signed.pub.read_text()
    rotate(signed)
    assert (signed.keys / "audit.next.key").exists()
    log = again(signed)
    log.add(12)
    log.seal()
    assert log.pub.read_text() != before and verify(log.path, strict=True)[0] == 0
    log.book.close()


def test_one_rotation_at_a_time_and_none_without_keys_or_after_an_alarm(signed: Signed) -> None:
    def twice(conn: Connection) -> None:
        signed.log.rotate(conn, entry(0).caller)
        signed.log.rotate(conn, entry(0).caller)

    with pytest.raises(KeyTrouble, match="already"):
        signed.book.write(twice)
    bare = AuditLog(signed.book.home_id())
    with pytest.raises(KeyTrouble, match="not signed"):
        signed.book.write(lambda conn: bare.rotate(conn, entry(0).caller))
    signed.log.signer.refuse(Refused("x", "it was cut"))  # pyright: ignore[reportOptionalMemberAccess]
    with pytest.raises(KeyTrouble, match="it was cut"):
        rotate(signed)


def test_what_was_signed_can_be_neither_changed_nor_deleted_through_the_book(signed: Signed) -> None:
    raw = sqlite3.connect(signed.path)
    for words in ("UPDATE audit_checkpoints SET at = 'x'", "DELETE FROM audit_checkpoints"):
        with pytest.raises(sqlite3.IntegrityError, match="stays as it is"):
            raw.execute(words)
    raw.close()


def test_a_record_changed_with_its_hash_before_it_was_signed_is_not_signed(signed: Signed) -> None:
    signed.add(3)
    raw = plunder(signed.path)
    (record,) = raw.execute("SELECT record FROM audit WHERE seq = 26").fetchone()
    forged = record.replace(b"allowed", b"refused")
    assert forged != record
    raw.execute("UPDATE audit SET record = ?, hash = ? WHERE seq = 26", (forged, hashlib.sha256(forged).hexdigest()))
    raw.commit()
    raw.close()
    signed.seal()
    assert "Record 26 is not what was written" in signed.log.alarm


def test_a_record_changed_under_its_old_hash_before_it_was_signed_is_found_by_the_verifier(signed: Signed) -> None:
    signed.add(3)
    raw = plunder(signed.path)
    raw.execute("UPDATE audit SET record = CAST(replace(CAST(record AS TEXT), 'allowed', 'refused') AS BLOB) WHERE seq = 26")
    raw.commit()
    raw.close()
    signed.seal()
    status, said = verify(signed.path)
    assert status == 1 and "26" in said
