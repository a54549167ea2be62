"""A run's page in a real browser: live while it goes, whole at its end, dark and light, and done again."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.chat import Chat
from tests.ui.fakes_run import RUN_ID
from tests.ui.served import Served

NARROW, WIDE = 400, 1600


def begin(chat: Chat) -> None:
    """A run that was approved this moment."""
    chat.say("tune")
    chat.status("pending")
    chat.find("approve").click()
    expect(chat.find("run-card")).to_be_visible()


def test_a_running_page_changes_by_its_stream_and_becomes_whole_at_the_end(chat: Chat, served: Served):
    begin(chat)
    page = chat.page.context.new_page()
    page.goto(f"{served.url}/runs/{RUN_ID}")
    live = page.get_by_test_id("live")
    first = int(live.get_attribute("data-step") or 0)
    page.wait_for_function(f"Number(document.querySelector('[data-testid=live]').dataset.step) > {first}")
    expect(page.get_by_test_id("log")).to_contain_text("step 60", timeout=30_000)
    expect(live).to_have_attribute("data-state", "finished", timeout=30_000)
    expect(page.get_by_test_id("scores")).to_contain_text("After, served file")
    expect(page.get_by_test_id("files")).to_contain_text("1f" * 32)
    _done_again(page, served)
    _looks_well(page, served)


def _done_again(page: Page, served: Served) -> None:
    page.get_by_test_id("again").click()
    expect(page).to_have_url(re.compile(f"{served.url}/approvals#"))
    expect(page.get_by_test_id("waiting").last).to_contain_text("start_finetune")


def _looks_well(page: Page, served: Served) -> None:
    """Dark and light, narrow and wide: the curve is drawn, nothing is wider than the screen, and the two are no one picture."""
    pictures: set[bytes] = set()
    for theme in ("dark", "light"):
        page.evaluate(f"localStorage.setItem('vite-ui-theme', '{theme}')")
        for width in (NARROW, WIDE):
            page.set_viewport_size({"width": width, "height": 900})
            page.goto(f"{served.url}/runs/{RUN_ID}")
            expect(page.locator("#curve path:visible").first).to_be_attached()
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            pictures.add(page.screenshot())
    assert len(pictures) == 4 and min(map(len, pictures)) > 20_000


@pytest.fixture
def plain(watchman, served: Served):
    """A page without JavaScript, signed in."""
    signed_in = Chat(watchman.context.new_page()).enter(served.new_link())
    context = watchman.context.browser.new_context(java_script_enabled=False, storage_state=watchman.context.storage_state())
    yield signed_in, context.new_page()
    context.close()


def test_without_javascript_the_page_is_whole(plain: tuple[Chat, Page], served: Served):
    chat, page = plain
    begin(chat)
    expect(chat.find("run-card")).to_have_attribute("data-state", "finished", timeout=30_000)
    page.goto(f"{served.url}/runs")
    page.get_by_role("link", name="helpdesk").click()
    expect(page.get_by_test_id("drawing")).to_be_visible()
    expect(page.get_by_test_id("run-state")).to_have_text("Finished")
    expect(page.get_by_test_id("tile-step")).to_contain_text("60 of 60")
    page.get_by_test_id("again").click()
    expect(page).to_have_url(re.compile("/approvals"))
