"""Everything known of a run, of a real folder; and of folders that somebody edited, half wrote or took away."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from policies.tables import calls
from tests.tools.fakes_runs import RunWorld
from tools.runs.cloud_store import CloudStore
from tools.runs.report import Reports
from tools.runs.state import RunState

SECRET = "hf_" + "a1B2" * 8
STARTED = {"threads": 2, "device": "cpu", "versions": {"torch": "2.9.0"}, "cpu_flags": ["avx2"], "attempts": [{"at": 1.0, "pid": 7}]}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[RunWorld]:
    world = RunWorld(tmp_path)
    yield world
    world.close()


@pytest.fixture
def finished(world: RunWorld) -> tuple[str, Path]:
    """A run that the fake engine finished, with a curve, a start's record and a checkpoint."""
    run = world.begin("finishes")
    world.until(run, RunState.FINISHED)
    folder = world.places.runs / run
    (folder / "started.json").write_text(json.dumps(STARTED))
    events = [{"t": n, "kind": "step", "step": n, "steps": 9, "loss": 3 / n} for n in range(1, 10)]
    events.append({"t": 10, "kind": "eval", "step": 9, "eval_loss": 0.5})
    with (folder / "events.jsonl").open("a") as file:
        file.writelines(json.dumps(each) + "\n" for each in events)
    for step, seal in ((3, "complete.json"), (6, "weights")):
        (folder / f"checkpoints/checkpoint-{step}").mkdir(parents=True)
        (folder / f"checkpoints/checkpoint-{step}/{seal}").write_text("{}")
    return run, folder


def report(world: RunWorld, run: str) -> dict[str, Any]:
    """What the page gets; it must be JSON."""
    found = Reports(world.places, world.book, world.store, world.local, world.views, CloudStore(world.book)).of(world.store.wanted(run))
    return json.loads(json.dumps(found, allow_nan=False))


def test_a_finished_run_tells_all_of_itself(world: RunWorld, finished: tuple[str, Path]):
    run, _ = finished
    found = report(world, run)
    assert found["view"]["state"] == "finished" and found["view"]["step"] == 9
    assert found["curve"] == {"train": [[n, 3 / n] for n in range(1, 10)], "eval": [[9, 0.5]]}
    assert found["settings"]["lora_r"] == 8 and found["settings_note"] == ""
    assert found["environment"] == STARTED and found["environment_note"] == ""
    assert found["data"] == {"digest": "d" * 64, "rows": {"train": 1, "validation": 1, "test": 1}} and found["base"] == "a" * 64
    assert [(each["step"], each["sealed"]) for each in found["checkpoints"]] == [(3, True), (6, False)]
    assert found["happened"][0] == found["happened"][0] | {"from": "", "to": "queued", "reason": "started by its owner"}
    assert found["happened"][-1]["to"] == "finished"
    assert found["evidence"]["exit"]["rc"] == 0 and found["log"]["lines"] == ["a log line with colour"]
    spec = next(each for each in found["files"] if each["path"] == "spec.json")
    assert len(spec["sha256"]) == 64 and found["files_problem"] == ""


def test_do_it_again_has_the_arguments_that_the_book_holds(world: RunWorld, finished: tuple[str, Path]):
    args = {"model": "bundled", "dataset": "samples/helpdesk.jsonl", "max_steps": None, "name": ""}
    assert report(world, finished[0])["again"] == {}, "without a record of the call nothing can be repeated"
    row = {"call_id": "call-1", "person": "owner", "key": "k", "args_digest": "", "tool": "start_finetune", "caller_json": "{}",
           "args_json": json.dumps(args), "status": "done", "created_at": "2026-11-24T10:00:00Z"}
    world.book.write(lambda db: db.execute(calls.insert().values(**row)) and None)
    wanted = {"tool": "start_finetune", "args": {"model": "bundled", "dataset": "samples/helpdesk.jsonl"}}
    assert report(world, finished[0])["again"] == wanted


def half_written(folder: Path) -> None:
    for name in ("started.json", "spec.json", "result.json", "manifest.json"):
        (folder / name).write_text('{"half": ')
    with (folder / "events.jsonl").open("a") as file:
        file.write('{"kind": "step", "st')


def of_other_shapes(folder: Path) -> None:
    (folder / "started.json").write_text('{"attempts": 7, "versions": [], "cpu_flags": {"a": 1e999}, "x": [[[[[[1]]]]]]}')
    (folder / "result.json").write_text('{"baseline": "text", "peak_memory_bytes": "much", "served_dir": "../.."}')
    (folder / "events.jsonl").write_text('7\n[]\n{"kind": "step", "step": "x", "loss": NaN}\n{"kind": "score", "which": "tuned"}\n')


def of_folders(folder: Path) -> None:
    for name in ("started.json", "events.jsonl", "log.txt", "spec.json"):
        (folder / name).unlink(missing_ok=True)
        (folder / name).mkdir()


def of_links(folder: Path) -> None:
    shutil.rmtree(folder / "data")
    (folder / "data").symlink_to("/etc")
    (folder / "started.json").unlink(missing_ok=True)
    (folder / "started.json").symlink_to("/nowhere")


@pytest.mark.parametrize("spoil", [half_written, of_other_shapes, of_folders, of_links, shutil.rmtree], ids=lambda each: each.__name__)
def test_a_folder_that_somebody_spoiled_is_still_reported(
    world: RunWorld, finished: tuple[str, Path], spoil: Callable[[Path], None]
):
    run, folder = finished
    spoil(folder)
    found = report(world, run)
    assert found["view"]["run_id"] == run and found["settings"]["lora_r"] == 8, "what the book holds stays"


def test_what_cannot_be_read_is_said_in_its_place(world: RunWorld, finished: tuple[str, Path]):
    run, folder = finished
    half_written(folder)
    found = report(world, run)
    assert found["environment_note"] == "started.json cannot be read." and "spec.json is missing or damaged" in found["settings_note"]
    shutil.rmtree(folder)
    assert "folder is missing" in report(world, run)["files_problem"]


def test_settings_that_were_edited_are_named(world: RunWorld, finished: tuple[str, Path]):
    run, folder = finished
    spec = json.loads((folder / "spec.json").read_text())
    (folder / "spec.json").write_text(json.dumps(spec | {"lora_r": 99}))
    assert report(world, run)["settings_note"] == "spec.json was edited since it was approved: lora_r was 8, is 99"


def test_text_of_the_run_is_clean_and_bears_no_secret(world: RunWorld, finished: tuple[str, Path]):
    run, folder = finished
    dirty = f"\x1b[31mred\u202e {SECRET}"
    (folder / "started.json").write_text(json.dumps({"device": dirty, dirty: 1, "versions": {"torch": dirty}}))
    with (folder / "events.jsonl").open("a") as file:
        file.write(json.dumps({"kind": "warning", "text": dirty}) + "\n")
    (folder / "log.txt").write_text(dirty)
    text = json.dumps(report(world, run), ensure_ascii=False)
    assert SECRET not in text and "\x1b" not in text and "\u202e" not in text
    assert report(world, run)["view"]["warnings"][0].startswith("red ")
