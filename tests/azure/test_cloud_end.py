"""How a run in the cloud ended where no file says it: what Azure's word means, and what counts as the platform's own failure."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.azure.fake_runs import CALL, PLAN, RUN, START
from tools.azure.jobs import is_certain
from tools.azure.trouble import AzureTrouble
from tools.runs.cloud_end import ending
from tools.runs.cloud_look import WAITS
from tools.runs.cloud_row import CloudRow, CloudWish, Memory, Phase, stamp
from tools.runs.state import RunState


def ended(status: str, took_s: float, **seen: object) -> CloudRow:
    """A run whose execution is over, and left no result."""
    after = START + timedelta(seconds=took_s)
    memory = Memory(status=status, over_at=stamp(after), **seen)  # type: ignore[arg-type]
    return CloudRow(RUN, 1, CALL, "westus3", PLAN, START + timedelta(hours=72), Phase.STARTING, execution="one", seen=memory,
                    started_at=START, ended_at=after)


@pytest.mark.parametrize(("row", "state", "kind"), [
    pytest.param(ended("Failed", 5), RunState.FAILED, "infra", id="within seconds, without a sign of life"),
    pytest.param(ended("Failed", 5, started=True), RunState.FAILED, "crashed", id="the engine had reported"),
    pytest.param(ended("Failed", 5, exit_code=1), RunState.FAILED, "crashed", id="the container had a status"),
    pytest.param(ended("Failed", WAITS.infra + 1), RunState.FAILED, "crashed", id="not within seconds"),
    pytest.param(ended("Failed", 600, exit_code=137), RunState.FAILED, "killed", id="killed"),
    pytest.param(ended("Failed", PLAN.timeout_s), RunState.CANCELLED, "deadline", id="cut off at the time limit"),
    pytest.param(ended("Stopped", 600), RunState.CANCELLED, "person", id="stopped in the portal"),
    pytest.param(ended("", 600, missing_at=stamp(START)), RunState.FAILED, "gone", id="not to be found"),
])
def test_without_a_file_azures_word_counts(row: CloudRow, state: RunState, kind: str) -> None:
    found = ending(row, None, None, WAITS.infra)
    assert (found.state, found.kind) == (state, kind)


def test_a_result_counts_whatever_azure_says() -> None:
    found = ending(replace(ended("Failed", 5), phase=Phase.FINISHING), {"outcome": "finished"}, None, WAITS.infra)
    assert found.state is RunState.FINISHED


def test_a_container_that_ran_on_after_its_end_was_not_stopped_by_a_person() -> None:
    row = replace(ended("Stopped", 600), wish=CloudWish("stop", "finished", "system"))
    assert ending(row, None, {"rc": 1}, WAITS.infra).kind == "crashed"


@pytest.mark.parametrize(("status", "certain"), [
    (400, True), (404, True), (409, True), (408, False), (429, False), (500, False), (0, False),
])
def test_only_a_refusal_says_for_certain_that_nothing_was_begun(status: int, certain: bool) -> None:
    assert is_certain(AzureTrouble("unknown", "Start", "no.", "Look.", status=status)) is certain
