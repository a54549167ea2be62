"""The guard before every request: host, origin, size, throttle, revoked sessions, and the headers of every answer."""

from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.datastructures import Headers
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ui.headers import policy, safe_cookie, safe_headers, script_hashes, without_remote
from ui.signin import person_of, token_hash, token_of

READING = {"GET", "HEAD", "OPTIONS"}
SOCKET = "/chat/ws/socket.io"
KNOCKS = ("/enter", "/chat/login")
"""Where a stranger may try a secret: throttled by address."""
SHUT = ("/chat/auth/jwt", "/chat/auth/header", "/chat/auth/oauth", "/chat/mcp", "/chat/project/share", "/chat/project/thread/share",
        "/chat/copilot")
"""Chainlit's doors that Luthier does not use."""
FREE = ("/enter", "/healthz", "/chat/public", "/chat/assets", "/chat/favicon")
"""What a signed-out session may fetch like any stranger."""
BODY_MAX = 12 * 1024 * 1024
THREADS = "/chat/project/thread"
NO_THREAD = b'{"detail":"Thread not found"}'
TOO_LARGE = "The upload is larger than 10 MB. Put the file into the data folder instead."


class TooLarge(Exception):
    """A request body that went over the limit."""


def own_origins(host: str, port: int, public_url: str) -> frozenset[str]:
    """The origins our own pages have: loopback by each of its names, the host we listen on, and the public address."""
    names = {"127.0.0.1", "localhost", "[::1]", f"[{host}]" if ":" in host else host}
    found = {f"http://{name}:{port}" for name in names} | ({f"http://{name}" for name in names} if port == 80 else set())
    if public_url:
        url = urlsplit(public_url)
        found.add(f"{url.scheme}://{url.netloc}")
    return frozenset(found)


class Guard:
    """Pure ASGI, outermost. `is_revoked` and `revoke` take a token's hash, `is_shut_out` the token: its person may not sign in any more."""

    def __init__(
        self, app: ASGIApp, *, origins: frozenset[str], https: bool,
        is_revoked: Callable[[str], bool], revoke: Callable[[str], None], is_shut_out: Callable[[str], bool] = lambda token: False,
        knocks: str = "10/minute",
    ) -> None:
        self.app, self.origins, self.https = app, origins, https
        self.hosts = frozenset(urlsplit(origin).netloc for origin in origins)
        self.is_revoked, self.revoke, self.is_shut_out = is_revoked, revoke, is_shut_out
        self.rate, self.limiter = parse(knocks), MovingWindowRateLimiter(MemoryStorage())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on with a watched body and dressed answers."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers, path = Headers(scope=scope), scope["path"]
        token = token_of(_cookies(headers.get("cookie", "")), headers.get("authorization", ""))
        if refusal := self._refusal(scope, headers, path, token):
            await self._refuse(refusal, scope, receive, send)
            return
        if scope["type"] == "websocket":
            await self.app(scope, receive, send)
            return
        if "text/html" in headers.get("accept", ""):
            _drop(scope, b"accept-encoding")  # the page is rewritten on its way out, so it must come plain
        if path == "/chat/logout" and scope["method"] == "POST" and token:
            self.revoke(token_hash(token))
        body = _Body(receive)
        theirs = path.startswith(THREADS) and person_of(token) is not None
        dressed = self._dressed(_hiding(send) if theirs else send, scope)

        async def send_unless_refused(message: Message) -> None:
            if not body.refused:  # the application answers the exception with a 500 of its own
                await dressed(message)

        try:
            await self.app(scope, body.receive, send_unless_refused)
        except TooLarge:
            await PlainTextResponse(TOO_LARGE, 413)(scope, receive, dressed)
        except RuntimeError as error:
            # Starlette's middleware (1.10, November 2026) calls it an error when who asked has left before the answer began.
            if not body.left or str(error) != "No response returned.":
                raise

    def _refusal(self, scope: Scope, headers: Headers, path: str, token: str) -> tuple[int, str] | None:
        method, origin = scope.get("method", "GET"), headers.get("origin")
        if path != "/healthz" and headers.get("host", "") not in self.hosts:
            return 421, "This server does not answer to that name. Open it by the address it printed, or set LUTHIER_PUBLIC_URL."
        if path.startswith(SOCKET) or method not in READING:
            if origin is not None and origin not in self.origins:
                return 403, "This request comes from another site."
            if origin is None and headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
                return 403, "This request comes from another site."
        if path.startswith(SHUT) or (path == "/chat/project/element" and method in ("PUT", "DELETE")):
            return 404, "There is nothing here."
        if int(headers.get("content-length") or 0) > BODY_MAX:
            return 413, TOO_LARGE
        if path.startswith(KNOCKS) and not self.limiter.test(self.rate, _address(scope)):
            return 429, "Too many attempts. Wait a minute, then try again."
        if token and not path.startswith(FREE) and (self.is_revoked(token_hash(token)) or self.is_shut_out(token)):
            return 401, "This session was signed out. Run `python -m ui link` for a new sign-in link."
        return None

    async def _refuse(self, refusal: tuple[int, str], scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": refusal[1][:100]})
            return
        await JSONResponse({"detail": refusal[1]}, refusal[0])(scope, receive, self._dressed(send, scope))

    def _cookie(self, value: bytes) -> bytes:
        return safe_cookie(value.decode("latin-1"), https=self.https).encode("latin-1")

    def _dressed(self, send: Send, scope: Scope) -> Send:
        """Add the safe headers, rewrite cookies, and hold a page back until its inline scripts are hashed."""
        held: list[Message] = []

        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                status, raw = message["status"], list(message.get("headers", []))
                if scope["path"].startswith(KNOCKS) and 400 <= status < 500:
                    self.limiter.hit(self.rate, _address(scope))
                names = {name for name, _ in raw}
                raw = [(n, self._cookie(v) if n == b"set-cookie" else v) for n, v in raw]
                raw += [(n, v) for n, v in safe_headers(https=self.https) if n not in names]
                message = {**message, "headers": raw}
                if any(n == b"content-type" and v.startswith(b"text/html") for n, v in raw) and b"content-encoding" not in names:
                    held.append(message)
                    return
                if b"content-security-policy" not in names:
                    raw.append((b"content-security-policy", policy().encode()))
            elif message["type"] == "http.response.body" and held:
                held.append(message)
                if not message.get("more_body"):
                    for each in _page(held):
                        await send(each)
                return
            await send(message)

        return dressed


def _hiding(send: Send) -> Send:
    """Answers about a thread that is another's as about one that never was: Chainlit says 401 to a person who is signed in."""
    hidden = False

    async def hiding(message: Message) -> None:
        nonlocal hidden
        if message["type"] == "http.response.start" and message["status"] == 401:
            hidden = True
            kept = [(n, v) for n, v in message["headers"] if n != b"content-length"]
            message = {**message, "status": 404, "headers": [*kept, (b"content-length", str(len(NO_THREAD)).encode())]}
        elif hidden and message["type"] == "http.response.body":
            message = {**message, "body": b"" if message.get("more_body") else NO_THREAD}
        await send(message)

    return hiding


def _page(held: list[Message]) -> tuple[Message, Message]:
    page = without_remote(b"".join(each.get("body", b"") for each in held[1:]).decode("utf-8"))
    body = page.encode()
    kept = [(n, v) for n, v in held[0]["headers"] if n not in (b"content-length", b"content-security-policy")]
    head = {**held[0], "headers": [
        *kept, (b"content-length", str(len(body)).encode()), (b"content-security-policy", policy(script_hashes(page)).encode()),
        (b"cache-control", b"no-store"),
    ]}
    return head, {"type": "http.response.body", "body": body, "more_body": False}


class _Body:
    """A request's body, measured as it comes."""

    def __init__(self, receive: Receive) -> None:
        self._receive, self._seen, self.refused = receive, 0, False
        self.left = False

    async def receive(self) -> Message:
        """The next piece. Raises TooLarge beyond the limit."""
        message = await self._receive()
        self.left = self.left or message["type"] == "http.disconnect"
        self._seen += len(message.get("body", b""))
        if self._seen > BODY_MAX:
            self.refused = True
            raise TooLarge
        return message


def _cookies(text: str) -> dict[str, str]:
    try:
        return {name: morsel.value for name, morsel in SimpleCookie(text).items()}
    except CookieError:
        return {}


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return client[0] if client else "unknown"


def _drop(scope: Scope, name: bytes) -> None:
    scope["headers"] = [(n, v) for n, v in scope["headers"] if n != name]
