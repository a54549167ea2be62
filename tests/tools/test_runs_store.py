"""Runs in the book."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from policies.tool import ToolFailed
from tests.tools.fakes_runs import RunWorld
from tools.runs.state import RunState
from tools.runs.store import NewRun


@pytest.fixture
def world(tmp_path: Path) -> Iterator[RunWorld]:
    world = RunWorld(tmp_path)
    yield world
    world.book.close()


def new(run_id: str, call: str = "c", owner: str = "owner", thread: str | None = "t") -> NewRun:
    return NewRun(run_id, owner, thread, call, "a name", "bundled", "samples/a.jsonl", "qlora", {"steps": 60}, 700)


def test_the_same_call_finds_the_run_it_created(world: RunWorld) -> None:
    first = world.store.create(new("0123456789"))
    assert world.store.create(new("0123456789")) == first and len(world.store.rows()) == 1
    assert first.plan == {"steps": 60} and first.state is RunState.QUEUED


def test_a_new_run_joins_the_line_and_has_nothing_yet(world: RunWorld) -> None:
    row = world.store.create(new("0123456789"))
    assert row.waits and row.line["ready"] is False and row.sweep == ""


def test_the_runs_of_a_sweep_are_written_together_and_found_by_their_call_and_their_sweep(world: RunWorld) -> None:
    plans = [{"sweep": {"id": "zzzzzzzzzz", "value": value}} for value in (8, 16)]
    calls = ("c", "c#1")
    made = [replace(new(f"000000000{n}", call), plan=plan) for n, (call, plan) in enumerate(zip(calls, plans, strict=True))]
    assert world.store.create(*made).id == "0000000000"
    world.store.create(new("9876543210", "c#x", "owner"), new("9876543211", "d"))
    ids = ["0000000000", "0000000001"]
    assert [row.id for row in world.store.of_sweep("zzzzzzzzzz")] == ids and [row.id for row in world.store.of_call("c")][:2] == ids
    assert world.store.of_sweep("zzzzzzzzz_") == [] and world.store.of_call("%") == []


def test_a_change_the_table_forbids_writes_nothing(world: RunWorld) -> None:
    world.store.create(new("0123456789"))
    world.store.set_state("0123456789", RunState.FINISHED, "")
    assert world.store.set_state("0123456789", RunState.FAILED, "late news") is None
    row = world.store.wanted("0123456789")
    assert row.state is RunState.FINISHED and row.ended_at and len(world.store.events(row.id)) == 2


def test_a_foreign_run_and_an_unknown_one_are_refused_in_the_same_words(world: RunWorld) -> None:
    world.store.create(new("0123456789"))
    words = []
    for run_id, person in (("0123456789", "stranger"), ("0000000000", "stranger")):
        with pytest.raises(ToolFailed) as refused:
            world.store.wanted(run_id, person)
        words.append(str(refused.value).replace(run_id, "ID"))
    assert words[0] == words[1] and world.store.wanted("0123456789", "owner")


def test_the_latest_run_is_the_threads_then_the_persons_and_never_a_strangers(world: RunWorld) -> None:
    for run_id, thread, owner in (("0000000001", "t1", "owner"), ("0000000002", "t2", "owner"), ("0000000003", "t3", "other")):
        world.store.create(new(run_id, run_id, owner, thread))
        world.store.set_state(run_id, RunState.FINISHED, "")
    latest = {thread: row.id for thread in ("t1", "t2", "t3", "new", None) if (row := world.store.latest(thread, "owner"))}
    assert latest == {"t1": "0000000001", "t2": "0000000002", "t3": "0000000002", "new": "0000000002", None: "0000000002"}
    world.store.attach_thread("t1", "0000000002")
    assert [row.id for row in (world.store.latest("t1", "owner"),) if row] == ["0000000002"]
    assert world.store.latest("t1", "nobody") is None


def test_the_next_attempt_is_queued_once_and_only_after_an_end(world: RunWorld) -> None:
    world.store.create(new("0123456789"))
    with pytest.raises(ToolFailed, match="queued"):
        world.store.next_attempt("0123456789", 2, "again")
    world.store.set_state("0123456789", RunState.FAILED, "")
    assert world.store.next_attempt("0123456789", 2, "again").attempt == 2
    assert world.store.next_attempt("0123456789", 2, "again").attempt == 2
    assert world.store.wanted("0123456789").ended_at is None
