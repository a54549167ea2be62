"""The places that are offered: at most three, cheapest first, that fit, may be used and can be started."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from policies.book import Book
from policies.limits import Limits
from policies.policy import Policy
from tests.azure.cloud import Cloud
from tests.azure.faults import Fault
from tests.azure.prices_server import T4, price_list
from tools.azure.client import Azure
from tools.azure.offers import CloudOffers, Offer, offers, survey
from tools.azure.place import CloudPlace, PlaceStore
from tools.azure.prices import Prices
from tools.azure.seat import machine_of, room_bytes, seat_of
from tools.azure.trouble import AzureTrouble
from tools.hardware import GIB

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
REGIONS = ("eastus", "westus3", "swedencentral")
SKUS = ("Consumption-GPU-NC8as-T4", "Consumption-GPU-NC24-A100", "Consumption")


class Bench:
    """The offers of one stand-in."""

    def __init__(self, cloud: Cloud, azure: Azure, folder: Path) -> None:
        self.cloud, self.azure, self.prices = cloud, azure, Prices(azure, folder / "prices.json", pause=lambda _: None)

    def offers(self, need: float = 4, *, regions: tuple[str, ...] = REGIONS, skus: tuple[str, ...] = SKUS, gpu: str = "",
               prepared: tuple[str, ...] = ("westus3",)) -> tuple[Offer, ...]:
        return offers(self.azure, self.prices, regions, skus, int(need * GIB), prepared, now=NOW, gpu=gpu)

    def names(self, *given: Any, **named: Any) -> list[tuple[str, str]]:
        return [(each.region, each.shape.gpu) for each in self.offers(*given, **named)]

    def refused(self, *given: Any, **named: Any) -> AzureTrouble:
        with pytest.raises(AzureTrouble) as trouble:
            self.offers(*given, **named)
        return trouble.value

    def quota(self, region: str, name: str, used: int, limit: int) -> None:
        self.cloud.world.usages[region][name] = (used, limit)


@pytest.fixture
def bench(cloud: Cloud, azure: Azure, tmp_path: Path) -> Bench:
    return Bench(cloud, azure, tmp_path)


def test_the_three_cheapest_that_fit_come_first(bench: Bench) -> None:
    found = bench.offers()
    assert [(each.region, each.shape.gpu) for each in found] == [("eastus", "T4"), ("westus3", "T4"), ("swedencentral", "T4")]
    assert [each.rate.hourly() for each in found] == ["1.559 USD an hour", "1.584 USD an hour", "1.977 USD an hour"]
    assert [each.prepared for each in found] == [False, True, False] and {each.risk for each in found} == {"low"}
    assert found[1].words() == "T4 in westus3: 1.584 USD an hour, prepared"


@pytest.mark.parametrize(("need", "gpus"), [(14, {"T4"}), (15, {"A100"}), (78, {"A100"})])
def test_what_the_gpu_cannot_hold_is_not_offered(bench: Bench, need: float, gpus: set[str]) -> None:
    assert {gpu for _, gpu in bench.names(need)} == gpus


def test_what_no_gpu_holds_is_refused_with_the_largest(bench: Bench) -> None:
    assert "the largest allowed, Consumption-GPU-NC24-A100, has 78.5 GiB free" in bench.refused(100).because


@pytest.mark.parametrize(("gpu", "found"), [
    ("A100", [("westus3", "A100"), ("eastus", "A100"), ("swedencentral", "A100")]),
    ("nvidia t4", [("eastus", "T4"), ("westus3", "T4"), ("swedencentral", "T4")]),
    ("Consumption-GPU-NC24-A100", [("westus3", "A100"), ("eastus", "A100"), ("swedencentral", "A100")]),
    ("cpu", [("westus3", ""), ("eastus", ""), ("swedencentral", "")]),
])
def test_a_named_gpu_or_none_at_all_and_of_equal_prices_the_prepared_place_first(
    bench: Bench, gpu: str, found: list[tuple[str, str]],
) -> None:
    assert bench.names(gpu=gpu) == found


def test_a_gpu_that_nobody_offers_is_refused_with_what_there_is(bench: Bench) -> None:
    assert "A100, Consumption, T4" in bench.refused(gpu="H100").because


@pytest.mark.parametrize(("used", "limit", "risk"), [(0, 2, "low"), (2, 2, "waits"), (1, 1, "waits")])
def test_the_risk_of_waiting_follows_the_quota(bench: Bench, used: int, limit: int, risk: str) -> None:
    bench.quota("eastus", "SubscriptionConsumptionT4Gpus", used, limit)
    assert bench.offers()[0].risk == risk
    assert bench.offers()[0].words() == "T4 in eastus: 1.559 USD an hour, not prepared yet"


def test_a_quota_that_nobody_names_is_unknown_and_not_zero(bench: Bench) -> None:
    for usages in bench.cloud.world.usages.values():
        usages.pop("SubscriptionConsumptionT4Gpus")
    assert bench.offers()[0].risk == "unknown" and bench.offers(gpu="cpu")[0].risk == "low"


def test_a_place_without_quota_makes_room_for_another(bench: Bench) -> None:
    bench.quota("eastus", "SubscriptionConsumptionT4Gpus", 0, 0)
    assert bench.names() == [("westus3", "T4"), ("swedencentral", "T4"), ("westus3", "A100")]


def test_no_quota_anywhere_is_said_with_the_numbers_and_the_link_and_nothing_is_created(bench: Bench) -> None:
    for region in REGIONS:
        bench.quota(region, "SubscriptionConsumptionT4Gpus", 0, 0)
        bench.quota(region, "SubscriptionConsumptionNCA100Gpus", 0, 0)
    trouble = bench.refused()
    assert trouble.trouble == "quota" and "no quota for a T4 in eastus" in str(trouble)
    for part in ("https://portal.azure.com/", "SubscriptionConsumptionT4Gpus", "limit now 0", "new limit 1", "region eastus"):
        assert part in trouble.try_next
    assert not [path for method, path in bench.cloud.requests if method in ("PUT", "PATCH", "DELETE")]
    assert not bench.cloud.world.resources or all("/providers/" not in each for each in bench.cloud.world.resources)


def test_a_region_without_the_profile_or_that_cannot_be_asked_is_left_out(bench: Bench) -> None:
    bench.cloud.faults.at("GET", "locations/westus3/available", Fault.DENIED)
    found = survey(bench.azure, bench.prices, ("northeurope", "westus3", "swedencentral"), SKUS, 4 * GIB, (), now=NOW)
    assert {each.region for each in found.usable} == {"swedencentral"} and [each.trouble for each in found.troubles] == ["denied"]


def test_hardware_that_is_not_allowed_is_not_offered(bench: Bench) -> None:
    assert {gpu for _, gpu in bench.names(skus=SKUS[1:])} == {"A100"}
    assert bench.refused(skus=()).trouble == "not_found"


def test_an_old_price_is_shown_and_starts_nothing(bench: Bench) -> None:
    price_list(bench.cloud.world).mode = "down"
    found = survey(bench.azure, bench.prices, REGIONS, SKUS, 4 * GIB, (), now=NOW)
    assert [(each.region, each.rate.stale) for each in found.usable] == [("eastus", True), ("eastus", True)]
    assert bench.refused().trouble == "price"


def test_one_shape_without_a_price_leaves_the_others(bench: Bench) -> None:
    price_list(bench.cloud.world).drop(T4)
    assert {gpu for _, gpu in bench.names(regions=("westus3",))} == {"A100"}


def test_without_a_sign_in_nothing_is_offered(bench: Bench) -> None:
    bench.cloud.world.signed_in = False
    assert bench.refused().trouble == "signin"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Book]:
    book = Book.open(tmp_path / "book.sqlite")
    yield book
    book.close()


def limits(**places: Any) -> Limits:
    """The shipped limits with other places."""
    shipped = Policy.load().limits
    return shipped.model_copy(update={"places": shipped.places.model_copy(update=places)})


def place(region: str) -> CloudPlace:
    """A prepared region."""
    return CloudPlace("s", "t", "g", region, "e", "eid", "d", "a", "https://f/", "luthier", "l", "c", "i@sha256:0")


def test_a_home_offers_only_regions_that_its_limits_allow_and_knows_the_prepared_ones(bench: Bench, home: Book) -> None:
    store = PlaceStore(home)
    store.put(place("swedencentral"))
    found = CloudOffers(bench.azure, bench.prices, store, lambda: limits(regions=["swedencentral", "westus3"]), lambda: NOW).survey(4 * GIB)
    assert {each.region for each in found.usable} == {"swedencentral", "westus3"}
    assert {each.region: each.prepared for each in found.usable} == {"swedencentral": True, "westus3": False}
    nowhere = CloudOffers(bench.azure, bench.prices, store, lambda: limits(regions=[]), lambda: NOW).survey(4 * GIB)
    assert nowhere.usable == ()


def test_a_place_is_a_machine_with_what_a_program_gets_of_it(bench: Bench) -> None:
    t4, small = bench.offers()[0].shape, bench.offers(gpu="cpu")[0].shape
    found = machine_of(t4)
    assert found.gpus[0].memory_free_bytes == room_bytes(t4) < 16 * GIB and found.dtype_for("cuda") == "float16"
    assert machine_of(small).memory.available_bytes == room_bytes(small) and machine_of(small).gpus == ()
    assert seat_of(t4, "eastus").where == "Azure, eastus, Consumption-GPU-NC8as-T4" and seat_of(small, "eastus").device == "cpu"
