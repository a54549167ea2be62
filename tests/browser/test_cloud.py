"""A run on a rented GPU in a real browser: its money stands in front before the yes, and runs up while it goes."""

import os
from pathlib import Path

from playwright.sync_api import expect

from tests.browser.chat import Chat

TUNE = "Fine-tune the bundled model on samples/helpdesk.jsonl on Azure"


def test_the_ceiling_stands_in_front_and_the_cost_runs_up_before_the_eyes_of_a_person(chat: Chat):
    chat.say(TUNE)
    chat.status("pending")
    money = chat.find("plan-card").locator(".lu-money")
    expect(money).to_contain_text("at most 3.10 USD")
    expect(money).to_contain_text("likely 0.42 USD")
    expect(chat.find("plan-card").locator(".lu-tiles")).to_contain_text("1.559 USD/h")
    expect(chat.find("plan-card")).to_contain_text("Leaves this machine")
    _look(chat, "plan")
    chat.find("approve").click()
    cost = chat.find("run-cost")
    expect(cost).to_contain_text("USD")
    expect(chat.find("run-card")).to_contain_text("Azure, T4 in eastus")
    _look(chat, "run")
    expect(chat.find("run-card")).to_have_attribute("data-state", "finished", timeout=30_000)
    expect(cost).to_contain_text("0.60 USD")


def test_the_chart_is_drawn_by_the_one_program_that_all_cards_share(chat: Chat):
    chat.say("tune")
    chat.find("approve").click()
    expect(chat.find("run-card").locator(".js-plotly-plot")).to_be_visible(timeout=30_000)
    chat.say("compare my runs")
    expect(chat.find("comparison-chart").locator(".main-svg").first).to_be_visible(timeout=30_000)
    assert chat.page.locator("script[src$='run-chart.js']").count() == 1


def _look(chat: Chat, name: str) -> None:
    """Pictures for whoever wants to see them; in both themes, narrow and wide, nothing is wider than the page."""
    folder = os.environ.get("LUTHIER_PICTURES")
    for theme in ("dark", "light"):
        chat.page.evaluate(f"localStorage.setItem('vite-ui-theme', '{theme}')")
        chat.reload()
        expect(chat.find(f"{name}-card")).to_be_visible()
        for width in (400, 1200):
            chat.page.set_viewport_size({"width": width, "height": 900})
            card = chat.find(f"{name}-card")
            if folder:
                chat.page.screenshot(path=Path(folder, f"{name}-{theme}-{width}.png"))
            assert card.evaluate("card => card.scrollWidth <= card.clientWidth && card.getBoundingClientRect().right <= window.innerWidth")
