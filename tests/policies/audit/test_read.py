"""What people read in the log: search, stories, proofs."""

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from policies.audit import merkle, read
from policies.audit.checkpoint import Checkpoint, split_note
from policies.audit.originals import erase, erase_before, reveal
from policies.audit.record import Record
from policies.audit.verify import verify
from policies.people import Caller
from tests.policies.audit.logs import Signed, entry, open_log
from tests.policies.home import OWNER

BOB = Caller("bob", "web")
RECORDS = [
    Record("intent", "allowed", OWNER, tool="list_runs", call_id="c1", decision="allow", trace_id="t1"),
    Record("outcome", "ok", OWNER, tool="list_runs", call_id="c1", status="ok", intent_seq=1),
    Record("approval", "requested", BOB, tool="start_finetune", call_id="c2", approval_id="a1", args={"run": "r1", "sub": "owner"}),
    Record("approval", "granted", OWNER, tool="start_finetune", call_id="c2", approval_id="a1"),
    Record("intent", "approved", BOB, tool="start_finetune", call_id="c2", approval_id="a1", decision="allow"),
    Record("outcome", "ok", BOB, tool="start_finetune", call_id="c2", run_id="r1", status="ok", intent_seq=5),
    Record("decision", "denied", BOB, tool="cancel_run", call_id="c3", decision="deny", run_id="r1", detail={"reason": 'a "b" c'}),
    Record("auth", "signed_in", BOB),
]


@pytest.fixture
def log(tmp_path: Path, blank_book: Path) -> Signed:
    """A log of eight records."""
    made = open_log(tmp_path / "home", blank_book)
    for record in RECORDS:
        made.book.write(lambda conn, record=record: made.log.append(conn, record))
    return made


@pytest.mark.parametrize(("asked", "found"), [
    ({}, [8, 7, 6, 5, 4, 3, 2, 1]), ({"limit": 3}, [8, 7, 6]), ({"before": 4}, [3, 2, 1]), ({"limit": 2, "before": 4}, [3, 2]),
    ({"kind": "outcome"}, [6, 2]), ({"person": "bob"}, [8, 7, 6, 5, 3]), ({"person": "owner"}, [4, 2, 1]), ({"run": "r1"}, [7, 6]),
    ({"tool": "start_finetune", "kind": "approval"}, [4, 3]), ({"decision": "deny"}, [7]), ({"decision": "allow", "person": "bob"}, [5]),
    ({"person": "b"}, []), ({"person": '"'}, []), ({"tool": "%"}, []), ({"kind": "' OR 1=1 --"}, []), ({"limit": 0}, []),
], ids=str)
def test_a_search_finds_what_matches_everything_newest_first(log: Signed, asked: dict[str, Any], found: list[int]) -> None:
    assert [one["seq"] for one in log.book.read(lambda conn: read.search(conn, **asked))] == found


@pytest.mark.parametrize(("identity", "found"), [
    ("c1", [1, 2]), ("t1", [1, 2]), ("a1", [3, 4, 5, 6]), ("c2", [3, 4, 5, 6]), ("r1", [3, 4, 5, 6, 7]), ("owner", []), ("", []), ('"', []),
], ids=repr)
def test_a_story_holds_every_record_of_the_calls_that_belong_to_it(log: Signed, identity: str, found: list[int]) -> None:
    assert [one["seq"] for one in log.book.read(lambda conn: read.story(conn, identity))] == found


def test_a_proof_convinces_whoever_has_the_record_and_the_signed_root(signed: Signed) -> None:
    for seq in (1, 2, 10, 17, 24):
        proof = signed.book.read(lambda conn, seq=seq: read.prove(conn, seq))
        point = Checkpoint.parse(split_note(proof["note"].encode())[0])
        path = [bytes.fromhex(part) for part in proof["path"]]
        assert (point.size, point.root.hex()) == (proof["size"], proof["root"]) == (24, proof["root"])
        assert merkle.is_included(bytes.fromhex(proof["leaf"]), seq - 1, 24, path, point.root)


@pytest.mark.parametrize("seq", [0, -1, 25, 26, 2**62])
def test_what_no_checkpoint_covers_has_no_proof(signed: Signed, seq: int) -> None:
    signed.add(1)
    with pytest.raises(LookupError):
        signed.book.read(lambda conn: read.prove(conn, seq))


def test_an_original_is_revealed_until_it_is_erased_and_the_chain_holds(signed: Signed) -> None:
    assert signed.book.read(lambda conn: reveal(conn, 3)) == {"page": 3, "ü": "漢"}
    assert signed.book.write(lambda conn: erase(conn, 3)) and not signed.book.write(lambda conn: erase(conn, 3))
    assert signed.book.read(lambda conn: reveal(conn, 3)) is None and signed.book.read(lambda conn: reveal(conn, 99)) is None
    signed.book.close()
    assert verify(signed.path, strict=True, pubkey=signed.pub)[0] == 0


def test_originals_grow_old_and_are_erased_by_their_date(signed: Signed) -> None:
    records = signed.book.read(read.search)
    middle = datetime.fromisoformat(next(one["ts"] for one in records if one["seq"] == 13))
    assert signed.book.write(lambda conn: erase_before(conn, middle)) == 12
    assert signed.book.read(lambda conn: reveal(conn, 12)) is None and signed.book.read(lambda conn: reveal(conn, 13)) is not None
    signed.book.write(lambda conn: signed.log.append(conn, entry(25)))
    assert verify(signed.path, strict=True)[0] == 0


def test_an_original_that_is_not_what_was_asked_is_said_to_be_so(signed: Signed) -> None:
    signed.book.write(lambda conn: conn.exec_driver_sql("UPDATE audit_originals SET original = CAST('{}' AS BLOB) WHERE seq = 3"))
    with pytest.raises(ValueError, match="not what was asked"):
        signed.book.read(lambda conn: reveal(conn, 3))
