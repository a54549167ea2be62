"""Notices: what happened outside a turn, written from the book, kept until the brain has heard it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AnyMessage, HumanMessage
from pydantic import JsonValue
from sqlalchemy import Connection, insert, select, update

from agent.door import News
from agent.events import Notice
from agent.handles import for_model
from policies.book import Book, now_text
from policies.tables import notices
from policies.verdict import Answer, ApprovalView

RUN_MARK = "run_mark"
"""Kind of the one notice without a thread that says up to which change of a run the ends have been told."""
MARK = "luthier_notice"
"""Name of a notice's message and key of its data: only our code sets it, a person's words never carry it."""


@dataclass(frozen=True, slots=True)
class Told:
    """One notice of the book."""

    id: int
    thread: str
    kind: str
    text: str
    person: str
    facts: Mapping[str, JsonValue]
    run_id: str | None = None

    def event(self) -> Notice:
        """The event that faces show."""
        return Notice(self.thread, self.kind, self.text, self.run_id)

    def message(self) -> HumanMessage:
        """The message that the brain reads; its id is the notice's, so that a repeat replaces and never doubles."""
        body = json.dumps({"kind": self.kind, **self.facts}, ensure_ascii=False)
        return HumanMessage(
            f"[Notice from Luthier, not from the person] {body}",
            name=MARK,
            id=f"notice-{self.id}",
            additional_kwargs={MARK: {"kind": self.kind, "facts": dict(self.facts)}},
        )


def notice_of(message: AnyMessage) -> Mapping[str, Any] | None:
    """The data of a notice's message; None for a person's own words, whatever they pretend."""
    return message.additional_kwargs.get(MARK) if isinstance(message, HumanMessage) else None


@dataclass(frozen=True, slots=True)
class Kept:
    """One notice before it is in the book."""

    thread: str
    kind: str
    text: str
    person: str
    facts: Mapping[str, JsonValue]
    run_id: str | None = None
    approval_id: str | None = None
    """What it is about, where a second notice about the same thing would be the same notice."""


class NoticeBook:
    """Writes, lists and ticks off notices."""

    def __init__(self, book: Book) -> None:
        self._book = book

    def add(
        self,
        thread: str,
        kind: str,
        text: str,
        person: str,
        facts: Mapping[str, JsonValue],
        run_id: str | None = None,
        approval_id: str | None = None,
    ) -> None:
        """Keep one notice; a second of the same kind about the same approval, or the same sweep, is the same notice."""
        self._book.write(lambda conn: _keep(conn, Kept(thread, kind, text, person, facts, run_id, approval_id)))

    def run_mark(self) -> int | None:
        """The last change of a run that was looked at; None in a home that has never looked."""
        mark = self._book.read(lambda conn: conn.execute(select(notices.c.text).where(notices.c.kind == RUN_MARK)).scalar())
        return None if mark is None else int(mark)

    def add_ends(self, kept: Sequence["Kept"], mark: int) -> None:
        """Keep the notices of ends, and up to where the changes of runs have been looked at, in one step: none is lost or told twice."""

        def write(conn: Connection) -> None:
            for each in kept:
                _keep(conn, each)
            if conn.execute(update(notices).where(notices.c.kind == RUN_MARK).values(text=str(mark))).rowcount == 0:
                at = now_text()
                conn.execute(insert(notices).values(thread="", kind=RUN_MARK, text=str(mark), created_at=at, delivered_at=at))

        self._book.write(write)

    def waiting(self) -> list[Told]:
        """All notices that no brain has heard yet, oldest first."""
        rows = self._book.read(
            lambda conn: conn.execute(
                select(notices).where(notices.c.delivered_at.is_(None), notices.c.thread != "").order_by(notices.c.id)
            ).all()
        )
        told = []
        for row in rows:
            kept = json.loads(row.for_brain_json or "{}")
            told.append(Told(row.id, row.thread, row.kind, row.text, str(kept.get("person", "")), kept.get("facts", {}), row.run_id))
        return told

    def delivered(self, ids: list[int]) -> None:
        """Tick off what the brain has heard."""
        self._book.write(lambda conn: conn.execute(update(notices).where(notices.c.id.in_(ids)).values(delivered_at=now_text())))


def add_outcome(book: NoticeBook, approval: ApprovalView, answer: Answer | None) -> bool:
    """Keep the notice of a decided approval, when there is something to say in its thread; True when one was kept."""
    if approval.thread is None:
        return False
    who = ", ".join(approval.decided_by) or "a person"
    facts: dict[str, Any] = {"approval_id": approval.id, "tool": approval.tool}
    if answer is not None and answer.status != "waiting":
        done = answer.status == "done"
        text = f"{who} approved {approval.tool} ({approval.id}): " + (
            "done." if done else f"it did not work. {answer.reason} {answer.remedy}".strip()
        )
        run = answer.result.get("run_id")
        book.add(
            approval.thread,
            "outcome",
            text,
            approval.requester,
            facts | {"approved": True} | for_model(answer),
            str(run) if run else None,
            approval.id,
        )
        return True
    match approval.status:
        case "denied":
            text = f"{who} denied {approval.tool} ({approval.id}). Nothing was done."
        case "expired":
            text = f"The approval {approval.id} of {approval.tool} expired. Nothing was done."
        case "revoked":
            text = f"The approval {approval.id} of {approval.tool} is void, because the rules changed. Nothing was done."
        case _:
            return False
    book.add(approval.thread, approval.status, text, approval.requester, facts | {"status": approval.status}, None, approval.id)
    return True


def end_of_run(news: News) -> Kept | None:
    """The notice of a run's end; None where nothing is to be told, or no thread is there to be told."""
    if news.thread is None or not news.final:
        return None
    facts = {"run_id": news.run_id, "state": news.to_state} | dict(news.for_brain)
    return Kept(news.thread, "run", news.text, news.owner, facts, news.run_id)


def _keep(conn: Connection, kept: Kept) -> None:
    if kept.approval_id is not None:
        same = select(notices.c.id).where(notices.c.approval_id == kept.approval_id, notices.c.kind == kept.kind)
        if conn.execute(same).first() is not None:
            return
    told = json.dumps({"person": kept.person, "facts": dict(kept.facts)})
    conn.execute(insert(notices).values(thread=kept.thread, kind=kept.kind, text=kept.text, run_id=kept.run_id,
                                        approval_id=kept.approval_id, created_at=now_text(), for_brain_json=told))
