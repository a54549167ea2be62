"""A sweep's end: told once, when its last run has ended, with one comparison that every face shows."""

import asyncio
import json
from collections.abc import Callable

import pytest
from pydantic import JsonValue
from sqlalchemy import select

from agent.events import Notice, ToolEnded, TurnEnded
from agent.notices import NoticeBook
from policies.book import now_text
from policies.tables import notices, runs
from policies.tool import Call, Result, ToolArgs
from tests.agent.home import Home, News, Small, only
from tests.agent.test_workshop import until

IDS = ("0000000001", "0000000002")


class Asked(ToolArgs):
    """Which runs are compared."""

    run_ids: list[str]


async def eventually(true: Callable[[], bool]) -> None:
    """Look again and again; the test's own time limit ends it."""
    if not true():
        await asyncio.sleep(0.01)
        await eventually(true)


def sweep(home: Home, *states: str) -> None:
    """The runs of one sweep, and one of the same person that only looks like it."""
    rows = [(run_id, state, {"sweep": {"id": "sweep00001"}}) for run_id, state in zip(IDS, states, strict=True)]
    for run_id, state, plan in [*rows, ("0000000009", "running", {"name": "sweep00001"})]:
        home.book.write(lambda conn, row=(run_id, state, plan): conn.execute(runs.insert().values(
            id=row[0], owner="owner", thread="t1", call_id=row[0], state=row[1], created_at=now_text(), plan_json=json.dumps(row[2]))))


@pytest.mark.parametrize(("last", "told"), [("finished", True), ("cancelled", True), ("running", False), ("queued", False)])
async def test_the_end_is_told_when_the_last_run_has_ended(home: Home, last: str, told: bool) -> None:
    sweep(home, "finished", last)
    home.hands.news = [News(IDS[0])]
    async with home.workshop() as shop:
        heard = await until(shop.listen("t1"), TurnEnded)
    kinds = [each.kind for each in only(heard, Notice)]
    assert kinds == (["run", "sweep"] if told else ["run"])


async def test_every_face_gets_the_comparison_once_however_often_the_end_is_found(home: Home) -> None:
    facts: dict[str, JsonValue] = {"best": IDS[1], "runs": [
        {"run_id": IDS[0], "verdict": "first"}, {"run_id": IDS[1], "verdict": "better", "tuned": 0.9, "differs": {"lora_r": 16}},
    ]}
    asked: list[list[str]] = []

    def compare(args: Asked, call: Call) -> Result:
        asked.append(args.run_ids)
        return Result({"curves": {}, "runs": []}, facts)

    home.hands.small["compare_runs"] = Small("compare_runs", Asked, deed=compare)
    sweep(home, "finished", "finished")
    home.hands.news = [News(each) for each in IDS]
    async with home.workshop() as shop:
        heard = await until(shop.listen("t1"), TurnEnded)
        assert [each.text for each in only(heard, Notice)].count("The sweep sweep00001 has ended: 2 of 2 runs finished.") == 1
        ended = only(heard, ToolEnded)
        assert [(each.tool, each.status) for each in ended] == [("compare_runs", "done")] and asked == [["sweep00001"]]
        assert "The best is 0000000002 with lora r 16, 90% exact" in str(heard)


async def test_an_end_that_another_process_found_is_told_after_the_next_start_and_only_once(home: Home) -> None:
    home.hands.ended = [News()]
    async with home.workshop() as shop:
        heard = await until(shop.listen("t1"), TurnEnded)
    assert [each.kind for each in only(heard, Notice)] == ["run"]
    async with home.workshop():
        await eventually(lambda: not NoticeBook(home.book).waiting())
    assert [row.kind for row in home.book.read(lambda conn: conn.execute(select(notices)).all())].count("run") == 1


async def test_a_home_that_has_never_looked_does_not_begin_with_what_was_long_ago(home: Home) -> None:
    home.book.write(lambda conn: conn.execute(notices.delete()))
    home.hands.ended = [News(), News()]
    async with home.workshop() as shop:
        await eventually(lambda: NoticeBook(home.book).run_mark() is not None)
        assert shop.pending() == ()
    assert NoticeBook(home.book).run_mark() == 3 and not NoticeBook(home.book).waiting()
