"""`python -m ui watch`, beside a running server and in a terminal of its own."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tools.fakes_runs import RunWorld
from tests.ui.fakes_run import RUN_ID
from tests.ui.served import ROOT, Served
from tools.runs.state import RunState
from ui.cli import run

pytestmark = pytest.mark.usefixtures("own_home")


def begun(capsys: pytest.CaptureFixture[str]) -> None:
    """A run that has just been approved."""
    assert run(["call", "start_finetune", "--json"]) == 3
    identity = json.loads(capsys.readouterr().out.splitlines()[-1])["approval"]["id"]
    assert run(["approve", identity, "--yes"]) == 0
    capsys.readouterr()


def test_watch_follows_a_run_to_its_end(capsys: pytest.CaptureFixture[str]):
    begun(capsys)
    assert run(["watch", RUN_ID]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("Running: training · step") for line in lines)
    assert any(line.startswith("Finished · step 60 of 60 · loss 0.415") for line in lines)
    assert lines[-1] == "After, served file: 60% of 40 held-out answers exact (int8)" and len(lines) <= 40


def test_a_program_reads_every_event_as_a_line_of_json(capsys: pytest.CaptureFixture[str]):
    begun(capsys)
    assert run(["watch", RUN_ID, "--json"]) == 0
    items = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [item["step"] for item in items if item["kind"] == "step"] == list(range(1, 61))
    assert items[-1]["kind"] == "view" and items[-1]["view"]["state"] == "finished"


def test_a_run_that_did_not_finish_is_one(capsys: pytest.CaptureFixture[str]):
    begun(capsys)
    assert run(["call", "cancel_run"]) == 0
    assert run(["watch", RUN_ID]) == 1
    assert "Stopped · step" in capsys.readouterr().out


def test_it_works_alone_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    world = RunWorld(tmp_path)
    run_id = world.begin("finishes")
    world.until(run_id, RunState.FINISHED)
    world.close()
    monkeypatch.setenv("LUTHIER_HOME", str(tmp_path))
    assert run(["watch", run_id]) == 0 and capsys.readouterr().out.startswith("Finished · step 0 of 24")
    assert run(["watch", "0123456789"]) == 1 and "no run of yours" in capsys.readouterr().err


def seen(screen: int) -> str:
    """What comes to a terminal until its program hangs up."""
    text = b""
    while True:
        try:
            part = os.read(screen, 4096)
        except OSError:
            return text.decode("utf-8", "replace")
        if not part:
            return text.decode("utf-8", "replace")
        text += part


@pytest.mark.parametrize(("leaves", "status"), [(False, 0), (True, 130)], ids=["stays", "presses Ctrl-C"])
def test_in_a_terminal_the_panel_is_drawn_in_place_and_leaving_leaves_the_run_alone(
    leaves: bool, status: int, served: Served, capsys: pytest.CaptureFixture[str]
):
    begun(capsys)
    screen, line = pty.openpty()
    command = [sys.executable, "-m", "ui", "watch", RUN_ID]
    env = {**served.env, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "50"}
    process = subprocess.Popen(command, cwd=ROOT, env=env, stdin=line, stdout=line, stderr=line)
    os.close(line)
    text = b""
    while leaves and b"Running: training" not in text:
        text += os.read(screen, 4096)
    if leaves:
        process.send_signal(signal.SIGINT)
    shown = text.decode("utf-8", "replace") + seen(screen)
    os.close(screen)
    assert process.wait(30) == status
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    assert re.search(r"step \d+/60 loss", plain), "the log's last lines"
    assert "Learning rate" in plain and "training loss" in plain and "\x1b[1A" in shown, "drawn over itself"
    assert ("The run goes on." in plain) is leaves and ("Traceback" not in plain)
    if leaves:
        assert run(["watch", RUN_ID]) == 0, "it went on"
