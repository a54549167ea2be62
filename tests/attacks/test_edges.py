"""A55 and A57: a program at the control socket, and a policy that is edited under a server that runs."""

import asyncio
import contextlib
import os
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agent.workshop import Workshop
from tests.agent.scripted import call
from tests.attacks.siege import ME, Siege, hostile, waiting
from tests.tools.fakes_runs import ROOT
from ui.control import ControlServer, ask
from ui.desk import Desk

STRANGER = """
import os, socket, sys
os.chdir(sys.argv[1])
os.setgroups([])
os.setegid(65534)
os.seteuid(65534)
control = socket.socket(socket.AF_UNIX)
control.settimeout(10)
try:
    control.connect("control.sock")
    control.sendall(b'{"op": "pending"}' + bytes([10]))
    print("answered", control.recv(100))
except OSError as error:
    print(type(error).__name__)
"""


@pytest.fixture
async def shop(siege: Siege) -> AsyncIterator[Workshop]:
    """A workshop behind a control socket."""
    async with siege.workshop() as made:
        server = ControlServer(siege.path / "control.sock", Desk(made))
        await server.start()
        yield made
        await server.close()


async def lines(siege: Siege, **request: Any) -> list[dict[str, Any]]:
    """The answer of the control socket."""
    return [line async for line in ask(siege.path / "control.sock", request)]


@pytest.mark.parametrize(
    "request_",
    [
        {"op": "decide", "answer": "approve"},
        {"op": "decide", "answer": "deny"},
        {"op": "withdraw"},
        {"op": "decide", "answer": "approve", "person": "bob", "caller": {"via": "cli"}},
    ],
    ids=str,
)
async def test_a55_a_program_that_speaks_mcp_decides_nothing_on_record(siege: Siege, shop: Workshop, request_: dict[str, Any]) -> None:
    view = await waiting(shop.door.gateway, "launch")
    before = len(siege.records())
    (line,) = await lines(siege, **request_, id=view.id, via="mcp")
    assert "error" in line or line["end"]["ok"] is False
    found = shop.approval(view.id)
    assert found is not None and found.status == "pending" and siege.shots == 0
    added = siege.records()[before:]
    assert [one for one in added if one["actor"]["via"] == "mcp" and one["policy"]["decision"] == "deny"], "refused, on record"


async def test_a55_a_call_that_mcp_made_is_marked_as_such_and_asks_like_any_other(siege: Siege, shop: Workshop) -> None:
    end = (await lines(siege, op="call", tool="launch", args={}, via="mcp"))[-1]["end"]
    assert end["status"] == "waiting" and siege.shots == 0
    assert [one["actor"]["via"] for one in siege.records() if one["kind"] == "approval"] == ["mcp"]


async def test_a55_the_socket_is_its_owners_alone(siege: Siege, shop: Workshop) -> None:
    assert stat.S_IMODE((siege.path / "control.sock").stat().st_mode) == 0o600
    assert stat.S_IMODE(siege.path.stat().st_mode) == 0o700


@pytest.mark.parametrize("modes", [(0o700, 0o600), (0o755, 0o666)], ids=["as it is", "with its permissions gone"])
async def test_a55_another_user_gets_no_answer(siege: Siege, shop: Workshop, modes: tuple[int, int]) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    await waiting(shop.door.gateway, "launch")
    siege.path.chmod(modes[0])
    (siege.path / "control.sock").chmod(modes[1])
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", STRANGER, str(siege.path), stdout=subprocess.PIPE)
    said = (await child.communicate())[0].decode().strip()
    assert said in ("PermissionError", "answered b''", "BrokenPipeError", "ConnectionResetError")
    reached = modes[1] == 0o666
    assert bool([one for one in siege.records() if one["kind"] == "auth" and "refused" in one["event"]]) is reached, "refused, on record"


JUNK = [
    b"",
    b"\n",
    b"{}\n",
    b"[]\n",
    b"null\n",
    b'{"op": "decide"}\n',
    b"\xff\xfe\n",
    b'{"op": ' + b"[" * 5000 + b"\n",
    b"x" * 2_000_000 + b"\n",
    b'{"op": "__class__"}\n',
    b'{"op": "say", "text": {"a": 1}}\n',
    b'{"op": "call", "tool": [], "args": "x"}\n',
    b'{"op": "watch", "run_id": "../.."}\n',
]


@pytest.mark.parametrize("junk", JUNK, ids=[ascii(each[:30]) for each in JUNK])
async def test_a55_what_is_no_request_harms_no_other(siege: Siege, shop: Workshop, junk: bytes) -> None:
    reader, writer = await asyncio.open_unix_connection(str(siege.path / "control.sock"))
    writer.write(junk)
    with contextlib.suppress(ConnectionError):  # what is too long is not read to its end
        writer.write_eof()
        assert b"Traceback" not in await asyncio.wait_for(reader.read(), 20)
    writer.close()
    assert (await lines(siege, op="ping"))[-1]["end"]["ok"]


def policy_of(siege: Siege) -> Path:
    """A policy folder of the home's own: the shipped files."""
    folder = siege.path / "policy"
    (folder / "rules").mkdir(parents=True)
    (folder / "limits.toml").write_text((ROOT / "policies" / "limits.toml").read_text())
    for path in (ROOT / "policies" / "rules").iterdir():
        (folder / "rules" / path.name).write_text(path.read_text())
    return folder


EDITS = {
    "a cap": ("limits.toml", 'per_run_usd = "50.00"', 'per_run_usd = "5000.00"'),
    "a comment": ("limits.toml", "[budget]", "# harmless\n[budget]"),
    "a rule": ("rules/spend.cedar", "permit", "// harmless\npermit"),
    "a rule that permits all": ("rules/spend.cedar", "permit", "permit (principal, action, resource);\npermit"),
    "no policy any more": ("rules/spend.cedar", "permit", "certainly not"),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS.keys())
async def test_a57_a_policy_that_is_edited_raises_the_alarm_and_voids_what_waits(siege: Siege, edit: tuple[str, str, str]) -> None:
    folder, (name, old, new) = policy_of(siege), edit
    async with siege.workshop(hostile(call("launch", {"name": "after"}))) as shop:
        gateway = shop.door.gateway
        view = await waiting(gateway, "launch", hours=12)
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1))
        said = await shop.decide(view.id, "approve", ME)
        assert not said.ok and siege.shots == 0 and siege.money() == 0
        assert gateway.alarm and [row.state for row in siege.approval_rows()] == ["revoked"]
        _ = [event async for event in shop.say("t1", "launch it now", ME)]
        assert siege.shots == 0 and not shop.pending()
    assert [one for one in siege.records() if one["kind"] == "policy" and one["event"] == "changed_on_disk"]


async def test_a57_a_policy_that_is_edited_between_the_yes_and_the_start_stops_the_start(siege: Siege) -> None:
    folder = policy_of(siege)
    gateway = siege.gateway()
    view = await waiting(gateway, "launch")
    now = siege.clock()
    siege.book.write(lambda conn: gateway._approvals.decide(conn, view.id, "approve", ME, "", now))  # pyright: ignore[reportPrivateUsage]
    (folder / "limits.toml").write_text((folder / "limits.toml").read_text() + "\n# harmless\n")
    await gateway.recover()
    assert siege.shots == 0 and [row.state for row in siege.approval_rows()] == ["revoked"]


async def test_a57_a_policy_that_is_none_at_the_start_leaves_looking(siege: Siege) -> None:
    folder = policy_of(siege)
    (folder / "rules" / "spend.cedar").write_text("certainly not")
    ended = await siege.attack(call("look"), call("launch", ident="c2"), call("heavy", ident="c3"), call("halt", ident="c4"))
    assert ended.statuses[1:] == ["refused"] * 3 and siege.shots == 0 and ended.statuses[0] in ("done", "refused")


async def test_a57_no_tool_and_no_reference_reaches_the_policys_files(siege: Siege) -> None:
    policy_of(siege)
    path = str(siege.path / "policy" / "limits.toml")
    ended = await siege.attack(call("add_dataset", {"path": path}), call("validate_dataset", {"path": "policy/limits.toml"}, "c2"))
    assert ended.statuses[0] in ("refused", "failed") and not ended.cards
