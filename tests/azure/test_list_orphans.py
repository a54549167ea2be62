"""“Show the orphans”: every one with its cost and what can be done, and one of them deleted alone, after a yes."""

from pathlib import Path

import pytest

from policies.proposal import Effect
from policies.tool import Call, ToolFailed
from tests.azure.cloud import Cloud
from tests.azure.faults import Fault
from tests.azure.test_orphans import orphans_of, place, places
from tests.azure.test_teardown import APP, OTHER, RUN, Known, add_job, torn
from tools.azure.client import Azure
from tools.azure.jobs import Jobs
from tools.azure.list_orphans import ListOrphans, ListOrphansArgs
from tools.azure.place import CloudPlace, PlaceStore
from tools.azure.teardown_tool import TeardownArgs, TeardownCloud
from tools.azure.trouble import AzureTrouble

__all__ = ["place", "places"]
JOB = f"luthier-run-{RUN}"


def tool_of(azure: Azure, places: PlaceStore, folder: Path, *known: str) -> ListOrphans:
    """As the toolbox makes it, over a book that knows so much."""
    return ListOrphans(orphans_of(azure, places, folder, *known), teardown_of(azure, places, *known).expired)


def teardown_of(azure: Azure, places: PlaceStore, *known: str) -> TeardownCloud:
    """The teardown over the same book."""
    return TeardownCloud(azure, places, Known(*known), Known(*known), settle_s=0.2)


def test_each_is_shown_with_its_cost_and_each_remedy_names_a_tool_that_exists(azure: Azure, places: PlaceStore, tmp_path: Path) -> None:
    tool = tool_of(azure, places, tmp_path)
    assert tool.propose(ListOrphansArgs()).effects == {Effect.READ}
    result = tool.perform(ListOrphansArgs(), Call("c", "owner"))
    notes = {str(each["name"]): str(each["note"]) for each in result.result["orphans"]}  # type: ignore[union-attr, index, call-overload]
    assert f"teardown_cloud only=orphans name={JOB}" in notes[JOB] and "adopt_run execution=" in notes[JOB]
    job = next(each for each in result.for_brain["orphans"] if each["kind"] == "job")  # type: ignore[union-attr, index, call-overload]
    assert job["running"] is True and str(job["execution"]).startswith(JOB) and result.for_brain["total"] == 2  # type: ignore[index, call-overload]


def test_what_the_book_knows_is_not_among_them_and_what_has_expired_is_counted(azure: Azure, places: PlaceStore, place: CloudPlace,
                                                                               tmp_path: Path) -> None:
    add_job(azure, place, OTHER, expires="2020-01-01T00:00:00Z")
    result = tool_of(azure, places, tmp_path, RUN, OTHER, APP).perform(ListOrphansArgs(), Call("c", "owner"))
    assert result.for_brain == {"orphans": [], "total": 0, "expired": 1}
    assert [each["name"] for each in result.result["expired"]] == [f"luthier-run-{OTHER}"]  # type: ignore[union-attr, index, call-overload]


def test_a_look_that_failed_is_not_told_as_nothing(cloud: Cloud, azure: Azure, places: PlaceStore, tmp_path: Path) -> None:
    cloud.faults.at("*", "/jobs", Fault.DENIED, times=9)
    with pytest.raises(AzureTrouble):
        tool_of(azure, places, tmp_path).perform(ListOrphansArgs(), Call("c", "owner"))


def test_one_orphan_is_deleted_alone_and_it_needs_a_yes(azure: Azure, places: PlaceStore, place: CloudPlace) -> None:
    add_job(azure, place, OTHER)
    tool = teardown_of(azure, places, APP)
    proposal = tool.propose(TeardownArgs(only="orphans", name=f"luthier-run-{OTHER}"))
    assert proposal.effects == {Effect.DESTROY} and proposal.plan["resources"] == [f"job luthier-run-{OTHER}"]
    result = torn(tool, only="orphans", name=f"luthier-run-{OTHER}")
    assert result["state"] == "cleared" and [each["name"] for each in result["resources"]] == [f"luthier-run-{OTHER}"]
    assert [each.name for each in Jobs(azure, place).managed()] == [JOB]


@pytest.mark.parametrize(("name", "only", "said"), [
    (JOB, "orphans", "Nothing there that is unknown"), (JOB, "expired", "Only an orphan"), (JOB, "", "Only an orphan")],
    ids=["the book knows it", "expired", "with the whole group"])
def test_what_is_no_orphan_is_not_deleted_alone(azure: Azure, places: PlaceStore, name: str, only: str, said: str) -> None:
    with pytest.raises(ToolFailed, match=said):
        teardown_of(azure, places, RUN, APP).propose(TeardownArgs.model_validate({"only": only, "name": name}))
