"""The plan of a run."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from policies.tool import ToolFailed
from tests.tools.fakes_runs import MACHINE, FakePlanning
from tools.hardware import Machine, Memory
from tools.outlook import DatasetFacts
from tools.runs.plan import Plan, Wish, as_seconds, make_plan, minutes, spec_of

ROWS = DatasetFacts(rows=400, train_rows=300, p50=50, p95=80, max=100, digest="d" * 64)
WISH = Wish("bundled", "samples/helpdesk.jsonl")


def planned(wish: Wish = WISH, rows: DatasetFacts = ROWS, machine: Machine = MACHINE) -> Plan:
    return make_plan(wish, FakePlanning(Path("/models/tiny")).model("bundled"), rows, machine)


def test_the_card_names_all_that_a_person_says_yes_to() -> None:
    card = dict(planned().card())
    assert list(card) == ["Model", "Variant", "Method", "Steps", "Dataset", "Memory", "Time", "Cost", "Writes", "Checks"]
    assert "aaaaaaaaaaaa" in card["Model"] and "dddddddddddd" in card["Dataset"] and "0.00 USD" in card["Cost"]
    assert "QLoRA" in card["Method"] and "r 8" in card["Method"] and "0.001" in card["Method"]


def test_the_plan_as_data_is_json_and_carries_the_digests_that_a_change_would_show_in() -> None:
    told = json.loads(json.dumps(planned().as_json()))
    assert told["model_digest"] == "a" * 64 and told["dataset"]["digest"] == "d" * 64
    assert told["steps"] == told["settings"]["max_steps"] and told["cost"]["ceiling"] == "0.00"
    assert told["memory"]["low_bytes"] <= told["memory"]["likely_bytes"] <= told["memory"]["high_bytes"]


def test_the_spec_takes_the_settings_of_the_card(tmp_path: Path) -> None:
    plan = planned(replace(WISH, max_steps=7, learning_rate=3e-4, method="lora"))
    model = FakePlanning(tmp_path).model("bundled")
    spec = spec_of(plan.as_json(), run_id="0123456789", model=model, data_dir=tmp_path, data_digest="d" * 64, base_served=None)
    assert (spec.max_steps, spec.learning_rate, spec.method, spec.export, spec.seed) == (7, 3e-4, "lora", "int8", 0)
    assert spec.threads == plan.settings.threads and spec.max_length == plan.settings.max_length


def test_the_stop_rule_does_not_change_with_the_moment() -> None:
    busy = replace(MACHINE, load=5.0, memory=Memory(8 << 30, 2 << 30))
    assert planned(machine=busy).stop_rules() == planned().stop_rules() and planned().limit_s >= 3600


def test_too_little_memory_is_refused_with_both_figures_and_a_way_out() -> None:
    with pytest.raises(ToolFailed, match=r"0\.7 GiB .* 0\.2 GiB are free") as refused:
        planned(machine=replace(MACHINE, memory=Memory(1 << 30, 200 << 20)))
    assert refused.value.kind == "memory" and "smaller model" in refused.value.try_next


def test_too_little_disk_is_refused_with_both_figures() -> None:
    with pytest.raises(ToolFailed, match="of disk") as refused:
        planned(machine=replace(MACHINE, disk_free_bytes=10 << 20))
    assert refused.value.kind == "disk"


def test_no_training_row_is_refused() -> None:
    with pytest.raises(ToolFailed, match="No row"):
        planned(rows=replace(ROWS, train_rows=0))


def test_full_fine_tuning_is_refused_as_not_in_this_version() -> None:
    with pytest.raises(ToolFailed, match="not in this version"):
        planned(replace(WISH, method="full"))


@pytest.mark.parametrize(("seconds", "words"), [(0.2, "1 s"), (61, "61 s"), (600, "10 min"), (7200, "2.0 h")])
def test_durations_are_said_in_fitting_units(seconds: float, words: str) -> None:
    assert minutes(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "limit"), [(1200, 1200), (72 * 3600, None), (None, None)], ids=["less", "as long as may be", "not said"]
)
def test_a_run_lasts_no_longer_than_was_wished_and_than_the_limits_allow(seconds: int | None, limit: int | None) -> None:
    plan = planned(replace(WISH, max_time=seconds))
    assert plan.limit_s == (limit or planned().limit_s) <= 72 * 3600


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("90m", 5400), ("2h", 7200), ("1h30m", 5400), ("1.5 hours", 5400), ("20 minutes", 1200), ("600", 600), (600, 600), ("45s", 45),
     (None, None)],
)
def test_a_time_is_read_as_people_write_it(said: object, seconds: object) -> None:
    assert as_seconds(said) == seconds


@pytest.mark.parametrize("said", ["soon", "", "2 days", "-5m", "1e9h", "nan"])
def test_words_that_are_no_time_are_refused_with_examples(said: str) -> None:
    with pytest.raises(ValueError, match="90m, 2h"):
        as_seconds(said)


def test_more_hours_than_the_limits_allow_are_refused() -> None:
    with pytest.raises(ToolFailed, match="72 hours at most") as refused:
        planned(replace(WISH, max_time=73 * 3600))
    assert "local_run" in refused.value.try_next
