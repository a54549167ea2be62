"""A45, A47-A49: other sites, other people and old sessions, against a real server."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import socketio

from policies.audit.verify import verify
from tests.attacks.besieged import COOKIE, RUNS, SOCKET, THREADS, Besieged

PEOPLE = [("bob", "owner"), ("bob", "mel"), ("mel", "bob")]
"""Who tries, and whose it is."""


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Besieged]:
    """One server for the module."""
    made = Besieged(tmp_path_factory.mktemp("besieged"))
    yield made
    made.close()
    assert verify(made.home / "book.sqlite")[0] == 0


FOREIGN = ["https://evil.invalid", "null", "http://localhost.evil.invalid", "http://127.0.0.1:1"]


@pytest.mark.parametrize("origin", FOREIGN)
async def test_a47_a_socket_of_another_site_is_refused_although_it_brings_the_cookie(web: Besieged, origin: str) -> None:
    with pytest.raises(socketio.exceptions.ConnectionError):  # pyright: ignore[reportAttributeAccessIssue]
        await web.page("owner", origin=origin)


async def test_a47_our_own_page_is_let_in_and_a_stranger_is_not(web: Besieged) -> None:
    page = await web.page("owner")
    await page.close()
    for token in ("", "forged"):
        with pytest.raises(socketio.exceptions.ConnectionError):  # pyright: ignore[reportAttributeAccessIssue]
            await web.page(None, token=token)


@pytest.mark.parametrize("origin", FOREIGN)
@pytest.mark.parametrize("path", ["/chat/project/action", "/chat/logout", "/chat/project/threads", "/audit/verify"])
def test_a47_another_site_changes_nothing_by_a_form_either(web: Besieged, origin: str, path: str) -> None:
    assert web.ask("owner", "POST", path, json={}, headers={"origin": origin}).status_code == 403
    assert web.ask("owner", "GET", f"{SOCKET}/?EIO=4&transport=polling", headers={"origin": origin}).status_code == 403


def objects(whose: str, users: dict[str, str]) -> dict[str, tuple[str, str, Any]]:
    """Every address of somebody's objects, with every verb."""
    thread, run, user = THREADS[whose], RUNS[whose], users[whose]
    return {
        "read a thread": ("GET", f"/chat/project/thread/{thread}", None),
        "read an element": ("GET", f"/chat/project/thread/{thread}/element/element-{whose}", None),
        "rename a thread": ("PUT", "/chat/project/thread", {"threadId": thread, "name": "mine"}),
        "delete a thread": ("DELETE", "/chat/project/thread", {"threadId": thread}),
        "share a thread": ("PUT", "/chat/project/thread/share", {"threadId": thread, "isShared": True}),
        "read a shared thread": ("GET", f"/chat/project/share/{thread}", None),
        "watch a run": ("GET", f"/runs/{run}/events", None),
        "read a run's log": ("GET", f"/runs/{run}/log", None),
        "fetch a file": ("GET", f"/elements/{user}/file", None),
    }


KINDS = list(objects("owner", {"owner": ""}))


@pytest.mark.parametrize(("who", "whose"), PEOPLE, ids=[" tries ".join(pair) for pair in PEOPLE])
@pytest.mark.parametrize("what", KINDS)
def test_a48_what_is_another_persons_does_not_exist(web: Besieged, what: str, who: str, whose: str) -> None:
    method, path, body = objects(whose, web.users)[what]
    answer = web.ask(who, method, path, json=body) if body is not None else web.ask(who, method, path)
    assert answer.status_code == 404 and f"words of {whose}" not in answer.text and f"a line of {whose}" not in answer.text
    unknown_path, unknown = path, body
    for known in (THREADS[whose], RUNS[whose], web.users[whose]):
        unknown_path = unknown_path.replace(known, "0000000000")
        unknown = {k: "0000000000" if v == known else v for k, v in body.items()} if body is not None and unknown else unknown
    same = web.ask(who, method, unknown_path, json=unknown) if body is not None else web.ask(who, method, unknown_path)
    assert same.status_code == 404, "what does not exist answers the same"


@pytest.mark.parametrize("who", [*RUNS])
def test_a48_ones_own_does_exist(web: Besieged, who: str) -> None:
    assert web.ask(who, "GET", f"/chat/project/thread/{THREADS[who]}").status_code == 200
    assert web.ask(who, "GET", f"/runs/{RUNS[who]}/log").text == f"a line of {who}\n"
    assert web.ask(who, "GET", f"/elements/{web.users[who]}/file").status_code == 200


@pytest.mark.parametrize(("who", "whose"), PEOPLE, ids=[" tries ".join(pair) for pair in PEOPLE])
def test_a48_the_list_of_threads_holds_ones_own(web: Besieged, who: str, whose: str) -> None:
    for filters in ({}, {"userId": web.users[whose]}, {"search": f"words of {whose}"}):
        answer = web.ask(who, "POST", "/chat/project/threads", json={"pagination": {"first": 50}, "filter": filters})
        assert THREADS[whose] not in answer.text and (filters.get("search") or THREADS[who] in answer.text)


@pytest.mark.parametrize(("who", "whose"), PEOPLE, ids=[" tries ".join(pair) for pair in PEOPLE])
async def test_a48_nobody_joins_another_persons_thread_or_clicks_in_their_page(web: Besieged, who: str, whose: str) -> None:
    theirs = await web.page(whose, thread=THREADS[whose])
    try:
        with pytest.raises(socketio.exceptions.ConnectionError):  # pyright: ignore[reportAttributeAccessIssue]
            await web.page(who, thread=THREADS[whose])
        for name in ("approve", "deny", "withdraw"):
            assert web.action(who, theirs.session, name, {"id": web.approvals[whose]}).status_code in (401, 403, 404)
    finally:
        await theirs.close()


@pytest.mark.parametrize("name", ["approve", "deny", "withdraw"])
async def test_a48_a_member_decides_no_request_of_anybody(web: Besieged, name: str) -> None:
    page = await web.page("bob", thread=THREADS["bob"])
    try:
        for whose in ("owner", "bob") if name != "withdraw" else ("owner",):
            answer = web.action("bob", page.session, name, {"id": web.approvals[whose]})
            said = answer.json().get("response")
            assert not (said and said["ok"]), "an answer that says nothing is no yes either"
    finally:
        await page.close()
    assert {row["status"] for row in pending(web)} == {"pending"} and len(pending(web)) == 3


def pending(web: Besieged) -> list[dict[str, Any]]:
    """What waits, as the control socket says it."""
    import json
    import socket

    with socket.socket(socket.AF_UNIX) as control:
        control.connect(str(web.home / "control.sock"))
        control.sendall(b'{"op": "pending"}\n')
        return json.loads(control.makefile().readline())["end"]


def test_a49_a_token_after_logout_is_worth_nothing(web: Besieged) -> None:
    link = web.served.new_link()
    token = httpx.get(link).cookies[COOKIE]
    cookie = {COOKIE: token}
    assert httpx.get(f"{web.url}/chat/user", cookies=cookie).status_code == 200
    assert httpx.post(f"{web.url}/chat/logout", cookies=cookie).status_code == 200
    for path in ("/chat/user", "/status", f"/runs/{RUNS['owner']}/log", "/chat/project/thread/" + THREADS["owner"]):
        assert httpx.get(f"{web.url}{path}", cookies=cookie).status_code == 401
        assert httpx.get(f"{web.url}{path}", headers={"authorization": f"Bearer {token}"}).status_code == 401
    assert httpx.get(link).status_code == 401, "the link worked once"


async def test_a49_a_page_left_open_when_its_session_ended_does_nothing_more(web: Besieged) -> None:
    token = web.enter()
    page = await web.page(None, token=token)
    try:
        assert web.ask(token, "POST", "/chat/logout").status_code == 200
        assert web.action(token, page.session, "approve", {"id": web.approvals["owner"]}).status_code == 401
        with pytest.raises(socketio.exceptions.ConnectionError):  # pyright: ignore[reportAttributeAccessIssue]
            await web.page(None, token=token)
    finally:
        await page.close()


def test_a49_a_token_that_somebody_made_is_worth_nothing(web: Besieged) -> None:
    head, body, signature = web.tokens["owner"].split(".")
    none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0"
    for token in (
        f"{none}.{body}.",
        f"{none}.{body}.{signature}",
        f"{head}.{body}.",
        f"{head}.{body}.{signature[::-1]}",
        f"{head}..{signature}",
    ):
        assert httpx.get(f"{web.url}/chat/user", cookies={COOKIE: token}).status_code == 401


@pytest.mark.parametrize(
    "path",
    [
        "/runs/%00/events",
        "/elements/%00",
        "/enter?t=%00",
        "/chat/project/thread/%00",
        "/runs/x/log?lines=abc",
        "/elements/..%2f..%2fbook.sqlite",
        "/runs/..%2f..%2fbook.sqlite/log",
        "/chat/public/..%2f..%2fbook.sqlite",
    ],
)
def test_a45_no_answer_of_the_server_is_a_traceback(web: Besieged, path: str) -> None:
    answer = web.ask("owner", "GET", path)
    assert answer.status_code < 500 and "Traceback" not in answer.text and "SQLite format" not in answer.text


def test_a14_a_picture_of_another_host_is_not_loaded_and_no_other_page_frames_ours(web: Besieged) -> None:
    policy = web.ask("owner", "GET", "/chat/", headers={"accept": "text/html"}).headers["content-security-policy"]
    rules = {name: values for name, *values in (each.split() for each in policy.split(";") if each.strip())}
    assert set(rules["img-src"]) <= {"'self'", "data:", "blob:"} and rules["frame-ancestors"] == ["'none'"]
    assert "'unsafe-inline'" not in rules["script-src"] and all("http" not in value for value in rules["connect-src"])
