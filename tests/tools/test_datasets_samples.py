"""The samples: made anew to the byte, balanced, and without a bridge from training rows to held-out rows."""

import json
import re
import runpy
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.tools.fakes_datasets import DataWorld
from tools.datasets.survey import survey

SAMPLES = Path(__file__).parents[2] / "samples"
FORMATS = {
    "chat.json": "chat", "chat.jsonl": "chat", "instruction.jsonl": "instruction", "labelled.csv": "labelled", "labelled.tsv": "prompt",
    "preference.jsonl": "preference", "prompt.jsonl": "prompt", "question.jsonl": "question", "sharegpt.jsonl": "sharegpt",
    "text.jsonl": "text", "text.txt": "text",
}
SHORT = 5
"""Words; every run of this many that occurs in training rows is looked for in the test rows."""


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(SAMPLES / "make_helpdesk.py"))


@pytest.fixture(scope="module")
def rows() -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {"train": [], "test": []}
    for line in (SAMPLES / "helpdesk.jsonl").read_text().splitlines():
        row = json.loads(line)
        found[row["split"]].append(row)
    return found


@pytest.fixture
def world(tmp_path: Path) -> Iterator[DataWorld]:
    made = DataWorld(tmp_path)
    yield made
    made.close()


def ticket(row: dict[str, Any]) -> str:
    return row["messages"][1]["content"]


def answer(row: dict[str, Any]) -> str:
    return row["messages"][2]["content"]


def grams(text: str, size: int) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return set(zip(*(words[i:] for i in range(size)), strict=False))


def test_the_script_writes_the_same_bytes_again(script: dict[str, Any], tmp_path: Path) -> None:
    script["main"](tmp_path)
    made = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    kept = {path.relative_to(SAMPLES): path.read_bytes() for path in [SAMPLES / "helpdesk.jsonl", *(SAMPLES / "formats").iterdir()]}
    assert made == kept


def test_there_are_about_four_hundred_rows_balanced_over_the_labels(rows: dict[str, list[dict[str, Any]]]) -> None:
    assert (len(rows["train"]), len(rows["test"])) == (336, 72)
    for side in rows.values():
        labels = Counter(tuple(answer(row).split(" | ")[:2]) for row in side)
        assert len(labels) == 10
        assert max(labels.values()) - min(labels.values()) <= 1


def test_no_pool_of_the_script_shares_an_entry_with_the_other_side(script: dict[str, Any]) -> None:
    train, test = script["TRAIN"], script["TEST"]
    for name in ("openings", "sites", "people"):
        assert not {entry.lower() for entry in getattr(train, name)} & {entry.lower() for entry in getattr(test, name)}
    for name in ("things", "urgency"):
        ours, theirs = ({entry.lower() for pool in getattr(side, name).values() for entry in pool} for side in (train, test))
        assert not ours & theirs


def test_every_row_is_made_from_the_pools_of_its_own_side(script: dict[str, Any], rows: dict[str, list[dict[str, Any]]]) -> None:
    for side, pools in (("train", script["TRAIN"]), ("test", script["TEST"])):
        for row in rows[side]:
            category, priority, site = answer(row).split(" | ")
            assert site in pools.sites
            assert site in ticket(row)
            assert any(thing in ticket(row) for thing in pools.things[category])
            assert any(ticket(row).endswith(sentence) for sentence in pools.urgency[priority])


def test_no_entity_of_one_side_is_named_on_the_other(script: dict[str, Any], rows: dict[str, list[dict[str, Any]]]) -> None:
    for side, other in (("train", script["TEST"]), ("test", script["TRAIN"])):
        words = {word for row in rows[side] for word in re.findall(r"\w+", ticket(row))}
        assert not words & {*other.sites, *other.people}
        things = [thing for pool in other.things.values() for thing in pool]
        assert not [thing for thing in things for row in rows[side] if re.search(rf"\b{re.escape(thing)}\b", ticket(row))]


def test_no_run_of_five_words_occurs_on_both_sides(rows: dict[str, list[dict[str, Any]]]) -> None:
    ours, theirs = ({gram for row in rows[side] for gram in grams(ticket(row), SHORT)} for side in ("train", "test"))
    assert not ours & theirs


def test_no_ticket_of_one_side_is_near_one_of_the_other(rows: dict[str, list[dict[str, Any]]]) -> None:
    ours, theirs = ([grams(ticket(row), 3) for row in rows[side]] for side in ("train", "test"))
    assert max(len(a & b) / len(a | b) for a in ours for b in theirs) < 0.2


def test_the_helpdesk_sample_has_no_fault(world: DataWorld) -> None:
    world.put("helpdesk.jsonl", (SAMPLES / "helpdesk.jsonl").read_bytes())
    with world.refs.open("helpdesk.jsonl") as file:
        found = survey(file)
    assert (found.ok, found.findings.listed(), found.rejected) == (True, (), 0)
    assert found.division.near_duplicates == found.division.moved == 0


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_each_format_has_a_sample_that_is_recognised(world: DataWorld, name: str) -> None:
    world.put(name, (SAMPLES / "formats" / name).read_bytes())
    with world.refs.open(name) as file:
        found = survey(file)
    assert found.shape.format == FORMATS[name]
    assert [p.kind for p in found.findings.listed()] == (["preference"] if name.startswith("preference") else [])
    assert found.rows == (0 if name.startswith("preference") else 24)


def test_no_sample_lacks_a_test() -> None:
    assert {path.name for path in (SAMPLES / "formats").iterdir()} == set(FORMATS)
