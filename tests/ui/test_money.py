"""The money page: pure."""

from typing import Any

import pytest

from tests.ui.fakes_office import SPENT
from ui.pages.money import budget_of, cell_of, money_page, month_of
from ui.pages.plain import Pages


def page(report: dict[str, Any]) -> str:
    """The rendered page."""
    return Pages().page("money", "/money", "owner", "owner", **money_page(report))


def test_a_report_becomes_tiles_bars_and_tables():
    shown = money_page(SPENT)
    assert [(tile["label"], tile["value"]) for tile in shown["tiles"]] == [("Reserved", "4.20 USD"), ("Spent", "1.25 USD")]
    assert [bar["label"] for bar in shown["budgets"]] == ["Your day", "Everybody's month"] and shown["per_call"] == "50.00 USD"
    assert shown["runs"][0][0] == {"text": "4k2j8m9qxz", "num": False, "link": "/audit?run=4k2j8m9qxz"}
    assert shown["runs"][1][0] == {"text": "–", "num": False, "link": ""} and shown["tokens"]["used"] == "12,400"
    text = page(dict(SPENT))
    assert "94.55 USD are left" in text and 'aria-valuenow="68.0"' in text and "12,400 of 2,000,000" in text and "switched off" not in text


def test_the_kill_switch_is_said():
    assert "Spending is switched off" in page({**SPENT, "spending": False})


@pytest.mark.parametrize(("budget", "percent", "over"), [
    ({"cap": "100.00", "used": "50"}, "50.0", False), ({"cap": "10", "used": "18"}, "100.0", True),
    ({"cap": "0", "used": "0"}, "0.0", False),
    ({"cap": "nonsense", "used": None}, "0.0", False), ({"cap": "0", "used": "1"}, "100.0", True),
])
def test_a_bar_never_leaves_its_frame(budget: dict[str, Any], percent: str, over: bool):
    shown = budget_of(budget, "USD")
    assert shown["percent"] == percent and shown["over"] is over


@pytest.mark.parametrize("report", [
    {}, {"reserved": "0.00", "settled": "0.00", "by_run": []}, {"by_run": [{}], "tokens": {}, "budgets": None},
])
def test_an_empty_report_is_a_whole_page(report: dict[str, Any]):
    assert "None today." in page(report) and "</html>" in page(report)


MONTH = {"month": "2026-11", "cap": "500.00", "settled": "120.00", "accruing": "12.50", "reserved": "80.00", "left": "300.00"}
CLOUD: dict[str, Any] = {
    **SPENT, "accruing": "12.50", "billed": "118.40", "billed_at": "2026-11-24T06:00:00.000000Z", "billed_elsewhere": "0.40",
    "difference": "-2.00", "month": MONTH,
    "by_run": [{"run_id": "4k2j8m9qxz", "call_id": "c1", "name": "helpdesk", "tool": "start_finetune", "person": "ada", "state": "running",
                "since": "2026-11-24T10:00:00.000000Z", "reserved": "80.00", "accruing": "12.50", "settled": "0.00", "billed": None,
                "difference": None},
               {"run_id": "5k2j8m9qxz", "call_id": "c2", "name": "notes", "tool": "start_finetune", "person": "bob", "state": "finished",
                "since": "2026-11-23T10:00:00.000000Z", "reserved": "0.00", "accruing": "0.00", "settled": "120.00", "billed": "118.00",
                "difference": "-2.00"}],
    "by_person": [{"person": "bob", "reserved": "0.00", "accruing": "0.00", "settled": "120.00", "billed": "118.00"},
                  {"person": "ada", "reserved": "80.00", "accruing": "12.50", "settled": "0.00", "billed": None}],
    "by_month": [{"month": "2026-11", "settled": "120.00", "billed": "118.40"}, {"month": "2026-10", "settled": "60.00", "billed": None}],
}


def test_the_four_amounts_stand_first_and_the_bill_is_compared():
    shown = money_page(CLOUD)
    assert [(tile["label"], tile["value"]) for tile in shown["tiles"]] == [
        ("Reserved", "4.20 USD"), ("Running up now", "12.50 USD"), ("Spent", "1.25 USD"), ("Billed", "118.40 USD")]
    assert "2.00 USD below what Luthier counted" in shown["bill"] and "0.40 USD of it belong to no run" in shown["bill"]
    assert "above" in money_page({**CLOUD, "difference": "1.00"})["bill"]
    assert "just what" in money_page({**CLOUD, "difference": "0.00"})["bill"]


def test_the_month_is_one_bar_of_what_is_spent_rising_held_and_left():
    shown = month_of(MONTH, "USD")
    assert shown is not None and shown["title"] == "November 2026" and (shown["used"], shown["cap"]) == ("200.00", "500.00 USD")
    assert [(part["name"], part["value"], part["percent"]) for part in shown["parts"]] == [
        ("spent", "120.00 USD", "24.00"), ("rising", "12.50 USD", "2.50"), ("held", "67.50 USD", "13.50"), ("left", "300.00 USD", "60.00")]


@pytest.mark.parametrize("month", [
    {**MONTH, "settled": "900"}, {**MONTH, "cap": "0"}, {**MONTH, "accruing": "90"}, {}, {"cap": "x", "settled": None}, MONTH,
])
def test_the_months_bar_never_leaves_its_frame(month: dict[str, Any]):
    shown = month_of(month, "USD")
    assert shown is not None and sum(float(part["percent"]) for part in shown["parts"]) <= 100.05


def test_a_month_above_its_cap_says_so():
    text = page({**CLOUD, "month": {**MONTH, "settled": "600.00"}})
    assert "nothing more may begin this month" in text and 'title="The cap"' in text


def test_the_page_shows_money_by_run_person_and_month():
    text = page(CLOUD)
    parts = ('data-testid="month"', 'data-testid="by-person"', 'data-testid="by-month"', "October 2026", "Bill − spent", "Running up now")
    for part in parts:
        assert part in text
    assert "<script>" in text and text.count("<script") == 1


def test_columns_that_say_nothing_are_left_out_and_so_is_a_table_of_one():
    shown = money_page(SPENT)
    assert [column["label"] for column in shown["columns"]][-2:] == ["Reserved", "Spent"]
    assert shown["people"] == [] and shown["months"] == []
    assert shown["bill"] == "" and shown["month"] is None


def test_a_difference_has_its_sign():
    assert cell_of("difference", "2.00")["text"] == "+2.00" and cell_of("difference", "-2.00")["text"] == "-2.00"


def test_a_deployment_has_a_column_of_its_own_once_there_is_one():
    served = {"run_id": None, "deployment_id": "7f2j8m9qxz", "call_id": "c3", "name": "bundled", "tool": "deploy_inference",
              "person": "ada", "state": "running", "since": "2026-11-24T10:00:00.000000Z", "reserved": "9.00", "accruing": "0.10",
              "settled": "0.00", "billed": "0.08", "difference": None}
    assert "Deployment" not in [each["label"] for each in money_page(CLOUD)["columns"]]
    shown = money_page({**CLOUD, "by_run": [*CLOUD["by_run"], served]})
    at = [each["label"] for each in shown["columns"]].index("Deployment")
    assert [row[at]["text"] for row in shown["runs"]] == ["–", "–", "7f2j8m9qxz"] and not shown["runs"][2][0]["link"]
