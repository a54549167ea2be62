"""The tamper matrix on a signed log: whatever is done to it is found, and the first bad number is named."""

import random
import re
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from policies.audit import verify as module
from policies.audit.keys import KeyRing
from policies.audit.record import Record
from policies.audit.verify import verify
from tests.policies.audit.logs import Row, Rows, Signed, entry, fitted, forged, new_key, open_log, plunder, relinked, resign, rewrite, rows

POSITIONS = range(1, 25)


def found(signed: Signed, **more: Any) -> tuple[int, int]:
    """Exit status and first bad number of a strict verification."""
    status, said = verify(signed.path, strict=True, **more)
    number = re.search(r"first bad record (\d+):", said)
    return status, int(number[1]) if number else 0


@pytest.fixture
def closed(tmp_path: Path, template: Signed) -> Signed:
    """A copy of the log of 24 records, closed; what a reader kept of it lies in `outside` and `pub`."""
    shutil.copytree(template.path.parent, tmp_path / "home")
    copied = Signed(tmp_path / "home" / "book.sqlite", template.book, template.log)
    shutil.copyfile(copied.keys / "last.checkpoint", copied.path.parent / "outside")
    shutil.copyfile(copied.pub, copied.path.parent / "pub")
    return copied


def flipped(row: Row, place: int, bit: int) -> bytes:
    """The record with one bit turned."""
    stored = bytearray(row[4])
    stored[place] ^= 1 << bit
    return bytes(stored)


def test_every_byte_of_twenty_records_counts(closed: Signed) -> None:
    dice, log = random.Random(7), module.Log(None, False)
    for seq, digest, kind, call, stored in rows(closed.path)[:20]:
        row = (seq, digest, kind, call, stored)
        for place in range(len(stored)):
            changed = flipped(row, place, dice.randrange(8))
            with pytest.raises(module.Bad) as bad:
                log.add((seq, digest, [kind, call], changed))
            assert bad.value.args[:2] == (module.TAMPERED, seq)
        log.add((seq, digest, [kind, call], stored))


def test_a_byte_with_a_hash_made_to_fit_is_found_at_the_next_record_at_the_latest(closed: Signed) -> None:
    every, dice = rows(closed.path), random.Random(11)
    for index in range(20):
        for place in dice.sample(range(len(every[index][4])), 60):
            row = fitted(every[index], flipped(every[index], place, dice.randrange(8)))
            log = module.Log(None, False)
            with pytest.raises(module.Bad) as bad:
                for seq, digest, kind, call, stored in [*every[:index], row, every[index + 1]]:
                    log.add((seq, digest, [kind, call], stored))
            assert bad.value.args[0] == module.TAMPERED and bad.value.args[1] in (index + 1, index + 2)


def test_one_random_byte_in_each_of_two_hundred_records_of_a_file(tmp_path: Path, blank_book: Path) -> None:
    log, dice = open_log(tmp_path / "home", blank_book, every=50), random.Random(3)
    log.book.write(lambda conn: [log.log.append(conn, forged_entry) for forged_entry in entries(200)])
    log.seal()
    log.book.close()
    raw = plunder(log.path)
    for row in rows(log.path):
        raw.execute("UPDATE audit SET record = ? WHERE seq = ?", (flipped(row, dice.randrange(len(row[4])), dice.randrange(8)), row[0]))
        raw.commit()
        assert found(log) == (1, row[0])
        raw.execute("UPDATE audit SET record = ? WHERE seq = ?", (row[4], row[0]))
        raw.commit()
    assert found(log) == (0, 0)
    raw.close()


def entries(count: int) -> list[Record]:
    """So many records."""
    return [entry(number) for number in range(count)]


@pytest.mark.parametrize("at", POSITIONS)
def test_a_deleted_record_is_missing(closed: Signed, at: int) -> None:
    rewrite(closed.path, lambda r: r[:at - 1] + r[at:])
    assert found(closed) == (2, at)


@pytest.mark.parametrize("at", POSITIONS)
def test_a_deleted_record_is_found_when_the_rest_moves_up(closed: Signed, at: int) -> None:
    rewrite(closed.path, lambda r: relinked(r[:at - 1] + r[at:]))
    # Without the record one of the signed trees cannot be had: the first one behind it, or the last one has too few.
    status, first = found(closed)
    assert (status, first) == ((2, 24) if at > 20 else (1, (at - 1) // 10 * 10 + 1))


@pytest.mark.parametrize("at", POSITIONS)
def test_an_inserted_record_is_found_even_in_a_history_that_is_sound_in_itself(closed: Signed, at: int) -> None:
    rewrite(closed.path, lambda r: relinked([*r[:at], r[0], *r[at:]]))
    status, first = found(closed)
    # After the last signed record nothing is promised yet: what comes there is found by the next checkpoint's witness.
    assert (status, first) == ((0, 0) if at == 24 else (1, at // 10 * 10 + 1))


@pytest.mark.parametrize("at", range(1, 24))
def test_two_swapped_records_are_found(closed: Signed, at: int) -> None:
    rewrite(closed.path, lambda r: [*r[:at - 1], (at, *r[at][1:]), (at + 1, *r[at - 1][1:]), *r[at + 1:]])
    assert found(closed) == (1, at)


@pytest.mark.parametrize("at", range(1, 24))
def test_two_swapped_records_are_found_in_a_history_that_is_sound_in_itself(closed: Signed, at: int) -> None:
    rewrite(closed.path, lambda r: relinked([*r[:at - 1], r[at], r[at - 1], *r[at + 1:]]))
    assert found(closed) == (1, (at - 1) // 10 * 10 + 1)


@pytest.mark.parametrize("at", range(24))
def test_a_cut_tail_is_missing(closed: Signed, at: int) -> None:
    rewrite(closed.path, lambda r: r[:at])
    assert found(closed) == (2, at + 1)


@pytest.mark.parametrize("at", range(24))
def test_a_tail_cut_with_its_checkpoints_is_missing_to_whoever_kept_one(closed: Signed, at: int) -> None:
    rewrite(closed.path, lambda r: r[:at])
    raw = plunder(closed.path)
    raw.execute("DELETE FROM audit_checkpoints WHERE size > ?", (at,))
    raw.commit()
    raw.close()
    shutil.rmtree(closed.keys)
    assert found(closed, checkpoint=closed.path.parent / "outside", pubkey=closed.path.parent / "pub") == (2, at + 1)


@pytest.mark.parametrize("at", POSITIONS)
def test_a_fork_is_found_by_the_first_checkpoint_behind_it(closed: Signed, at: int) -> None:
    rewrite(closed.path, lambda r: relinked([*r[:at - 1], *(forged(row, event="forked") for row in r[at - 1:])]))
    assert found(closed) == (1, (at - 1) // 10 * 10 + 1)


@pytest.mark.parametrize("at", POSITIONS)
def test_a_record_of_another_log_is_found(closed: Signed, tmp_path: Path, blank_book: Path, at: int) -> None:
    other = other_log(tmp_path, blank_book)
    rewrite(closed.path, lambda r: [*r[:at - 1], rows(other.path)[at - 1], *r[at:]])
    status, first = found(closed)
    assert status == 1 and first in (at, at + 1)


def other_log(tmp_path: Path, blank_book: Path) -> Signed:
    """Another home's log, of as many records."""
    other = open_log(tmp_path / "other", blank_book, every=10)
    raw = sqlite3.connect(other.path)
    raw.execute("UPDATE meta SET value = 'another' WHERE key = 'home'")
    raw.commit()
    raw.close()
    other.book.close()
    other = open_log(tmp_path / "other", blank_book, every=10)
    other.add(24)
    other.seal()
    other.book.close()
    return other


def test_another_log_in_the_place_of_this_one_is_found(closed: Signed, tmp_path: Path, blank_book: Path) -> None:
    shutil.copyfile(other_log(tmp_path, blank_book).path, closed.path)
    assert found(closed) == (1, 1)


def test_a_history_signed_anew_with_another_key_is_found(closed: Signed) -> None:
    rewrite(closed.path, lambda r: relinked([forged(row, event="forged") for row in r]))
    line = resign(closed.path, new_key())
    assert found(closed) == (1, 1)
    closed.pub.write_text(line)
    (closed.keys / "last.checkpoint").unlink()
    # Whoever can write beside the book too convinces only a reader who brings nothing.
    assert found(closed) == (0, 0)
    assert found(closed, pubkey=closed.path.parent / "pub") == (1, 1)
    assert found(closed, checkpoint=closed.path.parent / "outside") == (1, 1)


def test_the_tail_signed_anew_with_another_key_is_found_from_there_on(closed: Signed) -> None:
    raw = plunder(closed.path)
    keep = raw.execute("SELECT * FROM audit_checkpoints WHERE size <= 10").fetchall()
    rewrite(closed.path, lambda r: relinked([*r[:15], *(forged(row, event="forged") for row in r[15:])]))
    resign(closed.path, new_key())
    raw.execute("DELETE FROM audit_checkpoints WHERE size <= 10")
    raw.executemany("INSERT INTO audit_checkpoints VALUES (?, ?, ?, ?, ?, ?)", keep)
    raw.commit()
    raw.close()
    (closed.keys / "last.checkpoint").unlink()
    assert found(closed) == (1, 11)


def test_a_history_signed_anew_with_the_stolen_key_is_found_by_an_outside_checkpoint_alone(closed: Signed) -> None:
    rewrite(closed.path, lambda r: relinked([forged(row, event="forged") for row in r]))
    resign(closed.path, KeyRing.open(closed.keys).current)
    (closed.keys / "last.checkpoint").unlink()
    assert found(closed, pubkey=closed.path.parent / "pub") == (0, 0)
    assert found(closed, checkpoint=closed.path.parent / "outside") == (1, 1)


def test_a_log_whose_signatures_were_taken_away_does_not_pass_for_a_reader_with_a_key(closed: Signed) -> None:
    raw = plunder(closed.path)
    raw.execute("DELETE FROM audit_checkpoints")
    raw.commit()
    raw.close()
    shutil.rmtree(closed.keys)
    assert found(closed) == (0, 0) and found(closed, pubkey=closed.path.parent / "pub") == (2, 1)


def test_a_rotation_that_its_keys_did_not_sign_is_found(signed: Signed) -> None:
    seq = signed.book.write(lambda conn: signed.log.rotate(conn, entries(1)[0].caller))
    signed.seal()
    signed.book.close()
    mine = new_key().public.hex()

    def change(r: Rows) -> Rows:
        text = r[seq - 1][4]
        new = re.search(rb'"new":"([0-9a-f]{64})"', text)
        assert new is not None
        return relinked([*r[:seq - 1], fitted(r[seq - 1], text.replace(new[1], mine.encode())), *r[seq:]])

    rewrite(signed.path, change)
    assert found(signed) == (1, seq)


@pytest.mark.parametrize(("words", "status"), [
    ("UPDATE audit_checkpoints SET root = upper(root) WHERE size = 20", 1),
    ("UPDATE audit_checkpoints SET size = 19 WHERE size = 20", 1),
    ("UPDATE audit_checkpoints SET note = 'x' WHERE size = 20", 1),
    ("UPDATE audit_checkpoints SET note = NULL WHERE size = 20", 1),
    ("UPDATE audit_checkpoints SET note = replace(CAST(note AS TEXT), 'luthier/', 'lather/') WHERE size = 20", 1),
    ("UPDATE audit_checkpoints SET note = (SELECT note FROM audit_checkpoints WHERE size = 10) WHERE size = 20", 1),
], ids=range(6))
def test_a_checkpoint_that_was_changed_is_found(closed: Signed, words: str, status: int) -> None:
    raw = sqlite3.connect(closed.path)
    text = raw.execute("SELECT sql FROM sqlite_master WHERE name = 'audit_checkpoints'").fetchone()[0]
    kept = raw.execute("SELECT * FROM audit_checkpoints").fetchall()
    raw.close()
    raw = plunder(closed.path)
    raw.execute("DROP TABLE audit_checkpoints")
    raw.execute(text.replace("NOT NULL", ""))
    raw.executemany("INSERT INTO audit_checkpoints VALUES (?, ?, ?, ?, ?, ?)", kept)
    raw.execute(words)
    raw.commit()
    raw.close()
    assert found(closed)[0] == status


def test_every_byte_of_a_checkpoints_note_counts(closed: Signed) -> None:
    raw, dice = plunder(closed.path), random.Random(5)
    note = raw.execute("SELECT note FROM audit_checkpoints WHERE size = 20").fetchone()[0]
    for place in range(len(note)):
        changed = bytearray(note)
        changed[place] ^= 1 << dice.randrange(8)
        raw.execute("UPDATE audit_checkpoints SET note = ? WHERE size = 20", (bytes(changed),))
        raw.commit()
        assert found(closed)[0] == 1, place
    raw.close()


def test_a_checkpoint_of_a_part_is_not_asked_of_a_part(closed: Signed) -> None:
    for first, last in ((1, 12), (5, 24), (11, 20), (21, 24), (24, 24)):
        status, said = verify(closed.path, first, last)
        assert status == 0, said
