"""The money page: pure."""

from typing import Any

import pytest

from tests.ui.fakes_office import SPENT
from ui.pages.money import budget_of, money_page
from ui.pages.plain import Pages


def page(report: dict[str, Any]) -> str:
    """The rendered page."""
    return Pages().page("money", "/money", "owner", "owner", **money_page(report))


def test_a_report_becomes_tiles_bars_and_tables():
    shown = money_page(SPENT)
    assert [(tile["label"], tile["value"]) for tile in shown["tiles"]] == [("Spent", "1.25 USD"), ("Reserved", "4.20 USD")]
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
