"""Teardown in the stand-in: stopped first, only what is ours, in order, and looked at again."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from policies import fault
from policies.book import Book
from policies.proposal import Effect
from policies.tool import Call, Recall, Result, ToolFailed
from tests.azure.arm_prepared import prepare
from tests.azure.cloud import Cloud
from tests.azure.executions import ScriptedExecution
from tests.azure.faults import Fault
from tests.azure.test_apps import KEY, spec_of
from tools.azure.apps import Apps
from tools.azure.client import Azure
from tools.azure.credential import Hidden
from tools.azure.jobs import Jobs, JobSpec
from tools.azure.place import CloudPlace, PlaceStore, Shape
from tools.azure.teardown import Resource, Teardown
from tools.azure.teardown_tool import TeardownArgs, TeardownCloud
from tools.azure.trouble import AzureTrouble

RUN, OTHER, APP = "0123456789", "9876543210", "4k2j8m9qxz"


class Known:
    """The runs or deployments that a book knows, for both of the tool's questions."""

    def __init__(self, *idents: str, going: tuple[str, ...] = ()) -> None:
        self.idents, self.going = list(idents), list(going)
        self.stopped: list[str] = []
        self.forgotten: list[str] = []

    def of_region(self, region: str) -> list[str]:
        """All."""
        return self.idents

    def alive(self, region: str) -> list[str]:
        """Those that go on."""
        return self.going

    def stop(self, ident: str, by: str) -> None:
        """It ends at once."""
        self.stopped.append(ident)
        self.going = [each for each in self.going if each != ident]

    def settled_micros(self, ident: str) -> int:
        """A price."""
        return 1_250_000

    def only_there(self, region: str) -> list[str]:
        """Nothing has been fetched."""
        return self.idents

    def forget(self, ident: str, by: str) -> None:
        """Its app is gone."""
        self.forgotten.append(ident)
        self.idents = [each for each in self.idents if each != ident]


@pytest.fixture
def place(cloud: Cloud, azure: Azure) -> CloudPlace:
    """A prepared region with a run's job and an app."""
    found = prepare(cloud.world, azure.choice, azure.workspace)
    for folder in (f"runs/{RUN}", f"engine/{'e' * 16}", "models"):
        (cloud.share_root / folder).mkdir(parents=True)
    add_job(azure, found, RUN)
    Apps(azure, found).put(spec_of(found), Hidden(KEY))
    return found


@pytest.fixture
def places(tmp_path: Path, place: CloudPlace) -> PlaceStore:
    """The book with that place."""
    book = Book.open(tmp_path / "book.sqlite")
    store = PlaceStore(book)
    store.put(place)
    return store


def add_job(azure: Azure, place: CloudPlace, run: str, expires: str = "2027-01-01T00:00:00Z") -> None:
    """A run's job."""
    Jobs(azure, place).put(JobSpec(run, 1, Shape("Consumption", 4, 8), 3600, "e" * 16, expires), {"run-key": Hidden("k")})


def tool_of(azure: Azure, places: PlaceStore, runs: Known | None = None, apps: Known | None = None, **more: Any) -> TeardownCloud:
    """The tool over what a book knows."""
    return TeardownCloud(azure, places, runs or Known(RUN), apps or Known(APP), settle_s=0.2, **more)


def torn(tool: TeardownCloud, group: str = "", **args: Any) -> Mapping[str, Any]:
    """The result of a call, named and typed."""
    return tool.perform(TeardownArgs(**{"confirm": group, **args}), Call("call-1", "owner")).result


def left_in(cloud: Cloud) -> list[str]:
    """Every resource that the stand-in still has."""
    return sorted(each["id"] for each in cloud.world.resources.values())


def test_the_name_must_be_typed_and_the_server_compares_it(azure: Azure, places: PlaceStore, place: CloudPlace) -> None:
    for typed in ("", place.group.upper(), "other"):
        with pytest.raises(ToolFailed, match=rf"confirm={place.group}"):
            tool_of(azure, places).propose(TeardownArgs(confirm=typed))
        with pytest.raises(ToolFailed):
            torn(tool_of(azure, places), typed)


def test_the_card_lists_every_resource_with_its_cost_and_warns_of_results(azure: Azure, places: PlaceStore, place: CloudPlace) -> None:
    proposal = tool_of(azure, places).propose(TeardownArgs(confirm=place.group))
    assert proposal.effects == {Effect.DESTROY} and proposal.target == f"group:{place.group}"
    said = [f"{label}: {value}" for label, value in proposal.card]
    for kind in ("App", "Job", "Environment", "Logs", "Storage"):
        assert any(line.startswith(kind) for line in said), kind
    assert any(line.startswith("Job") and "1.25 USD settled" in line for line in said)
    assert any(line.startswith("Warning") and RUN in line and "fetch_results" in line for line in said)
    assert any(line.startswith("Group") and "deleted when nothing else is in it" in line for line in said)


def test_a_proposal_is_the_same_when_it_is_made_again(azure: Azure, places: PlaceStore, place: CloudPlace) -> None:
    tool, args = tool_of(azure, places), TeardownArgs(confirm=place.group)
    assert tool.propose(args) == tool.propose(args)


def test_afterwards_nothing_is_left_and_the_place_is_forgotten(cloud: Cloud, azure: Azure, places: PlaceStore, place: CloudPlace) -> None:
    apps = Known(APP, going=(APP,))
    result = torn(tool_of(azure, places, Known(RUN, going=(RUN,)), apps), place.group)
    assert result["state"] == "gone" and result["group_deleted"] and result["left"] == []
    assert left_in(cloud) == [] and places.all() == []
    assert apps.stopped == [APP] and apps.forgotten == [APP]


def test_what_runs_is_stopped_before_anything_is_deleted(cloud: Cloud, azure: Azure, places: PlaceStore, place: CloudPlace) -> None:
    cloud.script(ScriptedExecution())
    jobs = Jobs(azure, place)
    jobs.start(jobs.name(RUN))
    execution = cloud.executions[0]
    torn(tool_of(azure, places), place.group)
    done = [(method, path.lower()) for method, path in cloud.requests]
    stop = next(at for at, (method, path) in enumerate(done) if method == "POST" and "/executions/" in path and path.endswith("/stop"))
    assert stop < min(at for at, (method, _) in enumerate(done) if method == "DELETE")
    assert execution.status == "Stopped"


def test_it_deletes_in_reverse_order_with_the_log_workspace_for_good(
        cloud: Cloud, azure: Azure, places: PlaceStore, place: CloudPlace) -> None:
    torn(tool_of(azure, places), place.group)
    deleted = [each for each in cloud.world.sent if each.method == "DELETE"]
    kinds = [each.path.split("/")[-2].lower() for each in deleted]
    assert kinds == ["containerapps", "jobs", "storages", "storages", "managedenvironments", "workspaces", "storageaccounts",
                     "resourcegroups"]
    assert "force=true" in deleted[5].query.lower()


def test_what_is_not_ours_stays_and_keeps_the_group(cloud: Cloud, azure: Azure, places: PlaceStore, place: CloudPlace) -> None:
    foreign = f"/subscriptions/{place.subscription}/resourceGroups/{place.group}/providers/Microsoft.Storage/storageAccounts/theirs"
    cloud.world.resources[foreign.lower()] = {"id": foreign, "name": "theirs", "type": "Microsoft.Storage/storageAccounts", "tags": {},
                                              "location": "westus3", "properties": {}}
    proposal = tool_of(azure, places).propose(TeardownArgs(confirm=place.group))
    assert ("Left alone", "theirs: not made by this Luthier") in proposal.card
    result = torn(tool_of(azure, places), place.group)
    assert [each["name"] for each in result["left"]] == ["theirs"] and not result["group_deleted"] and result["state"] == "gone"
    assert not [path for method, path in cloud.requests if method == "DELETE" and "theirs" in path]


def test_a_group_that_luthier_did_not_make_stays(cloud: Cloud, azure: Azure, places: PlaceStore, place: CloudPlace) -> None:
    group = next(each for each in cloud.world.of_type("Microsoft.Resources/resourceGroups"))
    group["tags"] = {}
    result = torn(tool_of(azure, places), place.group)
    assert result["state"] == "gone" and not result["group_deleted"] and left_in(cloud) == [group["id"]]


POINTS = ("stop", "delete:1", "delete:2", "delete:3", "delete:4", "delete:5", "group")


@pytest.mark.parametrize("at", POINTS)
def test_cut_off_anywhere_the_next_call_goes_on_to_the_same_end(
        cloud: Cloud, azure: Azure, places: PlaceStore, place: CloudPlace, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    cloud.script(ScriptedExecution())
    jobs = Jobs(azure, place)
    jobs.start(jobs.name(RUN))
    monkeypatch.setattr(fault, "point", cut_at(f"cloud.teardown.{at}"))
    with pytest.raises(Cut):
        torn(tool_of(azure, places), place.group)
    monkeypatch.undo()
    for name, value in cloud.identity.items():
        monkeypatch.setenv(name, value)
    assert torn(tool_of(azure, places), place.group)["state"] == "gone" and left_in(cloud) == []


class Cut(Exception):
    """The process died here."""


def cut_at(wanted: str) -> Callable[[str], None]:
    """A point function that dies at the passing that is wanted (`NAME` or `NAME:COUNT`)."""
    name, _, count = wanted.partition(":")
    left = [int(count or 1)]

    def passing(found: str) -> None:
        if found == name:
            left[0] -= 1
            if left[0] == 0:
                raise Cut

    return passing


def test_what_cannot_be_deleted_is_told_and_the_rest_goes_on(cloud: Cloud, azure: Azure, places: PlaceStore, place: CloudPlace) -> None:
    cloud.faults.at("DELETE", "/workspaces/", Fault.ANSWER, status=409, code="ScopeLocked", message="The scope is locked.")
    result = torn(tool_of(azure, places), place.group)
    assert result["state"] == "incomplete" and list(result["failed"]) == [place.log_workspace]
    assert [each["name"] for each in result["left"]] == [place.log_workspace] and places.all() != []
    assert torn(tool_of(azure, places), place.group)["state"] == "gone"


def test_a_list_that_still_shows_what_has_just_gone_is_looked_at_again(
    cloud: Cloud, azure: Azure, places: PlaceStore, place: CloudPlace, monkeypatch: pytest.MonkeyPatch,
) -> None:
    really, late = Teardown.resources, list[tuple[Resource, ...]]()

    def resources(self: Teardown) -> tuple[Resource, ...]:
        found = really(self)
        late.append(found or late[0])
        return found or (late[0] if len(late) < 8 else ())

    monkeypatch.setattr(Teardown, "resources", resources)
    result = torn(tool_of(azure, places), place.group)
    assert result["state"] == "gone" and result["group_deleted"] is True and left_in(cloud) == []


def test_a_run_that_does_not_end_keeps_everything(cloud: Cloud, azure: Azure, places: PlaceStore, place: CloudPlace) -> None:
    runs = Known(RUN, going=(RUN,))
    runs.stop = lambda ident, by: None  # type: ignore[method-assign]
    with pytest.raises(ToolFailed, match="nothing was deleted"):
        torn(tool_of(azure, places, runs), place.group)
    assert not [method for method, _ in cloud.requests if method == "DELETE"]


def test_only_expired_deletes_just_the_ended_runs_past_their_expiry(
        cloud: Cloud, azure: Azure, places: PlaceStore, place: CloudPlace) -> None:
    add_job(azure, place, OTHER, expires="2026-01-01T00:00:00Z")
    tool = tool_of(azure, places, Known(RUN, OTHER), clock=lambda: datetime(2026, 6, 1, tzinfo=UTC))
    proposal = tool.propose(TeardownArgs(only="expired"))
    assert proposal.plan["resources"] == [f"job luthier-run-{OTHER}"]
    result = torn(tool, only="expired")
    assert [each["name"] for each in result["resources"]] == [f"luthier-run-{OTHER}"] and result["state"] == "cleared"
    assert places.all() != [] and any(each.endswith(RUN) for each in left_in(cloud))


def test_only_orphans_deletes_just_what_the_book_does_not_know(azure: Azure, places: PlaceStore, place: CloudPlace) -> None:
    result = torn(tool_of(azure, places, Known(RUN), Known()), only="orphans")
    assert [each["name"] for each in result["resources"]] == [f"luthier-app-{APP}"]


def test_nothing_to_clear_up_is_said(azure: Azure, places: PlaceStore, place: CloudPlace) -> None:
    with pytest.raises(ToolFailed, match="Nothing there is past its expiry"):
        tool_of(azure, places).propose(TeardownArgs(only="expired"))


def test_without_a_prepared_place_or_with_an_unknown_group_it_says_so(azure: Azure, places: PlaceStore, place: CloudPlace) -> None:
    with pytest.raises(ToolFailed, match="No such group is prepared"):
        tool_of(azure, places).propose(TeardownArgs(resource_group="other", confirm="other"))
    places.forget(place.region)
    with pytest.raises(ToolFailed, match="Nothing is prepared"):
        tool_of(azure, places).propose(TeardownArgs())


def test_an_unknown_call_is_not_said_to_be_done(azure: Azure, places: PlaceStore) -> None:
    said: Result | Recall = tool_of(azure, places).recall("call-of-before")
    assert said is Recall.UNKNOWN


def test_a_sign_in_that_ended_is_said_and_deletes_nothing(cloud: Cloud, azure: Azure, places: PlaceStore, place: CloudPlace) -> None:
    cloud.faults.at("*", "/resources", Fault.UNAUTHORIZED, times=20)
    with pytest.raises(AzureTrouble) as caught:
        torn(tool_of(azure, places), place.group)
    assert caught.value.trouble == "signin" and not [method for method, _ in cloud.requests if method == "DELETE"]
