"""The book of runs in the cloud: compare and set, one process at a time, each call's money once."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from policies.cloud_tables import cloud_runs
from tests.azure.fake_runs import CALL, RUN, CloudHome, finishes
from tools.runs.cloud_row import CloudWish, Memory, Phase
from tools.runs.cloud_store import CloudStore
from tools.runs.identity import identify


@pytest.fixture
def home(tmp_path: Path) -> Iterator[CloudHome]:
    made = CloudHome(tmp_path)
    yield made
    made.close()


def test_a_row_comes_back_as_it_was_written(home: CloudHome) -> None:
    seen = Memory(uploaded=True, times={"one": ("2026-11-24T12:00:00Z", "")}, live=("one",), end={"state": "failed"}, exit_code=1,
                  owed=(("call-0", 5, "by the clock"),))
    after = replace(home.row, phase=Phase.RUNNING, execution="one", started_at=home.cloud.clock, seen=seen)
    assert home.store.move(home.row, after) == replace(after, changed_at=home.row.changed_at)


def test_of_two_writes_from_the_same_row_one_counts(home: CloudHome) -> None:
    row = home.row
    assert home.store.move(row, replace(row, phase=Phase.PROVISIONING)) is not None
    assert home.store.move(row, replace(row, phase=Phase.FAILED)) is None
    assert home.row.phase is Phase.PROVISIONING


def test_of_two_writes_in_the_same_phase_one_counts(home: CloudHome) -> None:
    row = home.row
    assert home.store.move(row, row.remembering(waiting="PullingImage")) is not None
    assert home.store.move(row, row.remembering(waiting="PulledImage")) is None
    assert home.row.seen.waiting == "PullingImage"


def test_a_lease_that_nobody_renewed_is_over(home: CloudHome) -> None:
    assert home.store.lease(RUN)
    home.book.write(lambda db: db.execute(update(cloud_runs).values(lease_until="2026-01-01T00:00:00Z")) and None)
    assert CloudStore(home.book).lease(RUN)


def test_of_two_resumes_one_counts(home: CloudHome) -> None:
    row = home.row
    assert home.store.again(row, replace(row, attempt=2, call_id="call-2")) is not None
    assert home.store.again(row, replace(row, attempt=2, call_id="call-3")) is None
    assert home.row.call_id == "call-2"


def test_a_stop_stays_one_and_no_move_undoes_it(home: CloudHome) -> None:
    row = home.row
    home.store.wish(RUN, CloudWish("stop", "person", "owner"))
    home.store.wish(RUN, CloudWish("stop", "cap", "system"))
    moved = home.store.move(row, replace(row, phase=Phase.PROVISIONING))
    assert moved is not None and moved.wish == CloudWish("stop", "person", "owner")


def test_only_one_process_acts_on_a_run(home: CloudHome) -> None:
    other = CloudStore(home.book)
    assert home.store.lease(RUN) and home.store.lease(RUN) and not other.lease(RUN)
    home.store.release(RUN)
    assert other.lease(RUN) and not home.store.lease(RUN)


def test_the_lease_of_a_process_that_is_dead_is_over(home: CloudHome) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    holder = json.dumps(identify(child.pid).as_json())
    home.book.write(lambda db: db.execute(update(cloud_runs).values(lease_by=holder, lease_until="9999-01-01T00:00:00Z")) and None)
    assert not home.store.lease(RUN)
    child.communicate()
    assert home.store.lease(RUN)


def test_each_change_of_phase_has_its_event(home: CloudHome) -> None:
    home.cloud.script = finishes()
    home.until(Phase.SUCCEEDED)
    events = home.store.events(RUN)
    assert [before for _, _, before, _, _ in events[1:]] == [then for _, _, _, then, _ in events[:-1]]
    assert all(why for _, _, _, _, why in events[1:])


def test_what_accrues_is_rate_times_time(home: CloudHome) -> None:
    home.until(Phase.STARTING)
    begun = home.row.started_at
    assert begun is not None
    assert home.store.accruing(begun + timedelta(seconds=100)) == [(RUN, CALL, 100 * 500)]


def test_money_is_settled_once_the_end_is_told(home: CloudHome) -> None:
    home.cloud.script = finishes()
    home.until(Phase.RUNNING)
    home.store.move(home.row, replace(home.row, phase=Phase.SUCCEEDED).remembering(end={"state": "finished"}))
    assert home.store.settlements() == []
    home.round()
    assert [each.call_id for each in home.store.settlements()] == [CALL]


def test_money_of_an_earlier_approval_is_owed_until_it_is_settled(home: CloudHome) -> None:
    home.store.move(home.row, home.row.remembering(owed=(("call-0", 7, "by the clock"),)))
    assert [(each.call_id, each.micros) for each in home.store.settlements()] == [("call-0", 7)]
