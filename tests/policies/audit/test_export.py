"""Exports: whole, signed, chained, verified with the public key alone, and in the forms that other systems read."""

import hashlib
import json
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import rfc8785

from policies.audit.export import Exported, NoExport, export
from policies.audit.forms import Form
from policies.audit.fsck import fsck
from policies.audit.log import AuditLog
from policies.audit.record import Record
from policies.audit.verify import verify
from tests.policies.audit.logs import Signed, rows
from tests.policies.home import OWNER

FORMS: tuple[Form, ...] = ("jsonl", "ocsf", "cloudevents")


def take(log: Signed, form: Form = "jsonl", since: int | str | None = None) -> Exported:
    """An export of this log into a folder far from it."""
    return export(log.book, log.log, log.path.parent.parent / "out", form, since, OWNER, datetime.now(UTC))


def checked(log: Signed, done: Exported) -> tuple[int, str]:
    """What the verifier says of it, with nothing but the public key."""
    return verify(done.path, strict=True, pubkey=log.pub)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("since", [None, 1, 2, 11, 16, 24, "7"])
def test_an_export_verifies_with_the_public_key_alone(signed: Signed, form: Form, since: int | str | None) -> None:
    done = take(signed, form, since)
    first = int(since or 1)
    assert (done.first, done.last) == (first, 24) and len(done.path.read_bytes().splitlines()) == 25 - first
    status, said = checked(signed, done)
    assert status == 0 and "signed: up to record 24" in said, said
    assert hashlib.sha256(done.path.read_bytes()).hexdigest() == done.sha256


def test_json_lines_are_the_stored_bytes_with_hash_and_number(signed: Signed) -> None:
    lines = take(signed).path.read_bytes().splitlines()
    for line, (seq, digest, _, _, stored) in zip(lines, rows(signed.path), strict=False):
        assert rfc8785.dumps(json.loads(line)) == line and json.loads(line) == {"hash": digest, "record": json.loads(stored), "seq": seq}


def test_exports_follow_each_other_and_each_is_in_the_record(signed: Signed) -> None:
    first = take(signed)
    signed.add(3)
    second = take(signed, since="last")
    assert (second.first, second.last) == (25, 28) and checked(signed, second)[0] == 0
    assert hashlib.sha256(first.digest.read_bytes()).hexdigest() in second.digest.read_text()
    said = [json.loads(row[4])["detail"] for row in rows(signed.path) if b'"event":"exported"' in row[4]]
    assert [one["sha256"] for one in said] == [first.sha256, second.sha256]
    assert signed.book.read(lambda conn: [one for one in fsck(conn) if one.kind == "export"]) == []


def test_an_export_since_a_moment_begins_with_the_first_record_from_then_on(signed: Signed) -> None:
    moment = json.loads(rows(signed.path)[14][4])["ts"]
    assert take(signed, since=moment).first == 15
    assert take(signed, since=moment[:10]).first == 1


@pytest.mark.parametrize("since", ["99", 0, "2999-01-01", "soon", "²"])
def test_an_export_of_nothing_is_refused_with_a_reason(signed: Signed, since: int | str) -> None:
    with pytest.raises(NoExport):
        take(signed, since=since)
    assert not list(signed.path.parent.parent.rglob("*.part"))


def test_an_unsigned_log_and_a_folder_that_cannot_be_written_are_refused(signed: Signed) -> None:
    with pytest.raises(NoExport, match="not signed"):
        export(signed.book, AuditLog(signed.book.home_id()), signed.path.parent, "jsonl", None, OWNER, datetime.now(UTC))
    (signed.path.parent.parent / "out").write_text("a file")
    with pytest.raises(NoExport, match="cannot be written"):
        take(signed)


def _lines(path: Path, change: Any) -> None:
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))


@pytest.mark.parametrize(("status", "seq", "change"), [
    (2, 7, lambda one: one[:6] + one[7:]), (2, 24, lambda one: one[:-1]), (2, 1, lambda one: one[1:]),
    (1, 7, lambda one: [*one[:6], one[6].replace(b"allowed", b"refused"), *one[7:]]),
    (1, 8, lambda one: [*one[:7], one[6], *one[8:]]), (1, 7, lambda one: [*one[:6], b"{}\n", *one[7:]]),
    (1, 24, lambda one: [*one[:-1], one[-1][:-1]]), (1, 25, lambda one: [*one, one[-1]]),
], ids=["deleted", "cut", "beheaded", "changed", "doubled", "emptied", "no newline", "longer"])
def test_what_was_done_to_an_export_is_found(signed: Signed, status: int, seq: int, change: Any) -> None:
    done = take(signed)
    _lines(done.path, change)
    found, said = checked(signed, done)
    assert found == status and re.search(rf"first bad record {seq}:", said), said


@pytest.mark.parametrize("form", FORMS)
def test_another_digest_another_key_or_none_do_not_pass(signed: Signed, tmp_path: Path, form: Form) -> None:
    done, other = take(signed, form), take(signed, form, since=3)
    kept = done.digest.read_bytes()
    shutil.copyfile(other.digest, done.digest)
    assert checked(signed, done)[0] == 1
    done.digest.write_bytes(kept.replace(done.sha256.encode(), b"0" * 64))
    assert checked(signed, done)[0] == 1
    done.digest.write_bytes(kept)
    (tmp_path / "pub").write_text(f"x+y+{'AQ' + 'A' * 42}")
    assert verify(done.path, pubkey=tmp_path / "pub")[0] == 1 and verify(done.path)[0] == 3
    done.digest.unlink()
    assert checked(signed, done)[0] == 3


def events(log: Signed, form: Form) -> list[dict[str, Any]]:
    """The parsed lines of an export."""
    return [json.loads(line) for line in take(log, form).path.read_bytes().splitlines()]


def test_a_cloud_event_has_every_required_attribute_and_the_record_as_its_data(signed: Signed) -> None:
    signed.book.write(lambda conn: signed.log.append(conn, Record("outcome", "ok", OWNER, run_id="r1", status="ok")))
    found, kept = events(signed, "cloudevents"), rows(signed.path)
    assert all({"specversion": "1.0", "source": signed.log.origin}.items() <= one.items() for one in found)
    assert len({one["id"] for one in found}) == len(found) and found[24]["subject"] == "run:r1"
    assert found[0]["type"] == "luthier.audit.intent.allowed" and [int(one["sequence"]) for one in found] == list(range(1, 26))
    assert all(rfc8785.dumps(one["data"]) == row[4] and one["recordhash"] == row[1] for one, row in zip(found, kept, strict=False))
    assert all(re.fullmatch(r"[a-z0-9]+", name) for one in found for name in one)


def test_an_ocsf_event_is_an_api_activity_with_a_fingerprint_of_the_one_before_it(signed: Signed) -> None:
    refusal = Record("decision", "denied", OWNER, tool="teardown", effects=("LOCAL", "DESTROY"), decision="deny", status="denied")
    signed.book.write(lambda conn: signed.log.append(conn, refusal))
    found = events(signed, "ocsf")
    before = None
    for seq, one in enumerate(found, 1):
        assert (one["class_uid"], one["category_uid"], one["metadata"]["version"], one["metadata"]["sequence"]) == (6003, 6, "1.9.0", seq)
        assert one["type_uid"] == 600300 + one["activity_id"] and {"actor", "api", "src_endpoint", "severity_id", "time"} <= one.keys()
        print_ = one["attestation"].pop("fingerprint")
        assert print_["value"] == hashlib.sha256(rfc8785.dumps(one)).hexdigest()
        assert one["attestation"].get("prev_event", {}).get("fingerprint", {}).get("value") == before
        before = print_["value"]
    assert (found[0]["activity_id"], found[24]["activity_id"], found[24]["status_id"]) == (2, 4, 2)
    assert [one["raw_data"].encode() for one in found] == [row[4] for row in rows(signed.path)[:25]]
