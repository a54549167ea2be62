"""Two people on one real server: each is themselves everywhere, and one decides what the other asked for."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, expect

from tests.browser.chat import Chat
from tests.ui.served import REAL, ROOT, Served
from ui.signin import COOKIE

TUNE = "Fine-tune the bundled model on samples/helpdesk.jsonl"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """The real thing."""
    server = Served(tmp_path / "home", REAL).start()
    yield server
    assert server.stop() == 0


def ui(served: Served, *words: str) -> str:
    """A command in the terminal beside the server."""
    done = subprocess.run(
        [sys.executable, "-m", "ui", *words], cwd=ROOT, env=served.env, capture_output=True, text=True, timeout=120,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def signed_in(browser: Browser, link: str) -> Chat:
    """A chat in a profile of its own."""
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    context.set_default_timeout(30_000)
    return Chat(context.new_page()).enter(link)


def test_one_asks_another_decides_and_neither_sees_the_others_things(browser: Browser, served: Served):
    ui(served, "people", "add", "ann", "--role", "member")
    ann, owner = (signed_in(browser, ui(served, "link", "--person", who)) for who in ("ann", "owner"))
    ann.say(TUNE)
    ann.status("pending", timeout=60_000)
    expect(ann.find("plan-card")).to_contain_text("asked by ann")
    (waiting,) = json.loads(ui(served, "approvals", "--json"))
    assert waiting["requester"] == "ann"

    owner.page.goto(ann.page.url)  # another's conversation is none
    owner.page.wait_for_load_state("networkidle")
    expect(owner.find("plan-card")).to_have_count(0)

    owner.page.goto(served.url + "/approvals")
    owner.page.locator(f"[data-approval='{waiting['id']}']").get_by_test_id("pick").check()
    owner.find("deny").click()
    expect(owner.find("told")).to_contain_text("Denied.")
    ann.status("denied")
    expect(ann.find("approval-status")).to_contain_text("Denied by owner")

    cookie = next(each.get("value", "") for each in ann.page.context.cookies() if each.get("name") == COOKIE)
    with httpx.Client(base_url=served.url, cookies={COOKIE: cookie}, headers={"accept": "text/html"}) as client:
        mine = client.get("/audit").text
        assert "ann (web)" in mine and "owner (" not in mine
        assert client.get("/audit/1").status_code == 404, "the loading of the policy is not hers to see"
        assert "requested" in mine and client.get("/me").status_code == 200
        ui(served, "people", "set", "ann", "--inactive")
        assert client.get("/audit").status_code == 401
    for chat in (ann, owner):
        chat.page.context.close()
