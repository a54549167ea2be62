"""The terminal's requests about the record, the people and the policy, and who may not make them."""

from pathlib import Path
from typing import Any

import pytest

from tests.ui.fakes_workshop import FakeWorkshop
from ui.desk import Desk

EVERY: tuple[dict[str, Any], ...] = (
    {"op": "audit", "do": "search"}, {"op": "audit", "do": "story", "id": "c1"}, {"op": "audit", "do": "record", "seq": 3},
    {"op": "audit", "do": "prove", "seq": 3}, {"op": "audit", "do": "verified", "status": 0}, {"op": "audit", "do": "fsck"},
    {"op": "audit", "do": "export", "folder": "/tmp", "format": "jsonl"}, {"op": "audit", "do": "erase", "seq": 3},
    {"op": "audit", "do": "rotate"}, {"op": "audit", "do": "key"}, {"op": "people", "do": "list"},
    {"op": "people", "do": "add", "person": "ann"}, {"op": "people", "do": "set", "person": "bob", "role": "viewer"},
    {"op": "policy", "do": "state"}, {"op": "policy", "do": "test"}, {"op": "policy", "do": "reload"}, {"op": "link", "person": "bob"},
    {"op": "notify"},
)


def name(request: dict[str, Any]) -> str:
    """For the tests' ids."""
    return f"{request['op']} {request.get('do', '')}"


async def answer(desk: Desk, request: dict[str, Any]) -> dict[str, Any]:
    """The last line."""
    return [line async for line in desk.answer(request)][-1]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A desk over the small workshop."""
    return Desk(FakeWorkshop(tmp_path), url="http://here")


@pytest.mark.parametrize("request_", EVERY, ids=name)
async def test_the_terminal_gets_an_answer(desk: Desk, request_: dict[str, Any]):
    assert "end" in await answer(desk, request_)


@pytest.mark.parametrize("request_", EVERY, ids=name)
async def test_a_program_gets_none_of_it(desk: Desk, request_: dict[str, Any]):
    line = await answer(desk, {**request_, "via": "mcp"})
    assert "error" in line and line["error"]["try_next"]
    assert "ann" not in desk.shop.household.role("ann") and desk.shop.household.role("bob") == "member"


@pytest.mark.parametrize("request_", [
    {"op": "audit"}, {"op": "audit", "do": "fly"}, {"op": "audit", "do": "prove"}, {"op": "audit", "do": "prove", "seq": "x"},
    {"op": "audit", "do": "search", "asked": "run"}, {"op": "audit", "do": "search", "limit": []}, {"op": "people", "do": "fly"},
    {"op": "people", "do": "add"}, {"op": "people", "do": "set", "person": "nobody"}, {"op": "policy", "do": "fly"}, {"op": ["audit"]},
    {"op": "decide", "id": "x", "answer": "perhaps"}, {"op": "decide", "id": "x"},
    {"op": "decide_many", "ids": ["x"], "answer": "break_glass"},
    {"op": "link", "person": "nobody"},
], ids=str)
async def test_what_makes_no_sense_gets_an_error_line(desk: Desk, request_: dict[str, Any]):
    assert (await answer(desk, request_))["error"]["try_next"]


async def test_a_search_is_bounded_and_filtered(desk: Desk):
    found = (await answer(desk, {"op": "audit", "do": "search", "asked": {"kind": "approval"}, "limit": 10**9}))["end"]
    assert [each["seq"] for each in found] == [4, 3]
