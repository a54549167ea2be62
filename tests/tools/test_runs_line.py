"""The line before this machine: one run at a time, in turn, in the book, across processes and restarts."""

import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from policies.tool import Call, Result, ToolFailed
from tests.faults.proof import proves
from tests.tools.fakes_runs import ROOT, RunWorld, wait_until
from tools.runs.identity import lock_state
from tools.runs.line import Line, is_orphaned
from tools.runs.local import LocalRuns, MachineTaken
from tools.runs.look import RunArgs, RunStatus
from tools.runs.state import RunState
from tools.runs.stop import StopArgs

GONE = {"boot": "another-boot", "pid": 1, "start": 1}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[RunWorld]:
    world = RunWorld(tmp_path)
    yield world
    world.close()


def running(world: RunWorld, call: str = "call-1", person: str = "ana", mode: str = "polite") -> str:
    run = world.begin(mode, call, person)
    world.until(run, RunState.RUNNING)
    return run


def test_persons_take_turns_and_each_run_says_its_place_and_when_it_expects_to_start(world: RunWorld) -> None:
    running(world)
    waiting = [world.begin("polite", f"call-{n}", person) for n, person in ((2, "ana"), (3, "ana"), (4, "bob"))]
    views = [world.views.of(world.store.wanted(run)) for run in waiting]
    assert [view.place for view in views] == [2, 3, 1]
    starts = [view.expected_start_s or 0 for view in views]
    assert starts[2] < starts[0] < starts[1] and views[0].expected_start and views[0].expected_start > views[0].created_at
    told = RunStatus(world.store, world.views, world.reconciler).perform(RunArgs(run_id=waiting[0]), Call("look", "ana"))
    assert (told.result["place"], told.for_brain["place"], told.result["state"]) == (2, 2, "queued")


def test_the_machine_is_given_once_whoever_asks_at_the_same_moment(world: RunWorld) -> None:
    first, second = running(world), world.begin("polite", "call-2")
    assert world.line.take() is None and [Line(world.book).take() for _ in range(3)] == [None] * 3
    assert [row.id for row in world.line.waiting()] == [second]
    assert world.store.wanted(first).state is RunState.RUNNING and lock_state(world.places.machine_lock) == "held"


def test_a_run_that_waits_leaves_the_line_when_it_is_cancelled_and_never_starts(world: RunWorld) -> None:
    first, second = running(world), world.begin("polite", "call-2", "ana")
    done = world.cancel.perform(StopArgs(run_id=second), Call("stop", "ana"))
    assert done.result["state"] == "cancelled" and "waited" in str(done.result["message"])
    again = world.cancel.perform(StopArgs(run_id=second), Call("stop-2", "ana"))
    assert again.result["state"] == "cancelled" and "already" in str(again.result["message"])
    world.local.stop(first, 1)
    world.until(first, RunState.CANCELLED)
    assert not (world.places.runs / second / "attempt-1.lock").exists() and world.state(second) is RunState.CANCELLED


def test_a_cancel_that_comes_when_the_turn_has_come_stops_it_like_any_other(world: RunWorld) -> None:
    first, second = running(world), world.begin("polite", "call-2", "ana")
    stale = world.store.wanted(second)
    world.local.stop(first, 1)
    world.until(second, RunState.RUNNING)
    assert world.line.leave(stale, RunState.CANCELLED, "too late", {}) is None
    world.cancel.perform(StopArgs(run_id=second), Call("stop", "ana"))
    world.until(second, RunState.CANCELLED)


@proves("F24", "a person cancels while the start is under way (on this machine)",
        "ends cancelled, the engine never starts")
def test_a_stop_between_the_turn_and_the_start_keeps_the_engine_from_starting(world: RunWorld) -> None:
    first, second = running(world), world.begin("polite", "call-2", "ana")
    world.local.stop(first, 1)
    wait_until(lambda: lock_state(world.places.runs / first / "attempt-1.lock") == "free", "the end")
    world.local.stop(second, 1, "ana")
    world.local.start(second, 1, "ana", threads=1)
    wait_until((world.places.runs / second / "exit.json").exists, "the runner")
    assert world.state(second) is RunState.CANCELLED and not (world.places.runs / second / "events.jsonl").exists()


def test_the_line_survives_a_restart_and_goes_on(tmp_path: Path) -> None:
    world = RunWorld(tmp_path)
    first, second = running(world), world.begin("finishes", "call-2", "bob")
    world.engine.close()
    world.book.close()
    again = RunWorld(tmp_path)
    try:
        assert again.views.of(again.store.wanted(second)).place == 1
        again.local.stop(first, 1)
        again.until(second, RunState.FINISHED)
    finally:
        again.close()


def test_a_run_whose_starter_died_before_it_could_start_it_is_started_by_the_next_pass(world: RunWorld) -> None:
    first, second = running(world), world.begin("finishes", "call-2", "bob")
    row = world.store.wanted(second)
    world.local.stop(first, 1)
    wait_until(lambda: lock_state(world.places.runs / first / "attempt-1.lock") == "free", "the end")
    world.store.set_outcome(second, {**row.outcome, "line": {**row.line, "at": "2026-01-01T00:00:00Z", "taken": GONE}})
    assert is_orphaned(world.store.wanted(second))
    world.until(second, RunState.FINISHED)
    assert (world.store.wanted(second).attempt, lock_state(world.places.runs / second / "attempt-1.lock")) == (1, "free")


def test_a_run_whose_preparer_died_has_failed_and_blocks_nobody(world: RunWorld) -> None:
    first = running(world)
    world.planning.mode = "finishes"
    second = world.begin("finishes", "call-2")
    row = world.store.wanted(second)
    world.store.set_outcome(second, {"line": {**row.line, "ready": False, "by": GONE}})
    assert world.state(second) is RunState.FAILED and world.store.wanted(second).outcome["kind"] == "start"
    assert world.state(first) is RunState.RUNNING


def test_a_call_cut_off_while_its_run_waits_finds_it_waiting(world: RunWorld) -> None:
    running(world)
    second = world.begin("polite", "call-2")
    found = world.start.recall("call-2")
    assert isinstance(found, Result) and found.result["run_id"] == second and found.result["waits"] is True


def test_a_model_that_vanished_while_the_run_waited_ends_it_with_the_reason_and_the_next_one_starts(world: RunWorld) -> None:
    first, second, third = running(world), world.begin("finishes", "call-2", "ana"), world.begin("finishes", "call-3", "ana")
    spec = world.places.runs / second / "spec.json"
    gone = spec.read_text().replace(f'"model_dir": "{world.places.home}"', '"model_dir": "/nowhere"')
    spec.write_text(gone)
    world.store.set_spec(second, world.local.spec(second).model_dump(mode="json"))
    world.local.stop(first, 1)
    world.until(third, RunState.FINISHED)
    row = world.store.wanted(second)
    assert (row.state, row.outcome["kind"]) == (RunState.FAILED, "missing") and "model add" in row.reason


def test_settings_edited_while_the_run_waited_are_not_trained_with(world: RunWorld) -> None:
    first, second = running(world), world.begin("finishes", "call-2", "ana")
    spec = world.places.runs / second / "spec.json"
    spec.write_text(spec.read_text().replace('"lora_r": 8', '"lora_r": 64'))
    world.local.stop(first, 1)
    world.until(second, RunState.FAILED)
    assert "lora_r was 8, is 64" in world.store.wanted(second).reason


def test_two_homes_that_share_their_run_folder_do_not_train_at_the_same_time(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    one, two = RunWorld(tmp_path / "one"), RunWorld(tmp_path / "two")
    try:
        one.places.runs.mkdir(parents=True)
        two.places.runs.symlink_to(one.places.runs)
        first = running(one)
        second = two.begin("finishes", "call-2")
        assert two.state(second) is RunState.QUEUED and two.views.of(two.store.wanted(second)).place == 1
        with pytest.raises(MachineTaken):
            two.local.start(second, 1, "owner", threads=1)
        one.local.stop(first, 1)
        one.until(first, RunState.CANCELLED)
        two.until(second, RunState.FINISHED)
    finally:
        two.close()
        one.close()


def test_two_homes_with_folders_of_their_own_share_the_machine(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    lock = tmp_path / "runtime" / "machine-cpu.lock"
    one, two = RunWorld(tmp_path / "one", machine_lock=lock), RunWorld(tmp_path / "two", machine_lock=lock)
    try:
        first = running(one)
        second = two.begin("finishes", "call-2")
        assert two.state(second) is RunState.QUEUED and two.views.of(two.store.wanted(second)).place == 1
        assert lock_state(lock) == "held" and stat.S_IMODE(lock.parent.stat().st_mode) == 0o700
        one.local.stop(first, 1)
        one.until(first, RunState.CANCELLED)
        two.until(second, RunState.FINISHED)
        assert lock_state(lock) == "free"
    finally:
        two.close()
        one.close()


def test_a_lock_folder_that_others_can_write_starts_nothing(tmp_path: Path) -> None:
    open_to_all = tmp_path / "runtime"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    (tmp_path / "home").mkdir()
    world = RunWorld(tmp_path / "home", machine_lock=open_to_all / "machine-cpu.lock")
    with pytest.raises(ToolFailed, match="not yours alone") as refused:
        world.begin("finishes")
    assert "LUTHIER_RUNTIME" in refused.value.because + refused.value.try_next
    world.close()


def test_a_folder_that_another_home_made_is_left_alone(world: RunWorld, tmp_path: Path) -> None:
    run = running(world)
    world.local.stop(run, 1)
    world.until(run, RunState.CANCELLED)
    other = LocalRuns(world.places, world.engine.environment, home_id="another home")
    assert world.local.is_ours(run) and not other.is_ours(run)
    (world.places.runs / run / "origin.json").write_text('{"home": "another home"}')
    world.store.next_attempt(run, 2, "again")
    world.line.ready((run,))
    assert world.state(run) is RunState.LOST and "another Luthier home" in world.store.wanted(run).reason


KILLED_AT = """
    import os, sys
    from pathlib import Path
    from tests.tools.fakes_runs import RunWorld
    world = RunWorld(Path(sys.argv[1]))
    print(world.begin("finishes", "call-1"), flush=True)
"""
POINTS = ("runs.create.before", "runs.create.after", "runs.spec.before", "runs.spec.after", "runs.ready.before", "runs.ready.after",
          "runs.take.before", "runs.take.after", "runs.spawn.before", "runs.spawn.after", "runs.state.before", "runs.state.after",
          "runner.lock.before", "runner.lock.after", "runner.spawn.before", "runner.spawn.after", "runner.exit.before", "runner.exit.after")


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_any_point_a_start_leaves_one_run_or_none_and_the_machine_free(tmp_path: Path, point: str) -> None:
    command = [sys.executable, "-c", textwrap.dedent(KILLED_AT), str(tmp_path)]
    subprocess.run(command, cwd=ROOT, env={"PATH": "/usr/bin:/bin", "LUTHIER_FAULT": point}, timeout=60, capture_output=True)
    world = RunWorld(tmp_path)
    try:
        said = world.start.recall("call-1")
        rows = world.store.rows()
        assert len(rows) <= 1 and (rows or not isinstance(said, Result))
        for row in rows:
            world.until(row.id, RunState.FINISHED, RunState.FAILED)
            after = world.store.wanted(row.id)
            if isinstance(said, Result) and point.startswith("runs."):  # what was acknowledged is not lost
                assert after.state is RunState.FINISHED
            assert after.attempt == 1 and world.line.holder() is None and (after.state is RunState.FINISHED or after.reason)
        world.until(world.begin("finishes", "call-2"), RunState.FINISHED)
    finally:
        world.close()
