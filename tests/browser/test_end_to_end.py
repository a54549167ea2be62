"""The one real run of the suite: a sentence tunes the bundled model, in a browser, through a reload and a killed server."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.chat import Chat
from tests.ui.served import REAL, ROOT, Served

SENTENCE = "Fine-tune the bundled model on samples/helpdesk.jsonl"
FIRST_STEP_MS, TRAINED_MS, FINISHED_MS, ANSWERED_MS = 300_000, 1_800_000, 2_400_000, 300_000
"""Generous: other work may share the machine. What is waited for are events, so a quick machine does not wait."""
GAIN = 0.2
READING = "[data-testid=loss-chart]"

pytestmark = [pytest.mark.engine, pytest.mark.slow]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The real thing over an empty home."""
    for needed in (ROOT / ".engine-cpu" / "bin" / "python", ROOT / ".bundled" / "model" / "config.json"):
        if not needed.exists():
            message = f"NOT SET UP: {needed} is missing, so nothing can be tuned. Run: make setup"
            pytest.fail(message, pytrace=False) if os.environ.get("CI") else pytest.skip(message)
    server = Served(tmp_path_factory.mktemp("real") / "home", REAL).start()
    yield server
    assert server.stop() == 0
    assert "An error occurred" not in server.errors() and "Traceback" not in server.errors(), server.errors()


def curve(page: Page) -> int:
    """How many points of the loss are drawn."""
    return int(page.locator(READING).get_attribute("data-points") or 0)


def held_out_question() -> str:
    """One question that the model never learned from."""
    for line in (ROOT / "samples" / "helpdesk.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        if row.get("split") == "test":
            return next(message["content"] for message in row["messages"] if message["role"] == "user")
    raise AssertionError("samples/helpdesk.jsonl holds no test row")


def terminal(served: Served, *words: str) -> subprocess.CompletedProcess[str]:
    """One command beside the server."""
    return subprocess.run(
        [sys.executable, "-m", "ui", *words], cwd=ROOT, env=served.env, capture_output=True, text=True, stdin=subprocess.DEVNULL,
        timeout=300,
    )


def test_one_sentence_tunes_a_real_model(chat: Chat, served: Served):
    page = chat.page
    chat.say(SENTENCE)
    expect(chat.find("plan-card")).to_have_attribute("data-status", "pending", timeout=120_000)
    for words in ("bundled", "qlora", "60", "free", "runs/"):
        expect(chat.find("plan-card")).to_contain_text(words, ignore_case=True)
    picture(page, "plan.png")
    chat.find("approve").click()
    chat.status("consumed", timeout=60_000)

    card = chat.find("run-card")
    expect(card).to_have_attribute("data-state", "running", timeout=60_000)
    run_id = str(card.get_attribute("data-run"))
    page.wait_for_function("+document.querySelector('[data-testid=run-card]').dataset.step >= 1", timeout=FIRST_STEP_MS)
    first = float(str(card.get_attribute("data-loss")))
    page.wait_for_function(
        "first => { const l = document.querySelector('[data-testid=run-card]').dataset.loss; return l && +l < 0.8 * first }",
        arg=first, timeout=TRAINED_MS,
    )
    drawn, step = curve(page), int(str(card.get_attribute("data-step")))
    assert drawn >= 2

    chat.reload()
    expect(card).to_have_count(1)
    page.wait_for_function(f"+document.querySelector('{READING}')?.dataset.points >= {drawn}")
    assert card.get_attribute("data-run") == run_id and int(str(card.get_attribute("data-step"))) >= step

    served.kill()
    served.start()
    chat.reload()
    expect(card).to_have_count(1)
    assert card.get_attribute("data-run") == run_id and card.get_attribute("data-state") in ("running", "finished")
    chat.status("consumed")

    page.wait_for_function(f"+document.querySelector('{READING}')?.dataset.points >= 30", timeout=TRAINED_MS)
    picture(page, "running.png", card_first=True)
    expect(card).to_have_attribute("data-state", "finished", timeout=FINISHED_MS)
    view = json.loads(terminal(served, "call", "run_status", f"run_id={run_id}", "--json").stdout)["result"]
    assert view["state"] == "finished" and view["step"] == view["steps"] == 60
    for which in ("baseline", "tuned", "base_served", "exported"):
        expect(chat.find(f"score-{which}")).to_be_visible()
    scores = {which: share(chat, which) for which in ("baseline", "tuned", "base_served", "exported")}
    assert scores["tuned"] >= scores["baseline"] + GAIN and scores["exported"] >= scores["base_served"] + GAIN, scores

    question = held_out_question()
    chat.say(f"ask both: {question}")
    expect(chat.find("answers-card")).to_be_visible(timeout=ANSWERED_MS)
    base, tuned = (chat.find(f"answer-{which}") for which in ("base", "tuned"))
    expect(base).to_contain_text("int8")
    expect(tuned).to_contain_text("int8")
    expect(base).to_contain_text("no adapter")
    assert base.get_by_test_id("answer-text").inner_text().strip() != tuned.get_by_test_id("answer-text").inner_text().strip()
    expect(page.locator("[data-step-type=assistant_message]").last).to_be_visible()
    picture(page, "answers.png")

    said = terminal(served, "say", f"ask both: {question}", "--thread", "terminal-test", "--json")
    assert said.returncode == 0, said.stderr
    asked = json.loads(terminal(served, "call", "ask_model", f"prompt={question}", f"run_id={run_id}", "compare=true", "--json").stdout)
    texts = {answer["text"].strip() for answer in asked["result"]["answers"]}
    assert len(texts) == 2 and tuned.get_by_test_id("answer-text").inner_text().strip() in texts

    checked = terminal(served, "audit", "verify")
    assert checked.returncode == 0, checked.stdout
    if os.environ.get("LUTHIER_SCREENSHOT"):
        card.scroll_into_view_if_needed()
        picture(page, "", card_first=True, target=ROOT / "docs" / "screenshot.png")


def share(chat: Chat, which: str) -> float:
    """A score's share, read from the card as a person reads it."""
    words = chat.find(f"score-{which}").locator("td").nth(1).inner_text()
    return int(words.split("%")[0]) / 100


def picture(page: Page, name: str, *, card_first: bool = False, target: Path | None = None) -> None:
    """Keep a picture of the page where LUTHIER_SCREENSHOT asks for it."""
    if not os.environ.get("LUTHIER_SCREENSHOT"):
        return
    if card_first:
        page.get_by_test_id("run-card").evaluate("card => card.scrollIntoView({block: 'start'})")
    path = target or ROOT / "out" / "screenshots" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=path)
