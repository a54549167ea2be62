"""A real browser against a real server. Foreign hosts are blocked, and asking one fails the test."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, sync_playwright

from tests.browser.chat import Chat, Watchman
from tests.ui.served import Served

FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync",
)
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge")
HOW = "apt-get install chromium fonts-dejavu-core    or    python -m playwright install chromium"

def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a browser."""
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.browser)


def browser_path(managed: str) -> str | None:
    """An installed browser, else the one that Playwright fetched."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    return found or (managed if Path(managed).exists() else None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One browser for all tests; without any they are skipped loudly, and never where CI is set."""
    with sync_playwright() as playwright:
        path = browser_path(playwright.chromium.executable_path)
        if path is None:
            message = f"NO BROWSER: the browser tests did not run. Install one: {HOW}"
            if os.environ.get("CI"):
                pytest.fail(message, pytrace=False)
            pytest.skip(message)
        running = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield running
        running.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server on the small workshop, shared by a module's tests; each has its own profile and its own threads."""
    server = Served(tmp_path_factory.mktemp("served") / "home").start()
    yield server
    assert server.stop() == 0
    assert "An error occurred" not in server.errors() and "Traceback" not in server.errors(), server.errors()


@pytest.fixture
def watchman(browser: Browser, served: Served) -> Iterator[Watchman]:
    """A fresh profile that may speak to the server alone; whatever else went wrong fails the test."""
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    context.set_default_timeout(20_000)
    watchman = Watchman(context, served.url)
    yield watchman
    context.close()
    assert watchman.unexpected() == []


@pytest.fixture
def context(watchman: Watchman) -> BrowserContext:
    """The profile."""
    return watchman.context


@pytest.fixture
def chat(context: BrowserContext, served: Served) -> Chat:
    """A signed-in chat page."""
    return Chat(context.new_page()).enter(served.new_link())
