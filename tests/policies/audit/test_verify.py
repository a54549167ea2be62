"""The verifier: whatever is changed, removed, moved or added is found, with its first number, and never a traceback."""

import ast
import hashlib
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import rfc8785
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policies.audit import verify as module
from policies.audit.export import export
from policies.audit.log import AuditLog
from policies.audit.record import Record
from policies.audit.verify import encode, main, parse, verify
from policies.book import Book
from tests.policies.audit.logs import Rows, Signed, fitted, forged, rewrite, rows
from tests.policies.home import OWNER, Home

SOURCE = Path(module.__file__)


@pytest.fixture
def log(home: Home) -> Path:
    """A book with twelve records that nobody signed, closed."""
    writer = AuditLog(home.book.home_id())
    for number in range(12):
        home.book.write(lambda conn, number=number: writer.append(conn, Record("admin", "x", OWNER, detail={"n": number, "ü": "漢"})))
    home.book.close()
    return home.path


def walk(found: Rows) -> module.Log:
    """The log after these rows went by."""
    log = module.Log(None, False)
    for seq, digest, kind, call, stored in found:
        log.add((seq, digest, [kind, call], stored))
    return log


def twice(stored: bytes) -> bytes:
    """The same record with a key that stands twice."""
    return stored.replace(b'"v":1', b'"v":1,"v":1')


TAMPERED: list[tuple[str, int, int, Callable[[Rows], Rows]]] = [
    ("a record was deleted", 2, 5, lambda r: r[:4] + r[5:]),
    ("the first record was deleted", 2, 1, lambda r: r[1:]),
    ("several were deleted", 2, 3, lambda r: r[:2] + r[8:]),
    ("two records swapped their bytes", 1, 5, lambda r: [*r[:4], (5, *r[5][1:]), (6, *r[4][1:]), *r[6:]]),
    ("a record was inserted and the rest moved", 1, 6, lambda r: r[:5] + [(6, *r[4][1:])] + [(s + 1, *more) for s, *more in r[5:]]),
    ("a number stands twice", 1, 6, lambda r: [*r[:5], r[4], *r[5:]]),
    ("a record was changed and its hash made to fit", 1, 6, lambda r: [*r[:4], forged(r[4], event="y"), *r[5:]]),
    ("the last record follows another one", 1, 12, lambda r: [*r[:11], forged(r[11], prev="f" * 64)]),
    ("a record comes from another log", 1, 12, lambda r: [*r[:11], forged(r[11], log="luthier/other")]),
    ("a record has a version nobody knows", 1, 12, lambda r: [*r[:11], forged(r[11], v=2)]),
    ("a record has a field more", 1, 12, lambda r: [*r[:11], forged(r[11], more=1)]),
    ("a record names another number", 1, 12, lambda r: [*r[:11], forged(r[11], seq=13)]),
    ("a record is of no kind", 1, 12, lambda r: [*r[:11], forged(r[11], kind="odd")]),
    ("a record holds a float", 1, 12, lambda r: [*r[:11], fitted(r[11], r[11][4].replace(b'"n":11', b'"n":11.0'))]),
    ("a record holds no number", 1, 12, lambda r: [*r[:11], fitted(r[11], r[11][4].replace(b'"n":11', b'"n":NaN'))]),
    ("a key stands twice", 1, 12, lambda r: [*r[:11], fitted(r[11], twice(r[11][4]))]),
    ("a space more, not canonical", 1, 1, lambda r: [fitted(r[0], r[0][4].replace(b'"v":1', b'"v": 1')), *r[1:]]),
    ("a record is no JSON", 1, 12, lambda r: [*r[:11], fitted(r[11], b"{")]),
    ("a record is no UTF-8", 1, 12, lambda r: [*r[:11], fitted(r[11], b"\xff\xfe")]),
    ("a record is a text", 1, 12, lambda r: [*r[:11], (*r[11][:4], r[11][4].decode())]),
    ("a record is deeper than any stack", 1, 12, lambda r: [*r[:11], fitted(r[11], b"[" * 100_000)]),
    ("a hash is missing", 1, 12, lambda r: [*r[:11], (12, None, *r[11][2:])]),
    ("the kind beside a record was changed", 1, 12, lambda r: [*r[:11], (*r[11][:2], "auth", *r[11][3:])]),
    ("the call beside a record was changed", 1, 12, lambda r: [*r[:11], (*r[11][:3], "call", r[11][4])]),
    ("a number below one was added", 1, 1, lambda r: [(0, *r[0][1:]), *r]),
    ("a number is a text", 2, 1, lambda r: [(s + 100, *more) for s, *more in r]),
]


def test_an_untouched_log_is_intact(log: Path) -> None:
    status, said = verify(log, strict=True)
    assert (status, said) == (0, f"intact: 12 records, last 12 {rows(log)[-1][1]}\nsigned: nothing yet")


@pytest.mark.parametrize(("status", "seq", "change"), [case[1:] for case in TAMPERED], ids=[case[0] for case in TAMPERED])
def test_what_was_done_to_the_log_is_found_with_its_first_number(log: Path, status: int, seq: int, change: Callable[[Rows], Rows]) -> None:
    rewrite(log, change)
    found, said = verify(log, strict=True)
    assert found == status and re.search(rf"first bad record {seq}:", said), said


def test_a_cut_tail_shows_against_an_end_noted_elsewhere(log: Path) -> None:
    last = rows(log)[-1]
    noted = (last[0], last[1])
    assert verify(log, expect=noted)[0] == 0
    rewrite(log, lambda r: r[:9])
    assert verify(log)[0] == 0
    assert verify(log, expect=noted)[0] == 2 and "first bad record 10" in verify(log, expect=noted)[1]


def test_a_rewritten_history_shows_against_an_end_noted_elsewhere(log: Path, tmp_path: Path) -> None:
    last = rows(log)[-1]
    book = Book.open(tmp_path / "other" / "book.sqlite")
    writer = AuditLog(book.home_id())
    for _ in range(12):
        book.write(lambda conn: writer.append(conn, Record("admin", "y", OWNER)))
    book.close()
    rewrite(log, lambda r: rows(book.path))
    assert verify(log)[0] == 0 and verify(log, expect=(last[0], last[1]))[0] == 1


@pytest.mark.parametrize(("first", "last", "status"), [(1, 12, 0), (5, 8, 0), (12, None, 0), (1, 13, 2), (13, 14, 2), (13, None, 0)])
def test_a_part_can_be_verified(log: Path, first: int, last: int | None, status: int) -> None:
    assert verify(log, first, last)[0] == status


@pytest.mark.parametrize("content", [None, b"", b"no book", b"SQLite format 3\0" + b"\xff" * 4096], ids=["none", "empty", "text", "torn"])
def test_what_cannot_be_read_is_3(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "book.sqlite"
    if content is not None:
        path.write_bytes(content)
    status, said = verify(path)
    assert status == 3 and said.startswith("cannot read")


@pytest.mark.parametrize("argv", [
    [], ["x", "--from", "zero"], ["x", "--from", "0"], ["x", "--from", "5", "--to", "2"],
    ["x", "--expect", "9"], ["x", "--no-such"], ["x", "y"], ["x", "--expect", "a:b"], ["x", "--pubkey"],
], ids=" ".join)
def test_wrong_arguments_are_3_without_a_traceback(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 3
    capsys.readouterr()


def test_it_runs_as_a_program_far_from_our_code(log: Path, tmp_path: Path) -> None:
    alone = tmp_path / "somewhere" / "v.py"
    alone.parent.mkdir()
    shutil.copyfile(SOURCE, alone)
    run = [sys.executable, "-I", str(alone), str(log), "--strict"]
    good = subprocess.run(run, capture_output=True, text=True, cwd=alone.parent)
    assert (good.returncode, good.stderr) == (0, "") and good.stdout.startswith("intact: 12 records")
    rewrite(log, lambda r: r[:4] + r[5:])
    bad = subprocess.run(run, capture_output=True, text=True, cwd=alone.parent)
    assert (bad.returncode, bad.stdout) == (2, "MISSING: first bad record 5: missing; the next one is 6\n")


def test_it_imports_the_standard_library_and_for_signatures_cryptography_and_is_short() -> None:
    tree = ast.parse(SOURCE.read_text())
    top = {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
    top |= {str(node.module) for node in tree.body if isinstance(node, ast.ImportFrom)}
    inside = {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)} - top
    assert {name.split(".")[0] for name in top} <= sys.stdlib_module_names
    assert {name.split(".")[0] for name in inside} == {"cryptography"} and len(SOURCE.read_text().splitlines()) <= 300


def test_without_cryptography_an_unsigned_log_verifies_and_a_signed_one_says_what_is_missing(log: Path, signed: Signed) -> None:
    # -I -S: no installed package is found.
    run = [sys.executable, "-I", "-S", str(SOURCE)]
    assert subprocess.run([*run, str(log)], capture_output=True, text=True).returncode == 0
    bare = subprocess.run([*run, str(signed.path)], capture_output=True, text=True)
    assert (bare.returncode, bare.stderr) == (3, "") and "pip install cryptography" in bare.stdout


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(JSON)
def test_its_own_encoder_agrees_with_the_library(value: object) -> None:
    stored = rfc8785.dumps(value)  # pyright: ignore[reportArgumentType]
    assert encode(value).encode() == stored and parse(stored) == value


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_make_it_fall_over(stored: bytes) -> None:
    with pytest.raises(module.Bad):
        walk([(1, hashlib.sha256(stored).hexdigest(), None, None, stored)])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["book", "pub", "checkpoint", "export", "digest"]), st.integers(0, 10**6), st.binary(min_size=1, max_size=40))
def test_no_file_that_it_is_given_makes_it_fall_over(files: dict[str, Path], name: str, place: int, stored: bytes) -> None:
    made = {one: path.with_name(f"changed-{path.name}") for one, path in files.items()}
    for one, path in files.items():
        whole = bytearray(path.read_bytes())
        if one == name:
            start = place % len(whole)
            whole[start:start + len(stored)] = stored
        made[one].write_bytes(whole)
    for target in ("book", "export"):
        status, said = verify(made[target], strict=True, pubkey=made["pub"], checkpoint=made["checkpoint"])
        assert status in (0, 1, 2, 3) and said


@pytest.fixture
def files(signed: Signed) -> dict[str, Path]:
    """A signed book, its key, a checkpoint, an export and its digest."""
    done = export(signed.book, signed.log, signed.path.parent, "jsonl", None, OWNER, datetime.now(UTC))
    signed.book.close()
    digest = done.path.with_name(f"changed-{done.path.name}.digest")
    shutil.copyfile(done.digest, digest)
    return {"book": signed.path, "pub": signed.pub, "checkpoint": signed.keys / "last.checkpoint", "export": done.path,
            "digest": done.digest}


def test_its_pace_is_not_the_pace_of_a_slow_parser(log: Path) -> None:
    chain = Rows()
    record, prev = json.loads(rows(log)[0][4]), "0" * 64
    for seq in range(1, 3001):
        stored = rfc8785.dumps({**record, "seq": seq, "prev": prev})
        prev = hashlib.sha256(stored).hexdigest()
        chain.append((seq, prev, "admin", None, stored))
    began = time.process_time()
    assert walk(chain).size == 3000
    assert 3000 / (time.process_time() - began) > 5_000  # a floor for a machine under load; `make bench` prints the figure


def test_a_signed_log_without_any_key_is_not_called_intact(signed: Signed, tmp_path: Path) -> None:
    signed.book.close()
    alone = tmp_path / "alone.sqlite"
    shutil.copyfile(signed.path, alone)
    assert verify(alone) == (3, f"cannot read {alone}: there is no public key to check signatures with: give one with --pubkey FILE")
    assert verify(alone, pubkey=signed.pub)[0] == 0


def test_it_says_which_key_it_trusted_and_whose_word_that_was(signed: Signed) -> None:
    signed.book.close()
    assert "key: " in verify(signed.path)[1] and "give your own copy" in verify(signed.path)[1]
    assert verify(signed.path, pubkey=signed.pub)[1].endswith(f"\nkey: {signed.pub}")
