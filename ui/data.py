"""What the screen showed: Chainlit's data layer on our own tables, refreshed from the book whenever a thread is read."""

import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from chainlit.context import context
from chainlit.data.sql_alchemy import SQLAlchemyDataLayer
from chainlit.step import StepDict
from chainlit.types import PageInfo, PaginatedResponse, Pagination, ThreadDict, ThreadFilter
from chainlit.user import PersistedUser

from ui.storage import LocalStorage

Fresh = Callable[[str, Mapping[str, Any], str], dict[str, Any] | None]
"""Name of a card, its stored props, and whose thread it is in → the props as the book has them now, or None to keep the stored ones."""
Forget = Callable[[str, str], Awaitable[None]]
"""Called with the thread that a person deletes and that person, before its rows go."""

_PAGE = """
SELECT * FROM (
  SELECT t."id", t."createdAt", t."name", t."userId", t."userIdentifier",
         COALESCE((SELECT MAX(s."createdAt") FROM steps s WHERE s."threadId" = t."id"), t."createdAt") AS updated
  FROM threads t
  WHERE t."userId" = :user AND (:word IS NULL OR t."name" LIKE :word ESCAPE '!'
    OR EXISTS (SELECT 1 FROM steps w WHERE w."threadId" = t."id" AND w."output" LIKE :word ESCAPE '!'))
) page
WHERE :cursor IS NULL OR (updated, "id") < (
  SELECT COALESCE((SELECT MAX(s."createdAt") FROM steps s WHERE s."threadId" = c."id"), c."createdAt"), c."id"
  FROM threads c WHERE c."id" = :cursor AND c."userId" = :user)
ORDER BY updated DESC, "id" DESC LIMIT :count
"""


def prepare_screen(path: Path) -> None:
    """Make or upgrade the screen's database at `path`, readable by its owner only."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.touch(mode=0o600)
    engine = sa.create_engine(f"sqlite:///{path}")
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.commit()
    engine.dispose()


def decoded(value: Any) -> Any:
    """JSON columns come back from SQLite as text."""
    return json.loads(value) if isinstance(value, str) and value else value


class ScreenStore(SQLAlchemyDataLayer):
    """Chainlit's SQLAlchemy layer with decoded JSON columns, a paged side bar, fresh cards and a thorough delete."""

    def __init__(self, path: Path, storage: LocalStorage, fresh: Fresh, forget: Forget, scrub: Callable[[str], str]) -> None:
        super().__init__(conninfo=f"sqlite+aiosqlite:///{path}", storage_provider=storage)
        self._fresh, self._forget, self._scrub = fresh, forget, scrub

    async def create_step(self, step_dict: StepDict) -> None:
        """Keep a step. What a person typed is kept without the secrets in it: Chainlit stores a message before any of our code sees it."""
        if step_dict.get("type") in ("user_message", "run"):
            step_dict = step_dict.copy()
            for field in ("output", "input"):
                if text := step_dict.get(field):
                    step_dict[field] = self._scrub(text)
        await super().create_step(step_dict)

    async def update_thread(
        self, thread_id: str, name: str | None = None, user_id: str | None = None, metadata: dict[str, Any] | None = None,
        tags: Any = None,
    ) -> None:
        """Chainlit binds the tags as a list, which SQLite refuses, and the thread's row is lost (its issue 2528, Nov 2026)."""
        await super().update_thread(thread_id, self._scrub(name) if name else name, user_id, metadata, json.dumps(tags) if tags else None)  # pyright: ignore[reportArgumentType]

    async def _get_user_id_by_thread(self, thread_id: str) -> str | None:
        """The owner of a thread; of one whose row is still being written, whoever's session it is.

        Chainlit files the elements of a first message under `unknown` otherwise, where their owner cannot fetch them.
        """
        known = await super()._get_user_id_by_thread(thread_id)
        user = context.session.user
        return known or (user.id if isinstance(user, PersistedUser) else None)

    async def get_thread_author(self, thread_id: str) -> str:
        """The owner of a thread; empty for one that is not there, where Chainlit's own raises."""
        try:
            return await super().get_thread_author(thread_id)
        except ValueError:
            return ""

    async def get_all_user_threads(self, user_id: str | None = None, thread_id: str | None = None) -> list[ThreadDict] | None:
        """As Chainlit's, with JSON decoded and every card's props replaced by what the book says now."""
        threads = await super().get_all_user_threads(user_id, thread_id)
        for thread in threads or []:
            thread["metadata"] = decoded(thread["metadata"]) or {}
            thread["tags"] = decoded(thread["tags"])
            for step in thread["steps"]:
                step["metadata"] = decoded(step.get("metadata")) or {}
                step["generation"] = decoded(step.get("generation"))
            for element in thread["elements"] or []:
                props = decoded(element.get("props")) or {}
                element["props"] = self._fresh(element.get("name", ""), props, thread.get("userIdentifier") or "") or props
        return threads

    async def list_threads(self, pagination: Pagination, filters: ThreadFilter) -> PaginatedResponse:
        """One page of a person's threads, newest first, without reading their steps."""
        word = filters.search.strip() if filters.search else ""
        for odd in "!%_":
            word = word.replace(odd, f"!{odd}")
        rows = await self.execute_sql(_PAGE, {
            "user": filters.userId, "word": f"%{word}%" if word else None, "cursor": pagination.cursor, "count": pagination.first + 1,
        })
        found = rows if isinstance(rows, list) else []
        page = [
            ThreadDict(id=row["id"], createdAt=row["createdAt"], name=row["name"], userId=row["userId"],
                       userIdentifier=row["userIdentifier"], tags=None, metadata=None, steps=[], elements=[])
            for row in found[: pagination.first]
        ]
        ends = (page[0]["id"], page[-1]["id"]) if page else (None, None)
        return PaginatedResponse(
            pageInfo=PageInfo(hasNextPage=len(found) > pagination.first, startCursor=ends[0], endCursor=ends[1]), data=page,
        )

    async def delete_thread(self, thread_id: str) -> None:
        """Forget the conversation and withdraw what waits in it, then the screen. The audit keeps its records."""
        await self._forget(thread_id, await self.get_thread_author(thread_id))
        await super().delete_thread(thread_id)
