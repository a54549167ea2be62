"""The guard before every request, around a small application."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from ui.security import BODY_MAX, Guard, own_origins
from ui.signin import COOKIE, token_hash

OWN = "http://127.0.0.1:8000"


async def anything(request: Request) -> Response:
    await request.body()
    return PlainTextResponse("through")


async def page(request: Request) -> Response:
    return HTMLResponse('<link href="https://cdn.invalid/x.css"><script>let a = 1;</script>', headers={"set-cookie": "a=b; Path=/"})


async def unknown_link(request: Request) -> Response:
    return PlainTextResponse("no", 401)


async def socket(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.close()


class Watched:
    """The guard around the application, and what it revoked."""

    def __init__(self, public_url: str = "") -> None:
        self.revoked: set[str] = set()
        app = Starlette(routes=[
            Route("/page", page), Route("/enter", unknown_link), WebSocketRoute("/chat/ws/socket.io/", socket),
            Route("/{rest:path}", anything, methods=["GET", "POST", "PUT", "DELETE"]),
        ])
        self.app = Guard(
            app, origins=own_origins("127.0.0.1", 8000, public_url), https=public_url.startswith("https"),
            is_revoked=self.revoked.__contains__, revoke=self.revoked.add,
        )
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url=OWN)


@pytest.fixture
def web() -> Watched:
    return Watched()


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_a_foreign_origin_changes_nothing(web: Watched, method: str):
    assert (await web.client.request(method, "/x", headers={"origin": "https://evil.invalid"})).status_code == 403
    assert (await web.client.request(method, "/x", headers={"origin": "null"})).status_code == 403
    assert (await web.client.request(method, "/x", headers={"sec-fetch-site": "cross-site"})).status_code == 403
    assert (await web.client.request(method, "/x", headers={"origin": OWN})).text == "through"


async def test_the_socket_path_checks_the_origin_of_reading_requests_too(web: Watched):
    assert (await web.client.get("/chat/ws/socket.io/?EIO=4", headers={"origin": "https://evil.invalid"})).status_code == 403
    assert (await web.client.get("/chat/ws/socket.io/?EIO=4", headers={"origin": OWN})).status_code != 403


@pytest.mark.parametrize(("origin", "passes"), [("https://evil.invalid", False), (OWN, True)])
async def test_a_websocket_of_another_site_is_closed_before_it_opens(web: Watched, origin: str, passes: bool):
    sent: list[str] = []

    async def receive() -> dict[str, str]:
        await asyncio.sleep(0)
        return {"type": "websocket.connect"}

    async def send(message: dict[str, str]) -> None:
        sent.append(message["type"])

    headers = [(b"host", b"127.0.0.1:8000"), (b"origin", origin.encode())]
    scope = {"type": "websocket", "path": "/chat/ws/socket.io/", "headers": headers, "query_string": b"", "subprotocols": []}
    await web.app(scope, receive, send)  # pyright: ignore[reportArgumentType]
    assert ("websocket.accept" in sent) is passes


async def test_a_name_that_is_not_ours_is_not_answered_so_rebinding_finds_nothing(web: Watched):
    assert (await web.client.get("/x", headers={"host": "evil.invalid:8000"})).status_code == 421
    assert (await web.client.get("/healthz", headers={"host": "10.0.0.7"})).status_code == 200
    assert (await web.client.get("/x", headers={"host": "localhost:8000"})).status_code == 200


async def test_the_public_address_is_one_of_ours():
    web = Watched("https://luthier.example.org")
    allowed = {"host": "luthier.example.org", "origin": "https://luthier.example.org"}
    assert (await web.client.post("/x", headers=allowed)).status_code == 200
    assert "Secure" in (await web.client.get("/page", headers=allowed)).headers["set-cookie"]


@pytest.mark.parametrize("call", [
    ("PUT", "/chat/project/element"), ("DELETE", "/chat/project/element"), ("POST", "/chat/auth/jwt"), ("POST", "/chat/mcp"),
    ("POST", "/chat/auth/header"), ("GET", "/chat/project/share/abc"), ("GET", "/chat/copilot/index.js"),
], ids=" ".join)
async def test_doors_of_chainlit_that_are_not_used_are_shut(web: Watched, call: tuple[str, str]):
    assert (await web.client.request(*call)).status_code == 404


async def test_a_body_over_the_limit_is_refused_by_its_length_and_while_it_comes(web: Watched):
    async def drip() -> AsyncIterator[bytes]:
        for _ in range(BODY_MAX // 65536 + 2):
            yield b"x" * 65536

    assert (await web.client.post("/x", headers={"content-length": str(BODY_MAX + 1)}, content=b"")).status_code == 413
    assert (await web.client.post("/x", content=drip())).status_code == 413


async def test_ten_wrong_links_a_minute_are_enough(web: Watched):
    answers = [(await web.client.get("/enter?t=wrong")).status_code for _ in range(12)]
    assert answers == [401] * 10 + [429] * 2


async def test_signing_out_ends_the_session_for_good(web: Watched):
    cookie = {"cookie": f"{COOKIE}=token"}
    assert (await web.client.get("/x", headers=cookie)).status_code == 200
    assert (await web.client.post("/chat/logout", headers=cookie)).status_code == 200
    assert web.revoked == {token_hash("token")}
    assert (await web.client.get("/x", headers=cookie)).status_code == 401
    assert (await web.client.get("/x", headers={"authorization": "Bearer token"})).status_code == 401
    assert (await web.client.get("/x", headers={"cookie": f"{COOKIE}_0=to; {COOKIE}_1=ken"})).status_code == 401
    assert (await web.client.get("/x", headers={"cookie": f"{COOKIE}=other"})).status_code == 200


async def test_a_page_comes_with_the_hashes_of_its_own_scripts_and_no_foreign_address(web: Watched):
    answer = await web.client.get("/page", headers={"accept": "text/html"})
    assert answer.text == "<script>let a = 1;</script>"
    assert "'sha256-" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers["referrer-policy"] == "same-origin"
    assert answer.headers["set-cookie"] == "a=b; Path=/; HttpOnly; SameSite=Lax"
    assert int(answer.headers["content-length"]) == len(answer.content)


async def test_every_other_answer_has_a_policy_too(web: Watched):
    assert "script-src 'self'" in (await web.client.get("/x")).headers["content-security-policy"]


@pytest.mark.parametrize("left", [True, False], ids=["who asked has left", "who asked is waiting"])
async def test_an_answer_that_never_began_is_an_error_only_while_somebody_waits_for_it(left: bool):
    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        raise RuntimeError("No response returned.")

    async def receive() -> Message:
        return {"type": "http.disconnect"} if left else {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        raise AssertionError(message)

    guard = Guard(silent, origins=own_origins("127.0.0.1", 8000, ""), https=False, is_revoked=lambda _: False, revoke=lambda _: None)
    scope = {"type": "http", "method": "GET", "path": "/runs", "headers": [(b"host", b"127.0.0.1:8000")], "client": ("127.0.0.1", 1)}
    if left:
        await guard(scope, receive, send)
    else:
        with pytest.raises(RuntimeError, match="No response"):
            await guard(scope, receive, send)
