"""Messages outside: once for each end, to a real webhook on this machine, never with an address in a log or a record."""

import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from sqlalchemy import select

from agent import notifying
from agent.notices import NoticeBook
from agent.notifying import SECRET, TRIES, Notifier, Outbox, send_by_apprise, words
from agent.secrets import SecretStore
from policies.book import now_text
from policies.people import Caller
from policies.tables import audit, notices, run_events, runs
from policies.tool import ToolFailed
from tests.agent.home import CANARY, ME, Home

TOKEN = "webhook-token-0123456789"


class Webhook:
    """A receiver on this machine; `status` is what it answers."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.status = 200
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.got.append(json.loads(body))
                self.send_response(outer.status)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None: ...

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    @property
    def address(self) -> str:
        return f"json://127.0.0.1:{self.server.server_port}/{TOKEN}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    webhook = Webhook()
    yield webhook
    webhook.close()


def ends(home: Home, run_id: str, state: str, name: str = "", outcome: dict[str, Any] | None = None) -> None:
    """A run of the book that has come to a state."""
    def write(conn: Any) -> None:
        if conn.execute(select(runs.c.id).where(runs.c.id == run_id)).first() is None:
            conn.execute(runs.insert().values(id=run_id, owner="owner", call_id=run_id, name=name, state=state, created_at=now_text(),
                                              outcome_json=json.dumps(outcome or {})))
        conn.execute(run_events.insert().values(run_id=run_id, at=now_text(), from_state="running", to_state=state, reason=CANARY))
    home.book.write(write)


def notifier(home: Home, which: Any = "ends", send: Any = None, address: str = "") -> Notifier:
    door = home.door()
    if address:
        door.secrets.set(SECRET, address)
    return Notifier(home.book, door.secrets, which, door.gateway.note, send)


def record(home: Home) -> str:
    return "".join(row.record.decode() for row in home.book.read(lambda conn: conn.execute(select(audit.c.record)).all()))


async def test_an_end_reaches_a_real_webhook_once_and_leaves_a_record_without_the_address(
    home: Home, webhook: Webhook, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    teller = notifier(home, address=webhook.address)
    await teller.round()
    ends(home, "0123456789", "finished", "helper", {"result": {"baseline": {"exact_match": 0.1}, "tuned": {"exact_match": 0.8}}})
    await teller.round()
    await notifier(home).round()  # as after a restart
    assert [each["title"] for each in webhook.got] == ["Luthier: Run 0123456789 (helper) has finished"]
    assert "before 10%, after 80%" in webhook.got[0]["message"] and CANARY not in str(webhook.got)
    kept = record(home) + "".join(str(tuple(row)) for row in home.book.read(lambda conn: conn.execute(select(notices)).all()))
    assert '"event":"notified"' in kept and "has finished" in kept
    assert TOKEN not in kept + caplog.text


async def test_a_failed_message_is_tried_again_then_given_up_and_told_in_doctor_without_the_address(
    home: Home, webhook: Webhook, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    webhook.status = 500
    teller = notifier(home, address=webhook.address)
    await teller.round()
    ends(home, "0123456789", "failed")
    for _ in range(TRIES + 2):
        await teller.round()
    assert len(webhook.got) == TRIES
    told = notifying.problems(home.book, home.door().secrets, "ends")
    assert len(told) == 1 and "0123456789" in told[0]["what"] and TOKEN not in str(told) + caplog.text + record(home)
    webhook.status = 200
    ends(home, "0123456789", "finished")
    await teller.round()
    assert len(webhook.got) == TRIES + 1 and not notifying.problems(home.book, home.door().secrets, "ends")


@pytest.mark.parametrize(
    ("which", "state", "told"),
    [("ends", "finished", True), ("ends", "failed", True), ("ends", "interrupted", True), ("ends", "lost", True),
     ("ends", "cancelled", False), ("all", "cancelled", True), ("all", "running", False), ("off", "finished", False)],
)
async def test_the_setting_says_which_ends_are_told(home: Home, which: str, state: str, told: bool) -> None:
    sent: list[str] = []
    teller = notifier(home, which, lambda address, title, text: not sent.append(title), "json://localhost/x")
    await teller.round()
    ends(home, "0123456789", state)
    await teller.round()
    assert len(sent) == told


async def test_a_run_that_reached_its_own_time_limit_is_told_though_nobody_asks_for_stops(home: Home) -> None:
    sent: list[str] = []
    teller = notifier(home, send=lambda address, title, text: not sent.append(title), address="json://localhost/x")
    await teller.round()
    ends(home, "0123456789", "cancelled", outcome={"kind": "deadline"})
    ends(home, "0123456788", "cancelled", outcome={"kind": "person"})
    await teller.round()
    assert sent == ["Luthier: Run 0123456789 has reached its time limit; its last checkpoint is kept"]


async def test_what_ended_before_an_address_was_kept_is_not_told_later(home: Home) -> None:
    sent: list[str] = []
    teller = notifier(home, send=lambda address, title, text: not sent.append(title))
    ends(home, "0123456789", "finished")
    await teller.round()
    ends(home, "0123456789", "failed")
    await teller.round()
    home.door().secrets.set(SECRET, "json://localhost/x")
    await teller.round()
    assert not sent
    ends(home, "0123456789", "lost")
    await teller.round()
    assert sent == ["Luthier: Run 0123456789 is lost"]


async def test_an_end_between_two_starts_is_not_lost(home: Home) -> None:
    await notifier(home, address="json://localhost/x").round()
    ends(home, "0123456789", "finished")
    Outbox(home.book).fill(notifying.ENDS)  # written, and then the process died
    sent: list[str] = []
    await notifier(home, send=lambda address, title, text: not sent.append(title)).round()
    assert len(sent) == 1


async def test_a_message_outside_is_no_notice_of_a_thread(home: Home) -> None:
    Outbox(home.book).fill(notifying.ENDS)
    ends(home, "0123456789", "finished")
    Outbox(home.book).fill(notifying.ENDS)
    assert Outbox(home.book).waiting() and not NoticeBook(home.book).waiting()


async def test_a_test_message_needs_an_address_and_says_when_one_refused(home: Home, webhook: Webhook) -> None:
    with pytest.raises(ToolFailed, match="no address is kept") as none:
        await notifier(home).test(ME)
    assert "secret set NOTIFY" in none.value.try_next
    teller = notifier(home, address=webhook.address)
    assert "sent" in await teller.test(ME) and len(webhook.got) == 1
    webhook.status = 403
    with pytest.raises(ToolFailed, match="did not take it") as refused:
        await teller.test(Caller("owner", "cli"))
    assert TOKEN not in str(refused.value)


@pytest.mark.parametrize("address", ["nonsense", "unknown://host/path", "json://"])
def test_an_address_that_is_none_is_a_failed_message(address: str) -> None:
    assert send_by_apprise(address, "title", "text") is False


async def test_a_service_that_raises_is_a_failed_message_and_its_words_are_not_logged(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    def raises(address: str, title: str, text: str) -> bool:
        raise RuntimeError(address)

    teller = notifier(home, send=raises, address=f"json://localhost/{TOKEN}")
    await teller.round()
    ends(home, "0123456789", "finished")
    await teller.round()
    assert "RuntimeError" in caplog.text and TOKEN not in caplog.text


def test_only_numbers_of_the_outcome_become_words() -> None:
    title, text = words("0123456789", "", "failed", {"kind": CANARY, "result": {"tuned": {"exact_match": CANARY}, "baseline": CANARY}})
    assert (title, text) == ("Luthier: Run 0123456789 has failed", "Run 0123456789 has failed.")


def test_the_addresses_are_kept_as_a_secret_like_any_other(home: Home) -> None:
    store = SecretStore(home.path / "secrets", use_keyring=False)
    store.set(SECRET, "json://localhost/a mailto://user:pw@example.org")
    assert store.list() == (SECRET,)
