"""What the screen keeps: Chainlit's data layer over our own tables."""

import asyncio
import logging
import sqlite3
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from chainlit.context import init_http_context
from chainlit.element import CustomElement, ElementDict
from chainlit.step import StepDict
from chainlit.types import Pagination, ThreadFilter
from chainlit.user import User

from ui.data import ScreenStore, prepare_screen
from ui.storage import LocalStorage


def test_the_tables_have_exactly_the_columns_that_chainlit_writes(tmp_path: Path):
    prepare_screen(tmp_path / "screen.sqlite")
    with sqlite3.connect(tmp_path / "screen.sqlite") as book:
        columns = {
            table: {row[1] for row in book.execute(f"PRAGMA table_info({table})")}
            for table in ("users", "threads", "steps", "elements", "feedbacks")
        }
    assert columns["steps"] == set(StepDict.__annotations__) - {"feedback"} and len(columns["steps"]) == 23
    assert columns["elements"] == set(ElementDict.__annotations__) - {"path"} and len(columns["elements"]) == 16
    assert columns["threads"] == {"id", "createdAt", "name", "userId", "userIdentifier", "tags", "metadata"}
    assert columns["users"] == {"id", "identifier", "createdAt", "metadata"}
    assert columns["feedbacks"] == {"id", "forId", "threadId", "value", "comment"}


def test_preparing_twice_changes_nothing_and_the_file_is_the_owners(tmp_path: Path):
    for _ in range(2):
        prepare_screen(tmp_path / "screen.sqlite")
    assert stat.S_IMODE((tmp_path / "screen.sqlite").stat().st_mode) == 0o600


class Kept:
    """A store with one user, and what it asked to forget."""

    def __init__(self, path: Path) -> None:
        self.forgotten: list[tuple[str, str]] = []
        self.asked_for: list[str] = []
        self.storage = LocalStorage(path / "elements")
        self.store = ScreenStore(
            path / "screen.sqlite", self.storage, fresh=self.fresh, forget=self.forget,
            scrub=lambda text: "(not kept)" if "sk-secret" in text else text,
        )
        self.user = ""

    def fresh(self, name: str, props: Any, person: str) -> dict[str, Any] | None:
        self.asked_for.append(person)
        return {**props, "status": "consumed"} if name == "Approval" else None

    async def forget(self, thread: str, person: str) -> None:
        self.forgotten.append((thread, person))

    async def say(self, thread: str, text: str, at: str = "2026-11-24T10:00:00Z", kind: Any = "user_message") -> str:
        await self.store.update_thread(thread, name=text, user_id=self.user)
        identity = f"{thread}-{at}-{kind}"
        await self.store.create_step(StepDict(
            id=identity, threadId=thread, type=kind, name="owner", output=text, createdAt=at, metadata={"a": {"b": 1}}, generation={},
            tags=None, defaultOpen=False, autoCollapse=True, icon="x", showInput="json",
        ))
        return identity


@pytest.fixture
async def kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Kept]:
    prepare_screen(tmp_path / "screen.sqlite")
    kept = Kept(tmp_path)
    with caplog.at_level(logging.WARNING, logger="chainlit"):
        user = await kept.store.create_user(User(identifier="owner"))
        assert user is not None
        kept.user = user.id
        init_http_context(user=user)
        await asyncio.sleep(0)
        yield kept
    await kept.store.close()
    assert "An error occurred" not in caplog.text  # Chainlit swallows every database error into a warning


async def test_a_step_comes_back_with_its_json_decoded(kept: Kept):
    await kept.say("t1", "hello")
    thread = await kept.store.get_thread("t1")
    assert thread is not None and thread["userIdentifier"] == "owner"
    (step,) = thread["steps"]
    assert step.get("output") == "hello" and step.get("metadata") == {"a": {"b": 1}}


async def test_a_card_comes_back_with_what_the_book_says_now(kept: Kept):
    message = await kept.say("t1", "hello")
    for name in ("Approval", "Answers"):
        await kept.store.create_element(CustomElement(
            name=name, id=f"e-{name}", props={"id": "3f2a91c0", "status": "pending"}, thread_id="t1", for_id=message,
        ))
    thread = await kept.store.get_thread("t1")
    assert thread is not None
    props = {each.get("name"): each.get("props") for each in thread["elements"] or []}
    assert kept.asked_for == ["owner", "owner"], "a card is refreshed as whoever the thread belongs to sees it"
    assert props == {"Approval": {"id": "3f2a91c0", "status": "consumed"}, "Answers": {"id": "3f2a91c0", "status": "pending"}}
    files = [path for path in kept.storage.root.rglob("*") if path.is_file()]
    assert {path.relative_to(kept.storage.root).parts[0] for path in files} == {kept.user}


async def test_tags_do_not_lose_the_thread(kept: Kept):
    await kept.store.update_thread("t1", name="tagged", user_id=kept.user, tags=["a", "b"])
    thread = await kept.store.get_thread("t1")
    assert thread is not None and thread["tags"] == ["a", "b"]


async def test_a_persons_words_with_a_secret_are_kept_nowhere(kept: Kept, tmp_path: Path):
    await kept.say("t1", "my key is sk-secret")
    await kept.say("t1", "my key is sk-secret", kind="run")
    assert b"sk-secret" not in (tmp_path / "screen.sqlite").read_bytes() + (tmp_path / "screen.sqlite-wal").read_bytes()


async def test_the_side_bar_is_paged_newest_first_without_reading_steps(kept: Kept):
    for number in range(5):
        await kept.say(f"t{number}", f"thread {number}", at=f"2026-11-24T10:00:0{number}Z")
    await kept.say("t0", "again", at="2026-11-24T11:00:00Z")
    seen: list[str] = []
    cursor, more = None, True
    for _ in range(3):
        page = await kept.store.list_threads(Pagination(first=2, cursor=cursor), ThreadFilter(userId=kept.user))
        seen += [thread["id"] for thread in page.data]
        assert all(thread["steps"] == [] for thread in page.data)
        cursor, more = page.pageInfo.endCursor, page.pageInfo.hasNextPage
    assert seen == ["t0", "t4", "t3", "t2", "t1"] and not more


async def test_the_side_bar_is_searched_by_name_and_words_and_wildcards_are_words(kept: Kept):
    await kept.say("t1", "50% more")
    await kept.say("t2", "nothing")
    for word, found in (("50%", ["t1"]), ("%", ["t1"]), ("NOTH", ["t2"]), ("_", []), ("absent", [])):
        page = await kept.store.list_threads(Pagination(first=9), ThreadFilter(userId=kept.user, search=word))
        assert [thread["id"] for thread in page.data] == found, word


async def test_another_persons_threads_are_not_listed(kept: Kept):
    await kept.say("t1", "mine")
    page = await kept.store.list_threads(Pagination(first=9), ThreadFilter(userId="somebody-else"))
    assert page.data == []


async def test_deleting_a_thread_forgets_its_conversation_and_its_files(kept: Kept):
    message = await kept.say("t1", "hello")
    await kept.store.create_element(CustomElement(name="Approval", id="e1", props={"id": "x"}, thread_id="t1", for_id=message))
    await kept.store.delete_thread("t1")
    assert kept.forgotten == [("t1", "owner")] and await kept.store.get_thread("t1") is None
    assert not [path for path in kept.storage.root.rglob("*") if path.is_file()]
