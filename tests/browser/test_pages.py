"""Our own pages in a real browser: the verifier in front of the reader, a record's story, the inbox; and a card that is asked again."""

from playwright.sync_api import expect

from tests.browser.chat import Chat
from tests.ui.served import Served


def quietly(chat: Chat) -> Chat:
    """Wait until the chat has loaded: a page that is left in the middle of its requests makes Chainlit log an error."""
    chat.page.wait_for_load_state("networkidle")
    return chat


def test_the_header_leads_to_the_record_and_the_log_is_verified_in_front_of_the_reader(chat: Chat):
    header = quietly(chat).page.locator("#header")
    for name in ("Approvals", "Money", "Record"):
        expect(header).to_contain_text(name)
    chat.page.goto(chat.page.url.split("/chat")[0] + "/audit")
    expect(chat.find("verdict")).to_be_hidden()
    chat.find("verify").click()
    expect(chat.find("verdict-word")).to_have_text("intact")
    expect(chat.find("verdict-text")).to_have_text("intact: 7 records")
    expect(chat.find("verify")).to_be_enabled()
    chat.page.get_by_role("link", name="approval: granted").click()
    expect(chat.find("part-decided")).to_contain_text("ann (web)")
    expect(chat.find("checkpoint")).to_contain_text("luthier/small")


def test_pages_follow_the_chats_choice_of_dark_and_light(chat: Chat):
    address = quietly(chat).page.url.split("/chat")[0] + "/audit"
    ground = []
    for theme in ("dark", "light"):
        chat.page.evaluate(f"localStorage.setItem('vite-ui-theme', '{theme}')")
        chat.page.goto(address)
        ground.append(chat.page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert ground == ["rgb(25, 23, 21)", "rgb(250, 248, 245)"]


def test_what_waits_is_decided_in_the_inbox_and_the_chat_shows_it(chat: Chat, served: Served):
    chat.say("tune")
    chat.status("pending")
    other = chat.page.context.new_page()
    inbox = Chat(other)
    other.goto(served.url + "/approvals")
    identity = chat.find("plan-card").get_attribute("data-approval")
    card = other.locator(f"[data-approval='{identity}']")
    expect(card).to_contain_text("9f86d081")
    card.get_by_test_id("pick").check()
    inbox.find("deny").click()
    expect(inbox.find("told").first).to_contain_text("Denied.")
    chat.status("denied")


def test_what_expired_is_asked_again_by_a_press(chat: Chat):
    chat.say("tune")
    chat.status("pending")
    chat.say("is it too late?")
    chat.status("expired")
    chat.find("ask-again").click()
    cards = chat.find("plan-card")
    expect(cards).to_have_count(2)
    expect(cards.nth(1)).to_have_attribute("data-status", "pending")
    expect(cards.nth(0)).to_have_attribute("data-status", "expired")
