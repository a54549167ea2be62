"""Preparing a region: what is made, what is left alone, and that it goes on from wherever it was cut off."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from policies import fault
from tests.azure.cloud import Cloud
from tests.azure.faults import Fault
from tests.azure.told import trouble_of
from tools.azure.client import Azure
from tools.azure.existing import Existing, Wanted
from tools.azure.infrastructure import spec_of
from tools.azure.provision import Provisioning

SERVERLESS = ("Consumption", "Consumption-GPU-NC8as-T4", "Consumption-GPU-NC24-A100")
POINTS = [f"cloud.{each}.{side}" for each in ("register", "group", "account", "share", "logs", "environment", "link")
          for side in ("before", "after")]


class Killed(BaseException):
    """The process ended here."""


def silent(text: str, fraction: float | None = None) -> None:
    """Nobody hears."""


@pytest.fixture
def wanted(azure: Azure) -> Wanted:
    """A place in West US 3."""
    account = azure.account()
    return Wanted(account.subscription, account.tenant, "rg", "westus3", SERVERLESS, "docker.io/a/b@sha256:" + "fa4e" * 16)


@pytest.fixture
def ensure(azure: Azure, wanted: Wanted) -> Callable[[], Any]:
    """Prepares it."""
    return lambda: Provisioning(azure, wanted, patience_s=0.5).ensure(silent)


def writes(cloud: Cloud, since: int = 0) -> list[str]:
    """Paths of the requests that change something, without their common start."""
    kept = ("PUT", "PATCH", "DELETE")
    return [path.rpartition("/resourceGroups/rg")[2] for method, path in cloud.requests[since:] if method in kept]


def of_group(cloud: Cloud) -> dict[str, Any]:
    """Types and names of what exists."""
    return {each["type"].lower(): each for each in cloud.world.resources.values()}


def test_everything_is_made_in_one_go(cloud: Cloud, ensure: Callable[[], Any]) -> None:
    place = ensure()
    assert set(of_group(cloud)) == {
        "microsoft.resources/resourcegroups", "microsoft.storage/storageaccounts", "microsoft.storage/storageaccounts/fileservices/shares",
        "microsoft.operationalinsights/workspaces", "microsoft.app/managedenvironments", "microsoft.app/managedenvironments/storages",
    }
    assert place.group_is_ours and place.environment_id.endswith(place.environment) and place.domain and place.log_customer


def test_a_second_time_nothing_is_written(cloud: Cloud, ensure: Callable[[], Any]) -> None:
    first = ensure()
    before = len(cloud.requests)
    assert ensure() == first
    assert writes(cloud, before) == []


def test_the_account_is_closed_to_the_public_and_lets_containers_mount(cloud: Cloud, ensure: Callable[[], Any]) -> None:
    ensure()
    found = of_group(cloud)["microsoft.storage/storageaccounts"]["properties"]
    assert (found["supportsHttpsTrafficOnly"], found["minimumTlsVersion"]) == (True, "TLS1_2")
    assert (found["allowBlobPublicAccess"], found["allowSharedKeyAccess"]) == (False, True)


def test_the_environment_has_only_serverless_profiles_without_counts(cloud: Cloud, ensure: Callable[[], Any]) -> None:
    ensure()
    body = cloud.bodies("PUT", "/managedEnvironments/")[0]
    assert body["properties"]["workloadProfiles"] == [{"name": each, "workloadProfileType": each} for each in SERVERLESS]


def test_the_share_is_linked_twice_and_once_for_reading_only(cloud: Cloud, ensure: Callable[[], Any]) -> None:
    ensure()
    links = [each for each in cloud.world.resources.values() if each["type"].lower().endswith("environments/storages")]
    assert {each["name"]: each["properties"]["azureFile"]["accessMode"] for each in links} == {
        "luthier-rw": "ReadWrite", "luthier-ro": "ReadOnly"}


def test_everything_that_can_be_tagged_is_tagged(cloud: Cloud, ensure: Callable[[], Any], azure: Azure) -> None:
    ensure()
    tagged = [each["tags"] for each in cloud.world.resources.values() if "tags" in each]
    assert len(tagged) == 4 and all(each["luthier-managed"] == "1" and each["luthier-workspace"] == azure.workspace for each in tagged)


def test_the_digest_in_a_tag_says_nothing_of_a_key() -> None:
    assert spec_of({"a": {"sharedKey": "one"}}, ("sharedKey",)) == spec_of({"a": {"sharedKey": "two"}}, ("sharedKey",))


def test_no_key_is_kept_in_what_comes_back(cloud: Cloud, ensure: Callable[[], Any]) -> None:
    shown = str(ensure().as_json())
    keys = [key for keys in cloud.world.hidden.values() if isinstance(keys, list) for key in keys]
    assert keys and not any(key in shown for key in keys)


@pytest.mark.parametrize("point", POINTS)
def test_killed_between_two_writes_the_next_call_ends_the_same(
    cloud: Cloud, ensure: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, point: str,
) -> None:
    cloud.world.registered["microsoft.app"] = False

    def die(name: str, /) -> None:
        if name == point:
            raise Killed(name)

    with monkeypatch.context() as patched:
        patched.setattr(fault, "point", die)
        with pytest.raises(Killed):
            ensure()
    ensure()
    assert len(cloud.world.resources) == 7
    assert len(writes(cloud)) == len(set(writes(cloud))) == 7, "nothing was made twice"


@pytest.mark.parametrize("fault_", [Fault.ACCEPTED_503, Fault.TORN_BODY, Fault.TRUNCATED_JSON, Fault.DROP, Fault.THROTTLED],
                         ids=lambda each: each.name)
def test_when_every_write_meets_trouble_once_it_still_ends_the_same(cloud: Cloud, ensure: Callable[[], Any], fault_: Fault) -> None:
    for path in ("resourcegroups/rg$", "storageAccounts/[^/]+$", "shares/", "workspaces/", "managedEnvironments/[^/]+$", "storages/"):
        cloud.faults.at("PUT", path, fault_, 1, seconds=0)
    ensure()
    assert len(cloud.world.resources) == 7 and len(cloud.faults.happened) == 6


def test_a_provider_that_is_not_registered_is_registered_first(cloud: Cloud, ensure: Callable[[], Any]) -> None:
    cloud.world.registered["microsoft.app"] = False
    ensure()
    changing = [path for method, path in cloud.requests if method in ("POST", "PUT")]
    assert changing[0].endswith("/providers/Microsoft.App/register")


def test_the_listing_says_what_would_be_made_and_changes_nothing(cloud: Cloud, azure: Azure, wanted: Wanted) -> None:
    cloud.world.registered["microsoft.app"] = False
    parts = Existing(azure, wanted).look()
    assert [each.state for each in parts] == ["missing", "there", "there", *["missing"] * 7]
    assert {method for method, _ in cloud.requests} == {"GET"}


def test_after_preparing_the_listing_finds_everything(azure: Azure, wanted: Wanted, ensure: Callable[[], Any]) -> None:
    ensure()
    assert {each.state for each in Existing(azure, wanted).look()} == {"there"}


def test_a_group_of_somebody_else_is_used_and_not_changed(cloud: Cloud, azure: Azure, ensure: Callable[[], Any]) -> None:
    rid = f"/subscriptions/{cloud.world.subscription}/resourceGroups/rg"
    cloud.world.resources[rid.lower()] = {"id": rid, "name": "rg", "type": "Microsoft.Resources/resourceGroups", "location": "eastus",
                                          "tags": {"team": "blue"}, "properties": {"provisioningState": "Succeeded"}}
    assert not ensure().group_is_ours
    assert cloud.world.resources[rid.lower()]["tags"] == {"team": "blue"} and cloud.world.resources[rid.lower()]["location"] == "eastus"


@pytest.mark.parametrize("kind", ["storageaccounts", "workspaces", "managedenvironments"])
def test_a_name_that_exists_with_other_tags_is_refused_and_left_alone(cloud: Cloud, ensure: Callable[[], Any], kind: str) -> None:
    ensure()
    found = next(each for each in cloud.world.resources.values() if each["type"].lower().endswith(kind))
    found["tags"] = {"luthier-managed": "1", "luthier-workspace": "somebody-else"}
    before = len(cloud.requests)
    assert trouble_of(ensure).trouble == "foreign"
    assert not [each for each in writes(cloud, before) if kind in each.lower()]


def test_a_group_with_a_name_of_ours_and_without_our_tags_is_left_alone(cloud: Cloud, azure: Azure, wanted: Wanted) -> None:
    rid = f"/subscriptions/{cloud.world.subscription}/resourceGroups/rg"
    cloud.world.resources[rid.lower()] = {"id": rid, "name": "rg", "type": "Microsoft.Resources/resourceGroups", "location": "westus3",
                                          "tags": {}, "properties": {"provisioningState": "Succeeded"}}
    assert trouble_of(lambda: Existing(azure, replace(wanted, own_group=True)).look()).trouble == "foreign"


def test_a_group_holds_the_place_of_one_region(azure: Azure, wanted: Wanted, ensure: Callable[[], Any]) -> None:
    ensure()
    trouble = trouble_of(lambda: Provisioning(azure, replace(wanted, region="eastus")).ensure(silent))
    assert trouble.trouble == "foreign" and "westus3" in trouble.because


def test_a_name_that_is_taken_in_all_of_azure_is_told(cloud: Cloud, azure: Azure, wanted: Wanted, ensure: Callable[[], Any]) -> None:
    cloud.world.taken_names.add(azure.names(wanted.subscription, "rg").storage)
    trouble = trouble_of(ensure)
    assert (trouble.trouble, trouble.code) == ("conflict", "NameTaken") and "LUTHIER_AZURE_GROUP" in trouble.try_next


def test_a_policy_that_forbids_shared_keys_is_told(cloud: Cloud, ensure: Callable[[], Any]) -> None:
    cloud.world.policy_no_shared_keys = True
    trouble = trouble_of(ensure)
    assert trouble.trouble == "policy" and "shared keys" in trouble.because and "exemption" in trouble.try_next


def test_an_account_whose_keys_a_policy_has_switched_off_is_told(
    cloud: Cloud, azure: Azure, wanted: Wanted, ensure: Callable[[], Any],
) -> None:
    ensure()
    of_group(cloud)["microsoft.storage/storageaccounts"]["properties"]["allowSharedKeyAccess"] = False
    assert trouble_of(ensure).trouble == trouble_of(Existing(azure, wanted).look).trouble == "policy"


def test_an_account_that_was_opened_is_closed_again(cloud: Cloud, azure: Azure, wanted: Wanted, ensure: Callable[[], Any]) -> None:
    ensure()
    of_group(cloud)["microsoft.storage/storageaccounts"]["properties"]["allowBlobPublicAccess"] = True
    assert "no public blobs" in next(each.why for each in Existing(azure, wanted).look() if each.kind == "storage account")
    ensure()
    assert of_group(cloud)["microsoft.storage/storageaccounts"]["properties"]["allowBlobPublicAccess"] is False


def test_a_profile_that_is_missing_is_added_and_none_is_taken_away(cloud: Cloud, azure: Azure, ensure: Callable[[], Any]) -> None:
    ensure()
    properties = of_group(cloud)["microsoft.app/managedenvironments"]["properties"]
    theirs = ("Consumption", "Consumption-Theirs")
    properties["workloadProfiles"] = [{"name": each, "workloadProfileType": "Consumption"} for each in theirs]
    ensure()
    assert {each["name"] for each in of_group(cloud)["microsoft.app/managedenvironments"]["properties"]["workloadProfiles"]} == {
        *SERVERLESS, "Consumption-Theirs"}


def test_an_environment_that_is_stuck_is_told_and_found_again_later(cloud: Cloud, ensure: Callable[[], Any]) -> None:
    cloud.faults.at("PUT", "managedEnvironments/[^/]+$", Fault.OPERATION_STUCK)
    assert trouble_of(ensure).code == "Stuck"
    assert trouble_of(ensure).code == "Stuck", "it is still in the making: nothing was sent again"
    of_group(cloud)["microsoft.app/managedenvironments"]["properties"]["provisioningState"] = "Succeeded"
    ensure()
    assert len(cloud.bodies("PUT", "/managedEnvironments/")) == 3


@pytest.mark.parametrize("fault_", [Fault.RESOURCE_FAILED, Fault.OPERATION_FAILED, Fault.OPERATION_CANCELED], ids=lambda each: each.name)
def test_an_environment_that_failed_is_told_and_made_anew(cloud: Cloud, ensure: Callable[[], Any], fault_: Fault) -> None:
    cloud.faults.at("PUT", "managedEnvironments/[^/]+$", fault_)
    trouble_of(ensure)
    assert ensure().environment_id


def test_an_operation_that_azure_lost_sight_of_is_judged_by_its_resource(cloud: Cloud, ensure: Callable[[], Any]) -> None:
    cloud.faults.at("PUT", "managedEnvironments/[^/]+$", Fault.POLL_404)
    assert trouble_of(ensure).code == "Stuck"


def test_a_link_to_another_share_is_set_right(cloud: Cloud, ensure: Callable[[], Any]) -> None:
    ensure()
    link = next(each for each in cloud.world.resources.values() if each["name"] == "luthier-ro")
    link["properties"]["azureFile"]["accessMode"] = "ReadWrite"
    ensure()
    link = next(each for each in cloud.world.resources.values() if each["name"] == "luthier-ro")
    assert link["properties"]["azureFile"]["accessMode"] == "ReadOnly"


def test_a_share_made_anew_is_linked_with_its_new_key(cloud: Cloud, ensure: Callable[[], Any]) -> None:
    ensure()
    for rid in [rid for rid in cloud.world.resources if "/storageaccounts/" in rid]:
        del cloud.world.resources[rid]
        cloud.world.hidden.pop(rid, None)
    before = len(cloud.requests)
    ensure()
    assert len([each for each in writes(cloud, before) if "/storages/" in each]) == 2


def test_a_provider_that_is_lost_midway_is_told_and_not_waited_for(cloud: Cloud, ensure: Callable[[], Any]) -> None:
    cloud.faults.at("PUT", "managedEnvironments/[^/]+$", Fault.UNREGISTERED)
    trouble = trouble_of(ensure)
    assert (trouble.trouble, trouble.code) == ("not_prepared", "MissingSubscriptionRegistration")


def test_a_link_made_before_the_accounts_key_was_changed_is_made_anew(cloud: Cloud, azure: Azure, wanted: Wanted,
                                                                        ensure: Callable[[], Any]) -> None:
    ensure()
    of_group(cloud)["microsoft.storage/storageaccounts"]["properties"]["keyCreationTime"] = {"key1": "2026-11-02T00:00:00Z"}
    later, before = replace(wanted, linked_at="2026-11-01T00:00:00Z"), len(cloud.requests)
    parts = {each.name: each for each in Existing(azure, later).look()}
    assert parts["luthier-rw"].words() == "luthier-rw (is changed: the account's key was changed since)"
    Provisioning(azure, later, patience_s=0.5).ensure(silent)
    assert [each.rpartition("/")[2] for each in writes(cloud, before)] == ["luthier-rw", "luthier-ro"]
    Provisioning(azure, replace(wanted, linked_at="2026-11-03T00:00:00Z"), patience_s=0.5).ensure(silent)
    assert len(writes(cloud, before)) == 2
