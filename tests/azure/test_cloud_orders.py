"""The standing orders of a run in the cloud, and what holds whatever happens to it."""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.azure.fake_runs import (
    PLAN,
    RUN,
    CloudHome,
    FakeCloud,
    Remote,
    beats,
    fails_at_once,
    finishes,
    never,
    result_and_runs_on,
    system,
    until_stopped,
)
from tools.runs.cloud_row import Phase


@pytest.fixture
def home(tmp_path: Path) -> Iterator[CloudHome]:
    made = CloudHome(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize(("script", "order", "phase", "kind"), [
    pytest.param(never, "no_start", Phase.FAILED, "start", id="never reports"),
    pytest.param(result_and_runs_on, "finished", Phase.SUCCEEDED, "", id="runs on after its result"),
    pytest.param(beats, "cap", Phase.STOPPED, "cap", id="uses up its money"),
])
def test_a_standing_order_ends_a_run(
    tmp_path: Path, script: Callable[[FakeCloud, Remote], None], order: str, phase: Phase, kind: str,
) -> None:
    home = CloudHome(tmp_path, FakeCloud(script=script), replace(PLAN, ceiling_micros=1_000_000))
    try:
        assert until_stopped(home) == order
        assert home.row.phase is phase and home.row.seen.end["kind"] == kind and not home.cloud.live
    finally:
        home.close()


def test_silence_warns_and_then_stops(home: CloudHome) -> None:
    def does(cloud: FakeCloud, each: Remote) -> None:
        cloud.started = True
        if (cloud.clock - each.started_at).total_seconds() < 100:
            cloud.beat_at = cloud.clock

    home.cloud.script = does
    assert until_stopped(home) == "silence" and home.row.seen.end["kind"] == "unreachable"


def test_a_deadline_ends_what_the_platform_does_not(tmp_path: Path) -> None:
    home = CloudHome(tmp_path, FakeCloud(script=beats), replace(PLAN, timeout_s=600, ceiling_micros=10**9))
    try:
        assert until_stopped(home) == "deadline" and home.row.seen.end["kind"] == "deadline"
    finally:
        home.close()


def test_what_is_past_its_expiry_is_stopped(tmp_path: Path) -> None:
    home = CloudHome(tmp_path, FakeCloud(script=beats), replace(PLAN, timeout_s=10**6, ceiling_micros=10**12))
    try:
        assert until_stopped(home, seconds=4000) == "expiry"
    finally:
        home.close()


@settings(max_examples=40, deadline=None)
@given(
    starts=st.lists(st.sampled_from(["ok", "lost", "none", "refused"]), max_size=5), lag=st.sampled_from([0, 5, 60]), twice=st.booleans(),
    script=st.sampled_from([never, fails_at_once, beats, result_and_runs_on, finishes(50), finishes(700)]),
    stop_at=st.none() | st.integers(0, 60), kills=st.sets(st.integers(0, 60), max_size=4),
    silences=st.sets(st.integers(0, 60), max_size=10),
)
def test_whatever_happens_a_run_ends_within_its_approval(
    starts: list[str], lag: int, twice: bool, script: Callable[[FakeCloud, Remote], None], stop_at: int | None, kills: set[int],
    silences: set[int],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        plan = replace(PLAN, ceiling_micros=1_000_000)
        home = CloudHome(Path(folder), FakeCloud(starts=starts, lag_s=lag, twice=twice, script=script), plan)
        try:
            for number in range(800):
                home.cloud.silent = number in silences
                if number in kills:
                    home.again()
                if number == stop_at:
                    home.reconciler.stop(RUN, "person", "owner")
                home.reconciler.round()
                if home.row.ended:
                    break
                system(home)
                home.cloud.forward(30)
            row = home.row
            assert row.ended, home.story()
            assert not home.cloud.live
            assert home.cloud.most_live <= (2 if twice else 1)
            assert {each.attempt for each in home.cloud.executions} <= {1, 2}
            one_look = 2 * 30 * 500 * (2 if twice else 1)
            assert home.store.settlements()[0].micros <= plan.ceiling_micros + 600 * 500 * 2 + one_look
        finally:
            home.close()
