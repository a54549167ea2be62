"""Approvals, ledger and runs under any order of events and any kill; and that the machine would find what is wrong."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from policies import ledger
from policies.approvals import Approvals
from tests.policies import planted
from tests.policies.machine import HomeMachine

STEPS = settings(
    max_examples=200, stateful_step_count=50, deadline=None, database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
# What Hypothesis tries first depends on which modules are loaded, even where nothing is random: a hunt ends with what it finds.
HUNT = settings(STEPS, max_examples=3000, phases=[Phase.generate], derandomize=True, print_blob=False, report_multiple_bugs=False)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """The machine's tool breaks thousands of times, and each would be logged with its traceback."""
    log = logging.getLogger("luthier")
    log.disabled = True
    yield
    log.disabled = False


def test_no_order_of_events_and_no_kill_breaks_what_must_hold() -> None:
    run_state_machine_as_test(HomeMachine, settings=STEPS)


@pytest.mark.parametrize(("where", "name", "bug", "words"), [
    (ledger, "settle", planted.settle_quietly, "the ledger of .* says something else"),
    (Approvals, "consume", planted.consume_twice, "no outcome, or two|began 2 times|reserved twice|began twice"),
    (Approvals, "decide", planted.decide_late, "to what had expired"),
], ids=["settling above the reservation is not counted", "a yes is consumed twice", "expiry is not checked"])
def test_the_machine_finds_a_planted_bug(monkeypatch: pytest.MonkeyPatch, where: Any, name: str, bug: Any, words: str) -> None:
    monkeypatch.setattr(where, name, bug)
    with pytest.raises(AssertionError, match=words):
        run_state_machine_as_test(HomeMachine, settings=HUNT)
