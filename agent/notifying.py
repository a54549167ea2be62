"""Tells a person outside Luthier that a run has ended: by desktop, e-mail or webhook, once for each end, to the addresses they keep."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, func, insert, select, update

from agent.secrets import SecretStore
from policies.book import Book, now_text
from policies.people import Caller
from policies.tables import notices, run_events, runs
from policies.tool import ToolFailed

log = logging.getLogger("luthier.agent")

SECRET = "NOTIFY"  # noqa: S105 - the name, not the value
"""The name under which the addresses are kept, one or several with spaces between them."""
OUTSIDE, MARK = "outside", "outside_mark"
"""Kinds of notices without a thread: a message that goes out, and the last change of a run that was looked at."""
ENDS = frozenset({"finished", "failed", "interrupted", "lost"})
STATES: Mapping[str, frozenset[str]] = {"off": frozenset(), "ends": ENDS, "all": ENDS | {"cancelled"}}
DEADLINE = "deadline"
"""What a run ended of that reached its own time limit: it is cancelled, and nobody stopped it."""
TRIES, TIMEOUT_S = 5, 30.0

Which = Literal["off", "ends", "all"]
Send = Callable[[str, str, str], bool]
"""Addresses, title and text: whether every address took it. It may block; it never writes an address anywhere."""
Note = Callable[[Literal["auth", "admin"], str, Caller, Mapping[str, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Letter:
    """One message that waits to go out."""

    id: int
    run_id: str
    title: str
    text: str
    tries: int


class Outbox:
    """The messages of one home, in its book: written in the same step in which an end counts as seen."""

    def __init__(self, book: Book) -> None:
        self._book = book

    def fill(self, wanted: frozenset[str]) -> None:
        """Write a message for every wanted end since the last look. The first look of a home only remembers where it stands."""

        def write(conn: Connection) -> None:
            newest = conn.execute(select(func.max(run_events.c.id))).scalar() or 0
            mark = conn.execute(select(notices.c.text).where(notices.c.kind == MARK)).scalar()
            if mark is None:
                conn.execute(insert(notices).values(thread="", kind=MARK, text=str(newest), created_at=now_text(), delivered_at=now_text()))
                return
            if newest <= int(mark):
                return
            ended = run_events.c.to_state.in_(sorted(STATES["all"]))
            query = select(run_events.c.run_id, run_events.c.to_state, runs.c.name, runs.c.outcome_json).join(
                runs, runs.c.id == run_events.c.run_id).where(run_events.c.id > int(mark), ended).order_by(run_events.c.id)
            for row in conn.execute(query).all():
                outcome = json.loads(row.outcome_json or "{}")
                if not (row.to_state in wanted or (wanted and outcome.get("kind") == DEADLINE)):
                    continue
                title, text = words(row.run_id, row.name, row.to_state, outcome)
                conn.execute(insert(notices).values(thread="", kind=OUTSIDE, text=text, run_id=row.run_id, created_at=now_text(),
                                                    for_brain_json=json.dumps({"title": title, "tries": 0})))
            conn.execute(update(notices).where(notices.c.kind == MARK).values(text=str(newest)))

        if self._news():
            self._book.write(write)

    def _news(self) -> bool:
        """Whether a look would write anything: a home at rest costs one read."""
        newest, mark = self._book.read(lambda conn: (
            conn.execute(select(func.max(run_events.c.id))).scalar() or 0,
            conn.execute(select(notices.c.text).where(notices.c.kind == MARK)).scalar()))
        return mark is None or newest > int(mark)

    def waiting(self) -> list[Letter]:
        """The messages that have not gone out, oldest first."""
        query = select(notices).where(notices.c.kind == OUTSIDE, notices.c.delivered_at.is_(None)).order_by(notices.c.id)
        found = []
        for row in self._book.read(lambda conn: conn.execute(query).all()):
            kept = json.loads(row.for_brain_json or "{}")
            found.append(Letter(row.id, row.run_id or "", str(kept.get("title", "")), row.text, int(kept.get("tries", 0))))
        return found

    def done(self, letter: Letter, sent: bool) -> None:
        """Tick a message off, or count a failed try; after the last one it is given up and stays as failed."""
        tries = letter.tries + 1
        kept = json.dumps({"title": letter.title, "tries": tries, "sent": sent})
        over = now_text() if sent or tries >= TRIES else None
        self._book.write(lambda conn: conn.execute(
            update(notices).where(notices.c.id == letter.id).values(for_brain_json=kept, delivered_at=over)))

    def failing(self) -> str:
        """The run whose end could not be told last; empty when the newest message went out, or there is none."""
        query = select(notices).where(notices.c.kind == OUTSIDE).order_by(notices.c.id.desc()).limit(1)
        row = self._book.read(lambda conn: conn.execute(query).first())
        kept = json.loads(row.for_brain_json or "{}") if row is not None else {}
        return str(row.run_id) if row is not None and kept.get("tries", 0) and not kept.get("sent") else ""


class Notifier:
    """Sends what the outbox holds, in a loop of its own. Addresses are read anew each time and never kept, shown or logged."""

    def __init__(self, book: Book, secrets: SecretStore, which: Which, note: Note, send: Send | None = None, timeout_s: float = TIMEOUT_S
                 ) -> None:
        self._outbox, self._secrets, self._which, self._note, self._timeout_s = Outbox(book), secrets, which, note, timeout_s
        self._send = send or send_by_apprise

    async def round(self) -> None:
        """Look for new ends and try every message that waits, once. Without addresses ends pass by untold."""
        addresses = await asyncio.to_thread(self._secrets.get, SECRET) if self._which != "off" else None
        await asyncio.to_thread(self._outbox.fill, STATES[self._which] if addresses else frozenset[str]())
        if not addresses:
            return
        for letter in await asyncio.to_thread(self._outbox.waiting):
            sent = await self._try(addresses, letter.title, letter.text)
            await asyncio.to_thread(self._outbox.done, letter, sent)
            tries = letter.tries + 1
            await self._note("admin", "notified", Caller("system", "system"), {"run_id": letter.run_id, "sent": sent, "try": tries})
            if not sent:
                log.warning("the end of run %s could not be told outside (try %d of %d)", letter.run_id, tries, TRIES)

    async def test(self, caller: Caller) -> str:
        """Send one message at once, for a person who sets this up; what became of it. Raises ToolFailed with what to do."""
        addresses = await asyncio.to_thread(self._secrets.get, SECRET)
        if not addresses:
            raise ToolFailed("Send a test message", f"There is no secret {SECRET}, so no address is kept.",
                             f"Keep one with `python -m ui secret set {SECRET}`; docs/runs.md says how it looks.", kind="no_address")
        sent = await self._try(addresses, "Luthier: a test", "This is how Luthier will tell you that a run has ended.")
        await self._note("admin", "notified", caller, {"test": True, "sent": sent})
        if not sent:
            raise ToolFailed("Send a test message", "At least one of the addresses did not take it.",
                             f"Check the addresses and set them anew with `python -m ui secret set {SECRET}`.", kind="not_sent")
        return "The message has been sent to every address."

    async def _try(self, addresses: str, title: str, text: str) -> bool:
        try:
            return await asyncio.wait_for(asyncio.to_thread(self._send, addresses, title, text), self._timeout_s)
        except Exception as error:  # a service's own class of error; its text may hold the address
            log.warning("a message could not be sent: %s", type(error).__name__)
            return False


def words(run_id: str, name: str, state: str, outcome: Mapping[str, Any]) -> tuple[str, str]:
    """Title and text of one end: id, name, state, scores. Nothing of a log, of data or of an error's text."""
    called = f"Run {run_id}" + (f" ({name})" if name else "")
    said = {"finished": "has finished", "failed": "has failed", "cancelled": "was stopped", "interrupted": "was interrupted"}.get(
        state, f"is {state}")
    if state == "cancelled" and outcome.get("kind") == DEADLINE:
        said = "has reached its time limit; its last checkpoint is kept"
    result = outcome.get("result")
    names = (("baseline", "before"), ("tuned", "after"), ("exported", "served file"))
    scores = [f"{label} {_share(result, which)}" for which, label in names if _share(result, which)]
    text = f"{called} {said}." + (f" Held-out exact match: {', '.join(scores)}." if scores else "")
    return f"Luthier: {called} {said}", text


def problems(book: Book, secrets: SecretStore, which: str) -> list[dict[str, str]]:
    """What `doctor` says of it: the last message that could not be sent."""
    if which == "off" or SECRET not in secrets.list() or not (run := Outbox(book).failing()):
        return []
    return [{"what": f"The end of run {run} could not be told outside: an address did not take the message.",
             "remedy": "Try `python -m ui notify test`; set the addresses anew with `python -m ui secret set NOTIFY`."}]


def send_by_apprise(addresses: str, title: str, text: str) -> bool:
    """Hand the message to every address; True when all took it. The logs of what carries it name addresses, and are closed here."""
    import apprise

    for name in ("apprise", "urllib3.connectionpool"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    post = apprise.Apprise(asset=apprise.AppriseAsset(app_id="Luthier", app_desc="Luthier", app_url="", secure_logging=True))
    if not all(post.add(each) for each in addresses.split()):
        return False
    return bool(post.notify(body=text, title=title))


def _share(result: Any, which: str) -> str:
    score = result.get(which) if isinstance(result, Mapping) else None
    value = score.get("exact_match") if isinstance(score, Mapping) else None
    return f"{value:.0%}" if isinstance(value, int | float) and not isinstance(value, bool) else ""
