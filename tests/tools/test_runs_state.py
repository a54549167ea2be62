"""The states of a run."""

import json

import pytest

from tools.runs.state import ALIVE, FINAL, RESUMABLE, RunState, RunView, may_become, states_of_word


def test_every_state_is_either_alive_or_final() -> None:
    assert frozenset(RunState) == ALIVE | FINAL and not ALIVE & FINAL


def test_a_finished_run_stays_finished() -> None:
    assert not any(may_become(RunState.FINISHED, then) for then in RunState)


@pytest.mark.parametrize("now", sorted(RunState))
def test_a_run_may_be_queued_again_exactly_when_it_can_be_resumed_or_was_lost(now: RunState) -> None:
    assert may_become(now, RunState.QUEUED) == (now in RESUMABLE or now is RunState.LOST)


@pytest.mark.parametrize("now", sorted(RunState))
def test_no_state_follows_itself(now: RunState) -> None:
    assert not may_become(now, now)


@pytest.mark.parametrize("now", sorted(ALIVE))
def test_a_live_run_can_come_to_every_end(now: RunState) -> None:
    assert all(may_become(now, end) for end in FINAL)


def test_the_four_words_of_list_runs_cover_every_state_once() -> None:
    words = [states_of_word(word) for word in ("running", "finished", "failed", "cancelled")]
    assert frozenset().union(*words) == frozenset(RunState) and sum(map(len, words)) == len(RunState)


def test_a_view_is_plain_json_with_every_field() -> None:
    view = RunView("0123456789", "", "owner", None, "running", scores={"tuned": {"exact_match": 0.5}}, warnings=("one",))
    told = json.loads(json.dumps(view.as_json()))
    assert set(told) == set(RunView.__dataclass_fields__)
    assert told["scores"] == {"tuned": {"exact_match": 0.5}} and told["warnings"] == ["one"] and told["spent"] == "0.00"
