"""The phases of a run in the cloud, over a fake cloud: each path, and what holds on every one of them."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.azure.fake_runs import CALL, RUN, CloudHome, FakeCloud, Remote, beats, fails_at_once, finishes, until_stopped
from tools.azure.trouble import AzureTrouble
from tools.runs.cloud_row import CloudWish, Phase
from tools.runs.cloud_state import evidence
from tools.runs.state import RunState
from tools.runs.store import HERE

OVER = (Phase.SUCCEEDED, Phase.FAILED, Phase.STOPPED)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[CloudHome]:
    made = CloudHome(tmp_path)
    yield made
    made.close()


def test_a_run_goes_from_its_approval_to_its_end(home: CloudHome) -> None:
    home.cloud.script = finishes()
    row = home.until(*OVER)
    assert row.phase is Phase.SUCCEEDED and home.cloud.sent == home.cloud.uploads == home.cloud.fetches == 1
    assert home.story() == ["approved", "uploading", "provisioning", "job_ready", "start_requested", "starting", "running", "downloading",
                            "succeeded"]
    assert home.runs.wanted(RUN).state is RunState.FINISHED


def test_the_money_is_rate_times_the_time_of_the_execution(home: CloudHome) -> None:
    home.cloud.script = finishes(600)
    home.until(*OVER)
    owed = home.store.settlements()
    assert [each.micros for each in owed] == [600 * 500] and "600 s" in owed[0].basis


def test_the_row_is_written_before_the_start_is_sent(home: CloudHome) -> None:
    seen: list[Phase] = []

    class Watching(FakeCloud):
        def start(self, row):  # type: ignore[no-untyped-def]
            seen.append(home.row.phase)
            return super().start(row)

    home.cloud = Watching()
    home.again().round()
    assert seen == [Phase.START_REQUESTED]


@pytest.mark.parametrize(("answers", "sent"), [
    pytest.param(["lost"], 1, id="begun without an answer: adopted"),
    pytest.param(["none"], 2, id="not begun without an answer: sent again after the wait"),
    pytest.param(["none", "lost"], 2, id="the second one is adopted"),
])
def test_a_start_without_an_answer_runs_once(home: CloudHome, answers: list[str], sent: int) -> None:
    home.cloud.starts, home.cloud.script, home.cloud.lag_s = list(answers), finishes(), 60
    assert home.until(*OVER).phase is Phase.SUCCEEDED
    assert home.cloud.sent == sent and home.cloud.most_live == 1


def test_an_unknown_start_is_not_sent_again_before_the_wait_is_over(home: CloudHome) -> None:
    home.cloud.starts = ["none"] * 9
    home.round(seconds=5, times=16)
    assert home.row.phase is Phase.START_UNKNOWN and home.cloud.sent == 1
    home.round(seconds=20, times=2)
    assert home.cloud.sent == 2


def test_a_start_that_never_begins_anything_is_given_up(home: CloudHome) -> None:
    home.cloud.starts = ["none"] * 9
    row = home.until(*OVER)
    assert row.phase is Phase.FAILED and home.cloud.sent == 5 and row.seen.end["kind"] == "start"
    assert [each.micros for each in home.store.settlements()] == [0]


def test_a_refused_start_fails_at_once(home: CloudHome) -> None:
    home.cloud.starts = ["refused"]
    row = home.until(*OVER)
    assert row.phase is Phase.FAILED and home.cloud.sent == 1 and "is being changed" in row.seen.end["reason"]


def test_a_start_that_was_refused_for_a_reason_nobody_knows_is_not_sent_again(home: CloudHome) -> None:
    class Odd(FakeCloud):
        def start(self, row):  # type: ignore[no-untyped-def]
            self.sent += 1
            raise AzureTrouble("unknown", "Start", "it says something odd.", "Look.", status=418)

    home.cloud = Odd()
    home.again()
    assert home.until(*OVER).phase is Phase.FAILED and home.cloud.sent == 1


def test_an_execution_that_the_list_shows_late_is_the_one_that_runs(home: CloudHome) -> None:
    home.cloud.lag_s, home.cloud.script = 60, finishes()
    assert home.until(*OVER).phase is Phase.SUCCEEDED and home.cloud.sent == 1


def test_after_a_kill_between_the_row_and_the_start_the_list_is_looked_at_first(home: CloudHome) -> None:
    class Dies(FakeCloud):
        def start(self, row):  # type: ignore[no-untyped-def]
            raise KeyboardInterrupt

    home.cloud = Dies()
    home.again()
    with pytest.raises(KeyboardInterrupt):
        home.reconciler.round()
    assert home.row.phase is Phase.START_REQUESTED
    home.cloud = FakeCloud(script=finishes(), job=1)
    home.again()
    home.round(seconds=30, times=3)
    assert home.cloud.sent == 0
    assert home.until(*OVER).phase is Phase.SUCCEEDED and home.cloud.sent == 1


def test_a_second_execution_is_stopped_and_the_first_goes_on(home: CloudHome) -> None:
    home.cloud.twice, home.cloud.script = True, finishes(3000)
    home.round(times=3)
    assert "second_execution" in home.reconciler.due(RUN)
    assert until_stopped(home) == "second_execution"
    assert home.row.phase is Phase.SUCCEEDED and len(home.cloud.stops) == 1 and home.cloud.stops[0] != home.row.execution


def test_a_platform_failure_is_tried_once_more_within_the_approval(home: CloudHome) -> None:
    home.cloud.script = fails_at_once
    row = home.until(*OVER)
    assert row.phase is Phase.FAILED and row.seen.end["kind"] == "infra" and row.attempt == 2 and home.cloud.sent == 2
    assert "infra_retry" in home.story() and home.runs.wanted(RUN).attempt == 2
    first, second = home.cloud.executions
    assert first.ended_at is not None and (second.started_at - first.ended_at).total_seconds() >= home.waits.infra_pause


def test_the_next_attempt_can_succeed(home: CloudHome) -> None:
    def does(cloud: FakeCloud, each: Remote) -> None:
        (fails_at_once if each.attempt == 1 else finishes())(cloud, each)

    home.cloud.script = does
    row = home.until(*OVER)
    assert row.phase is Phase.SUCCEEDED and row.attempt == 2 and len(row.seen.times) == 2


@pytest.mark.parametrize("phase", [Phase.UPLOADING, Phase.PROVISIONING, Phase.JOB_READY])
def test_a_stop_before_the_start_starts_nothing(home: CloudHome, phase: Phase) -> None:
    home.store.move(home.row, replace(home.row, phase=phase))
    home.cloud.job = 1
    home.store.wish(RUN, CloudWish("stop", "person", "owner"))
    row = home.until(*OVER)
    assert row.phase is Phase.STOPPED and home.cloud.sent == 0 and "Nothing was spent" in row.seen.end["reason"]
    assert home.runs.wanted(RUN).state is RunState.CANCELLED


def test_a_stop_while_a_start_is_in_the_air_catches_what_it_began(home: CloudHome) -> None:
    home.cloud.starts, home.cloud.lag_s, home.cloud.script = ["lost"], 40, beats
    home.round()
    home.reconciler.stop(RUN, "person", "owner")
    row = home.until(*OVER)
    assert row.phase is Phase.STOPPED and not home.cloud.live and home.cloud.sent == 1


def test_a_stop_is_sent_again_until_the_execution_has_ended(home: CloudHome) -> None:
    class Deaf(FakeCloud):
        def stop(self, row, execution):  # type: ignore[no-untyped-def]
            self.stops.append(execution)
            if len(self.stops) == 3:
                self.end(self.executions[0], "Stopped")

    home.cloud = Deaf(script=beats)
    home.again()
    home.until(Phase.RUNNING)
    home.reconciler.stop(RUN, "person", "owner")
    assert home.until(*OVER).phase is Phase.STOPPED and len(home.cloud.stops) == 3


@pytest.mark.parametrize("kind", ["denied", "quota", "policy", "foreign", "transient"])
def test_trouble_before_the_start_ends_in_a_failure_that_says_why(home: CloudHome, kind: str) -> None:
    home.cloud.trouble = kind
    row = home.until(*OVER)
    assert row.phase is Phase.FAILED and "it says no" in row.seen.end["reason"] and home.cloud.sent == 0
    assert [each.micros for each in home.store.settlements()] == [0]


def test_while_azure_does_not_answer_a_run_is_never_given_up(home: CloudHome) -> None:
    home.cloud.script = finishes(100_000)
    home.until(Phase.RUNNING)
    home.cloud.silent = True
    home.round(seconds=60, times=60)
    assert home.row.phase is Phase.RUNNING and "does not answer" in home.row.seen.trouble
    home.cloud.silent = False
    home.round()
    assert home.row.phase is Phase.RUNNING and home.row.seen.trouble == ""


def test_a_stop_is_sent_although_no_look_is_answered(home: CloudHome) -> None:
    class Blind(FakeCloud):
        blind = False

        def observe(self, row):  # type: ignore[no-untyped-def]
            if self.blind:
                raise AzureTrouble("transient", "Ask Azure", "it does not answer.", "It is tried again.")
            return super().observe(row)

    home.cloud = blind = Blind(script=beats)
    home.again()
    home.until(Phase.RUNNING)
    blind.blind = True
    home.reconciler.stop(RUN, "person", "owner")
    assert home.cloud.stops == [home.row.execution] and not home.cloud.live


def test_a_job_that_is_gone_is_lost_and_then_failed(home: CloudHome) -> None:
    home.cloud.script = beats
    home.until(Phase.RUNNING)
    home.cloud.gone = True
    assert home.until(Phase.LOST).phase is Phase.LOST and home.runs.wanted(RUN).state is RunState.LOST
    row = home.until(*OVER)
    assert row.phase is Phase.FAILED and row.seen.end["kind"] == "gone" and home.runs.wanted(RUN).state is RunState.FAILED


def test_a_lost_run_that_reappears_runs_on(home: CloudHome) -> None:
    home.cloud.script = finishes(3000)
    home.until(Phase.RUNNING)
    home.cloud.gone = True
    home.until(Phase.LOST)
    home.cloud.gone = False
    assert home.until(*OVER).phase is Phase.SUCCEEDED


def test_an_execution_whose_state_azure_does_not_know_is_lost_after_a_while_but_never_forgotten(home: CloudHome) -> None:
    home.cloud.script = beats
    home.until(Phase.RUNNING)
    home.cloud.executions[0].status = "Unknown"
    home.until(Phase.LOST)
    home.reconciler.stop(RUN, "person", "owner")
    assert home.cloud.stops and home.row.phase is Phase.STOPPING


@pytest.mark.parametrize(("status", "code", "kind"), [
    pytest.param("Succeeded", 0, "crashed", id="succeeded without a result"), pytest.param("Failed", 1, "crashed", id="exit status"),
    pytest.param("Failed", 137, "killed", id="killed"), pytest.param("Stopped", None, "person", id="stopped in the portal"),
])
def test_without_a_result_azures_word_counts(home: CloudHome, status: str, code: int | None, kind: str) -> None:
    home.cloud.script = beats
    home.until(Phase.RUNNING)
    home.cloud.forward(200)
    home.cloud.end(home.cloud.executions[0], status, code)
    assert home.until(*OVER).seen.end["kind"] == kind


def test_the_result_counts_more_than_what_azure_says(home: CloudHome) -> None:
    def does(cloud: FakeCloud, each: Remote) -> None:
        cloud.started, cloud.result = True, {"outcome": "finished"}
        cloud.end(each, "Failed", 1)

    home.cloud.script = does
    assert home.until(*OVER).phase is Phase.SUCCEEDED


def test_a_failed_download_does_not_keep_a_run_from_its_end(home: CloudHome) -> None:
    home.cloud.script = finishes()
    home.until(Phase.RUNNING)
    home.cloud.trouble = "transient"
    row = home.until(*OVER)
    assert row.phase is Phase.SUCCEEDED and "fetch_results" in row.seen.note


def test_the_clock_of_the_cloud_counts(home: CloudHome) -> None:
    home.cloud.script = beats
    row = home.until(Phase.RUNNING)
    assert evidence(row, home.cloud.clock) == () and "expiry" in evidence(row, row.expires_at)


def test_the_end_there_says_nothing_of_a_run_that_went_on_here(home: CloudHome) -> None:
    home.cloud.script = beats
    home.until(Phase.RUNNING)
    home.reconciler.stop(RUN, "person", "owner")
    home.until(Phase.STOPPED)
    home.runs.next_attempt(RUN, 2, "resumed", where=HERE)
    home.round()
    assert home.runs.wanted(RUN).state is RunState.QUEUED and home.store.unfinished() == []
    assert [each.call_id for each in home.store.settlements()] == [CALL]
