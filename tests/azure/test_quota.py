"""What a region offers, and how much of it may be used."""

from typing import Any

import pytest

from tests.azure.cloud import Cloud
from tests.azure.faults import Fault
from tools.azure.client import Azure
from tools.azure.place import Shape
from tools.azure.quota import Quota, gpu_regions, quota, request_words, shapes
from tools.azure.trouble import AzureTrouble

T4 = Shape("Consumption-GPU-NC8as-T4", 8, 56, 1, "T4", 16)
CPU = Shape("Consumption", 4, 8)


def profile(name: str, gpus: int = 1) -> dict[str, Any]:
    """One profile as Azure lists it."""
    return {"id": "/x", "name": name, "type": "x", "properties": {"category": name, "cores": 8, "memoryGiB": 64, "gpus": gpus}}


def test_only_serverless_profiles_count_and_those_without_a_gpu_come_first(azure: Azure) -> None:
    assert [each.name for each in shapes(azure, "westus3")] == ["Consumption", "Consumption-GPU-NC8as-T4", "Consumption-GPU-NC24-A100"]


def test_a_shape_says_what_a_replica_of_it_is(azure: Azure) -> None:
    assert T4 in shapes(azure, "westus3")


def test_a_gpu_that_nobody_here_knows_is_listed_with_unknown_memory(azure: Azure, cloud: Cloud) -> None:
    cloud.world.profiles["westus3"].append(profile("Consumption-GPU-NC40-H100"))
    found = next(each for each in shapes(azure, "westus3") if each.gpu == "H100")
    assert (found.gpus, found.gpu_gib) == (1, 0.0)


def test_profiles_are_asked_for_once(azure: Azure, cloud: Cloud) -> None:
    shapes(azure, "westus3")
    before = len(cloud.requests)
    shapes(azure, "westus3")
    assert len(cloud.requests) == before


def test_the_regions_with_a_gpu_are_found_in_the_order_that_was_allowed(azure: Azure) -> None:
    assert gpu_regions(azure, ["swedencentral", "northeurope", "atlantis", "westus3"]) == ("swedencentral", "westus3")


def test_no_region_with_a_gpu_is_no_region(azure: Azure) -> None:
    assert gpu_regions(azure, ["northeurope", "atlantis"]) == ()


def test_when_no_region_can_be_asked_the_trouble_is_told(azure: Azure, cloud: Cloud) -> None:
    cloud.faults.at("GET", "WorkloadProfileTypes", Fault.REFUSED_503, times=99)
    with pytest.raises(AzureTrouble):
        gpu_regions(azure, ["westus3"])


@pytest.mark.parametrize(("used", "limit", "free"), [(0, 2, 2), (2, 2, 0), (3, 2, 0), (0, 0, 0)])
def test_quota_is_what_azure_says(azure: Azure, cloud: Cloud, used: int, limit: int, free: int) -> None:
    cloud.world.usages["westus3"]["SubscriptionConsumptionT4Gpus"] = (used, limit)
    found = quota(azure, "westus3", T4)
    assert (found, found.free) == (Quota(used, limit), free)


def test_a_quota_that_is_not_listed_is_asked_for_at_the_quota_service(azure: Azure, cloud: Cloud) -> None:
    cloud.faults.at("GET", "Microsoft.App/locations/westus3/usages$", Fault.ANSWER, 1, status=404, code="NotFound")
    assert quota(azure, "westus3", T4) == Quota(0, 2)


def test_a_quota_that_nobody_knows_is_unknown_and_not_zero(azure: Azure, cloud: Cloud) -> None:
    del cloud.world.usages["westus3"]["SubscriptionConsumptionT4Gpus"]
    found = quota(azure, "westus3", T4)
    assert (found, found.free, found.words()) == (Quota(None, None), None, "quota unknown")


def test_a_quota_that_may_not_be_read_is_unknown(azure: Azure, cloud: Cloud) -> None:
    cloud.faults.at("GET", "usages|quotas", Fault.DENIED, 9)
    assert quota(azure, "westus3", T4) == Quota(None, None)


def test_what_has_no_gpu_needs_no_quota_of_one(azure: Azure, cloud: Cloud) -> None:
    azure.account()
    before = len(cloud.requests)
    assert quota(azure, "westus3", CPU) == Quota(None, None) and len(cloud.requests) == before


def test_what_to_ask_for_has_every_number_of_the_form(azure: Azure, cloud: Cloud) -> None:
    said = request_words(azure, "westus3", T4, Quota(0, 0))
    assert all(each in said for each in (
        "https://portal.azure.com/", cloud.world.subscription, "westus3", "SubscriptionConsumptionT4Gpus", "limit now 0", "new limit 1"))
