"""Witnesses: each gets the newest checkpoint once, a failure is kept and shown, no secret is, and the log goes on."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from policies.audit.verify import verify
from policies.audit.witnesses import Witnesses
from policies.tables import audit_witnessed
from tests.policies.audit.logs import Signed


class Outside(HTTPServer):
    """Storage and a channel at once: remembers what it was sent and answers as it was told."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.got: list[tuple[str, str, dict[str, str], bytes]] = []
        self.status = 201

    @property
    def address(self) -> str:
        """A URL with a signature in it."""
        return f"http://127.0.0.1:{self.server_port}/container?sv=1&sig=SECRETSIGNATURE0123456789"


class _Handler(BaseHTTPRequestHandler):
    def _take(self) -> None:
        assert isinstance(self.server, Outside)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.command, self.path, {name.lower(): text for name, text in self.headers.items()}, body))
        self.send_response(self.server.status)
        self.send_header("ETag", '"0x1"')
        self.send_header("Location", "http://127.0.0.1:1/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_PUT = do_POST = _take

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def outside() -> Iterator[Outside]:
    """A listening one."""
    server = Outside()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def kept(log: Signed) -> list[tuple[str, int, str, str]]:
    """What the book says about witnesses."""
    table = audit_witnessed.c
    question = select(table.witness, table.size, table.receipt, table.error).order_by(table.id)
    return [(row.witness, row.size, row.receipt, row.error) for row in log.book.read(lambda conn: conn.execute(question).all())]


def test_a_file_gets_every_checkpoint_once_and_then_finds_what_was_cut(signed: Signed, tmp_path: Path) -> None:
    wish = f"file:{tmp_path / 'w'}"
    witnesses = Witnesses([wish], lambda _: None)
    assert [one.error for one in witnesses.publish(signed.book, datetime.now(UTC))] == [""]
    assert witnesses.publish(signed.book, datetime.now(UTC)) == []
    signed.add(2)
    signed.seal()
    witnesses.publish(signed.book, datetime.now(UTC))
    assert [one[:2] for one in kept(signed)] == [(wish, 24), (wish, 26)] and (tmp_path / "w").read_bytes().count(b"luthier/") == 4
    assert verify(signed.path, checkpoint=tmp_path / "w")[0] == 0
    (tmp_path / "w").write_bytes((tmp_path / "w").read_bytes().replace(b"\n26\n", b"\n27\n"))
    assert verify(signed.path, checkpoint=tmp_path / "w")[0] == 2


def test_a_blob_is_created_under_the_logs_name_and_never_overwritten(signed: Signed, outside: Outside) -> None:
    witnesses = Witnesses(["blob:store"], {"store": outside.address}.get)
    assert witnesses.publish(signed.book, datetime.now(UTC))[0].receipt == 'ETag "0x1"'
    verb, path, headers, body = outside.got[0]
    assert verb == "PUT" and path == f"/container/{signed.log.origin}/000000000024.checkpoint?sv=1&sig=SECRETSIGNATURE0123456789"
    assert headers["x-ms-blob-type"] == "BlockBlob" and headers["if-none-match"] == "*"
    assert body == (signed.keys / "last.checkpoint").read_bytes()


def test_a_blob_that_is_there_already_is_no_failure(signed: Signed, outside: Outside) -> None:
    outside.status = 409
    assert Witnesses(["blob:store"], {"store": outside.address}.get).publish(signed.book, datetime.now(UTC))[0].error == ""


def test_a_channel_gets_the_checkpoint_as_words(signed: Signed, outside: Outside) -> None:
    outside.status = 200
    Witnesses(["webhook:ops"], {"ops": outside.address}.get).publish(signed.book, datetime.now(UTC))
    assert outside.got[0][0] == "POST" and b"Audit checkpoint over 24 records" in outside.got[0][3]


@pytest.mark.parametrize("status", [302, 403, 500])
@pytest.mark.parametrize("wish", ["blob:out", "webhook:out"])
def test_a_failure_is_one_row_however_often_it_comes_and_names_no_secret(signed: Signed, outside: Outside, wish: str, status: int) -> None:
    outside.status = status
    witnesses = Witnesses([wish], {"out": outside.address}.get)
    for _ in range(3):
        assert str(status) in witnesses.publish(signed.book, datetime.now(UTC))[0].error
    assert len(kept(signed)) == 1 and "SECRET" not in str(kept(signed)) and len(outside.got) == 3
    outside.status = 201
    assert witnesses.publish(signed.book, datetime.now(UTC))[0].error == "" and kept(signed)[-1][3] == ""


@pytest.mark.parametrize(("wish", "address"), [
    ("blob:x", None), ("webhook:x", ""), ("webhook:x", "http://example.com/x"), ("blob:x", "ftp://example.com"),
    ("webhook:x", "http://127.0.0.1:1/x"), ("webhook:x", "https://127.0.0.1:1/x"), ("blob:x", "https://["), ("file:/", None),
    ("file:/nowhere/at/all", None),
])
def test_a_witness_that_cannot_be_reached_stops_nothing(signed: Signed, wish: str, address: str | None) -> None:
    done = Witnesses([wish], lambda _: address).publish(signed.book, datetime.now(UTC))
    assert done[0].error and not done[0].receipt
    signed.add(1)


@pytest.mark.parametrize("wish", ["", "file:", "file:relative", "blob:", "carrier pigeon", "webhook:"])
def test_a_wish_that_is_no_witness_is_refused(wish: str) -> None:
    with pytest.raises(ValueError, match="is no witness"):
        Witnesses([wish], lambda _: None)


def test_without_witnesses_or_checkpoints_nothing_happens(signed: Signed) -> None:
    assert Witnesses([], lambda _: None).publish(signed.book, datetime.now(UTC)) == []
