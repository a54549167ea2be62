"""resume_run: the next attempt, from the same data and settings or not at all."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from policies.tool import Call, Recall, Result, ToolFailed
from tests.tools.fakes_runs import RunWorld
from tools.runs.resume import ResumeArgs
from tools.runs.state import RunState
from tools.runs.watch import read_json


@pytest.fixture
def world(tmp_path: Path) -> Iterator[RunWorld]:
    world = RunWorld(tmp_path)
    yield world
    world.close()


def cancelled(world: RunWorld) -> str:
    run = world.begin("polite")
    world.until(run, RunState.RUNNING)
    world.local.stop(run, 1)
    world.until(run, RunState.CANCELLED)
    return run


def test_a_cancelled_run_goes_on_as_the_next_attempt_and_is_not_judged_by_the_last(world: RunWorld) -> None:
    run = cancelled(world)
    seal = world.places.runs / run / "checkpoints" / "checkpoint-3" / "complete.json"
    seal.parent.mkdir(parents=True)
    seal.touch()
    (seal.parent.parent / "checkpoint-9").mkdir()  # not complete
    proposal = world.resume.propose(ResumeArgs(run_id=run))
    card = dict(proposal.card)
    assert proposal.supersedes == run and proposal.plan["attempt"] == 2 and proposal.plan["from_step"] == 3
    assert "step 3" in card["Goes on from"] and "unchanged" in card["Dataset"]
    done = world.resume.perform(ResumeArgs(run_id=run), Call("resume-1", "owner"))
    assert done.result["attempt"] == 2
    assert world.state(run) in {RunState.QUEUED, RunState.RUNNING}
    assert (read_json(world.places.runs / run / "attempt-1.exit.json") or {})["rc"] == 75
    world.local.stop(run, 2)
    world.until(run, RunState.CANCELLED)
    (world.places.runs / run / "mode.txt").write_text("finishes")
    world.resume.perform(ResumeArgs(run_id=run), Call("resume-2", "owner"))
    world.until(run, RunState.FINISHED)
    assert world.store.wanted(run).attempt == 3


def test_the_same_call_begins_one_attempt(world: RunWorld) -> None:
    run = cancelled(world)
    (world.places.runs / run / "mode.txt").write_text("finishes")
    world.resume.perform(ResumeArgs(run_id=run), Call("resume-1", "owner"))
    world.until(run, RunState.FINISHED)
    assert world.resume.perform(ResumeArgs(run_id=run), Call("resume-1", "owner")).result["attempt"] == 2
    found = world.resume.recall("resume-1")
    assert isinstance(found, Result) and found.result["run_id"] == run
    assert world.resume.recall("another") is Recall.NOT_STARTED


def test_a_live_run_and_a_finished_one_are_refused(world: RunWorld) -> None:
    run = world.begin("polite")
    world.until(run, RunState.RUNNING)
    with pytest.raises(ToolFailed, match="still running"):
        world.resume.propose(ResumeArgs(run_id=run))
    world.local.stop(run, 1)
    world.until(run, RunState.CANCELLED)
    done = world.begin("finishes", "call-2")
    world.until(done, RunState.FINISHED)
    with pytest.raises(ToolFailed, match="has finished"):
        world.resume.propose(ResumeArgs(run_id=done))


@pytest.mark.parametrize("what", ["model", "dataset"])
def test_what_has_changed_since_is_named(world: RunWorld, what: str) -> None:
    run = cancelled(world)
    if what == "model":
        world.planning.model_digest = "b" * 64
    else:
        world.with_rows(digest="e" * 64)
    with pytest.raises(ToolFailed, match=f"the {what} .* has changed") as refused:
        world.resume.propose(ResumeArgs(run_id=run))
    assert refused.value.kind == "changed"


def test_while_another_run_has_the_machine_the_next_attempt_waits_for_its_turn(world: RunWorld) -> None:
    run = cancelled(world)
    other = world.begin("polite", "call-2")
    world.until(other, RunState.RUNNING)
    done = world.resume.perform(ResumeArgs(run_id=run), Call("resume-1", "owner"))
    assert (done.result["state"], done.result["waits"], world.views.of(world.store.wanted(run)).place) == ("queued", True, 1)
    found = world.resume.recall("resume-1")
    assert isinstance(found, Result) and found.result["run_id"] == run
    world.local.stop(other, 1)
    world.until(run, RunState.RUNNING)
    assert world.store.wanted(run).attempt == 2


def test_a_crash_before_the_attempt_was_ready_is_not_started_and_can_be_asked_for_again(world: RunWorld) -> None:
    run = cancelled(world)
    world.store.next_attempt(run, 2, "resumed")
    world.local.prepare_attempt(run, 2, "resume-1")
    assert world.resume.recall("resume-1") is Recall.NOT_STARTED
    assert world.store.wanted(run).state is RunState.FAILED
    assert world.resume.perform(ResumeArgs(run_id=run), Call("resume-2", "owner")).result["attempt"] == 3


def test_settings_edited_by_hand_are_named(world: RunWorld) -> None:
    run = cancelled(world)
    path = world.places.runs / run / "spec.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "learning_rate": 0.01}))
    with pytest.raises(ToolFailed, match=r"learning_rate was 0\.001, is 0\.01") as refused:
        world.resume.propose(ResumeArgs(run_id=run))
    assert refused.value.kind == "changed"


def test_a_damaged_folder_is_said_to_be_so(world: RunWorld) -> None:
    run = cancelled(world)
    (world.places.runs / run / "spec.json").write_text("{")
    with pytest.raises(ToolFailed, match=r"spec\.json") as refused:
        world.resume.propose(ResumeArgs(run_id=run))
    assert "start_finetune" in refused.value.try_next
