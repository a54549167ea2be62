"""A run in the cloud while nobody looks: this machine sleeps, its network is down, its clock is set, or Azure is slow."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from tests.azure.fake_runs import RUN, START, CloudHome, FakeCloud, Remote, beats, finishes, row_of, system
from tools.runs.cloud_end import ending
from tools.runs.cloud_look import WAITS
from tools.runs.cloud_row import CloudRow, CloudWish, Phase, stamp
from tools.runs.cloud_state import evidence
from tools.runs.cloud_thread import CloudThread
from tools.runs.cloud_view import warnings

SOON_S = 20
"""Nothing takes as long; it only keeps a broken test from hanging."""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[CloudHome]:
    made = CloudHome(tmp_path)
    yield made
    made.close()


def test_the_waits_are_those_that_were_agreed() -> None:
    found = (WAITS.in_flight, WAITS.grace, WAITS.no_start, WAITS.warn, WAITS.silence, WAITS.lost)
    assert found == (90, 120, 900, 300, 600, 900)


BOUND = [
    pytest.param("no_start", row_of(Phase.STARTING), WAITS.no_start, id="no start"),
    pytest.param("silence", row_of(Phase.RUNNING, beat_at=stamp(START)), WAITS.silence, id="silence"),
    pytest.param("finished", row_of(Phase.FINISHING, marker_at=stamp(START)), WAITS.grace, id="finished"),
]


@pytest.mark.parametrize(("order", "row", "after_s"), BOUND)
def test_an_order_is_due_when_its_time_is_over_and_not_before(order: str, row: CloudRow, after_s: float) -> None:
    early, late = START + timedelta(seconds=after_s - 1), START + timedelta(seconds=after_s)
    assert order not in evidence(row.remembering(looked_at=stamp(early)), early)
    assert order in evidence(row.remembering(looked_at=stamp(late)), late)


def test_a_silent_run_is_warned_of_before_it_is_stopped() -> None:
    quiet = row_of(Phase.RUNNING, beat_at=stamp(START))
    told = [warnings(quiet.remembering(looked_at=stamp(START + timedelta(seconds=WAITS.warn + late)))) for late in (-1, 0)]
    assert told[0] == () and "stopped after 10" in told[1][0]


@pytest.mark.parametrize(("order", "row", "after_s"), BOUND)
def test_what_nobody_could_look_at_is_not_held_against_a_run(order: str, row: CloudRow, after_s: float) -> None:
    assert order not in evidence(row.remembering(looked_at=stamp(START)), START + timedelta(hours=8))


def test_an_hour_without_a_network_stops_no_run(home: CloudHome) -> None:
    home.cloud.script = finishes(5400)
    home.until(Phase.RUNNING)
    home.cloud.silent = True
    for _ in range(60):
        home.round(seconds=60)
        assert system(home) == ""
    home.cloud.silent = False
    assert home.until(Phase.SUCCEEDED).wish == CloudWish()


def test_a_run_that_ended_while_this_machine_slept_counts_as_it_ended(home: CloudHome) -> None:
    def does(cloud: FakeCloud, each: Remote) -> None:
        beats(cloud, each)
        if cloud.clock - each.started_at > timedelta(hours=1):
            cloud.result = {"outcome": "finished", "step": 10, "steps": 10}
            each.status, each.ended_at = "Succeeded", each.started_at + timedelta(seconds=600)

    home.cloud.script = does
    home.until(Phase.RUNNING)
    home.cloud.forward(8 * 3600)
    assert system(home) == "cap"  # by the clock alone its money is used up
    assert home.until(Phase.SUCCEEDED).phase is Phase.SUCCEEDED
    assert [each.micros for each in home.store.settlements()] == [600 * 500]


def test_nothing_is_due_before_the_first_look_of_a_process(home: CloudHome) -> None:
    home.cloud.script = beats
    home.until(Phase.RUNNING)
    home.cloud.forward(100 * 3600)
    assert home.again().due(RUN) == ()
    home.reconciler.round()
    assert "expiry" in home.reconciler.due(RUN)


def test_its_own_time_limit_is_told_where_a_stop_came_after_it() -> None:
    row = replace(row_of(Phase.STOPPING), wish=CloudWish("stop", "cap", "system"))
    found = ending(row, {"outcome": "cancelled"}, {"rc": 75, "stop": "deadline"}, WAITS.infra)
    assert found.kind == "deadline"


def test_a_result_that_is_seen_a_little_after_the_end_counts(home: CloudHome) -> None:
    def does(cloud: FakeCloud, each: Remote) -> None:
        beats(cloud, each)
        if each.ended_at is None and cloud.clock - each.started_at > timedelta(minutes=5):
            cloud.end(each, "Failed", 1)

    home.cloud.script = does
    home.until(Phase.RUNNING)
    while home.cloud.live:
        home.cloud.forward(10)
    home.round(seconds=WAITS.settle / 2)
    home.cloud.result = {"outcome": "finished", "step": 10, "steps": 10}
    assert home.until(Phase.SUCCEEDED, Phase.FAILED).phase is Phase.SUCCEEDED


def test_what_goes_wrong_before_the_start_is_tried_five_times_with_longer_and_longer_pauses(home: CloudHome) -> None:
    class Fails(FakeCloud):
        def upload(self, row, say):  # type: ignore[no-untyped-def]
            tried.append(self.clock)
            super().upload(row, say)

    tried = list[datetime]()
    home.cloud = Fails(trouble="transient")
    home.again()
    assert home.until(Phase.FAILED, seconds=1).seen.end["kind"] == "start"
    assert [(after - before).total_seconds() for before, after in pairwise(tried)] == [5, 10, 20, 40]


# ── slowness ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_slow_answers_do_not_pile_up() -> None:
    asked, go_on, again, last = list[str](), threading.Event(), threading.Semaphore(0), threading.Event()
    wanted = [f"run-{number}" for number in range(50)]

    def runs() -> list[str]:
        again.release()
        return list(wanted)

    def look(run_id: str) -> bool:
        asked.append(run_id)
        if run_id == "new":
            last.set()
        return go_on.wait(SOON_S)

    thread = CloudThread(runs, look, 0.001)
    thread.begin()
    for round_ in range(22):  # so often it wants to look at all of them, and none has been answered
        assert again.acquire(timeout=SOON_S)
        if round_ == 19:
            wanted.append("new")
    go_on.set()
    assert last.wait(SOON_S)
    before = asked.index("new")
    thread.close()
    assert before < 60


def test_files_on_their_way_leave_the_other_runs_their_looks(home: CloudHome) -> None:
    ids = [f"{number:010d}" for number in range(12)]
    moving, go_on, watched = threading.Semaphore(0), threading.Event(), threading.Event()

    class Slow(FakeCloud):
        def upload(self, row, say):  # type: ignore[no-untyped-def]
            moving.release()
            go_on.wait(SOON_S)

        def observe(self, row):  # type: ignore[no-untyped-def]
            if row.run_id == ids[-1]:
                watched.set()
            return super().observe(row)

    home.cloud = Slow()
    reconciler = home.again()
    for run_id in ids:
        home.add(run_id, Phase.RUNNING if run_id == ids[-1] else Phase.UPLOADING)
    reconciler.pass_()
    for _ in range(4):
        assert moving.acquire(timeout=SOON_S)
    assert watched.wait(SOON_S)
    go_on.set()
    reconciler.close()


def test_a_stop_does_not_wait_for_a_download(home: CloudHome) -> None:
    home.cloud.script = finishes()
    home.until(Phase.RUNNING)
    home.cloud.forward(400)
    home.reconciler.stop(RUN, "person", "owner")
    assert home.row.phase is Phase.DOWNLOADING and home.cloud.fetches == 0
    assert home.until(Phase.SUCCEEDED).phase is Phase.SUCCEEDED


def test_a_stop_does_not_wait_for_azure(home: CloudHome, monkeypatch: pytest.MonkeyPatch) -> None:
    home.cloud.script = beats
    home.until(Phase.RUNNING)
    go_on = threading.Event()

    class Hangs(FakeCloud):
        def observe(self, row):  # type: ignore[no-untyped-def]
            go_on.wait(SOON_S)
            return super().observe(row)

    monkeypatch.setattr("tools.runs.cloud_reconcile.STOP_S", 0.05)
    home.cloud = Hangs(executions=home.cloud.executions, started=True, job=1)
    row = home.again().stop(RUN, "person", "owner")
    go_on.set()
    assert row is not None and row.wish.stops and row.phase is Phase.RUNNING
    for each in threading.enumerate():
        if each.name == "cloud-stop":
            each.join(SOON_S)
    assert home.until(Phase.STOPPED).phase is Phase.STOPPED


def test_a_stop_waits_for_the_look_that_goes_on_and_is_sent_then(home: CloudHome) -> None:
    home.cloud.script = beats
    home.until(Phase.RUNNING)
    looking, go_on = threading.Event(), threading.Event()

    class Slow(FakeCloud):
        def observe(self, row):  # type: ignore[no-untyped-def]
            looking.set()
            go_on.wait(SOON_S)
            return super().observe(row)

    home.cloud = Slow(executions=home.cloud.executions, started=True, job=1)
    thread = threading.Thread(target=home.again().round)
    thread.start()
    assert looking.wait(SOON_S)
    stopping = threading.Thread(target=home.reconciler.stop, args=(RUN, "person", "owner"))
    stopping.start()
    while not home.row.wish.stops:
        stopping.join(0.01)
    go_on.set()
    stopping.join(SOON_S)
    thread.join(SOON_S)
    assert len(home.cloud.stops) == 1


def test_a_call_that_was_cut_off_by_the_end_of_the_program_is_no_trouble_of_the_run(home: CloudHome) -> None:
    home.round()
    before = home.row

    class Closing(FakeCloud):
        def observe(self, row):  # type: ignore[no-untyped-def]
            home.reconciler.close()
            self.silent = True
            return super().observe(row)

    home.cloud = Closing()
    home.again().round()
    assert home.row == before
