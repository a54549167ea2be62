"""Orphans in the stand-in: shown with their cost so far, never touched by themselves, stopped when a person asks."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from policies.book import Book
from policies.proposal import Effect, Trait
from policies.tool import Call, ToolFailed
from tests.azure.arm_prepared import prepare
from tests.azure.cloud import Cloud
from tests.azure.executions import ScriptedExecution
from tests.azure.test_apps import KEY, spec_of
from tests.azure.test_teardown import APP, RUN, add_job
from tools.azure.apps import Apps
from tools.azure.client import Azure
from tools.azure.credential import Hidden
from tools.azure.jobs import Jobs
from tools.azure.orphans import Orphans
from tools.azure.place import CloudPlace, PlaceStore
from tools.azure.prices import Prices
from tools.azure.stop_orphan import StopOrphan, StopOrphanArgs


@pytest.fixture
def place(cloud: Cloud, azure: Azure) -> CloudPlace:
    """A prepared region with a job that runs, and an app."""
    found = prepare(cloud.world, azure.choice, azure.workspace)
    for folder in (f"runs/{RUN}", f"engine/{'e' * 16}", "models"):
        (cloud.share_root / folder).mkdir(parents=True)
    add_job(azure, found, RUN)
    cloud.script(ScriptedExecution())
    Jobs(azure, found).start(Jobs(azure, found).name(RUN))
    Apps(azure, found).put(spec_of(found), Hidden(KEY))
    return found


@pytest.fixture
def places(tmp_path: Path, place: CloudPlace) -> PlaceStore:
    """The book with that place."""
    store = PlaceStore(Book.open(tmp_path / "book.sqlite"))
    store.put(place)
    return store


def orphans_of(azure: Azure, places: PlaceStore, tmp_path: Path, *known: str, later_s: float = 0) -> Orphans:
    """The look of a book that knows so much, so many seconds from now."""
    return Orphans(azure, places, Prices(azure, tmp_path / "prices.json"), lambda run: run in known, lambda app: app in known,
                   clock=lambda: datetime.now(UTC) + timedelta(seconds=later_s))


def test_what_the_book_knows_is_no_orphan(azure: Azure, places: PlaceStore, tmp_path: Path) -> None:
    assert orphans_of(azure, places, tmp_path, RUN, APP).look() == ()


def test_a_job_that_runs_is_shown_with_its_cost_so_far_and_what_can_be_done(azure: Azure, places: PlaceStore, tmp_path: Path) -> None:
    found, = orphans_of(azure, places, tmp_path, APP, later_s=3600).look()
    assert (found.kind, found.name, found.of) == ("job", f"luthier-run-{RUN}", RUN) and len(found.running) == 1
    assert found.spent_micros is not None and found.spent_micros > 100_000
    note = str(found.as_json()["note"])
    assert f"adopt_run execution={found.running[0]}" in note and f"stop_orphan name={found.name}" in note and "only=orphans" in note


def test_an_app_is_shown_and_nobody_knows_its_cost_while_it_may_answer(azure: Azure, places: PlaceStore, tmp_path: Path) -> None:
    found, = orphans_of(azure, places, tmp_path, RUN).look()
    assert (found.kind, found.of, found.spent_micros) == ("app", APP, None)


def test_a_look_changes_nothing_and_is_good_for_a_minute(cloud: Cloud, azure: Azure, places: PlaceStore, tmp_path: Path) -> None:
    orphans, before = orphans_of(azure, places, tmp_path), len(cloud.requests)
    assert len(orphans.look()) == 2 and len(orphans.known()) == 2
    after = len(cloud.requests)
    assert {method for method, _ in cloud.requests[before:]} == {"GET"}
    assert orphans.look() and len(cloud.requests) == after


def test_nobody_is_asked_while_nothing_is_prepared(
        cloud: Cloud, azure: Azure, places: PlaceStore, place: CloudPlace, tmp_path: Path) -> None:
    places.forget(place.region)
    before = len(cloud.requests)
    assert orphans_of(azure, places, tmp_path).look() == () and len(cloud.requests) == before


def test_a_person_stops_a_job_of_nobodys(cloud: Cloud, azure: Azure, places: PlaceStore, tmp_path: Path) -> None:
    tool = StopOrphan(azure, places, orphans_of(azure, places, tmp_path, APP))
    proposal = tool.propose(StopOrphanArgs(name=f"luthier-run-{RUN}"))
    assert proposal.effects == {Effect.LOCAL} and proposal.traits == {Trait.STOPS}
    result = tool.perform(StopOrphanArgs(name=f"luthier-run-{RUN}"), Call("c", "owner")).result
    assert result["state"] == "stopped" and cloud.executions[0].status == "Stopped"


def test_a_person_stops_an_app_of_nobodys(azure: Azure, places: PlaceStore, place: CloudPlace, tmp_path: Path) -> None:
    tool = StopOrphan(azure, places, orphans_of(azure, places, tmp_path, RUN))
    assert tool.perform(StopOrphanArgs(name=f"luthier-app-{APP}"), Call("c", "owner")).result["state"] == "stopped"
    assert Apps(azure, place).wanted(APP).stopped


def test_what_the_book_knows_has_its_own_stop(azure: Azure, places: PlaceStore, tmp_path: Path) -> None:
    tool = StopOrphan(azure, places, orphans_of(azure, places, tmp_path, RUN, APP))
    with pytest.raises(ToolFailed, match="cancel_run"):
        tool.perform(StopOrphanArgs(name=f"luthier-run-{RUN}"), Call("c", "owner"))
