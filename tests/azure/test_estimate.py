"""The estimate of a run in the cloud, as the tool gives it."""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from policies.book import Book
from policies.policy import Policy
from policies.proposal import Effect
from policies.tool import Call
from tests.azure.cloud import Cloud
from tests.azure.prices_server import price_list
from tests.tools.fakes_machine import FixedDatasets, FixedHardware, machine, write_model
from tools.azure.ceiling import time_limit
from tools.azure.client import Azure
from tools.azure.offers import CloudOffers
from tools.azure.place import PlaceStore
from tools.azure.prices import Prices
from tools.azure.trouble import AzureTrouble
from tools.catalogue import Catalogue
from tools.estimate import EstimateCost
from tools.places import Places

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


class Bench:
    """The tool, pointed at a stand-in."""

    def __init__(self, cloud: Cloud, azure: Azure, book: Book, root: Path) -> None:
        self.cloud = cloud
        places = Places(root, root / "home")
        write_model(places.bundled_model)
        prices = Prices(azure, root / "prices.json", pause=lambda _: None)
        offers = CloudOffers(azure, prices, PlaceStore(book), lambda: Policy.load().limits, lambda: NOW)
        self.tool = EstimateCost(Catalogue(places, book), FixedHardware(machine()), FixedDatasets(), cloud=offers)

    def result(self, **args: Any) -> Any:
        parsed = self.tool.Args(**{"model": "bundled", "dataset": "helpdesk.jsonl", "provider": "azure", **args})
        assert self.tool.propose(parsed).effects == {Effect.READ}
        return self.tool.perform(parsed, Call("c", "owner"))

    def estimate(self, **args: Any) -> dict[str, Any]:
        return dict(self.result(**args).result)

    def refused(self, **args: Any) -> AzureTrouble:
        with pytest.raises(AzureTrouble) as trouble:
            self.estimate(**args)
        return trouble.value

    def no_quota(self, *names: str) -> None:
        for usages in self.cloud.world.usages.values():
            usages.update(dict.fromkeys(names, (0, 0)))


@pytest.fixture
def bench(cloud: Cloud, azure: Azure, tmp_path: Path) -> Iterator[Bench]:
    book = Book.open(tmp_path / "home/book.sqlite")
    yield Bench(cloud, azure, book, tmp_path)
    book.close()


def test_it_gives_the_usual_fields_and_three_priced_places_the_cheapest_first(bench: Bench) -> None:
    found = bench.estimate()
    assert found["fits"] is True and found["can_start"] is True and found["steps"] > 0
    assert [(each["region"], each["gpu"], each["per_hour"]) for each in found["places"]] == [
        ("eastus", "T4", "1.559"), ("westus3", "T4", "1.584"), ("swedencentral", "T4", "1.977")]
    first = found["places"][0]
    assert {"sku": "Consumption-GPU-NC8as-T4", "prepared": False, "risk": "low", "price_date": "2025-06-01"}.items() <= first.items()
    assert Decimal("0") < Decimal(first["likely"]) < Decimal(first["ceiling"])
    assert {"likely": first["likely"], "ceiling": first["ceiling"], "price_date": "2025-06-01"}.items() <= found["cost"].items()
    assert found["where"] == first["where"] == "Azure, eastus, Consumption-GPU-NC8as-T4"
    assert found["remedies"] == ["prepare eastus first: prepare_cloud region=eastus"]
    assert any("Each of at most 2 attempts is cut off by Azure" in line for line in found["assumptions"])
    assert not any(method in ("PUT", "PATCH", "DELETE") for method, _ in bench.cloud.requests)


def test_a_named_region_and_gpu_are_the_only_ones_looked_at(bench: Bench) -> None:
    found = bench.estimate(region="swedencentral", gpu="A100")
    assert [(each["region"], each["gpu"]) for each in found["places"]] == [("swedencentral", "A100")]
    assert bench.estimate(gpu="cpu")["places"][0]["sku"] == "Consumption"


def test_a_region_that_the_limits_leave_out_is_refused_with_those_they_allow(bench: Bench) -> None:
    trouble = bench.refused(region="brazilsouth")
    assert trouble.trouble == "policy" and "westus3" in trouble.because


def test_without_quota_it_still_says_what_it_would_cost_and_what_to_ask_for(bench: Bench) -> None:
    bench.no_quota("SubscriptionConsumptionT4Gpus", "SubscriptionConsumptionNCA100Gpus")
    found = bench.estimate()
    assert found["fits"] is True and found["can_start"] is False and {each["risk"] for each in found["places"]} == {"none"}
    assert "no quota" in found["reason"] and all("portal.azure.com" in line and "new limit 1" in line for line in found["remedies"])


def test_quota_for_one_gpu_only_offers_that_and_says_how_to_get_the_cheaper_one(bench: Bench) -> None:
    bench.no_quota("SubscriptionConsumptionT4Gpus")
    found = bench.estimate()
    assert [each["gpu"] for each in found["places"]] == ["A100"] * 3 and found["can_start"] is True
    assert any("SubscriptionConsumptionT4Gpus" in line for line in found["remedies"])


def test_what_no_place_holds_is_said_with_the_largest(bench: Bench) -> None:
    found = bench.estimate(model="qwen3-4b", gpu="cpu")
    assert found["fits"] is False and found["places"] == [] and "7.2 GiB" in found["reason"] and found["remedies"]


def test_an_old_price_is_labelled_and_starts_nothing(bench: Bench) -> None:
    price_list(bench.cloud.world).mode = "down"
    found = bench.estimate()
    assert found["can_start"] is False and found["places"][0]["price_stale"] is True
    assert any("of 2026-08-01: nothing starts by it" in line for line in found["assumptions"])


def test_nobody_signed_in_is_said_as_such(bench: Bench) -> None:
    bench.cloud.world.signed_in = False
    assert bench.refused().trouble == "signin"


def test_the_brain_hears_the_places_and_no_text_of_azure(bench: Bench) -> None:
    heard = bench.result().for_brain
    assert heard["places"] and "assumptions" not in heard


@pytest.mark.parametrize(("high_s", "limit_s"), [(0, 1800), (200, 1800), (201, 2700), (5_000, 16_200), (90_000, 86_400)])
def test_the_time_limit_is_thrice_the_work_and_its_start_in_quarters_of_an_hour(high_s: int, limit_s: int) -> None:
    assert time_limit(high_s, 24) == limit_s
