"""The survey: what the numbers of rows say, from the first bad row to the last good one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from policies.tool import ToolFailed
from tests.tools.fakes_datasets import DataWorld, open_file, pairs
from tools.datasets.refs import DataFile
from tools.datasets.survey import Survey, examples, shape_of, survey


@pytest.fixture
def world(tmp_path: Path) -> Iterator[DataWorld]:
    made = DataWorld(tmp_path)
    yield made
    made.close()


def surveyed(world: DataWorld, rows: object) -> Survey:
    world.put("rows.jsonl", rows)  # type: ignore[arg-type]
    with world.refs.open("rows.jsonl") as file:
        return survey(file)


def kinds(found: Survey) -> list[str]:
    return [problem.kind for problem in found.findings.listed()]


@pytest.mark.parametrize(
    ("count", "ok", "expected"),
    [(1, False, ["too_few"]), (3, False, ["too_few"]), (4, True, ["few_rows"]), (15, True, ["few_rows"]), (20, True, [])],
)
def test_small_sets_are_warned_about_and_tiny_ones_refused(world: DataWorld, count: int, ok: bool, expected: list[str]) -> None:
    found = surveyed(world, pairs(count))
    assert (found.ok, kinds(found), found.rows) == (ok, expected, count)


def test_every_row_is_accounted_for_in_the_files_order(world: DataWorld) -> None:
    rows = [*pairs(10), {"prompt": "p", "completion": ""}, *pairs(10, 10)]
    found = surveyed(world, rows)
    assert (found.rows, found.rejected, len(found.numbers)) == (20, 1, 20)
    assert found.numbers == (*range(1, 11), *range(12, 22))
    assert kinds(found) == ["empty_answer"]


def test_a_broken_line_stops_a_run_and_names_its_row(world: DataWorld) -> None:
    found = surveyed(world, '{"prompt": "a", "completion": "b"}\n{"prompt": "c", "comp')
    assert not found.ok
    assert found.findings.first_error is not None
    assert (found.findings.first_error.kind, found.findings.first_error.row) == ("json", 2)


def test_mostly_useless_rows_stop_a_run(world: DataWorld) -> None:
    found = surveyed(world, [*pairs(20), *[{"prompt": f"p{n}", "completion": ""} for n in range(21)]])
    assert (found.ok, kinds(found)[0]) == (False, "mostly_rejected")


def test_rows_that_all_say_the_same_stop_a_run(world: DataWorld) -> None:
    found = surveyed(world, [{"prompt": "the very same words", "completion": "x"}] * 30)
    assert "no_held_out" in kinds(found)
    assert not found.ok


def test_a_set_with_nothing_left_to_learn_from_stops_a_run(world: DataWorld) -> None:
    found = surveyed(world, [{**row, "split": "test"} for row in pairs(20)])
    assert (found.ok, kinds(found)) == (False, ["no_train"])


def test_one_answer_to_everything_is_warned_about(world: DataWorld) -> None:
    assert kinds(surveyed(world, [{**row, "completion": "yes"} for row in pairs(20)])) == ["one_answer"]


def test_leakage_between_the_files_own_sides_is_warned_about(world: DataWorld) -> None:
    row = {"prompt": "one two three four five six seven eight", "completion": "x"}
    found = surveyed(world, [{**row, "split": "test"}, {**row, "completion": "x", "split": "train"}, *pairs(20)])
    assert {"leakage", "duplicate", "near_duplicates"} == set(kinds(found))
    assert found.ok


def test_preferences_and_unknown_fields_are_refused_with_a_remedy(world: DataWorld) -> None:
    preference = surveyed(world, [{"prompt": "p", "chosen": "a", "rejected": "b"}] * 30)
    unknown = surveyed(world, [{"colour": "red", "size": 3}] * 30)
    assert (kinds(preference), kinds(unknown)) == (["preference"], ["unknown_format"])
    assert "prompt and completion" in preference.findings.listed()[0].remedy


def test_the_shape_is_taken_from_the_first_row_that_shows_one(world: DataWorld) -> None:
    found = surveyed(world, [{"note": "made by hand"}, *pairs(20)])
    assert (found.shape.format, found.rejected) == ("prompt", 1)


def test_the_second_pass_gives_the_rows_that_the_first_one_counted(world: DataWorld) -> None:
    path = world.samples / "rows.jsonl"
    world.write(path, [*pairs(5), {"prompt": "", "completion": "x"}, *pairs(5, 5)])
    with open_file(path) as file:
        found = survey(file)
        assert tuple(number for number, _ in examples(file, shape_of(file))) == found.numbers


def test_a_registered_file_that_was_changed_is_refused(world: DataWorld) -> None:
    path = world.samples / "rows.jsonl"
    world.write(path, pairs(20))
    with open_file(path) as file:
        changed = DataFile(file.path, file.size, "rows@00000000", file.fd, "0" * 64)
        with pytest.raises(ToolFailed, match="no longer the one that was registered"):
            survey(changed)
