"""Cards in a real browser: they survive what a person and a machine do to them."""

import httpx
from playwright.sync_api import BrowserContext, FilePayload, Route, expect

from tests.browser.chat import Chat, Watchman
from tests.ui.served import Served
from ui.signin import COOKIE

TUNE = "Fine-tune the bundled model on samples/helpdesk.jsonl"


def test_the_first_page_offers_three_sentences_to_press_and_says_who_thinks(chat: Chat):
    buttons = chat.page.locator("#starters button")
    expect(buttons).to_have_count(3)
    expect(chat.page.locator("#header")).to_contain_text("command assistant · solo mode")
    buttons.first.click()
    expect(chat.find("plan-card")).to_be_visible()


def test_the_page_has_a_strict_policy_and_the_card_compiles_under_it(chat: Chat, served: Served):
    cookie = next(each.get("value", "") for each in chat.page.context.cookies() if each.get("name") == COOKIE)
    page = httpx.get(f"{served.url}/chat/", cookies={COOKIE: cookie}, headers={"accept": "text/html"})
    policy = page.headers["content-security-policy"]
    assert "'unsafe-eval'" in policy and policy.count("'sha256-") == 2 and "'unsafe-inline'" not in policy.split("style-src")[0]
    assert "https://" not in page.text
    chat.say(TUNE)
    expect(chat.find("approve")).to_be_visible()


def test_a_card_survives_a_reload_and_is_approved_afterwards(chat: Chat):
    chat.say(TUNE)
    chat.status("pending")
    chat.reload()
    chat.status("pending")
    chat.find("approve").click()
    chat.status("consumed")
    expect(chat.find("approval-status")).to_have_text("Approved by owner")
    expect(chat.find("approve")).to_have_count(0)


def test_a_denied_card_stays_denied(chat: Chat):
    chat.say(TUNE)
    chat.find("deny").click()
    chat.status("denied")
    chat.reload()
    chat.status("denied")


def test_a_card_survives_a_killed_server_with_the_page_left_open(chat: Chat, served: Served):
    chat.say(TUNE)
    chat.status("pending")
    chat.page.locator("#chat-input").fill("later")
    send = chat.page.locator("#chat-submit")
    served.kill()
    expect(send).to_be_disabled()
    served.start()
    expect(send).to_be_enabled(timeout=60_000)  # the page finds its thread again by itself
    chat.find("approve").click()
    chat.status("consumed")


def test_a_card_survives_a_killed_server_and_a_reload_and_the_run_is_shown(chat: Chat, served: Served):
    chat.say(TUNE)
    chat.find("approve").click()
    expect(chat.find("run-card")).to_be_visible()
    served.kill()
    served.start()
    chat.reload()
    chat.status("consumed")
    expect(chat.find("run-card")).to_have_count(1)
    expect(chat.find("run-card")).to_have_attribute("data-state", "finished", timeout=30_000)
    expect(chat.find("score-exported")).to_contain_text("60 %")


def test_two_tabs_show_one_truth_and_the_second_click_is_told_who_was_first(chat: Chat, context: BrowserContext):
    chat.say(TUNE)
    chat.status("pending")
    chat.page.wait_for_url("**/chat/thread/*")
    other = Chat(context.new_page())
    other.page.goto(chat.page.url)
    other.ready().status("pending")
    other.find("approve").click()
    other.status("consumed")
    chat.status("consumed")
    expect(chat.find("run-card")).to_have_count(1)
    expect(other.find("run-card")).to_have_count(1)
    chat.reload()
    expect(chat.find("run-card")).to_have_count(1)
    expect(chat.find("plan-card")).to_have_count(1)


def test_a_reload_finds_its_thread_whichever_of_the_pages_two_connections_is_answered_first(chat: Chat):
    chat.say(TUNE)
    chat.status("pending")
    chat.page.wait_for_url("**/chat/thread/*")
    waiting: list[Route] = []

    def the_second_first(route: Route) -> None:
        if not waiting:
            waiting.append(route)
            return
        for each in (route, *waiting):
            each.fulfill(response=each.fetch())

    chat.page.route("**/set-session-cookie", the_second_first, times=2)
    chat.reload()
    chat.status("pending")


def test_a_turn_of_the_conversation_neither_sets_a_running_card_back_nor_pulls_the_view_to_it(chat: Chat):
    chat.say(TUNE)
    chat.find("approve").click()
    chat.page.wait_for_function("+document.querySelector('[data-testid=run-card]')?.dataset.step > 1")
    chat.find("run-log-fold").locator("summary").click()
    chat.page.evaluate("""() => {
      window.seen = [];
      new MutationObserver(() => {
        const card = document.querySelector('[data-testid=run-card]');
        if (card) window.seen.push(Number(card.dataset.step));
      }).observe(document.body, { subtree: true, childList: true, attributes: true, attributeFilter: ['data-step'] });
    }""")
    chat.say("what can you do?")
    expect(chat.page.get_by_role("button", name="Tune a model").last).to_be_in_viewport()
    expect(chat.find("run-log")).to_be_visible()
    seen = chat.page.evaluate("window.seen")
    assert seen == sorted(seen) and len(seen) > 1


def test_an_answer_that_is_lost_is_never_shown_as_a_yes(chat: Chat):
    chat.say(TUNE)
    chat.page.route("**/project/action", lambda route: route.fulfill(json={"success": True, "response": None}))
    chat.find("approve").click()
    expect(chat.find("approval-words")).to_contain_text("Nothing was decided")
    chat.status("pending")
    chat.page.unroute("**/project/action")
    chat.find("approve").click()
    chat.status("consumed")


def test_an_approval_of_another_thread_cannot_be_decided_from_here(chat: Chat, context: BrowserContext):
    chat.say(TUNE)
    identity = chat.find("plan-card").get_attribute("data-approval")
    other = Chat(context.new_page())
    other.page.goto(chat.page.url.split("/thread")[0] + "/")
    other.ready().say(TUNE)
    other.status("pending")

    def forged(route):
        body = route.request.post_data_json
        body["action"]["payload"]["id"] = identity
        route.continue_(post_data=body)

    other.page.route("**/project/action", forged)
    other.find("approve").click()
    expect(other.find("approval-words")).to_contain_text("no such approval")
    chat.status("pending")


def test_a_run_is_followed_live_and_stopped(chat: Chat):
    chat.say(TUNE)
    chat.find("approve").click()
    card = chat.find("run-card")
    expect(card).to_have_attribute("data-state", "running")
    chat.page.wait_for_function("+document.querySelector('[data-testid=loss-chart]')?.dataset.points > 3")
    expect(chat.find("run-memory").locator("..")).to_contain_text("predicted 1.40 GiB")
    expect(chat.find("run-speed").locator("..")).to_contain_text("cores busy")
    expect(chat.find("run-rate").locator("..")).to_contain_text("gradient norm 1.10")
    expect(chat.find("run-page-link")).to_have_attribute("href", f"/runs/{card.get_attribute('data-run')}")
    chat.find("run-log-fold").locator("summary").click()
    expect(chat.find("run-log")).to_contain_text("step 1/60")
    chat.page.wait_for_function("/step [1-9][0-9]\\/60/.test(document.querySelector('[data-testid=run-log]').textContent)")
    chat.find("stop-run").click()
    expect(card).to_have_attribute("data-state", "cancelled")
    expect(chat.find("resume-run")).to_be_visible()


def test_a_finished_run_is_evaluated_at_the_press_of_a_button(chat: Chat):
    chat.say(TUNE)
    chat.find("approve").click()
    expect(chat.find("run-card")).to_have_attribute("data-state", "finished", timeout=30_000)
    chat.find("evaluate-run").click()
    expect(chat.find("run-words")).to_contain_text("+60 points (95 % interval +43 to +75")


def test_where_the_chart_cannot_load_the_card_says_so_and_the_numbers_go_on(chat: Chat):
    chat.page.route("**/assets/plotly.js", lambda route: route.abort())
    chat.say(TUNE)
    chat.find("approve").click()
    expect(chat.page.locator(".lu-plot-words")).to_contain_text("The chart cannot be drawn")
    expect(chat.find("run-card")).to_have_attribute("data-state", "finished", timeout=30_000)
    expect(chat.find("run-step")).to_have_text("60 / 60")


def test_the_log_of_a_run_follows_until_its_reader_scrolls_up(chat: Chat):
    chat.say(TUNE)
    chat.find("approve").click()
    chat.find("run-log-fold").locator("summary").click()
    log = chat.find("run-log")
    expect(log).to_contain_text("step 30/60")
    log.evaluate("pane => { pane.scrollTop = 0; }")
    again = chat.find("run-log-follow")
    expect(again).to_be_visible()
    expect(log).to_contain_text("step 60/60")
    assert log.evaluate("pane => pane.scrollTop") == 0
    again.click()
    expect(again).to_have_count(0)
    assert log.evaluate("pane => pane.scrollHeight - pane.scrollTop - pane.clientHeight") < 24


def test_a_run_that_ended_leads_to_its_page_and_is_evaluated(chat: Chat):
    chat.say(TUNE)
    chat.find("approve").click()
    expect(chat.find("run-card")).to_have_attribute("data-state", "finished", timeout=30_000)
    expect(chat.find("run-page-link")).to_have_attribute("href", f"/runs/{chat.find('run-card').get_attribute('data-run')}")
    chat.find("evaluate-run").click()
    expect(chat.find("run-words")).to_contain_text("points (95 % interval")


def test_without_the_charts_program_the_card_says_so_and_its_numbers_go_on(chat: Chat):
    chat.page.route("**/assets/plotly.js", lambda route: route.abort())
    chat.say(TUNE)
    chat.find("approve").click()
    expect(chat.page.locator(".lu-plot-words")).to_contain_text("The chart cannot be drawn")
    expect(chat.find("run-step")).to_have_text("60 / 60", timeout=30_000)


def test_answers_stand_side_by_side_with_their_labels(chat: Chat):
    chat.say("ask both: My printer is offline.")
    expect(chat.find("answer-base")).to_contain_text("no adapter")
    expect(chat.find("answer-tuned")).to_contain_text("int8")
    base, tuned = (chat.find(f"answer-{which}").get_by_test_id("answer-text").inner_text() for which in ("base", "tuned"))
    assert base != tuned


def test_compared_runs_are_one_table_with_the_best_marked_and_one_chart(chat: Chat):
    chat.say("compare my runs")
    expect(chat.find("best-run")).to_contain_text("0000000002 ★ best")
    expect(chat.find("best-run")).to_contain_text("90%")
    expect(chat.find("compared-run")).to_have_count(1)
    expect(chat.find("comparison-chart").locator(".legend .traces")).to_have_count(2)
    expect(chat.find("comparison-chart").locator(".scatterlayer .trace")).to_have_count(4)


def test_lines_of_a_log_are_text_and_fetch_nothing(chat: Chat):
    chat.say("show the log")
    expect(chat.page.locator("code", has_text="leak.invalid").first).to_be_visible()
    expect(chat.page.locator("img[src*=leak]")).to_have_count(0)


def test_a_choice_says_its_sentence(chat: Chat):
    chat.say("mumble")
    chat.find("choice").first.click()
    expect(chat.page.locator("[data-step-type=user_message]").nth(1)).to_contain_text("What can this machine train?")
    expect(chat.page.locator("[data-step-type=assistant_message]").last).to_contain_text("This machine has 2 cores")


def test_a_secret_in_a_message_is_not_kept(chat: Chat, served: Served):
    secret = "sk-" + "proj-" + "Zx81" * 12
    chat.say(f"my key is {secret}")
    chat.say("What can this machine do?")
    expect(chat.page.locator("[data-step-type=assistant_message]").last).to_contain_text("2 cores")
    kept = b"".join(path.read_bytes() for path in served.home.glob("screen.sqlite*"))
    assert secret.encode() not in kept


def test_signing_out_closes_the_chat(chat: Chat, served: Served, watchman: Watchman):
    watchman.expected += ("401", "Unauthorized")
    chat.page.evaluate("fetch('/chat/logout', {method: 'POST'})")
    other = chat.page.context.new_page()  # the first one leaves for the sign-in page by itself, in its own time
    other.goto(f"{served.url}/chat/")
    expect(other.locator("#password")).to_be_visible()


def test_a_file_of_examples_is_taken_in_with_the_message(chat: Chat, served: Served):
    mine = FilePayload(name="mine.jsonl", mimeType="application/octet-stream", buffer=b'{"messages": []}\n')
    chat.say("tune on this file", attach=mine)
    expect(chat.find("plan-card")).to_be_visible()
    kept = [path for path in (served.home / "elements").rglob("mine.jsonl") if path.is_file()]
    assert len(kept) == 1 and "unknown" not in kept[0].parts
