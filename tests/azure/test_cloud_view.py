"""A run in the cloud as its page shows it: where, for how much, through which phases, and what became of its job."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from policies.tool import Call
from tests.azure.cloud import Cloud
from tests.azure.fake_runs import RUN, CloudHome, FakeCloud, finishes, never
from tests.azure.run_home import RunHome, works
from tools.runs.cloud_leaving import LeavingRuns
from tools.runs.cloud_row import Phase
from tools.runs.cloud_view import CloudViews
from tools.runs.line import Line
from tools.runs.look import ListArgs, ListRuns, brain_view
from tools.runs.reconcile import Reconciler
from tools.runs.report import Reports
from tools.runs.state import RunView
from tools.runs.views import Views


@pytest.fixture
def home(tmp_path: Path) -> Iterator[CloudHome]:
    """A run that trains for five minutes and ends."""
    found = CloudHome(tmp_path, FakeCloud(script=finishes()))
    yield found
    found.close()


def view_of(home: CloudHome, later: timedelta = timedelta()) -> RunView:
    """The view at the cloud's own time, or later."""
    plain = Views(home.local, Line(home.book)).of(home.runs.wanted(RUN))
    return CloudViews(home.store).of(plain, home.cloud.clock + later)


def report_of(home: CloudHome) -> dict[str, Any]:
    """Everything that its page is made of; it must be JSON."""
    views = Views(home.local, Line(home.book), cloud=CloudViews(home.store))
    found = Reports(home.places, home.book, home.runs, home.local, views, home.store).of(home.runs.wanted(RUN))
    return json.loads(json.dumps(found, allow_nan=False))


def leaving(home: CloudHome) -> LeavingRuns:
    """What a teardown asks."""
    return LeavingRuns(home.book, home.store, home.local.folder, lambda run, by: None)


def test_the_view_says_where_it_is_on_what_and_for_how_much_at_most(home: CloudHome) -> None:
    cloud = view_of(home).cloud
    assert (cloud["region"], cloud["gpu"], cloud["profile"]) == ("westus3", "T4", "Consumption-GPU-NC8as-T4")
    assert (cloud["image"], cloud["ceiling"], cloud["per_hour"]) == ("h/n@sha256:1", "5.00", "1.800")


def test_a_start_says_what_the_platform_waits_for_and_no_word_of_anybody_else(tmp_path: Path) -> None:
    home = CloudHome(tmp_path, FakeCloud(script=never))
    home.until(Phase.STARTING)
    for word, said in (("AssigningReplica", "waiting for a GPU"), ("PullingImage", "its image is being pulled"), ("<b>odd</b>", "")):
        home.store.move(home.row, home.row.remembering(waiting=word))
        view = view_of(home)
        assert view.cloud["waiting"] == said == brain_view(view)["waiting"]
    home.close()


def test_the_report_has_every_phase_with_its_time_and_reason(home: CloudHome) -> None:
    home.until(Phase.SUCCEEDED)
    phases = report_of(home)["phases"]
    assert [each["to"] for each in phases] == home.story() and phases[0]["to"] == "approved" and phases[-1]["to"] == "succeeded"
    assert [each["at"] for each in phases] == sorted(each["at"] for each in phases) and all(each["attempt"] == 1 for each in phases)


async def test_the_report_repeats_what_the_card_said_of_account_and_money(cloud: Cloud, tmp_path: Path) -> None:
    home = RunHome(tmp_path / "home", cloud)
    home.prepare()
    cloud.script(works())
    run = await home.begin(gpu="T4")
    await home.until_over(run)
    found = Reports(home.places, home.book, home.runs, home.local, home.views, home.store).of(home.runs.wanted(run))
    lines: Any = found["approved"]
    approved = {str(label): value for label, value in lines}
    assert "tenant" in str(approved["Signed in as"]) and "group" in str(approved["Subscription"])
    assert str(found["view"]["cloud"]["ceiling"]) in str(approved["Most it can cost"])  # type: ignore[index, call-overload]
    assert "Model" not in approved
    home.close()


def test_a_job_past_its_expiry_is_offered_for_deletion_and_no_more_when_it_is_gone(home: CloudHome) -> None:
    home.until(Phase.SUCCEEDED)
    assert view_of(home).cloud["past_expiry"] is False and not view_of(home).warnings
    old = view_of(home, timedelta(hours=73))
    assert old.cloud["past_expiry"] is True and brain_view(old)["past_expiry"] is True
    assert any("delete the expired jobs" in each for each in old.warnings)
    leaving(home).forget(RUN, "ann")
    gone = view_of(home, timedelta(hours=73))
    assert (gone.cloud["past_expiry"], gone.cloud["job"]) == (False, "deleted") and not gone.warnings
    assert home.story()[-1] == "destroyed" and report_of(home)["phases"][-1]["why"] == "its job was deleted by ann"


def test_a_run_that_goes_on_and_one_that_nobody_knows_are_not_forgotten(home: CloudHome) -> None:
    home.until(Phase.RUNNING)
    leaving(home).forget(RUN, "ann")
    leaving(home).forget("9876543210", "ann")
    assert home.row.phase is Phase.RUNNING


def test_the_list_of_runs_counts_the_jobs_that_have_expired(home: CloudHome) -> None:
    home.until(Phase.SUCCEEDED)
    home.reconciler.pass_()
    line = Line(home.book)
    lists = ListRuns(home.runs, Views(home.local, line, cloud=CloudViews(home.store)), Reconciler(home.runs, home.local, line))
    assert lists.perform(ListArgs(), Call("c", "owner")).for_brain["past_expiry"] == 0
    home.store.move(home.row, replace(home.row, expires_at=datetime(2020, 1, 1, tzinfo=UTC)))
    assert lists.perform(ListArgs(), Call("c", "owner")).for_brain["past_expiry"] == 1
