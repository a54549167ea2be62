"""The price list: which row counts, how old it may be, and what is refused."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.azure.cloud import Cloud
from tests.azure.prices_server import A100, MEMORY, T4, VCPU, PriceList, item, price_list
from tests.faults.proof import proves
from tools.azure.client import Azure
from tools.azure.place import Shape
from tools.azure.prices import Prices, shipped
from tools.azure.rates import Rate, Row, rate_of, row_of
from tools.azure.trouble import AzureTrouble

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SMALL = Shape("Consumption", 4, 8)
T4_SHAPE = Shape("Consumption-GPU-NC8as-T4", 8, 56, 1, "T4", 16)
A100_SHAPE = Shape("Consumption-GPU-NC24-A100", 24, 220, 1, "A100", 80)


@pytest.fixture
def listed(cloud: Cloud) -> PriceList:
    return price_list(cloud.world)


@pytest.fixture
def prices(azure: Azure, tmp_path: Path) -> Prices:
    return Prices(azure, tmp_path / "home/azure/prices.json", pause=lambda _: None)


def refused(work: Callable[[], Any], kind: str = "price") -> AzureTrouble:
    """The trouble that some work ends in."""
    with pytest.raises(AzureTrouble) as trouble:
        work()
    assert trouble.value.trouble == kind and trouble.value.try_next
    return trouble.value


@pytest.mark.parametrize(("shape", "region", "per_second", "hourly"), [
    (T4_SHAPE, "eastus", "0.000433", "1.559 USD an hour"), (A100_SHAPE, "eastus", "0.001765", "6.354 USD an hour"),
    (SMALL, "eastus", "0.000120", "0.432 USD an hour"), (T4_SHAPE, "swedencentral", "0.000549", "1.977 USD an hour"),
], ids=["T4", "A100", "without a GPU", "another region"])
def test_a_shape_costs_its_cores_memory_and_gpu(prices: Prices, shape: Shape, region: str, per_second: str, hourly: str) -> None:
    rate = prices.rate(shape, region, NOW)
    assert (rate.per_second, rate.hourly(), rate.price_date, rate.stale) == (Decimal(per_second), hourly, "2025-06-01", False)
    assert [part.meter for part in rate.parts][:2] == [VCPU, MEMORY]


def test_the_list_is_read_page_by_page_once_and_kept_with_its_age(prices: Prices, listed: PriceList, azure: Azure, tmp_path: Path) -> None:
    first = prices.rate(T4_SHAPE, "eastus", NOW)
    assert listed.asked == ["eastus"] * 3 and first.fetched_at == NOW
    again = Prices(azure, tmp_path / "home/azure/prices.json")
    assert again.rate(A100_SHAPE, "eastus", NOW + timedelta(hours=23)).fetched_at == NOW and len(listed.asked) == 3
    assert again.read_at() == NOW
    assert again.rate(A100_SHAPE, "eastus", NOW + timedelta(hours=25)).fetched_at == NOW + timedelta(hours=25) and len(listed.asked) == 6


def test_reading_again_moves_no_date_while_no_price_moved(prices: Prices) -> None:
    first, later = (prices.rate(T4_SHAPE, "eastus", at) for at in (NOW, NOW + timedelta(days=3)))
    assert (first.price_date, first.per_second, first.words()) == (later.price_date, later.per_second, later.words())


@proves("F15", "the table of prices is missing or too old", "nothing starts by it, and the sentence says how old it is")
@pytest.mark.parametrize(("days", "stands"), [(2, True), (29, True), (31, False)])
def test_while_the_list_is_down_an_older_one_serves_for_as_long_as_the_limit_says(
    prices: Prices, listed: PriceList, days: int, stands: bool,
) -> None:
    prices.rate(T4_SHAPE, "eastus", NOW)
    listed.mode = "down"
    later = NOW + timedelta(days=days)
    if stands:
        assert prices.rate(T4_SHAPE, "eastus", later).fetched_at == NOW
        return
    said = refused(lambda: prices.rate(T4_SHAPE, "eastus", later)).because
    assert "2026-11-24" in said and "older than 30 days start nothing" in said and "status 503" in said
    seen = prices.shown(T4_SHAPE, "eastus", later)
    assert seen is not None and seen.stale and seen.fetched_at == NOW


def test_a_list_that_could_not_be_read_is_left_alone_for_some_minutes(prices: Prices, listed: PriceList) -> None:
    prices.rate(T4_SHAPE, "eastus", NOW)
    listed.mode = "down"
    for minutes in (0, 1, 4):
        prices.rate(T4_SHAPE, "eastus", NOW + timedelta(days=2, minutes=minutes))
    assert len(listed.asked) == 3 + 3
    listed.mode = "well"
    assert prices.rate(T4_SHAPE, "eastus", NOW + timedelta(days=2, minutes=6)).fetched_at > NOW


@pytest.mark.parametrize("skew", [timedelta(hours=-1), timedelta(hours=1)])
def test_a_clock_that_is_off_by_an_hour_changes_nothing(prices: Prices, listed: PriceList, skew: timedelta) -> None:
    prices.rate(T4_SHAPE, "eastus", NOW)
    assert prices.rate(T4_SHAPE, "eastus", NOW + skew).fetched_at == NOW and len(listed.asked) == 3


def test_a_list_from_the_far_future_counts_as_none(prices: Prices, listed: PriceList) -> None:
    prices.rate(T4_SHAPE, "eastus", NOW + timedelta(days=400))
    listed.mode = "down"
    refused(lambda: prices.rate(T4_SHAPE, "eastus", NOW))


@pytest.mark.parametrize(("mode", "kind", "words"), [
    ("down", "price", "status 503"), ("busy", "price", "status 429"), ("moved", "price", "status 307"), ("page", "price", "not JSON"),
    ("empty", "price", "no row of Container Apps"), ("euros", "price", "not in US dollars"), ("huge", "price", "larger than any"),
    ("elsewhere", "refused_host", "prices.example.com"), ("endless", "price", "do not end"),
])
def test_a_list_that_answers_wrongly_prices_nothing(prices: Prices, listed: PriceList, mode: Any, kind: str, words: str) -> None:
    listed.mode = mode
    assert words in str(refused(lambda: prices.rate(T4_SHAPE, "eastus", NOW), kind))


@pytest.mark.parametrize(("meter", "shape"), [(VCPU, SMALL), (MEMORY, SMALL), (T4, T4_SHAPE), (A100, A100_SHAPE)])
def test_an_unknown_unit_is_refused_where_it_matters_and_only_there(
    prices: Prices, listed: PriceList, meter: str, shape: Shape,
) -> None:
    listed.set_unit(meter, "1 Fortnight")
    assert "1 Fortnight" in refused(lambda: prices.rate(shape, "eastus", NOW)).because
    if meter in (T4, A100):
        assert prices.rate(SMALL, "eastus", NOW).per_second == Decimal("0.00012")


def test_a_meter_that_is_not_listed_is_refused_by_its_name(prices: Prices, listed: PriceList) -> None:
    listed.drop(T4)
    assert T4 in refused(lambda: prices.rate(T4_SHAPE, "eastus", NOW)).because
    assert prices.rate(A100_SHAPE, "eastus", NOW).per_second > 0
    assert "H100" in refused(lambda: prices.rate(Shape("X", 1, 1, 1, "H100", 80), "eastus", NOW)).because


def test_a_region_without_prices_shows_none_and_one_in_the_shipped_table_shows_an_old_one(prices: Prices, listed: PriceList) -> None:
    assert prices.shown(T4_SHAPE, "northeurope", NOW) is None
    listed.mode = "down"
    old = prices.shown(T4_SHAPE, "eastus", NOW)
    assert old is not None and (old.stale, old.price_date, old.per_second) == (True, "2026-08-01", Decimal("0.000433"))
    refused(lambda: prices.rate(T4_SHAPE, "eastus", NOW))
    assert set(shipped()) == {"eastus", "westus2"}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"regions": {"eastus": {"at": "x", "rows": []}}}', '{"regions": {"eastus": {"rows": 1}}}',
                                  '{"regions": {"eastus": {"at": "2026-11-24T00:00:00+00:00", "rows": [["a", "b", "x", "0", "", ""]]}}}'])
def test_a_cache_that_cannot_be_understood_is_read_again(prices: Prices, listed: PriceList, tmp_path: Path, text: str) -> None:
    file = tmp_path / "home/azure/prices.json"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    assert prices.rate(T4_SHAPE, "eastus", NOW).fetched_at == NOW and listed.asked
    assert "eastus" in json.loads(file.read_text())["regions"]


def row(meter: str, price: str, **changes: Any) -> Row:
    """A row as it is kept."""
    found = row_of({**item("eastus", meter, price, **changes), "retailPrice": Decimal(price)})
    assert found is not None
    return found


@pytest.mark.parametrize(("rows", "price"), [
    ([row(VCPU, "0"), row(VCPU, "0.00002", tier=50.0)], "0.00002"),
    ([row(VCPU, "0.00003"), row(VCPU, "0.00002", tier=50.0)], "0.00003"),
    ([row(VCPU, "0.5", since="2022-01-01T00:00:00Z"), row(VCPU, "0.00002", since="2024-01-01T00:00:00Z")], "0.00002"),
    ([row(VCPU, "0.00002"), row(VCPU, "0.5", since="2027-01-01T00:00:00Z")], "0.00002"),
    ([row(VCPU, "0.072", unit="1 Hour")], "0.00002"),
    ([row(VCPU, "0.00002"), row(VCPU, "0.5", effectiveEndDate="2026-01-01T00:00:00Z", tier=9.0)], "0.00002"),
], ids=["the free tier never counts", "the dearest tier counts", "the newest counts", "the future does not",
        "by the hour", "what ended does not"])
def test_which_row_of_a_meter_counts(rows: list[Row], price: str) -> None:
    shape = Shape("one core", 1, 0.000001)
    found = rate_of([*rows, row(MEMORY, "0.000001")], shape, "eastus", NOW, NOW)
    assert found.parts[0].per_second == Decimal(price)


@pytest.mark.parametrize("price", ["0", "1.5"])
def test_a_price_that_cannot_be_is_not_believed(price: str) -> None:
    refused(lambda: rate_of([row(VCPU, price), row(MEMORY, "0.000001")], SMALL, "eastus", NOW, NOW))


@pytest.mark.parametrize("changes", [{"retailPrice": -1}, {"retailPrice": "NaN"}, {"retailPrice": None}, {"effectiveStartDate": "soon"},
                                     {"effectiveStartDate": None}, {"currencyCode": "EUR"}, {"tierMinimumUnits": "many"}])
def test_a_malformed_row_of_a_meter_that_matters_spoils_the_list(changes: dict[str, Any]) -> None:
    refused(lambda: row_of({**item("eastus", VCPU, "0.1"), **changes}))
    assert row_of({**item("eastus", "Standard Requests", "0.1"), **changes}) is None


def test_a_rate_is_kept_as_json_to_the_last_digit(prices: Prices) -> None:
    rate = prices.rate(A100_SHAPE, "eastus", NOW)
    assert Rate.from_json(json.loads(json.dumps(rate.as_json()))) == rate


def test_a_shape_without_cores_or_memory_has_no_price_and_is_never_free(prices: Prices) -> None:
    for shape in (Shape("Consumption", 0, 8), Shape("Consumption", 4, 0)):
        assert "how many cores" in refused(lambda shape=shape: prices.rate(shape, "eastus", NOW)).because
