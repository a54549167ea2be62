"""The faults of the table that concern calls and runs on this machine, each with what is expected of it."""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.home import HomeLock
from policies.tool import ToolFailed
from tests.faults.evidence import processes, rows
from tests.faults.proof import proves
from tests.faults.town import Town
from tools.runs.identity import lock_state

NewTown = Callable[[], Town]
FOURTH = 4
"""The payment is the fourth thing in a life that a yes is used for: two starts and a resume come before it."""


def outcome_of(town: Town, tool: str) -> list[str]:
    """The kinds of end in the record of a tool's calls."""
    records = [json.loads(row["record"]) for row in rows(town.home, "select record from audit where kind = 'outcome' order by seq")]
    return [one["event"] for one in records if one["tool"]["name"] == tool]


@proves("F1", "the server is killed with -9 while a local run trains",
        "the run goes on; its events are read on from where they were; shown as running within 10 s of the restart")
def test_a_run_goes_on_when_its_server_is_killed_and_is_shown_as_running_after_the_restart(town: Town) -> None:
    pid = town.start("hold")
    run = town.hear("held")
    town.until(lambda: len(town.events(run)) == 3, "the third step")
    town.kill(pid)
    (engine,) = [pid for pid, command in processes(town.home / "runs").items() if "faults/engine.py" in command]
    began = time.monotonic()
    assert town.live("watch", run=run) == 0, town.trouble()
    assert town.word("shown") == {run: "running"} and town.word("state") == "running" and town.word("end") == "finished"
    assert time.monotonic() - began < 60
    starts = [json.loads(line)["pid"] for line in (town.home / "runs" / run / "starts.jsonl").read_text().splitlines()]
    assert starts == [engine] and [one["step"] for one in town.events(run)] == [1, 2, 3, 4, 5, 6]
    town.kept()


@proves("F2", "the server is restarted while an approval waits", "it still waits, for as long as it said; the card still works, once")
def test_a_waiting_card_is_good_after_a_restart_and_works_once(town: Town) -> None:
    pid = town.start("ask")
    card, expires = town.hear("card"), town.hear("expires")
    town.kill(pid)
    assert town.live("answer", card=card) == 0, town.trouble()
    assert (town.word("found"), town.word("expires")) == ("pending", expires)
    assert [row["state"] for row in rows(town.home, "select state from runs")] == ["finished"]
    town.kept()


@proves("F3", "killed between the verdict and the intent", "nothing was started or reserved; a yes that was given holds and is used once")
def test_killed_before_the_intent_nothing_has_begun(town: Town) -> None:
    assert town.live("life", f"gateway.consume.before:{FOURTH}") == -signal.SIGKILL, town.trouble()
    assert not rows(town.home, "select 1 from ledger") and not list((town.home / "receipts").iterdir())
    town.sound()
    assert len(list((town.home / "receipts").iterdir())) == 1


@proves("F4", "killed between the intent and the start of the process", "outcome not_started; no process, no folder, the machine free")
def test_killed_after_the_intent_of_a_run_nothing_was_started_and_that_is_what_the_record_says(town: Town) -> None:
    assert town.live("train", "gateway.consume.after") == -signal.SIGKILL, town.trouble()
    assert not processes(town.home / "runs") and not list((town.home / "runs").glob("*/"))
    assert town.live("look") == 0, town.trouble()
    assert outcome_of(town, "start_finetune") == ["not_started"] and not rows(town.home, "select 1 from runs")
    town.sound()


@proves("F5", "killed between the reservation and the paid call", "outcome not_started; the reservation is released when its lease is over")
def test_killed_after_a_reservation_its_money_is_free_when_the_lease_is_over(town: Town) -> None:
    assert town.live("life", f"gateway.consume.after:{FOURTH}") == -signal.SIGKILL, town.trouble()
    assert [row["kind"] for row in rows(town.home, "select kind from ledger")] == ["reserve"]
    assert town.live("look") == 0, town.trouble()
    assert outcome_of(town, "pay") == ["not_started"]
    assert [row["kind"] for row in rows(town.home, "select kind from ledger")] == ["reserve"], "the lease is not over"
    assert town.live("look", later_s=180) == 0, town.trouble()
    assert [row["kind"] for row in rows(town.home, "select kind from ledger")] == ["reserve", "release"]
    assert not list((town.home / "receipts").iterdir())
    town.sound()


@pytest.mark.parametrize("kind", ["gpu_oom", "gpu_lost"])
@proves("F20", "the GPU's memory is full, or the GPU is gone",
        "failed(gpu_oom or gpu_lost); no process is left, the lock and the machine are free")
def test_the_end_of_a_gpu_is_the_reason_of_the_run_and_leaves_nothing_held(town: Town, kind: str) -> None:
    assert town.live("train", mode=kind) == 0, town.trouble()
    assert (town.word("state"), town.word("kind")) == ("failed", kind) and "GPU" in town.word("words")
    folder = town.home / "runs" / town.word("run")
    assert lock_state(folder / "attempt-1.lock") == "free" and lock_state(town.home / "runs" / ".machine.lock") != "held"
    town.kept()


@proves("F23", "the machine is restarted under a local run", "interrupted(reboot), resumable from its last checkpoint, the machine free")
def test_after_a_reboot_a_run_is_interrupted_and_goes_on_from_its_last_checkpoint(town: Town) -> None:
    pid = town.start("hold")
    run = town.hear("held")
    folder = town.home / "runs" / run
    town.until(lambda: len(town.events(run)) == 3, "the third step")
    town.kill(pid)
    for each in processes(folder):
        os.kill(each, signal.SIGKILL)
    town.until(lambda: not processes(folder), "the end of all processes")
    noted = json.loads((folder / "runner.json").read_text())
    (folder / "runner.json").write_text(json.dumps({**noted, "boot": "the boot before this one"}))
    assert town.live("resume", run=run) == 0, town.trouble()
    assert town.word("state") == "interrupted" and "restarted" in town.word("words") and town.word("end") == "finished"
    assert [one["step"] for one in town.events(run)] == [1, 2, 3, 3, 4, 5, 6], "one step since the last checkpoint is made again"
    town.kept()


@proves("F32", "two programs are started on one home", "the second is refused and names the first; nothing of the first is touched")
def test_a_second_program_on_a_home_is_refused(town: Town) -> None:
    pid = town.start("hold")
    run = town.hear("held")
    before = len(town.events(run))
    with pytest.raises(ToolFailed, match=str(pid)) as refused:
        HomeLock(town.home).take()
    assert refused.value.kind == "locked" and len(town.events(run)) >= before
    town.kill(pid)
    assert town.live("watch", run=run) == 0, town.trouble()
    town.kept()


def test_a_deaf_trainer_is_ended_by_force_and_a_second_stop_does_nothing_more(new_town: NewTown, tmp_path: Path) -> None:
    """F25 and F26 together, through the gate; each has a test of its own beside its tool."""
    town = new_town()
    pid = town.start("hold", mode="deaf")
    run = town.hear("held")
    town.kill(pid)
    assert town.live("stop", run=run) == 0, town.trouble()
    assert town.word("end") == "cancelled" and outcome_of(town, "cancel_run") == ["ok", "ok"]
    town.kept()
