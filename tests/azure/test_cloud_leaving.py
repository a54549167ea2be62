"""What a teardown says of runs whose results, or whose last checkpoint, are nowhere but on the share."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.azure.fake_runs import RUN, CloudHome, beats, finishes
from tools.runs.cloud_leaving import LeavingRuns
from tools.runs.cloud_row import Phase


@pytest.fixture
def home(tmp_path: Path) -> Iterator[CloudHome]:
    made = CloudHome(tmp_path)
    yield made
    made.close()


def missing(home: CloudHome) -> list[str]:
    """Runs that somebody would miss."""
    return LeavingRuns(home.book, home.store, home.local.folder, lambda run, by: None).only_there("westus3")


def wrote(home: CloudHome, name: str, what: object) -> None:
    """A file of the run's folder here."""
    path = home.local.folder(RUN) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(what) + "\n")


def stopped(home: CloudHome) -> None:
    """The run was stopped."""
    home.cloud.script = beats
    home.until(Phase.RUNNING)
    home.reconciler.stop(RUN, "person", "owner")
    home.until(Phase.STOPPED)
    wrote(home, "result.json", {"outcome": "cancelled"})


def test_a_run_that_came_to_nothing_is_not_missed(home: CloudHome) -> None:
    stopped(home)
    assert missing(home) == []


def test_the_last_checkpoint_of_a_stopped_run_is_missed_until_it_is_here(home: CloudHome) -> None:
    stopped(home)
    wrote(home, "events.jsonl", {"kind": "checkpoint", "step": 8})
    assert missing(home) == [RUN]
    wrote(home, "checkpoints/checkpoint-8/complete.json", {})
    assert missing(home) == []


def test_a_finished_run_is_missed_until_every_listed_file_is_here(home: CloudHome) -> None:
    home.cloud.script = finishes()
    home.until(Phase.SUCCEEDED)
    wrote(home, "result.json", {"outcome": "finished"})
    assert missing(home) == [RUN]
    wrote(home, "adapter/adapter_model.safetensors", "x")
    size = (home.local.folder(RUN) / "adapter/adapter_model.safetensors").stat().st_size
    wrote(home, "manifest.json", {"files": {"adapter/adapter_model.safetensors": {"bytes": size + 1}}})
    assert missing(home) == [RUN]
    wrote(home, "manifest.json", {"files": {"adapter/adapter_model.safetensors": {"bytes": size}}})
    assert missing(home) == []
