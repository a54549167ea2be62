"""cancel_run: never asks, harmless twice."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from policies.book import now_text
from policies.proposal import Trait
from policies.tables import run_events
from policies.tool import Call, ToolFailed
from tests.faults.proof import proves
from tests.tools.fakes_runs import RunWorld
from tools.runs.runner import write_atomically
from tools.runs.start import StartArgs
from tools.runs.state import RunState
from tools.runs.stop import StopArgs


@pytest.fixture
def world(tmp_path: Path) -> Iterator[RunWorld]:
    world = RunWorld(tmp_path)
    yield world
    world.close()


def test_a_stop_is_proposed_as_one_and_names_the_owner(world: RunWorld) -> None:
    run = world.row()
    proposal = world.cancel.propose(StopArgs(run_id=run))
    assert Trait.STOPS in proposal.traits and proposal.owner == "owner" and proposal.target == f"run:{run}"
    world.store.set_state(run, RunState.FAILED, "")


@proves("F25", "cancelled twice, or a stop of an ended run",
        "idempotent, one end")
def test_a_run_is_stopped_once_however_often_it_is_asked(world: RunWorld) -> None:
    run = world.begin("polite")
    world.until(run, RunState.RUNNING)
    first = world.cancel.perform(StopArgs(run_id=run), Call("a", "owner"))
    again = world.cancel.perform(StopArgs(run_id=run), Call("b", "owner"))
    assert first.result["stopping"] is True and again.result["run_id"] == run
    world.until(run, RunState.CANCELLED)
    after = world.cancel.perform(StopArgs(run_id=run), Call("c", "owner"))
    assert (after.result["state"], after.result["stopping"]) == ("cancelled", False) and "already" in str(after.result["message"])
    assert [event[2] for event in world.store.events(run)] == ["queued", "running", "cancelled"]


def test_a_finished_run_stays_finished(world: RunWorld) -> None:
    run = world.begin("finishes")
    world.until(run, RunState.FINISHED)
    assert world.cancel.perform(StopArgs(run_id=run), Call("a", "owner")).result["state"] == "finished"


def test_a_run_that_never_began_is_cancelled_at_once(world: RunWorld) -> None:
    run = world.row()
    assert world.cancel.perform(StopArgs(run_id=run), Call("a", "owner")).result["state"] == "cancelled"


@pytest.mark.parametrize("run_id", ["", "0000000000"], ids=["no run at all", "unknown"])
def test_nothing_to_stop_is_said_clearly(world: RunWorld, run_id: str) -> None:
    with pytest.raises(ToolFailed) as refused:
        world.cancel.propose(StopArgs(run_id=run_id))
    assert refused.value.kind in {"no_run", "no_such_run"}


def test_a_strangers_run_is_not_there(world: RunWorld) -> None:
    run = world.row(owner="somebody")
    with pytest.raises(ToolFailed, match="no such run"):
        world.cancel.perform(StopArgs(run_id=run), Call("a", "owner"))
    world.store.set_state(run, RunState.FAILED, "")


def test_a_start_and_a_resume_carry_a_deadline_that_the_stop_itself_finds_to_have_passed(world: RunWorld) -> None:
    (order,) = world.start.propose(StartArgs(model="bundled", dataset="samples/helpdesk.jsonl", max_time=3600)).orders
    assert (order.kind, order.tool, order.argument, order.due_s) == ("deadline", "cancel_run", "run_id", None)
    assert "62 min" in order.text
    run = world.begin("polite")
    world.until(run, RunState.RUNNING)
    assert world.cancel.propose(StopArgs(run_id=run)).evidence == ()
    hour, grace = int(str(world.store.wanted(run).plan["limit_s"])), 121
    late = now_text(datetime.now(UTC) - timedelta(seconds=hour + grace))
    world.book.write(lambda conn: conn.execute(run_events.update().where(run_events.c.to_state == "running").values(at=late)))
    assert world.cancel.propose(StopArgs(run_id=run)).evidence == (), "the clock was set forward; nothing has passed"
    note = world.places.runs / run / "runner.json"
    began = json.loads(note.read_text())
    write_atomically(note, {**began, "mono": began["mono"] - hour - grace})
    proposal = world.cancel.propose(StopArgs(run_id=run))
    assert proposal.evidence == ("deadline",) and proposal.plan == {"ended": False}
    world.cancel.perform(StopArgs(run_id=run), Call("a", "system"))
    world.until(run, RunState.CANCELLED)
    ended = world.cancel.propose(StopArgs(run_id=run))
    assert ended.evidence == () and ended.plan == {"ended": True}
