"""One step of a run in the cloud, from what a look showed: which executions are its own, which are stopped, and what they cost."""

from dataclasses import replace
from datetime import timedelta

from tests.azure.fake_runs import NAME, RUN, START, row_of
from tools.azure.jobs import Execution, in_order
from tools.runs.cloud_look import WAITS, Seen
from tools.runs.cloud_row import CloudWish, Phase, stamp
from tools.runs.cloud_state import step

FIRST = Execution(NAME, "Running", START, run_id=RUN, attempt=1)


def test_one_empty_list_sends_no_second_start() -> None:
    row = replace(row_of(Phase.START_UNKNOWN), execution="")
    late = START + timedelta(seconds=WAITS.in_flight + 1)
    first = step(row, Seen(executions=()), late)
    assert first.actions == () and step(first.row, Seen(executions=()), late).actions[0].kind == "start"


def test_an_execution_of_another_run_is_never_taken_up() -> None:
    row = replace(row_of(Phase.START_UNKNOWN), execution="")
    taken = step(row, Seen(executions=(Execution("luthier-run-9999999999-x", "Running", START, run_id="9999999999", attempt=1),)), START)
    assert taken.row.execution == "" and taken.row.phase is Phase.START_UNKNOWN


def test_an_earlier_attempt_that_lives_after_all_is_stopped_before_the_next_one_starts() -> None:
    row = replace(row_of(Phase.JOB_READY), attempt=2, execution="")
    taken = step(row, Seen(executions=(FIRST,)), START)
    assert [(each.kind, each.execution) for each in taken.actions] == [("stop", NAME)] and taken.row.phase is Phase.JOB_READY


def test_a_run_does_not_end_while_a_second_execution_of_it_lives() -> None:
    later = START + timedelta(minutes=5)
    done = Execution(NAME, "Succeeded", START, later, RUN, 1, 0)
    second = Execution(f"{NAME}b", "Running", START + timedelta(seconds=1), run_id=RUN, attempt=1)
    taken = step(row_of(Phase.RUNNING), Seen(executions=(done, second), result={"outcome": "finished"}), later)
    assert [(each.kind, each.execution) for each in taken.actions] == [("stop", second.name)] and taken.row.phase is Phase.RUNNING
    both = (done, replace(second, status="Stopped", ended_at=later))
    assert step(taken.row, Seen(executions=both, result={"outcome": "finished"}), later).row.phase is Phase.DOWNLOADING


def test_the_money_of_every_execution_counts() -> None:
    second = Execution(f"{NAME}b", "Running", START + timedelta(seconds=100), run_id=RUN, attempt=1)
    first = FIRST
    taken = step(row_of(Phase.RUNNING), Seen(executions=(first, second)), START + timedelta(seconds=300))
    assert taken.row.accrued_micros(START + timedelta(seconds=300)) == (300 + 200) * 500


def test_the_money_of_an_earlier_approval_is_not_counted_again() -> None:
    row = row_of(Phase.RUNNING)
    resumed = replace(row, attempt=2, plan=replace(row.plan, first=2))
    before = Execution(f"{NAME}b", "Stopped", START - timedelta(days=1), START, RUN, 1)
    now = Execution(NAME, "Running", START, run_id=RUN, attempt=2)
    taken = step(resumed, Seen(executions=(before, now)), START + timedelta(seconds=300))
    assert taken.row.accrued_micros(START + timedelta(seconds=300)) == 300 * 500


def test_a_stop_is_sent_to_everything_that_runs() -> None:
    second = Execution(f"{NAME}b", "Running", START + timedelta(seconds=1), run_id=RUN, attempt=1)
    row = replace(row_of(Phase.RUNNING), wish=CloudWish("stop", "person", "owner"))
    taken = step(row, Seen(executions=(FIRST, second)), START + timedelta(minutes=1))
    assert [(each.kind, each.execution) for each in taken.actions] == [("stop", NAME), ("stop", second.name)]


def test_the_oldest_execution_comes_first_whatever_order_azure_gives() -> None:
    younger = replace(FIRST, name="luthier-run-a", started_at=START + timedelta(seconds=1))
    assert in_order([younger, FIRST]) == (FIRST, younger)


def test_what_a_late_list_does_not_show_may_cost_money_all_the_same() -> None:
    assert step(row_of(Phase.RUNNING), Seen(executions=()), START).row.seen.live == (NAME,)


def test_an_execution_whose_state_azure_does_not_know_is_not_given_up_within_its_time_limit() -> None:
    row = row_of(Phase.RUNNING, missing_at=stamp(START), status="Unknown")
    late = START + timedelta(seconds=5 * WAITS.lost)
    assert step(row, Seen(executions=(replace(FIRST, status="Unknown"),)), late).row.phase is Phase.LOST


def test_a_stop_does_not_wait_for_the_next_attempts_moment() -> None:
    row = row_of(Phase.INFRA_RETRY, retry_at=stamp(START + timedelta(hours=1)))
    stopped = step(replace(row, wish=CloudWish("stop", "person", "owner"), execution=""), Seen(), START)
    assert stopped.row.phase is Phase.STOPPED and stopped.row.attempt == 1


def test_nothing_accrues_after_the_end() -> None:
    late = START + timedelta(hours=2)
    row = row_of(Phase.LOST, missing_at=stamp(START))
    after = step(row, Seen(gone=True), late).row
    assert after.phase is Phase.DOWNLOADING
    assert after.accrued_micros(late) == after.accrued_micros(late + timedelta(hours=9))
