"""`python -m ui` as a person types it: real processes, alone and beside a server."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ui.served import REAL, ROOT, Served

Run = Callable[..., subprocess.CompletedProcess[str]]
TUNE = "Fine-tune the bundled model on samples/helpdesk.jsonl"


@pytest.fixture
def alone(tmp_path: Path) -> Run:
    """A terminal on a home that nobody serves."""
    return run_on(Served(tmp_path / "home", REAL))


def run_on(served: Served) -> Run:
    """Commands in the environment of `served`."""
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "ui", *words], cwd=ROOT, env=served.env, capture_output=True, text=True, stdin=subprocess.DEVNULL,
            timeout=120,
        )
    return run


def test_alone_a_sentence_becomes_a_plan_that_waits_and_is_denied(alone: Run):
    said = alone("say", TUNE)
    assert said.returncode == 0, said.stderr
    assert "QLoRA" in said.stdout and "python -m ui approve" in said.stdout
    (waiting,) = json.loads(alone("approvals", "--json").stdout)
    assert waiting["tool"] == "start_finetune" and waiting["status"] == "pending"
    assert alone("approve", waiting["id"]).returncode == 2, "nobody can be asked here"
    assert alone("deny", waiting["id"], "--why", "only looking").returncode == 0
    assert alone("approve", waiting["id"], "--yes").returncode == 4
    assert json.loads(alone("call", "list_runs", "--json").stdout)["result"]["runs"] == []
    assert alone("audit", "verify").returncode == 0


@pytest.mark.parametrize(("words", "code"), [
    (("inspect_hardware",), 0), (("start_finetune", "model=bundled", "dataset=samples/helpdesk.jsonl"), 3),
    (("validate_dataset", "path=/etc/passwd"), 4), (("no_such_tool",), 4), (("inspect_hardware", "nonsense"), 2),
], ids=lambda each: " ".join(each) if isinstance(each, tuple) else str(each))
def test_the_exit_status_of_a_call(alone: Run, words: tuple[str, ...], code: int):
    done = alone("call", *words, "--json")
    assert done.returncode == code, done.stdout + done.stderr
    if code != 2:
        answer = json.loads(done.stdout)
        assert set(answer) == {"status", "tool", "call_id", "result", "approval", "reason", "remedy"}


def test_beside_a_server_the_terminal_and_the_browser_share_one_home(tmp_path: Path):
    served = Served(tmp_path / "home", REAL).start()
    try:
        run = run_on(served)
        assert run("link").stdout.startswith(f"{served.url}/enter?t=")
        assert "cores" in run("say", "What can this machine do?").stdout
        second = run()
        assert second.returncode == 1 and str(served.pid) in second.stderr and "LUTHIER_HOME" in second.stderr
        other_home = {**served.env, "LUTHIER_HOME": str(tmp_path / "other")}
        taken = subprocess.run([sys.executable, "-m", "ui"], cwd=ROOT, env=other_home, capture_output=True, text=True, timeout=120)
        assert taken.returncode == 1 and "LUTHIER_PORT=" in taken.stderr
    finally:
        assert served.stop() == 0


def test_a_host_that_others_can_reach_is_refused_without_https(tmp_path: Path):
    served = Served(tmp_path / "home", REAL, {"LUTHIER_HOST": "0.0.0.0"})
    refused = run_on(served)()
    assert refused.returncode == 1 and "https" in refused.stderr
