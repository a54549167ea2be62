"""The bill: asked once a day, kept by run and meter, and never in the way of anything."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from policies.book import Book
from tests.azure.cloud import Cloud
from tests.azure.faults import Fault
from tests.azure.prices_server import Bills, bills
from tests.azure.world import SUBSCRIPTION, TENANT
from tools.azure.bills import BillStore, billed_by_month, billed_by_run
from tools.azure.client import Azure
from tools.azure.costs import CostLooks, CostWatch, Looked, query, rows_of
from tools.azure.place import CloudPlace, PlaceStore
from tools.azure.trouble import AzureTrouble

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
RUN, OTHER = "4k2j8m9qxz", "9zzzzzzzzz"
QUERY = r"/Microsoft\.CostManagement/query$"


def place(group: str = "ours", region: str = "westus3", *, ours: bool = True) -> CloudPlace:
    """A prepared region."""
    return CloudPlace(SUBSCRIPTION, TENANT, group, region, "e", "eid", "d", "a", "https://f/", "luthier", "l", "c", "i@sha256:0",
                      group_is_ours=ours)


class Bench:
    """A watch over one home's bill."""

    def __init__(self, cloud: Cloud, azure: Azure, book: Book) -> None:
        self.cloud, self.azure, self.book = cloud, azure, book
        self.bills: Bills = bills(cloud.world)
        self.places = PlaceStore(book)
        self.places.put(place())

    def look(self, at: datetime = NOW) -> Looked | None:
        return CostWatch(self.azure, self.book).look(at)

    def by_run(self, since: str = "") -> dict[str, int]:
        return self.book.read(lambda db: billed_by_run(db, since))


@pytest.fixture
def bench(cloud: Cloud, azure: Azure, tmp_path: Path) -> Iterator[Bench]:
    book = Book.open(tmp_path / "book.sqlite")
    made = Bench(cloud, azure, book)
    made.bills.add(date(2026, 11, 20), RUN, "Standard vCPU Active Usage", "0.691234567")
    made.bills.add(date(2026, 11, 20), RUN, "Standard NC T4 v3 GPU Usage", "0.26")
    made.bills.add(date(2026, 11, 21), OTHER, "Standard vCPU Active Usage", "1.5")
    made.bills.add(date(2026, 10, 30), RUN, "Standard vCPU Active Usage", "2")
    made.bills.add(date(2026, 11, 20), "", "LRS Data Stored", "0.01")
    made.bills.add(date(2026, 9, 1), OTHER, "Standard vCPU Active Usage", "99")
    yield made
    book.close()


def test_the_bill_of_this_and_the_last_month_is_kept_by_run(bench: Bench) -> None:
    assert bench.look() == Looked(5)
    assert bench.by_run() == {RUN: 2_951_235, OTHER: 1_500_000, "": 10_000}
    assert bench.by_run("2026-11-01T00:00:00.000000Z")[RUN] == 951_235
    months = bench.book.read(billed_by_month)
    assert months[("2026-10", RUN)] == 2_000_000 and months[("2026-11", "")] == 10_000


def test_what_serving_costs_is_kept_by_deployment_and_counted_once(bench: Bench) -> None:
    bench.bills.add(date(2026, 11, 20), "deployment:7f00000000", "LRS Data Stored", "0.25")
    bench.bills.add(date(2026, 11, 21), "deployment:7f00000000", "Standard vCPU Active Usage", "0.5")
    bench.look()
    assert bench.by_run() == {RUN: 2_951_235, OTHER: 1_500_000, "deployment:7f00000000": 750_000, "": 10_000}
    assert bench.book.read(billed_by_month)[("2026-11", "deployment:7f00000000")] == 750_000
    bench.places.put(place(ours=False))
    assert bench.look(NOW + timedelta(days=2)) is not None and bench.by_run()["deployment:7f00000000"] == 750_000


def test_half_an_answer_about_a_group_is_none(bench: Bench) -> None:
    bench.bills.add(date(2026, 11, 20), "deployment:7f00000000", "Standard vCPU Active Usage", "0.5")
    bench.cloud.faults.at("POST", QUERY, Fault.ANSWER, status=400, code="BadRequest", skip=1)
    assert bench.look() is not None and bench.by_run() == {}


def test_the_question_asks_for_the_actual_cost_by_meter_and_by_the_tag_of_the_run(bench: Bench) -> None:
    bench.look()
    asked = bench.bills.queries[0]
    assert asked.pop("scope").lower() == f"subscriptions/{SUBSCRIPTION}/resourcegroups/ours"
    assert asked == query(date(2026, 10, 1), NOW.date())
    assert [each["dataset"]["grouping"][1]["name"] for each in bench.bills.queries] == ["luthier-run", "luthier-deployment"]


@pytest.mark.parametrize(("hours", "asked"), [(1, 2), (23, 2), (25, 4)])
def test_it_is_asked_once_a_day_even_by_another_process(bench: Bench, hours: int, asked: int) -> None:
    bench.look()
    bench.look(NOW + timedelta(hours=hours))
    assert len(bench.bills.queries) == asked


def test_a_clock_that_was_set_back_does_not_stop_the_looks(bench: Bench) -> None:
    bench.look(NOW + timedelta(days=3))
    assert bench.look(NOW) is not None


def test_every_page_is_read(bench: Bench) -> None:
    bench.bills.page = 2
    assert bench.look() == Looked(5) and len(bench.bills.queries) == 6


def test_looking_again_corrects_and_does_not_add_up(bench: Bench) -> None:
    bench.look()
    bench.bills.rows = [(day, run, meter, amount * 2) for day, run, meter, amount in bench.bills.rows]
    bench.look(NOW + timedelta(days=1))
    assert bench.by_run()[OTHER] == 3_000_000


def test_without_a_prepared_place_nobody_is_asked(bench: Bench) -> None:
    bench.places.forget("westus3")
    assert bench.look() is None and bench.cloud.requests == []


def test_a_group_that_was_torn_down_is_still_asked_for_its_late_bill(bench: Bench) -> None:
    bench.look()
    bench.places.forget("westus3")
    bench.bills.add(date(2026, 11, 24), RUN, "Standard vCPU Active Usage", "0.5")
    assert bench.look(NOW + timedelta(days=2)) is not None and bench.by_run()[RUN] == 3_451_235
    assert bench.by_run()[""] == 10_000
    assert bench.look(NOW + timedelta(days=50)) is None


def test_a_group_that_is_gone_is_no_trouble(bench: Bench) -> None:
    bench.look()
    bench.places.forget("westus3")
    bench.cloud.faults.at("POST", QUERY, Fault.ANSWER, status=404, code="ResourceGroupNotFound")
    assert bench.look(NOW + timedelta(days=2)) == Looked(0) and bench.by_run()[RUN] == 2_951_235


def test_in_a_group_of_others_only_what_bears_a_runs_tag_is_ours(bench: Bench) -> None:
    bench.places.put(place(ours=False))
    bench.look()
    assert bench.by_run() == {RUN: 2_951_235, OTHER: 1_500_000}


def test_two_places_are_added_up(bench: Bench) -> None:
    bench.places.put(place("second", "eastus"))
    bench.look()
    assert len(bench.bills.queries) == 4 and bench.by_run()[""] == 20_000


@pytest.mark.parametrize(("fault", "options"), [
    (Fault.THROTTLED, {"seconds": 0}), (Fault.DENIED, {}), (Fault.REFUSED_503, {}), (Fault.TRUNCATED_JSON, {}), (Fault.DROP, {}),
    (Fault.ANSWER, {"status": 400, "code": "BadRequest"}),
], ids=["throttled", "denied", "down", "half a text", "cut off", "not understood"])
def test_a_look_that_goes_wrong_is_told_and_made_again_hours_later(bench: Bench, fault: Fault, options: dict[str, Any]) -> None:
    bench.cloud.faults.at("POST", QUERY, fault, times=20, **options)
    found = bench.look()
    assert found is not None and len(found.troubles) == 1 and found.troubles[0].try_next
    bench.cloud.faults.clear()
    assert bench.look(NOW + timedelta(hours=1)) is None
    assert bench.look(NOW + timedelta(hours=5)) == Looked(5)


def test_without_a_sign_in_nothing_is_asked_and_nothing_raises(bench: Bench) -> None:
    bench.cloud.world.signed_in = False
    found = bench.look()
    assert found is not None and [each.trouble for each in found.troubles] == ["signin"]


def test_money_in_another_currency_is_not_compared(bench: Bench) -> None:
    bench.bills.currency = "EUR"
    found = bench.look()
    assert found is not None and "EUR" in str(found.troubles[0]) and bench.by_run() == {}


def test_a_part_that_did_not_answer_takes_nothing_away(bench: Bench) -> None:
    bench.places.put(place("second", "eastus"))
    bench.look()
    bench.cloud.faults.at("POST", "resourceGroups/second/.*" + QUERY, Fault.DENIED, times=9)
    bench.look(NOW + timedelta(days=1))
    assert bench.by_run()[""] == 20_000
    look = BillStore(bench.book).last_look()
    assert look is not None and not look.well


def test_looks_are_made_beside_whoever_asks_for_them_and_only_when_it_is_time(bench: Bench) -> None:
    early = CostLooks(CostWatch(bench.azure, bench.book), clock=lambda: NOW)
    early.pass_()
    early.close()
    assert bench.bills.queries == []
    looks = CostLooks(CostWatch(bench.azure, bench.book), first_s=0, check_s=0, clock=lambda: NOW)
    looks.pass_()
    looks.close(60)
    looks.pass_()
    assert len(bench.bills.queries) == 2 and bench.by_run()[RUN] == 2_951_235


def test_a_look_at_a_book_that_is_closed_ends_quietly(bench: Bench, tmp_path: Path) -> None:
    book = Book.open(tmp_path / "closed.sqlite")
    book.close()
    looks = CostLooks(CostWatch(bench.azure, book), first_s=0, check_s=0, clock=lambda: NOW)
    looks.pass_()
    looks.close(60)


COLUMNS = ["Cost", "UsageDate", "Meter", "TagKey", "TagValue", "Currency"]


@pytest.mark.parametrize(("columns", "row", "run_id", "day"), [
    (COLUMNS, [1.25, 20261120, "m", "luthier-run", RUN, "USD"], RUN, date(2026, 11, 20)),
    (["UsageDate", "luthier-run", "Meter", "Cost", "Currency"], ["2026-11-20T00:00:00", RUN, "m", 1.25, "USD"], RUN, date(2026, 11, 20)),
    (COLUMNS, [1.25, 20261120.0, "m", None, f'"luthier-run":"{RUN}"', "USD"], RUN, date(2026, 11, 20)),
    (COLUMNS, [1.25, 20261120, "m", "luthier-run", "'; drop table", "USD"], "", date(2026, 11, 20)),
    (COLUMNS, [1.25, 20261120, None, None, None, "USD"], "", date(2026, 11, 20)),
], ids=["as usual", "other names and order", "with the tag's name", "a tag somebody wrote", "no tag"])
def test_a_row_is_read_by_its_columns(columns: list[str], row: list[Any], run_id: str, day: date) -> None:
    assert [(found[0], found[1], found[3]) for found in rows_of(columns, [row])] == [(day, run_id, 1_250_000)]


@pytest.mark.parametrize(("columns", "row"), [
    (["Cost"], [1]), ([], []), (COLUMNS, [1]), (COLUMNS, ["much", 20261120, "m", "", "", "USD"]),
    (COLUMNS, [1, 99999999, "m", "", "", "USD"]),
    (COLUMNS, [float("nan"), 20261120, "m", "", "", "USD"]), (COLUMNS, 7),
])
def test_a_row_that_makes_no_sense_is_refused(columns: list[str], row: Any) -> None:
    with pytest.raises(AzureTrouble, match="bill could not be read"):
        rows_of(columns, [row])
