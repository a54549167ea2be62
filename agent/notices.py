"""Notices: what happened outside a turn, written from the book, kept until the brain has heard it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AnyMessage, HumanMessage
from pydantic import JsonValue
from sqlalchemy import insert, select, update

from agent.door import News
from agent.events import Notice
from agent.handles import for_model
from policies.book import Book, now_text
from policies.tables import notices
from policies.verdict import Answer, ApprovalView

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
        row = {
            "thread": thread,
            "kind": kind,
            "text": text,
            "run_id": run_id,
            "approval_id": approval_id,
            "created_at": now_text(),
            "for_brain_json": json.dumps({"person": person, "facts": dict(facts)}),
        }

        def write(conn: Any) -> None:
            if approval_id is not None:
                same = select(notices.c.id).where(notices.c.approval_id == approval_id, notices.c.kind == kind)
                if conn.execute(same).first() is not None:
                    return
            conn.execute(insert(notices).values(row))

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


def add_run_end(book: NoticeBook, news: News) -> bool:
    """Keep the notice of a run's end; True when one was kept."""
    if news.thread is None or not news.final:
        return False
    facts = {"run_id": news.run_id, "state": news.to_state} | dict(news.for_brain)
    book.add(news.thread, "run", news.text, news.owner, facts, news.run_id)
    return True
