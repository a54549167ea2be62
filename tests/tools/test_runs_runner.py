"""The runner and its engine: real processes, with a script that behaves like an odd engine."""

import json
import os
import signal
import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.proof import proves
from tests.tools.fakes_runs import ROOT, RunWorld, wait_until
from tools.runs import runner
from tools.runs.identity import is_alive, lock_state, read_identity
from tools.runs.state import RunState
from tools.runs.watch import read_json


@pytest.fixture
def world(tmp_path: Path) -> Iterator[RunWorld]:
    world = RunWorld(tmp_path)
    yield world
    world.close()


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_a_run_that_ends_well_leaves_its_exit_its_rights_and_a_free_lock(world: RunWorld) -> None:
    run = world.begin("finishes")
    world.until(run, RunState.FINISHED)
    folder = world.places.runs / run
    end = read_json(folder / "exit.json")
    assert end is not None and end["max_rss_bytes"] > 1 << 20
    assert (end["rc"], end["signal"], end["stop"], end["attempt"]) == (0, None, "", 1)
    assert lock_state(folder / "attempt-1.lock") == "free" and json.loads((folder / "attempt-1.lock").read_text())["owner"] == "owner"
    rights = {name: stat.S_IMODE((folder / name).stat().st_mode) for name in ("", "log.txt", "exit.json", "heartbeat", "attempt-1.lock")}
    assert rights == {"": 0o700, "log.txt": 0o600, "exit.json": 0o600, "heartbeat": 0o600, "attempt-1.lock": 0o600}
    assert world.views.log(run, lines=5).lines == ("a log line with colour",)
    assert (world.store.wanted(run).measured_memory_bytes or 0) >= 123_000_000


@pytest.mark.parametrize(
    ("mode", "state", "kind"),
    [("full disk", RunState.FAILED, "disk"), ("no result", RunState.FAILED, "crashed"), ("killed", RunState.FAILED, "killed")],
)
def test_an_engine_that_ends_badly_fails_the_run_with_its_class(world: RunWorld, mode: str, state: RunState, kind: str) -> None:
    run = world.begin(mode)
    world.until(run, state)
    assert world.store.wanted(run).outcome["kind"] == kind


def test_a_stop_reaches_the_engine_which_saves_and_ends(world: RunWorld) -> None:
    run = world.begin("polite")
    world.until(run, RunState.RUNNING)
    assert world.local.stop(run, 1)
    world.until(run, RunState.CANCELLED)
    assert read_json(world.places.runs / run / "exit.json")["rc"] == 75  # type: ignore[index]
    assert world.views.of(world.store.wanted(run)).step == 3


@proves("F26", "the trainer ignores SIGTERM",
        "SIGKILL to its group after the grace; no orphan children")
def test_an_engine_that_ignores_the_stop_is_killed_with_its_children_after_the_grace(world: RunWorld) -> None:
    run = world.begin("stubborn")
    folder = world.places.runs / run
    wait_until(lambda: (folder / "grandchild.pid").exists() and (folder / "grandchild.pid").read_text() != "", "the grandchild")
    grandchild = int((folder / "grandchild.pid").read_text())
    world.local.stop(run, 1)
    world.until(run, RunState.CANCELLED)
    end = read_json(folder / "exit.json")
    assert end is not None and end["killed_by_runner"] and end["signal"] == 9 and end["seconds"] >= 0.5
    wait_until(lambda: gone(grandchild), "the end of the grandchild")


def test_the_time_limit_stops_a_run_and_says_so(world: RunWorld) -> None:
    run = world.row()
    (world.places.runs / run / "mode.txt").write_text("polite")
    world.local.start(run, 1, "owner", threads=1, limit_s=0.3)
    world.until(run, RunState.CANCELLED)
    assert world.store.wanted(run).outcome["kind"] == "deadline"


def test_the_run_outlives_a_runner_that_was_killed_and_can_still_be_stopped(world: RunWorld) -> None:
    run = world.begin("polite")
    world.until(run, RunState.RUNNING)
    folder = world.places.runs / run
    first, engine = read_identity(read_json(folder / "runner.json")), read_identity(read_json(folder / "engine.json"))
    assert first is not None and engine is not None
    os.kill(first.pid, signal.SIGKILL)
    wait_until(lambda: not is_alive(first), "the end of the runner")
    assert world.state(run) is RunState.RUNNING and lock_state(folder / "attempt-1.lock") == "held"
    assert world.local.stop(run, 1)
    world.until(run, RunState.CANCELLED)
    assert not is_alive(engine)


def test_a_stubborn_engine_without_runner_is_ended_by_the_reconciler(world: RunWorld) -> None:
    run = world.begin("stubborn")
    world.until(run, RunState.RUNNING)
    first = read_identity(read_json(world.places.runs / run / "runner.json"))
    assert first is not None
    os.kill(first.pid, signal.SIGKILL)
    wait_until(lambda: not is_alive(first), "the end of the runner")
    world.local.stop(run, 1)
    world.until(run, RunState.CANCELLED)


def test_both_killed_is_a_failed_run(world: RunWorld) -> None:
    run = world.begin("polite")
    world.until(run, RunState.RUNNING)
    for name in ("runner.json", "engine.json"):
        who = read_identity(read_json(world.places.runs / run / name))
        assert who is not None
        os.kill(who.pid, signal.SIGKILL)
    world.until(run, RunState.FAILED)
    assert world.store.wanted(run).outcome["kind"] == "killed"


def test_a_second_runner_for_the_same_attempt_touches_nothing(world: RunWorld) -> None:
    run = world.begin("polite")
    world.until(run, RunState.RUNNING)
    folder = world.places.runs / run
    command = [sys.executable, "-I", "-S", runner.__file__, str(folder), "--engine", "engine", "--root", str(ROOT)]
    assert subprocess.run([*command, "--attempt", "1", "--owner", "x"], cwd=folder, timeout=20).returncode == runner.NOT_STARTED
    assert not (folder / "exit.json").exists() and world.state(run) is RunState.RUNNING
    world.local.start(run, 1, "owner", threads=1)  # and neither does a second start


def test_an_engine_that_is_not_installed_fails_the_run_with_the_remedy(world: RunWorld) -> None:
    world.places.engine_python.unlink()
    run = world.begin("finishes")
    world.until(run, RunState.FAILED)
    row = world.store.wanted(run)
    assert row.outcome["kind"] == "start" and "doctor" in row.reason


def test_the_engine_gets_no_secret_of_the_parent_and_may_send_and_fetch_nothing(world: RunWorld) -> None:
    run = world.begin("environment")
    world.until(run, RunState.FINISHED)
    told = json.loads((world.places.runs / run / "environment.json").read_text())
    assert "OPENAI_API_KEY" not in told and told["PYTHONPATH"] == str(ROOT)
    assert (told["CI"], told["HF_HUB_OFFLINE"], told["ORT_DISABLE_TELEMETRY"], told["OMP_WAIT_POLICY"]) == ("1", "1", "1", "PASSIVE")


def test_a_run_goes_on_when_its_server_is_killed(tmp_path: Path) -> None:
    program = textwrap.dedent(f"""
        import signal, sys
        from pathlib import Path
        from tests.tools.fakes_runs import RunWorld
        world = RunWorld(Path({str(tmp_path)!r}))
        print(world.begin("polite"), flush=True)
        signal.pause()
    """)
    server = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    run = server.stdout.readline().strip()
    server.kill()
    server.wait()
    server.stdout.close()
    world = RunWorld(tmp_path)
    try:
        world.until(run, RunState.RUNNING)
        wait_until(lambda: world.views.of(world.store.wanted(run)).step == 3, "the steps after the kill")
        assert world.views.of(world.store.wanted(run)).heartbeat_age_s is not None
    finally:
        world.close()
