"""The runner on a share, as a container's first process: whose attempt it is, what reaches the share, and how it ends."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tools.fakes_runs import ROOT, engine_script, wait_until
from tools.runs import runner
from tools.runs.watch import read_json

EXECUTION = "luthier-run-0123456789-abc1234"


class Share:
    """A run folder on a share, and the runners that work on it."""

    def __init__(self, folder: Path) -> None:
        self.run, self.engine = folder / "run", engine_script(folder)
        self.run.mkdir()
        self.children: list[subprocess.Popen[bytes]] = []

    def start(self, mode: str = "finishes", execution: str = EXECUTION, **more: str) -> subprocess.Popen[bytes]:
        """As the platform starts it."""
        (self.run / "mode.txt").write_text(mode)
        options = {"attempt": "1", "owner-env": "CONTAINER_APP_JOB_EXECUTION_NAME", "beat-s": "0.05", "grace-s": "0.5", **more}
        command = [sys.executable, runner.__file__, str(self.run), "--engine", str(self.engine), "--root", str(ROOT)]
        environment = {"PATH": os.environ["PATH"], **({"CONTAINER_APP_JOB_EXECUTION_NAME": execution} if execution else {})}
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        child = subprocess.Popen([*command, *words], cwd=self.run.parent, env=environment, stderr=subprocess.DEVNULL)
        self.children.append(child)
        return child

    def rc(self, mode: str = "finishes", execution: str = EXECUTION, **more: str) -> int:
        """Start it and wait."""
        return self.start(mode, execution, **more).wait(30)

    def files(self) -> dict[str, bytes]:
        """Everything in the run folder but the script's own wish and what is just being written."""
        return {path.name: path.read_bytes() for path in self.run.iterdir() if path.name != "mode.txt" and path.suffix != ".part"}


@pytest.fixture
def share(tmp_path: Path) -> Iterator[Share]:
    made = Share(tmp_path)
    yield made
    for child in made.children:
        child.kill()
        child.wait()


def test_the_execution_is_named_in_the_lock_and_the_end_comes_last(share: Share):
    assert share.rc() == 0
    assert json.loads((share.run / "attempt-1.lock").read_text())["owner"] == EXECUTION
    told = read_json(share.run / "runner.json")
    assert told is not None and told["owner"] == EXECUTION
    names = ("result.json", "exit.json")
    assert [read_json(share.run / name) is not None for name in names] == [True, True]
    assert (share.run / "exit.json").stat().st_mtime_ns >= max(path.stat().st_mtime_ns for path in share.run.iterdir())


def test_a_second_execution_of_the_attempt_ends_and_touches_nothing(share: Share):
    share.start("polite")
    wait_until((share.run / "engine.json").exists, "the first one's engine")
    before = {name: content for name, content in share.files().items() if not name.startswith("heartbeat")}
    assert share.rc("polite", "luthier-run-0123456789-zzz9999") == runner.ANOTHER_EXECUTION
    after = {name: content for name, content in share.files().items() if not name.startswith("heartbeat")}
    assert {name: content for name, content in after.items() if name not in {"events.jsonl", "log.txt"}} == {
        name: content for name, content in before.items() if name not in {"events.jsonl", "log.txt"}}


def test_the_same_execution_started_again_by_the_platform_goes_on(share: Share):
    first = share.start("polite")
    wait_until((share.run / "events.jsonl").exists, "the first steps")
    first.kill()
    first.wait()
    os.killpg(json.loads((share.run / "engine.json").read_text())["pid"], signal.SIGKILL)
    assert share.rc("finishes") == 0


@pytest.mark.parametrize("content", ["", "{", '{"pid": 7}', "[]"], ids=["empty", "torn", "nameless", "a list"])
def test_a_lock_that_names_nobody_belongs_to_whoever_made_it(share: Share, content: str):
    (share.run / "attempt-1.lock").write_text(content)
    assert share.rc() == runner.ANOTHER_EXECUTION
    assert set(share.files()) == {"attempt-1.lock"}


def test_the_next_attempt_has_a_lock_of_its_own(share: Share):
    assert share.rc() == 0
    assert share.rc("finishes", "luthier-run-0123456789-zzz9999", attempt="2") == 0
    assert json.loads((share.run / "attempt-2.lock").read_text())["owner"].endswith("zzz9999")


def test_without_a_name_nothing_begins(share: Share):
    assert share.rc(execution="") == 2
    assert share.files() == {}


def test_sigterm_is_a_cancelled_run(share: Share):
    child = share.start("polite")
    wait_until((share.run / "events.jsonl").exists, "the first steps")
    child.send_signal(signal.SIGTERM)
    assert child.wait(30) == runner.CANCELLED
    end = read_json(share.run / "exit.json")
    assert end is not None and (end["rc"], end["stop"]) == (75, "signal")


def test_its_own_deadline_comes_before_the_platforms(share: Share):
    assert share.rc("polite", **{"limit-s": "0.3"}) == runner.CANCELLED
    end = read_json(share.run / "exit.json")
    assert end is not None and end["stop"] == "deadline"


@pytest.mark.parametrize(("mode", "status"), [("no result", 3), ("full disk", 1), ("killed", 137)])
def test_every_fault_has_an_exit_status_other_than_0(share: Share, mode: str, status: int):
    assert share.rc(mode) == status


def test_an_engine_that_ends_well_without_a_result_has_not_ended_well(share: Share):
    share.engine.write_text("#!/bin/sh\nexit 0\n")
    assert share.rc() == runner.NO_RESULT


def test_the_grace_never_reaches_into_the_platforms_kill():
    args = ["run", "--engine", "python3", "--root", ".", "--attempt", "1", "--owner-env", "PATH", "--grace-s", "300"]
    assert runner.arguments(args).grace_s == runner.SHARE_GRACE_S < 30


def test_what_grows_is_brought_to_the_share_at_least_every_two_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert runner.SYNC_S <= 2
    args = ["--engine", "python3", "--root", ".", "--attempt", "1", "--owner-env", "PATH"]
    (tmp_path / "events.jsonl").write_text("{}\n")
    synced: list[str] = []
    monkeypatch.setattr(runner.os, "fsync", lambda fd: synced.append(os.readlink(f"/proc/self/fd/{fd}")))
    runner.Runner(runner.arguments([str(tmp_path), *args])).sync()
    assert synced == [str(tmp_path / "events.jsonl")]
