"""Preparing: what the engine reads is complete, divided without leaks, and the same every time."""

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from policies.tool import ToolFailed
from tests.tools.fakes_datasets import DataWorld, pairs
from tools.datasets.prepare import prepare

SIDES = ("train", "validation", "test")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[DataWorld]:
    made = DataWorld(tmp_path)
    yield made
    made.close()


def rows_of(folder: Path, side: str) -> list[dict]:
    return [json.loads(line) for line in (folder / f"{side}.jsonl").read_text().splitlines()]


def test_every_usable_row_is_written_once_as_messages(world: DataWorld, tmp_path: Path) -> None:
    world.put("rows.jsonl", [*pairs(60), {"prompt": "p", "completion": ""}])
    made = prepare(world.refs, "rows.jsonl", tmp_path / "out")
    written = [row for side in SIDES for row in rows_of(tmp_path / "out", side)]
    assert made.counts == {side: len(rows_of(tmp_path / "out", side)) for side in SIDES} == {"train": 48, "validation": 6, "test": 6}
    assert {row["messages"][0]["content"] for row in written} == {row["prompt"] for row in pairs(60)}
    assert all(set(row) == {"messages"} and set(turn) == {"role", "content"} for row in written for turn in row["messages"])
    assert (made.rejected, made.format, made.digest) == (1, "prompt", world.refs.digest("rows.jsonl"))
    assert made.longest_characters == max(len(json.dumps(row)) for row in written)


def test_texts_stay_texts(world: DataWorld, tmp_path: Path) -> None:
    world.put("rows.txt", "".join(f"{row['prompt']}\n" for row in pairs(20)))
    prepare(world.refs, "rows.txt", tmp_path / "out")
    assert all(set(row) == {"text"} for row in rows_of(tmp_path / "out", "train"))


def test_the_same_data_and_seed_give_the_same_bytes(world: DataWorld, tmp_path: Path) -> None:
    world.put("rows.jsonl", pairs(60))
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        prepare(world.refs, "rows.jsonl", tmp_path / name, seed)
    content = {name: [(tmp_path / name / f"{side}.jsonl").read_bytes() for side in SIDES] for name in "abc"}
    assert content["a"] == content["b"] != content["c"]


def test_files_are_for_their_owner_alone_and_nothing_half_written_stays(world: DataWorld, tmp_path: Path) -> None:
    world.put("rows.jsonl", pairs(20))
    prepare(world.refs, "rows.jsonl", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(f"{side}.jsonl" for side in SIDES)
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "out").iterdir()} == {0o600}


def test_a_broken_row_stops_it_with_the_row_and_nothing_is_written(world: DataWorld, tmp_path: Path) -> None:
    world.put("rows.jsonl", "".join(json.dumps(row) + "\n" for row in pairs(20)) + '{"half')
    with pytest.raises(ToolFailed, match="Line 21 is not complete JSON") as failed:
        prepare(world.refs, "rows.jsonl", tmp_path / "out")
    assert failed.value.kind == "data"
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_says_so(world: DataWorld, tmp_path: Path) -> None:
    world.put("rows.jsonl", pairs(20))
    (tmp_path / "out").write_text("a file is in the way")
    with pytest.raises(ToolFailed) as failed:
        prepare(world.refs, "rows.jsonl", tmp_path / "out")
    assert failed.value.kind == "disk"


def test_the_prepared_training_rows_of_the_sample_share_nothing_with_its_test_rows(world: DataWorld, tmp_path: Path) -> None:
    sample = Path(__file__).parents[2] / "samples" / "helpdesk.jsonl"
    world.put("helpdesk.jsonl", sample.read_bytes())
    made = prepare(world.refs, "samples/helpdesk.jsonl", tmp_path / "out")
    assert made.counts["test"] == 72
    assert (made.counts["train"] + made.counts["validation"], made.rejected) == (336, 0)
    asked = {side: {row["messages"][1]["content"] for row in rows_of(tmp_path / "out", side)} for side in SIDES}
    assert not asked["test"] & (asked["train"] | asked["validation"])
