"""fsck: whatever in the book and the log does not tell the same story is named."""

from collections.abc import Callable
from pathlib import Path

import pytest

from policies.audit.fsck import Finding, fsck
from policies.audit.record import Record
from tests.policies.audit.logs import Signed, open_log, plunder
from tests.policies.home import OWNER

CALL = ("INSERT INTO calls (call_id, person, key, args_digest, tool, caller_json, args_json, status, intent_seq, created_at) "
        "VALUES ('{0}', 'owner', '{0}', 'd', 'x', '{{}}', '{{}}', '{1}', {2}, 'now')")
APPROVAL = ("INSERT INTO approvals (id, call_id, state, tool, tool_version, requester, caller_json, args_json, proposal_json, digest, "
            "policy_hash, reason, quorum, created_at, expires_at) "
            "VALUES ('a1', 'c3', 'consumed', 'x', '1', 'owner', '{}', '{}', '{}', 'd', 'p', 'r', 1, 'now', 'then')")


@pytest.fixture
def log(tmp_path: Path, blank_book: Path) -> Signed:
    """A sound book: one call that ended, one that runs, one that waits."""
    made = open_log(tmp_path / "home", blank_book, every=2)
    for record in (
        Record("intent", "allowed", OWNER, call_id="c1", args={"a": 1}), Record("outcome", "ok", OWNER, call_id="c1", intent_seq=1),
        Record("intent", "allowed", OWNER, call_id="c2"), Record("admin", "x", OWNER),
    ):
        made.book.write(lambda conn, record=record: made.log.append(conn, record))
    for words in (CALL.format("c1", "done", 1), CALL.format("c2", "running", 3), CALL.format("c3", "waiting", "NULL")):
        made.book.write(lambda conn, words=words: conn.exec_driver_sql(words))
    return made


def found(log: Signed) -> list[Finding]:
    """What fsck says."""
    return log.book.read(fsck)


def test_a_sound_book_has_no_findings(log: Signed) -> None:
    assert found(log) == []


def sql(words: str) -> Callable[[Signed], None]:
    """Somebody writes into the file."""
    def write(log: Signed) -> None:
        raw = plunder(log.path)
        raw.execute(words)
        raw.commit()
        raw.close()

    return write


def says(record: Record) -> Callable[[Signed], None]:
    """One more record."""
    def write(log: Signed) -> None:
        log.book.write(lambda conn: log.log.append(conn, record))

    return write


@pytest.mark.parametrize(("kind", "seq", "harm"), [
    ("orphan_intent", 5, says(Record("intent", "allowed", OWNER, call_id="c9"))),
    ("missing_outcome", 3, sql("UPDATE calls SET status = 'done' WHERE call_id = 'c2'")),
    ("two_outcomes", 5, says(Record("outcome", "ok", OWNER, call_id="c1", intent_seq=1))),
    ("no_intent", 5, says(Record("outcome", "ok", OWNER, call_id="c2", intent_seq=4))),
    ("no_record", 2, sql("UPDATE calls SET intent_seq = 2 WHERE call_id = 'c3'")),
    ("no_intent", None, sql(APPROVAL)),
    ("columns", 2, sql("UPDATE audit SET call_id = 'c2' WHERE seq = 2")),
    ("columns", 2, sql("UPDATE audit SET hash = 'x' WHERE seq = 2")),
    ("columns", 2, sql("UPDATE audit SET record = 'x' WHERE seq = 2")),
    ("checkpoint", 4, sql("UPDATE audit_checkpoints SET root = 'x' WHERE size = 4")),
    ("checkpoint", 4, sql("UPDATE audit_checkpoints SET note = 'x' WHERE size = 4")),
    ("checkpoint", None, sql("UPDATE audit_checkpoints SET size = 9 WHERE size = 4")),
    ("original", 1, sql("UPDATE audit_originals SET salt = zeroblob(32)")),
    ("export", None, sql("INSERT INTO audit_exports (at, format, first_seq, last_seq, sha256, digest) "
                         "VALUES ('now', 'jsonl', 1, 2, 'x', CAST('y' AS BLOB))")),
], ids=lambda value: str(value) if isinstance(value, str | int) else "")
def test_what_does_not_fit_is_named(log: Signed, kind: str, seq: int | None, harm: Callable[[Signed], None]) -> None:
    harm(log)
    assert (kind, seq) in [(one.kind, one.seq) for one in found(log)], found(log)
    assert all(one.text.endswith((".", "`.")) for one in found(log))
