"""`prepare_cloud` through the gateway: what its card says, what it keeps, and what it refuses."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from policies.book import Book
from policies.gateway import Gateway
from policies.people import Caller, People
from policies.proposal import Cost, Effect
from policies.tool import Call, Recall, ToolFailed
from policies.verdict import Answer
from tests.azure.cloud import Cloud
from tests.azure.faults import Fault
from tests.azure.told import trouble_of
from tools.azure.choice import AzureChoice
from tools.azure.client import Azure
from tools.azure.place import PlaceStore
from tools.azure.prepare import PrepareArgs, PrepareCloud, prepared
from tools.azure.trouble import AzureTrouble

OWNER = Caller("owner", "cli", "peer uid", thread="thread-1")


class Home:
    """A home with the gateway in front of prepare_cloud."""

    def __init__(self, folder: Path, choice: AzureChoice, regions: tuple[str, ...] = ("westus3", "eastus")) -> None:
        self.book = Book.open(folder / "home" / "book.sqlite")
        self.azure = Azure(choice, self.book.home_id())
        self.places = PlaceStore(self.book)
        self.tool = PrepareCloud(self.azure, self.book, self.places, lambda: regions)
        people = People(self.book)
        self.gateway = Gateway.open(home=folder / "home", tools={"prepare_cloud": self.tool}, book=self.book, people=people,
                                    defaults=lambda tool, raw, caller: dict(raw))

    def call(self, **args: Any) -> Answer:
        """Through the door, saying yes where it asks."""
        return asyncio.run(self._call(args))

    async def _call(self, args: dict[str, Any]) -> Answer:
        answer = await self.gateway.call("prepare_cloud", args, OWNER)
        if answer.approval is None:
            return answer
        decision = await self.gateway.decide(answer.approval.id, "approve", OWNER)
        assert decision.answer is not None, decision.message
        return decision.answer


@pytest.fixture
def home(tmp_path: Path, cloud: Cloud) -> Iterator[Home]:
    """A fresh one."""
    (tmp_path / "home").mkdir()
    made = Home(tmp_path, cloud.choice(region=""))
    yield made
    made.azure.close()
    made.book.close()


def test_the_card_says_who_makes_what_where_and_what_it_costs(home: Home, cloud: Cloud) -> None:
    proposal = home.tool.propose(PrepareArgs())
    card = dict(proposal.card)
    assert proposal.effects == {Effect.SPEND} and isinstance(proposal.cost, Cost) and proposal.cost.ceiling_micros > 0
    assert (card["Account"], card["Tenant"], proposal.region) == ("ada@example.com", cloud.world.tenant, "westus3")
    assert card["Environment"].endswith("(is made)") and "@sha256:" in card["Image"] and "Consumption-GPU-NC8as-T4" in card["Profiles"]


def test_a_proposal_stays_the_same_while_nothing_changes(home: Home) -> None:
    assert home.tool.propose(PrepareArgs()) == home.tool.propose(PrepareArgs())


def test_a_dry_run_asks_nobody_and_changes_nothing(home: Home, cloud: Cloud) -> None:
    answer = home.call(dry_run=True)
    assert (answer.status, answer.result["state"]) == ("done", "listed"), answer
    resources: Any = answer.result["resources"]
    assert {each["state"] for each in resources} == {"there", "missing"}
    assert {method for method, _ in cloud.requests} == {"GET"} and home.places.all() == []


def test_an_approved_call_prepares_and_keeps_the_place(home: Home) -> None:
    answer = home.call()
    assert (answer.status, answer.result["state"]) == ("done", "ready"), answer
    place = prepared(home.places)
    assert (place.region, place.image, place.image_named) == (
        "westus3", answer.result["image"], "docker.io/pytorch/pytorch:2.13.0-cuda13.0-cudnn9-runtime")


def test_what_the_brain_hears_is_counts_and_states(home: Home) -> None:
    assert home.call().for_brain == {"state": "ready", "region": "westus3", "resources": 10, "missing": 0}


def test_the_allowance_is_given_back_after_the_end_and_only_once(home: Home) -> None:
    home.call()
    (one,) = home.tool.settlements()
    settled = asyncio.run(home.gateway.settle_spend(one.call_id, one.micros, one.basis))
    assert settled.freed > 0 and home.tool.settlements() == []


def test_a_call_that_was_cut_off_is_recalled_as_unknown_and_one_that_kept_its_place_as_done(home: Home) -> None:
    assert home.tool.recall("no-such-call") is Recall.UNKNOWN
    answer = home.call()
    recalled = home.tool.recall(answer.call_id)
    assert not isinstance(recalled, Recall) and recalled.result["state"] == "ready"


def test_a_call_at_work_is_recalled_as_running(home: Home) -> None:
    heard: list[Any] = []
    plan = home.tool.propose(PrepareArgs()).plan
    home.tool.perform(PrepareArgs(), Call("call-1", "owner", plan=plan, report=lambda *_: heard.append(home.tool.recall("call-1"))))
    assert set(heard) == {Recall.RUNNING}


def test_a_region_without_gpus_is_refused_with_those_that_have_them(home: Home) -> None:
    trouble = trouble_of(lambda: home.tool.propose(PrepareArgs(region="North Europe")))
    assert trouble.trouble == "conflict" and "westus3" in trouble.try_next


def test_a_region_that_nobody_allowed_is_denied(home: Home, cloud: Cloud) -> None:
    cloud.world.profiles["canadacentral"] = cloud.world.profiles["westus3"]
    answer = home.call(region="canadacentral")
    assert answer.status == "refused" and "canadacentral" in answer.reason


def test_a_missing_role_is_told_before_anything_is_made(home: Home, cloud: Cloud) -> None:
    cloud.world.permissions = ["*/read"]
    trouble = trouble_of(lambda: home.tool.propose(PrepareArgs(resource_group="rg")))
    assert trouble.trouble == "denied" and "Contributor" in trouble.try_next and "Owner" in trouble.try_next
    assert {method for method, _ in cloud.requests} == {"GET"}


def test_an_image_that_cannot_be_resolved_is_refused(home: Home, cloud: Cloud) -> None:
    cloud.world.images["pytorch/pytorch:2.13.0-cuda13.0-cudnn9-runtime"] = ""
    assert trouble_of(lambda: home.tool.propose(PrepareArgs())).trouble == "not_prepared"


def test_what_was_not_prepared_says_what_to_say(home: Home) -> None:
    assert "prepare the cloud" in trouble_of(lambda: prepared(home.places)).try_next


def test_a_failure_reaches_the_person_with_its_remedy_and_holds_no_money(home: Home, cloud: Cloud) -> None:
    cloud.faults.at("PUT", "workspaces", Fault.DENIED, 1, action="Microsoft.OperationalInsights/workspaces/write")
    answer = home.call()
    assert answer.status == "failed" and "Contributor" in answer.remedy
    assert home.tool.settlements() == [] and home.call().status == "done"


def test_every_group_name_that_azure_takes_can_be_given() -> None:
    assert PrepareArgs(resource_group="My-Group_1.(x)").resource_group
    with pytest.raises(ValueError):
        PrepareArgs(resource_group="../x")


def test_troubles_are_failures_of_the_tool() -> None:
    assert issubclass(AzureTrouble, ToolFailed)
