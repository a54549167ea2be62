"""Bad input and bad weather, line by line, through the person's door: what is refused before a run begins, or while a place is made.

The lines that only show while a run is at work are in test_weather_runs.py.
"""

import asyncio
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from policies.verdict import Answer
from tests.azure.cloud import Cloud
from tests.azure.deploy_home import CloudHome
from tests.azure.faults import Fault
from tests.azure.prices_server import price_list
from tests.azure.weather import A100, ASKS, T4, Weather, calm, every, no_gpus, old_prices, quota, told
from tests.faults.proof import proves
from tests.tools.fakes_deploy import OWNER
from tools.azure import prepare
from tools.azure.names import names
from tools.azure.provision import Provisioning

EVERY = tuple(ASKS)
OTHER = "6f1c1bd0-0000-4000-8000-0000000000ff"


@pytest.fixture
def home(tmp_path: Path, cloud: Cloud) -> Iterator[CloudHome]:
    """A home with westus3 prepared, and eastus not yet."""
    (tmp_path / "home").mkdir()
    made = CloudHome(tmp_path / "home", cloud)
    yield made
    made.close()


def lacks(*actions: str) -> Weather:
    """The account may do these and no more."""
    return lambda cloud, home: setattr(cloud.world, "permissions", list(actions))


def without_quota(cloud: Cloud, home: CloudHome) -> None:
    """None of any GPU, anywhere."""
    quota(cloud, **{T4: (0, 0), A100: (0, 0)})


LINES: tuple[tuple[str, tuple[str, ...], Weather, str, str, str], ...] = (
    ("no sign-in", EVERY, lambda cloud, home: setattr(cloud.world, "signed_in", False),
     "Nobody is signed in to Azure", "no sign-in was found", "`az login`"),
    ("expired sign-in", EVERY, lambda cloud, home: every(cloud, Fault.UNAUTHORIZED),
     "Your subscriptions were not listed", "the sign-in has expired", "Sign in anew with `az login`"),
    ("several subscriptions", EVERY, lambda cloud, home: cloud.world.subscriptions.update({OTHER: "Research"}),
     "There are several subscriptions", OTHER, "LUTHIER_AZURE_SUBSCRIPTION"),
    ("missing role", ("prepare_cloud",), lacks("*/read"),
     "westus3 cannot be prepared", "lacks the permission Microsoft.Storage/storageAccounts/write and 6 more",
     "Ask an Owner or User Access Administrator of the group for the role Contributor"),
    ("missing role", ("start_finetune",), lacks("*/read", "Microsoft.Storage/*", "Microsoft.App/managedEnvironments/*"),
     "Nothing can run in westus3", "ada@example.com lacks the permission Microsoft.App/jobs/write",
     "for the role Container Apps Jobs Contributor"),
    ("missing role", ("deploy_inference",), lacks("*/read"),
     "A deployment in westus3 cannot be made", "lacks the permission Microsoft.App/containerApps/write",
     "for the role Container Apps Contributor"),
    ("region without the profile", ("prepare_cloud",), lambda cloud, home: no_gpus(cloud, "westus3"),
     "westus3 cannot be prepared", "it offers no serverless GPU", "Regions that do: eastus, swedencentral."),
    ("region without the profile", ("estimate_cost",), lambda cloud, home: no_gpus(cloud, *cloud.world.profiles),
     "There is no place in the cloud to run at", "no allowed region offers", "[places] regions and skus"),
    ("region without the profile", ("start_finetune",), lambda cloud, home: no_gpus(cloud, "westus3"),
     "Run on T4 in westus3", "there are: CPU (Consumption)", "another region"),
    ("region without the profile", ("deploy_inference",), lambda cloud, home: no_gpus(cloud, "westus3"),
     "Deploy on Azure", "no such profile", "Choose one of: Consumption"),
    ("quota 0", ("start_finetune",), without_quota,
     "Run on T4 in westus3", "the subscription has no quota for it (0)", "limit now 0, new limit 1."),
    ("quota 0", ("deploy_inference",), without_quota,
     "Deploy on Azure", "no quota for T4 in westus3: 0 of 0 in use", "https://portal.azure.com/"),
    ("price missing", ("start_finetune", "deploy_inference"), lambda cloud, home: setattr(price_list(cloud.world), "mode", "empty"),
     "There is no price for westus3", "has no row of Container Apps", "nothing starts without a price"),
    ("price older than 30 days", ("start_finetune", "deploy_inference"), lambda cloud, home: old_prices(cloud, home, 31),
     "There is no price for westus3", "prices older than 30 days start nothing", "nothing starts without a price"),
)


@proves("F15", "the table of prices is missing or too old", "nothing starts by it, and the sentence says how old it is")
@pytest.mark.parametrize(("tool", "weather", "wanted", "found", "remedy"), [
    pytest.param(tool, *rest, id=f"{line}: {tool}") for line, tools, *rest in LINES for tool in tools])
def test_before_anything_is_sent_it_is_refused_with_a_remedy(
    home: CloudHome, cloud: Cloud, tool: str, weather: Weather, wanted: str, found: str, remedy: str,
) -> None:
    weather(cloud, home)
    told(home.ask(tool, **ASKS[tool]), wanted, found, remedy)
    assert {method for method, _ in cloud.requests} <= {"GET"}
    calm(home, cloud)


@pytest.mark.parametrize(("weather", "words", "remedy"), [
    pytest.param(without_quota, "there is no quota", "https://portal.azure.com/", id="quota 0"),
    pytest.param(lambda cloud, home: setattr(price_list(cloud.world), "mode", "empty"), "should start", "", id="price missing"),
    pytest.param(lambda cloud, home: old_prices(cloud, home, 31), "should start", "", id="price older than 30 days"),
])
def test_an_estimate_is_given_and_says_that_it_starts_nothing(
    home: CloudHome, cloud: Cloud, weather: Weather, words: str, remedy: str,
) -> None:
    weather(cloud, home)
    answer = home.ask("estimate_cost", **ASKS["estimate_cost"])
    assert answer.status == "done" and answer.result["can_start"] is False and words in str(answer.result["reason"])
    assert remedy in str(answer.result["remedies"])
    calm(home, cloud)


def test_quota_unknown_is_said_on_the_card_and_is_no_zero(home: CloudHome, cloud: Cloud) -> None:
    quota(cloud, **{T4: None, A100: None})
    answer = home.ask("start_finetune", **ASKS["start_finetune"])
    assert answer.approval is not None and "may wait" in dict(answer.approval.lines)["Quota"]
    estimate = home.ask("estimate_cost", **ASKS["estimate_cost"])
    assert "the quota could not be read" in str(estimate.result["reason"])
    calm(home, cloud)


def prepared(home: CloudHome) -> Answer:
    """What becomes of preparing eastus, with a yes."""
    answer = home.ask("prepare_cloud", region="eastus")
    assert answer.approval is not None, answer
    decision = asyncio.run(home.gateway.decide(answer.approval.id, "approve", OWNER))
    assert decision.answer is not None, decision
    home.settle()
    return decision.answer


def taken(cloud: Cloud, home: CloudHome) -> None:
    """The name of the storage account belongs to somebody else."""
    group = home.toolbox.cloud.prepare.propose(prepare.PrepareArgs(region="eastus")).plan["group"]
    cloud.world.taken_names.add(names(cloud.world.subscription, str(group), home.book.home_id()).storage)


@pytest.mark.parametrize(("weather", "wanted", "found", "remedy"), [
    pytest.param(lambda cloud, home: setattr(cloud.world, "policy_no_shared_keys", True), "The storage account",
                 "without which a container cannot mount", "exemption of one resource group", id="policy forbidding shared keys"),
    pytest.param(lambda cloud, home: cloud.faults.at("PUT", "storageAccounts/[^/]+$", Fault.POLICY), "was not made",
                 "A policy of your organisation forbids storage accounts with shared keys", "LUTHIER_AZURE_GROUP",
                 id="policy that refuses the account"),
    pytest.param(taken, "The storage account", "the name is taken by somebody else's account", "LUTHIER_AZURE_GROUP", id="name taken"),
    pytest.param(lambda cloud, home: cloud.faults.at("PUT", "managedEnvironments/[^/]+$", Fault.OPERATION_STUCK), "The environment",
                 "Azure has not finished it", "ask again later", id="environment stuck"),
    pytest.param(lambda cloud, home: cloud.faults.at("PUT", "managedEnvironments/[^/]+$", Fault.OPERATION_FAILED, code="X", message="no"),
                 "The environment", "could not finish it (X)", "ask again when it is put right", id="environment failed"),
    pytest.param(lambda cloud, home: cloud.faults.at("PUT", "/resourceGroups/[^/]+$", Fault.DENIED, action=
                 "Microsoft.Resources/subscriptions/resourceGroups/write"), "The resource group", "lacks the permission",
                 "name a group that is there", id="missing role for a group of its own"),
    pytest.param(lambda cloud, home: cloud.faults.at("PUT", "/workspaces/", Fault.ANSWER, status=409, code="ScopeLocked"),
                 "The log workspace", "A lock keeps", "Have its owner take the lock away", id="group locked"),
])
def test_while_a_place_is_made_it_ends_with_a_remedy_and_the_next_call_goes_on(
    home: CloudHome, cloud: Cloud, monkeypatch: pytest.MonkeyPatch, weather: Weather, wanted: str, found: str, remedy: str,
) -> None:
    weather(cloud, home)
    with monkeypatch.context() as impatient:
        impatient.setattr(prepare, "Provisioning", partial(Provisioning, patience_s=0.9))
        told(prepared(home), wanted, found, remedy)
    assert home.toolbox.cloud.prepared.get("eastus") is None
    calm(home, cloud)
    clear(cloud)
    assert prepared(home).status == "done"
    calm(home, cloud)


def clear(cloud: Cloud) -> None:
    """The weather is fine again."""
    cloud.faults.clear()
    cloud.world.policy_no_shared_keys = False
    cloud.world.taken_names.clear()
    for each in cloud.world.resources.values():
        each.get("properties", {}).update({"provisioningState": "Succeeded"} if "provisioningState" in each.get("properties", {}) else {})
        if "allowSharedKeyAccess" in each.get("properties", {}):
            each["properties"]["allowSharedKeyAccess"] = True


def test_provider_unregistered_is_registered_by_preparing(home: CloudHome, cloud: Cloud) -> None:
    cloud.world.registered["microsoft.app"] = False
    answer = home.ask("prepare_cloud", region="eastus")
    assert answer.approval is not None and "Microsoft.App (registered)" in dict(answer.approval.lines)["Resource providers"]
    assert prepared(home).status == "done" and cloud.world.registered["microsoft.app"]
    calm(home, cloud)
