"""The control socket: one request object a connection, JSON lines back, for the home's owner alone."""

import asyncio
import contextlib
import json
import os
import socket
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

from policies.tool import ToolFailed
from ui.desk import Desk

LINE_MAX = 1024 * 1024
REQUEST_WITHIN_S = 10.0
PATH_MAX = 100
"""A socket's path may be a little over 100 bytes long; a longer one is reached through its folder's descriptor."""


class ControlServer:
    """Serves a desk at `path`, mode 0600. Whoever holds the home's lock starts it, so an old socket file is stale."""

    def __init__(self, path: Path, desk: Desk) -> None:
        self.path, self.desk = path, desk
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen."""
        self.path.unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            with _short(self.path) as name:
                self._server = await asyncio.start_unix_server(self._accept, name, limit=LINE_MAX)
        finally:
            os.umask(before)

    async def close(self) -> None:
        """Stop listening, end what is being answered, remove the socket."""
        if self._server is None:
            return
        self._server.close()
        for task in tuple(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        self._server = None
        self.path.unlink(missing_ok=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            await self._serve(reader, writer)
        except (ConnectionError, asyncio.CancelledError, TimeoutError):
            pass  # the other side left, or the server stops: nobody is there to be told
        finally:
            self._open.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        uid = peer_uid(writer.get_extra_info("socket"))
        if uid != os.geteuid():
            await self.desk.shop.note_stranger(uid)
            return
        try:
            request = json.loads(await asyncio.wait_for(reader.readline(), REQUEST_WITHIN_S))
            if not isinstance(request, dict):
                raise ValueError("not an object")
        except ValueError as error:
            request = {"op": None, "error": str(error)}
        gone = asyncio.ensure_future(reader.read())
        work = asyncio.ensure_future(self._reply(request, writer))
        done, _ = await asyncio.wait({gone, work}, return_when=asyncio.FIRST_COMPLETED)
        try:
            if work in done:
                work.result()
        finally:
            for task in (gone, work):
                task.cancel()
            await asyncio.gather(gone, work, return_exceptions=True)

    async def _reply(self, request: Mapping[str, Any], writer: asyncio.StreamWriter) -> None:
        async with aclosing(self.desk.answer(request)) as lines:  # pyright: ignore[reportArgumentType]
            async for line in lines:
                writer.write(json.dumps(line, ensure_ascii=False, default=str).encode() + b"\n")
                await writer.drain()


def peer_uid(connection: Any) -> int:
    """The user id of the process at the other end of a Unix socket."""
    if hasattr(socket, "SO_PEERCRED"):
        raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        return struct.unpack("3i", raw)[1]
    raw = connection.getsockopt(0, 0x001, struct.calcsize("2i2h16i"))  # macOS: SOL_LOCAL, LOCAL_PEERCRED
    return struct.unpack("2i2h16i", raw)[1]


async def ask(path: Path, request: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """The lines that the server at `path` answers. Raises OSError when nobody listens, ToolFailed when it broke off."""
    with _short(path) as name:
        reader, writer = await asyncio.open_unix_connection(name, limit=64 * LINE_MAX)
    try:
        writer.write(json.dumps(request).encode() + b"\n")
        await writer.drain()
        ended = False
        while raw := await reader.readline():
            line = json.loads(raw)
            ended = "end" in line or "error" in line
            yield line
        if not ended:
            raise ToolFailed(
                "The answer broke off", "the server stopped in the middle of it.",
                "Start it again with `make run`; runs go on by themselves.",
            )
    finally:
        writer.close()


@contextlib.contextmanager
def _short(path: Path):
    """A name for the socket that fits into its address."""
    if len(os.fsencode(path)) <= PATH_MAX:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
