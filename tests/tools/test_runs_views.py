"""Views of runs: how busy a GPU is comes from the driver where the engine cannot say it."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.tools.fakes_runs import RunWorld
from tools.runs.state import RunState
from tools.runs.views import Views


@pytest.fixture
def world(tmp_path: Path) -> Iterator[RunWorld]:
    world = RunWorld(tmp_path)
    yield world
    world.close()


@pytest.mark.parametrize(("device", "phase", "told", "use"), [
    ("cuda", "train", None, 0.8), ("cuda", "train", 0.3, 0.3), ("cuda", "export", None, None), ("cpu", "train", None, None),
], ids=["training on a gpu", "the engine says it", "not training", "on the cpu"])
def test_the_driver_is_asked_for_a_run_that_trains_on_a_gpu_and_does_not_say(
    world: RunWorld, device: str, phase: str, told: float | None, use: float | None,
) -> None:
    row = world.store.wanted(world.row(state=RunState.RUNNING))
    folder = world.local.folder(row.id)
    folder.mkdir(parents=True, exist_ok=True)
    events = [{"kind": "step", "step": 1, "steps": 9, "loss": 1.0, "gpu_use": told}, {"kind": "stage", "stage": phase}]
    (folder / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    view = Views(world.local, world.line, lambda: 0.8).of(replace(row, spec={**row.spec, "device": device}))
    assert view.phase == phase and view.gpu_use == use
