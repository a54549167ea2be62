"""The clock is set forward or back by a day: what is measured in seconds is not misjudged, and what is measured in dates stays closed."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.town import Town
from tests.tools.fakes_runs import RunWorld
from tools.runs.runner import write_atomically
from tools.runs.state import RunState

DAY_S = 86_400


@pytest.mark.parametrize(
    ("seconds", "card", "paid"),
    [pytest.param(DAY_S, "expired", False, id="forward"), pytest.param(-DAY_S, "pending", True, id="back")],
)
def test_runs_and_the_line_go_on_and_a_card_is_either_good_or_expired(town: Town, seconds: int, card: str, paid: bool) -> None:
    assert town.live("clock", seconds=seconds) == 0, town.trouble()
    assert town.word("after") == ["running", "queued"] and town.word("ends") == ["finished", "finished"]
    assert (town.word("found"), town.word("paid")) == (card, paid)
    assert len(list((town.home / "receipts").iterdir())) == int(paid)
    town.kept()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[RunWorld]:
    """A home whose graces are short."""
    made = RunWorld(tmp_path)
    yield made
    made.close()


def test_a_stop_that_was_asked_for_before_the_clock_went_back_is_still_carried_out_by_force(world: RunWorld) -> None:
    run = world.begin("stubborn")
    world.until(run, RunState.RUNNING)
    folder = world.places.runs / run
    os.kill(json.loads((folder / "runner.json").read_text())["pid"], signal.SIGKILL)
    world.local.stop(run, 1, "owner")
    asked = json.loads((folder / "stop-1.json").read_text())
    write_atomically(folder / "stop-1.json", {**asked, "t": asked["t"] + DAY_S})
    world.until(run, RunState.CANCELLED)


def test_a_start_that_hangs_is_given_up_by_the_kernels_count_and_no_other(world: RunWorld) -> None:
    run = world.row()
    row = world.store.wanted(run)
    assert world.reconciler.observe(row).waited_s < 10
    line = {**row.line, "at": "2020-01-01T00:00:00.000000Z"}
    world.store.set_outcome(run, {**row.outcome, "line": line})
    assert world.state(run) is RunState.QUEUED, "only the clock says that it has waited for years"
    world.store.set_outcome(run, {**row.outcome, "line": {**line, "moment": {**line["moment"], "mono": line["moment"]["mono"] - 60}}})
    assert world.state(run) is RunState.FAILED
