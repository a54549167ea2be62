"""The control socket: a real one, over the small workshop."""

import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.ui.fakes_workshop import FakeWorkshop
from ui.control import ControlServer, ask, peer_uid
from ui.desk import Desk


@pytest.fixture
async def path(tmp_path: Path) -> AsyncIterator[Path]:
    """A listening socket with a name too long for a socket's address."""
    home = tmp_path / ("long" * 30)
    home.mkdir()
    (home / "control.sock").touch()  # left behind by a server that was killed
    server = ControlServer(home / "control.sock", Desk(FakeWorkshop(home), url="http://here"))
    await server.start()
    yield home / "control.sock"
    await server.close()


async def lines(path: Path, request: dict[str, Any]) -> list[dict[str, Any]]:
    return [line async for line in ask(path, request)]


async def test_only_the_owner_can_open_it(path: Path):
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    one, two = socket.socketpair()
    with one, two:
        assert peer_uid(one) == os.geteuid()


async def test_a_ping_says_who_serves(path: Path):
    assert await lines(path, {"op": "ping"}) == [{"end": {"ok": True, "pid": os.getpid(), "url": "http://here"}}]


async def test_a_call_reports_and_ends_with_the_object_of_call_json(path: Path):
    told, end = await lines(path, {"op": "call", "tool": "inspect_hardware", "args": {}})
    assert told == {"progress": {"text": "working", "fraction": 0.5}}
    assert end["end"]["status"] == "done" and set(end["end"]) == {"status", "tool", "call_id", "result", "approval", "reason", "remedy"}


async def test_a_turn_comes_event_by_event_and_its_approval_is_decided_once(path: Path):
    turn = await lines(path, {"op": "say", "text": "tune it", "thread": "t1"})
    kinds = [line.get("event") for line in turn]
    assert kinds[0] == "ToolStarted" and "ApprovalWanted" in kinds and kinds[-2] == "TurnEnded"
    waiting = (await lines(path, {"op": "pending"}))[-1]["end"]
    assert [view["thread"] for view in waiting] == ["t1"]
    decide = {"op": "decide", "id": waiting[0]["id"], "answer": "approve"}
    first, second = (await lines(path, decide))[-1]["end"], (await lines(path, decide))[-1]["end"]
    assert first["ok"] and first["answer"]["result"]["run_id"] and not second["ok"]


async def test_mcp_asks_and_never_decides(path: Path):
    await lines(path, {"op": "say", "text": "tune it", "thread": "t1"})
    waiting = (await lines(path, {"op": "pending", "via": "mcp"}))[-1]["end"]
    for op in ("decide", "withdraw"):
        refused = (await lines(path, {"op": op, "id": waiting[0]["id"], "answer": "approve", "via": "mcp"}))[-1]
        assert "never decides" in refused["error"]["because"]
    assert (await lines(path, {"op": "approval", "id": waiting[0]["id"]}))[-1]["end"]["status"] == "pending"


@pytest.mark.parametrize("request_", [{}, {"op": "fly"}, {"op": "call"}, {"op": "watch", "run_id": "x", "offset": "y"}], ids=str)
async def test_a_malformed_request_gets_an_error_line(path: Path, request_: dict[str, Any]):
    (line,) = await lines(path, request_)
    assert line["error"]["try_next"]


async def test_half_a_request_is_answered_too_and_the_next_is_served(path: Path):
    folder = os.open(path.parent, os.O_RDONLY)
    reader, writer = await asyncio.open_unix_connection(f"/proc/self/fd/{folder}/control.sock")
    os.close(folder)
    writer.write(b'{"op": \n')
    assert b"error" in await reader.readline()
    writer.close()
    assert (await lines(path, {"op": "ping"}))[0]["end"]["ok"]


async def test_watching_ends_with_the_run(path: Path):
    await lines(path, {"op": "say", "text": "tune it", "thread": "t1"})
    waiting = (await lines(path, {"op": "pending"}))[-1]["end"]
    run_id = (await lines(path, {"op": "decide", "id": waiting[0]["id"], "answer": "approve"}))[-1]["end"]["answer"]["result"]["run_id"]
    await lines(path, {"op": "call", "tool": "cancel_run", "args": {"run_id": run_id}})
    seen = await lines(path, {"op": "watch", "run_id": run_id})
    assert seen[-2]["watch"]["view"]["state"] == "cancelled" and seen[-1] == {"end": {}}


async def test_a_reader_that_leaves_ends_its_request(path: Path):
    await lines(path, {"op": "say", "text": "tune it", "thread": "t1"})
    waiting = (await lines(path, {"op": "pending"}))[-1]["end"]
    await lines(path, {"op": "decide", "id": waiting[0]["id"], "answer": "approve"})
    stream = ask(path, {"op": "watch", "run_id": waiting[0]["plan"].get("run_id", "4k2j8m9qxz")})
    await anext(stream)
    await stream.aclose()  # pyright: ignore[reportAttributeAccessIssue]
    assert (await lines(path, {"op": "ping"}))[0]["end"]["ok"]


async def test_nobody_listening_is_an_os_error(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        await lines(tmp_path / "control.sock", {"op": "ping"})
