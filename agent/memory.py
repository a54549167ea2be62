"""The conversation's store: LangGraph checkpoints in a SQLite file of their own, kept short."""

import os
from pathlib import Path

import aiosqlite
from langgraph.checkpoint.serde import _msgpack
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from policies.tool import ToolFailed

_PRUNE = (
    "DELETE FROM writes WHERE thread_id = :thread AND checkpoint_id < (SELECT max(own.checkpoint_id) FROM checkpoints AS own "
    "WHERE own.thread_id = :thread AND own.checkpoint_ns = writes.checkpoint_ns)",
    "DELETE FROM checkpoints WHERE thread_id = :thread AND checkpoint_id < (SELECT max(own.checkpoint_id) FROM checkpoints AS own "
    "WHERE own.thread_id = :thread AND own.checkpoint_ns = checkpoints.checkpoint_ns)",
)


def require_strict() -> None:
    """Refuse to go on unless checkpoints are read strictly. Raises ToolFailed.

    Without it a checkpoint can name any importable callable and have it called on load. LangGraph reads the variable
    when it is first imported, so it must be set before, and setting it late does not count.
    """
    if not _msgpack.STRICT_MSGPACK_ENABLED:
        raise ToolFailed(
            "The conversation's store is not opened",
            "LANGGRAPH_STRICT_MSGPACK was not `true` when LangGraph was first imported.",
            "Start with `python -m ui`, which sets it, or set it yourself before Python starts.",
            kind="unsafe",
        )


async def open_memory(path: Path) -> AsyncSqliteSaver:
    """Open `memory.sqlite` (0600), made on first use."""
    require_strict()
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    saver = AsyncSqliteSaver(await aiosqlite.connect(path))
    await saver.setup()
    return saver


async def prune(saver: AsyncSqliteSaver, thread: str) -> None:
    """Keep only the newest checkpoint of a settled thread; a turn writes about eight.

    The saver itself cannot prune (langgraph-checkpoint-sqlite 3.1, November 2026), so the rows are deleted here.
    """
    async with saver.lock:
        for delete in _PRUNE:
            await saver.conn.execute(delete, {"thread": thread})
        await saver.conn.commit()
