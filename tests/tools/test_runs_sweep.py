"""A small sweep: one plan, one approval, runs one after the other."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from policies.tool import Call, Recall, Result, ToolFailed
from tests.tools.fakes_runs import RunWorld
from tools.runs.start import StartArgs
from tools.runs.state import RunState
from tools.runs.stop import StopArgs
from tools.runs.sweep import read_sweep


@pytest.fixture
def world(tmp_path: Path) -> Iterator[RunWorld]:
    world = RunWorld(tmp_path)
    yield world
    world.close()


def args(sweep: Any, **more: Any) -> StartArgs:
    return StartArgs.model_validate({"model": "bundled", "dataset": "samples/helpdesk.jsonl", "sweep": sweep, **more})


def begin(world: RunWorld, mode: str = "finishes", sweep: Any = "r=8,16,32") -> list[str]:
    world.planning.mode = mode
    plan = world.start.propose(args(sweep)).plan
    done = world.start.perform(args(sweep), Call("call-1", "owner", "thread-1", plan=plan))
    ids = done.result["run_ids"]
    assert isinstance(ids, list)
    return [str(each) for each in ids]


@pytest.mark.parametrize(
    ("text", "of", "values"),
    [
        ("r=8,16,32", "lora_r", (8, 16, 32)), ("rank: 8 16", "lora_r", (8, 16)), ("lr=0.0003,1e-3", "learning_rate", (0.0003, 0.001)),
        ("learning_rate=[0.1, 0.2]", "learning_rate", (0.1, 0.2)), ("epochs=0.5,1", "epochs", (0.5, 1)),
        ("steps=10,20", "max_steps", (10, 20)),
    ],
)
def test_words_that_are_a_sweep(text: str, of: str, values: tuple[float, ...]) -> None:
    found = read_sweep(text)
    assert (found.of, found.values) == (of, values)


@pytest.mark.parametrize(
    "text",
    ["r", "r=8", "r=8,8", "r=1,2,3,4,5,6,7,8,9", "r=8,x", "r=8,0", "r=8,1.5", "r=8,1025", "lr=0.1,nan", "lr=0.1,2", "lr=-1,0.1", "seed=1,2",
     "r=8,16; lr=1", "__class__=1,2"],
)
def test_words_that_are_none_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(ToolFailed) as refused:
        read_sweep(text)
    assert refused.value.kind == "sweep" and "r=8,16,32" in refused.value.try_next


def test_one_card_for_all_runs_names_values_the_largest_memory_and_the_time_of_all(world: RunWorld) -> None:
    one, many = world.start.propose(args("")), world.start.propose(args({"lora_r": [8, 16, 32]}))
    card = dict(many.card)
    assert card["Sweep"] == "lora_r 8, 16, 32: 3 runs, one after the other" and "alpha twice r" in card["Method"]
    assert "largest" in card["Memory"] and "for all" in card["Time"] and "0.00 USD" in card["Cost"]
    alone, together = one.plan["time"], many.plan["time"]
    assert isinstance(alone, dict) and isinstance(together, dict)
    assert float(str(together["likely_s"])) > 2.5 * float(str(alone["likely_s"]))
    assert one.target == many.target and one.supersedes == many.supersedes


def test_the_runs_of_a_sweep_differ_in_its_setting_share_its_id_and_go_one_after_the_other(world: RunWorld) -> None:
    ids = begin(world)
    rows = [world.store.wanted(each) for each in ids]
    assert [(row.spec["lora_r"], row.spec["lora_alpha"]) for row in rows] == [(8, 16), (16, 32), (32, 64)]
    assert len({row.sweep for row in rows}) == 1 and rows[0].sweep
    assert [row.id for row in world.store.of_sweep(rows[0].sweep)] == ids
    for each in ids:
        world.until(each, RunState.FINISHED)
    began = [world.store.wanted(each).ended_at or "" for each in ids]
    assert began == sorted(began) and {world.views.of(world.store.wanted(each)).sweep for each in ids} == {rows[0].sweep}


def test_the_same_call_starts_its_sweep_once_and_finds_it_again(world: RunWorld) -> None:
    ids = begin(world, "polite")
    found = world.start.recall("call-1")
    assert isinstance(found, Result) and found.result["run_ids"] == ids and found.for_brain["run_ids"] == ids
    assert world.start.perform(args("r=8,16,32"), Call("call-1", "owner")).result["run_ids"] == ids
    assert len(world.store.rows()) == 3 and [row.waits for row in reversed(world.store.rows())].count(True) == 2


def test_data_that_changed_since_the_plan_starts_none_of_them(world: RunWorld) -> None:
    plan = world.start.propose(args("r=8,16")).plan
    world.planning.model_digest = "b" * 64
    with pytest.raises(ToolFailed, match="has changed"):
        world.start.perform(args("r=8,16"), Call("call-1", "owner", plan=plan))
    assert {row.state for row in world.store.rows()} == {RunState.FAILED} and world.line.holder() is None
    assert world.start.recall("call-1") is Recall.NOT_STARTED


def test_one_of_a_sweep_can_be_cancelled_and_the_others_go_on(world: RunWorld) -> None:
    ids = begin(world, "polite")
    for each in ids:
        (world.places.runs / each / "mode.txt").write_text("finishes")
    row = world.store.wanted(ids[1])
    assert row.waits and world.line.leave(row, RunState.CANCELLED, "not wanted", {"kind": "person"})
    world.until(ids[0], RunState.FINISHED, RunState.RUNNING)
    world.local.stop(ids[0], 1)
    world.until(ids[2], RunState.FINISHED)
    assert world.store.wanted(ids[1]).state is RunState.CANCELLED


def test_the_card_shows_each_run_with_its_value_steps_time_and_memory(world: RunWorld) -> None:
    card = dict(world.start.propose(args("r=8,16")).card)
    assert card["Run 1 of 2"].startswith("lora_r 8, alpha 16; ") and card["Run 2 of 2"].startswith("lora_r 16, alpha 32; ")
    assert all("steps" in card[label] and "likely" in card[label] and "GiB" in card[label] for label in ("Run 1 of 2", "Run 2 of 2"))


def stop(world: RunWorld, run_id: str, person: str = "owner") -> Result:
    return world.cancel.perform(StopArgs(run_id=run_id, whole_sweep=True), Call("stop-1", person))


def test_stopping_the_sweep_ends_the_run_at_work_and_all_that_wait(world: RunWorld) -> None:
    ids = begin(world, "polite")
    world.until(ids[0], RunState.RUNNING)
    done = stop(world, ids[1])
    assert done.result["stopped"] == [ids[1], ids[2], ids[0]] and done.for_brain["stopping"] is True
    for each in ids:
        world.until(each, RunState.CANCELLED)
    assert all(world.store.wanted(each).started_at is None for each in ids[1:])
    again = stop(world, ids[0])
    assert again.result["stopped"] == [] and "already ended" in str(again.result["message"])


def test_a_run_of_no_sweep_and_anothers_sweep_are_not_stopped_as_one(world: RunWorld) -> None:
    alone = world.row()
    with pytest.raises(ToolFailed, match="belongs to none"):
        stop(world, alone)
    with pytest.raises(ToolFailed, match="no such run"):
        stop(world, alone, "mallory")
