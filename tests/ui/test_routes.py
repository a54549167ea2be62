"""Our own addresses, on a real server: the one-time link as a whole, runs, elements."""

import sqlite3

import httpx
import pytest

from tests.ui.fakes_run import RUN_ID
from tests.ui.served import Served
from ui.cli import run
from ui.signin import COOKIE


@pytest.fixture
def signed_in(served: Served, own_home: object, capsys: pytest.CaptureFixture[str]) -> httpx.Client:
    """A client that came through a fresh link."""
    assert run(["link"]) == 0
    client = httpx.Client(follow_redirects=True)
    assert client.get(capsys.readouterr().out.strip()).status_code == 200
    return client


def test_the_first_page_leads_to_the_chat_and_the_chat_demands_a_sign_in(served: Served):
    assert httpx.get(served.url).headers["location"] == "/chat/"
    assert httpx.get(f"{served.url}/chat/user").status_code == 401
    assert httpx.get(f"{served.url}/healthz").json() == {"status": "ok"}


def test_a_link_signs_in_once(served: Served):
    first = httpx.get(served.link)
    assert first.status_code == 303 and first.headers["location"] == "/chat/"
    cookie = first.headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE}=") and "HttpOnly" in cookie and "SameSite=Lax" in cookie and "Max-Age=28800" in cookie
    user = httpx.get(f"{served.url}/chat/user", cookies={COOKIE: first.cookies[COOKIE]})
    assert user.status_code == 200 and user.json()["identifier"] == "owner"
    again = httpx.get(served.link)
    assert again.status_code == 401 and "python -m ui link" in again.text and "set-cookie" not in again.headers


@pytest.mark.parametrize("link", ["/enter", "/enter?t=", "/enter?t=wrong", "/enter?t=" + "x" * 5000])
def test_a_wrong_link_is_a_page_that_says_what_to_do(served: Served, link: str):
    answer = httpx.get(served.url + link)
    assert answer.status_code == 401 and "python -m ui link" in answer.text and COOKIE not in answer.headers.get("set-cookie", "")


def test_no_password_signs_in(served: Served):
    assert httpx.post(f"{served.url}/chat/login", data={"username": "owner", "password": "owner"}).status_code == 401


def test_signing_out_is_for_good(signed_in: httpx.Client, served: Served):
    token = signed_in.cookies[COOKIE]
    assert signed_in.post(f"{served.url}/chat/logout").status_code == 200
    assert httpx.get(f"{served.url}/chat/user", cookies={COOKIE: token}).status_code == 401


def test_a_stranger_sees_no_run_and_no_element(served: Served):
    for path in (f"/runs/{RUN_ID}/events", f"/runs/{RUN_ID}/log", "/elements/a/b", "/status"):
        assert httpx.get(served.url + path).status_code == 401
        assert httpx.get(served.url + path, cookies={COOKIE: "forged"}).status_code == 401


def test_what_is_not_ones_own_does_not_exist(signed_in: httpx.Client, served: Served):
    (served.home / "elements" / "somebody").mkdir(parents=True, exist_ok=True)
    (served.home / "elements" / "somebody" / "file").write_text("x")
    for path in ("/runs/unknown000/events", "/elements/somebody/file", "/elements/..%2fbook.sqlite", "/elements/%2e%2e/screen.sqlite"):
        assert signed_in.get(served.url + path).status_code == 404, path


def test_ones_own_element_comes_as_a_download(signed_in: httpx.Client, served: Served):
    with sqlite3.connect(served.home / "screen.sqlite") as screen:
        (user,) = screen.execute("SELECT id FROM users WHERE identifier = 'owner'").fetchone()
    (served.home / "elements" / user).mkdir(parents=True, exist_ok=True)
    (served.home / "elements" / user / "page.html").write_text("<script>alert(1)</script>")
    answer = signed_in.get(f"{served.url}/elements/{user}/page.html")
    assert answer.status_code == 200 and answer.headers["content-disposition"] == "attachment"
    assert answer.headers["content-type"] == "application/octet-stream"


def test_the_state_page_says_who_thinks(signed_in: httpx.Client, served: Served):
    assert "command assistant" in signed_in.get(f"{served.url}/status").text
