"""Our own pages on a real server: the record, its proof and its verifier, approvals of others, one's linking code; and who sees what."""

import re

import httpx
import pytest

from tests.ui.served import Served
from ui.cli import run

PAGES = ("/audit", "/audit/4", "/money", "/approvals", "/me", "/status")


@pytest.fixture
def signed_in(served: Served, own_home: object, capsys: pytest.CaptureFixture[str]):
    """A function that gives a client signed in as somebody."""
    clients: list[httpx.Client] = []

    def enter(person: str = "owner") -> httpx.Client:
        assert run(["link", "--person", person]) == 0
        client = httpx.Client(follow_redirects=True, base_url=served.url, headers={"accept": "text/html"})
        assert client.get(capsys.readouterr().out.strip()).status_code == 200
        clients.append(client)
        return client

    yield enter
    for client in clients:
        client.close()


def numbers(page: str) -> list[int]:
    """The records that a page lists."""
    return [int(found) for found in re.findall(r'data-seq="(\d+)"', page)]


@pytest.mark.parametrize("path", PAGES)
def test_a_stranger_is_told_to_sign_in(served: Served, path: str):
    answer = httpx.get(served.url + path, headers={"accept": "text/html"})
    assert answer.status_code == 401 and "python -m ui link" in answer.text
    assert httpx.get(served.url + path).json()["detail"].startswith("Sign in first")


@pytest.mark.parametrize("path", PAGES)
def test_every_page_comes_whole_under_the_strict_policy(signed_in, path: str):
    answer = signed_in().get(path)
    assert answer.status_code == 200 and "</html>" in answer.text
    inline = answer.text.count("<script>")
    assert answer.headers["content-security-policy"].count("'sha256-") == inline >= 1
    assert "http://" not in answer.text and "https://" not in answer.text


def test_an_address_that_does_not_exist_is_a_page_for_a_person_and_json_for_a_program(signed_in):
    client = signed_in()
    answer = client.get("/mony")
    assert answer.status_code == 404 and "There is nothing here" in answer.text and "</html>" in answer.text
    assert client.get("/mony", headers={"accept": "application/json"}).json() == {"detail": "Not Found"}


def test_the_record_lists_filters_and_pages(signed_in):
    client = signed_in()
    assert numbers(client.get("/audit").text) == [7, 6, 5, 4, 3, 2, 1]
    assert numbers(client.get("/audit?tool=start_finetune&person=owner").text) == [6, 5, 3]
    assert numbers(client.get("/audit?decision=deny").text) == [7]
    assert numbers(client.get("/audit?kind=auth").text) == [2]
    assert numbers(client.get("/audit?before=3").text) == [2, 1]
    assert 'data-testid="empty"' in client.get("/audit?run=nonsense").text


def test_a_record_opens_to_its_story_with_its_proof(signed_in):
    page = signed_in().get("/audit/4").text
    for words in ("samples/helpdesk.jsonl", "a person must say yes, by spend-with-yes", "ann (web)", "4.20 USD", "1.25 USD", "SHA-256 bbb",
                  "d" * 64, "e" * 64, "luthier/small"):
        assert words in page
    assert "covers 6 records" in signed_in().get("/audit/7").text, "what is not signed yet says so"


def test_what_a_record_holds_is_text(signed_in):
    page = signed_in().get("/audit/7").text
    assert "<script>alert" not in page and "&lt;script&gt;alert" in page


def test_the_verifier_answers_a_page_and_a_program(signed_in):
    client = signed_in()
    said = client.post("/audit/verify", headers={"accept": "application/json"}).json()
    assert said["word"] == "intact" and "exit status 0" in said["how"] and said["text"] == "intact: 7 records"
    assert "intact: 7 records" in client.post("/audit/verify").text


@pytest.mark.parametrize(("person", "seen", "foreign"), [("bob", [7], 4), ("aud", [7, 6, 5, 4, 3, 2, 1], 99)])
def test_others_see_their_own_records_and_an_auditor_all(signed_in, person: str, seen: list[int], foreign: int):
    client = signed_in(person)
    assert numbers(client.get("/audit").text) == seen
    assert client.get(f"/audit/{foreign}").status_code == 404
    assert client.get(f"/audit/{seen[-1]}").status_code == 200
    if person == "bob":
        assert numbers(client.get("/audit?person=owner").text) == []


def waiting(page: str) -> list[str]:
    """The approvals on a page."""
    return re.findall(r'data-approval="(\w+)"', page)


def ask_one(capsys: pytest.CaptureFixture[str]) -> str:
    """One approval that waits, asked for by the owner."""
    assert run(["call", "start_finetune", "--json"]) == 3
    return re.findall(r'"id": "(\w{8})"', capsys.readouterr().out)[0]


def test_several_approvals_are_decided_at_once_with_their_digests(signed_in, capsys: pytest.CaptureFixture[str]):
    client, chosen = signed_in(), [ask_one(capsys), ask_one(capsys)]
    page = client.get("/approvals").text
    assert set(chosen) <= set(waiting(page)) and "9f86d081" in page
    done = client.post("/approvals", data={"id": chosen, "answer": "deny", "why": "not now"}).text
    assert done.count("(9f86d081): Denied.") == 2 and not set(chosen) & set(waiting(done))


@pytest.mark.parametrize("form", [{}, {"answer": "approve"}, {"id": "3f2a91c0"}, {"id": "3f2a91c0", "answer": "maybe"}], ids=str)
def test_half_an_answer_decides_nothing(signed_in, form: dict[str, str]):
    assert "Nothing was decided" in signed_in().post("/approvals", data=form).text


def test_an_approval_of_another_does_not_exist(signed_in, capsys: pytest.CaptureFixture[str]):
    client, identity = signed_in("bob"), ask_one(capsys)
    assert identity not in client.get("/approvals").text
    assert client.post("/approvals", data={"id": identity, "answer": "approve"}).status_code == 404
    assert run(["approve", identity, "--yes"]) == 0, "it still waited"


def test_a_cross_site_form_decides_nothing(signed_in, capsys: pytest.CaptureFixture[str]):
    client, identity = signed_in(), ask_one(capsys)
    forged = client.post("/approvals", data={"id": identity, "answer": "approve"}, headers={"origin": "http://elsewhere.invalid"})
    assert forged.status_code == 403 and identity in waiting(client.get("/approvals").text)


def test_a_linking_code_is_shown_once_and_only_after_a_press(signed_in):
    client = signed_in()
    assert "KXQ7-2M4P" not in client.get("/me").text
    assert "KXQ7-2M4P" in client.post("/me/code").text
    assert "KXQ7-2M4P" not in client.get("/me").text
    assert 'data-testid="people"' in client.get("/me").text and 'data-testid="people"' not in signed_in("bob").get("/me").text


def test_who_is_switched_off_is_out_at_once(signed_in, capsys: pytest.CaptureFixture[str]):
    assert run(["link", "--person", "gone"]) == 1 and "nobody who can sign in" in capsys.readouterr().err
    assert run(["people", "add", "eve", "--role", "member"]) == 0
    capsys.readouterr()
    client = signed_in("eve")
    assert client.get("/me").status_code == 200
    assert run(["people", "set", "eve", "--inactive"]) == 0
    for path in ("/me", "/audit", "/chat/user", "/approvals"):
        assert client.get(path).status_code == 401, path
    assert client.get("/chat/favicon").status_code == 200
