"""The web face as one FastAPI application: our routes, Chainlit below `/chat`, the guard around both."""

import asyncio
import logging
import shutil
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from chainlit.config import HeaderLink, config
from chainlit.utils import mount_chainlit
from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException

from agent.refusal import refuse_words
from agent.settings import Settings
from policies.people import Caller
from policies.tool import ToolFailed
from ui.cards import approval_card, run_card
from ui.control import ControlServer
from ui.data import ScreenStore, prepare_screen
from ui.desk import Desk
from ui.pages.plain import Pages
from ui.routes import build_routes
from ui.screens import Screens
from ui.security import Guard, own_origins
from ui.shop import Shop
from ui.signin import person_of
from ui.storage import LocalStorage

TITLES = {401: "Sign in first", 403: "This is not for you", 404: "There is nothing here"}
HEADER = (("Approvals", "check", "/approvals"), ("Money", "coin", "/money"), ("Record", "record", "/audit"))
"""Name, icon and address of the header's links to our own pages."""


def build_app(shop: Shop, settings: Settings, port: int, stopping: asyncio.Event) -> FastAPI:
    """The application over `shop`.

    Its lifespan starts and closes the workshop, the control socket and the screen's store: Chainlit's own never runs below a mount.
    """
    home = settings.home
    prepare_screen(home / "screen.sqlite")
    storage, pages = LocalStorage(home / "elements"), Pages()
    store = ScreenStore(
        home / "screen.sqlite", storage, fresh=lambda name, props, person: fresh_props(shop, name, props, person),
        forget=lambda thread, person: shop.forget(thread, seen_by(person)), scrub=scrub,
    )
    screens = Screens(shop)
    control = ControlServer(home / "control.sock", Desk(shop, url=address(settings, port)))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:  # closes in the opposite order
            stack.callback(shutil.rmtree, home / "web" / ".files", ignore_errors=True)
            stack.push_async_callback(store.close)
            await shop.start()
            stack.push_async_callback(shop.close)
            await control.start()
            stack.push_async_callback(control.close)
            stack.push_async_callback(screens.close)
            refresh_badge(shop)
            yield

    app = FastAPI(title="Luthier", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(build_routes(shop, store, storage, pages, stopping))
    polite_errors(app, pages)
    quiet_chainlit()
    target = str(Path(__file__).parent / "chat.py")
    mount_chainlit(app, target=target, path="/chat")
    sys.modules[target].attach(screens, store, lambda: refresh_badge(shop))
    app.add_middleware(
        Guard, origins=own_origins(settings.host, port, settings.public_url), https=settings.public_url.startswith("https://"),
        is_revoked=shop.is_revoked, revoke=shop.revoke, is_shut_out=lambda token: is_shut_out(shop, token),
    )
    return app


def polite_errors(app: FastAPI, pages: Pages) -> None:
    """What cannot be done is a page with a next step for a person, and JSON for a program."""

    async def failed(request: Request, error: Exception) -> Response:
        assert isinstance(error, ToolFailed)
        if "text/html" not in request.headers.get("accept", ""):
            return JSONResponse({"detail": f"{error.because} {error.try_next}"}, 400)
        return HTMLResponse(pages.message(error.what, f"{error.because} {error.try_next}"), 400)

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if "text/html" not in request.headers.get("accept", ""):
            return JSONResponse({"detail": error.detail}, error.status_code)
        title = TITLES.get(error.status_code, "This cannot be shown")
        words = "Look at the address again, or go back to the chat." if error.detail == "Not Found" else str(error.detail)
        return HTMLResponse(pages.message(title, words), error.status_code)

    app.add_exception_handler(ToolFailed, failed)
    app.add_exception_handler(HTTPException, refused)


def quiet_chainlit() -> None:
    """Keep Chainlit's warnings, but for the one it gives at every page: that the welcome is not translated."""
    log = logging.getLogger("chainlit")
    log.setLevel(logging.WARNING)
    log.addFilter(lambda record: not str(record.msg).startswith("Translated markdown file"))


def scrub(text: str) -> str:
    """What the screen may keep of a person's words: nothing of a message that the workshop refuses, such as one with a secret in it."""
    return "(This message was not kept.)" if text.strip() and refuse_words(text) else text


def address(settings: Settings, port: int) -> str:
    """Where a person opens the chat."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return settings.public_url.rstrip("/") or f"http://{host}:{port}"


def refresh_badge(shop: Shop) -> None:
    """Write the brain and the solo mode into the header; a page reads them when it is opened."""
    badge = shop.badge()
    words = f"{badge.brain} · solo mode" if badge.solo else badge.brain
    icon = "/chat/public/icons/badge.svg"
    config.ui.header_links = [
        HeaderLink(name=badge.note or words, display_name=words, icon_url=icon, url="/status", target="_blank"),
        *(HeaderLink(name=name, display_name=name, icon_url=f"/chat/public/icons/{picture}.svg", url=address, target="_blank")
          for name, picture, address in HEADER),
    ]


def seen_by(person: str) -> Caller:
    """A signed-in person who looks at what the screen kept."""
    return Caller(person=person, via="web", auth="link")


def is_shut_out(shop: Shop, token: str) -> bool:
    """Whether a valid token names somebody who may not sign in any more: a role in a token would be as old as the token."""
    person = person_of(token)
    return person is not None and not shop.household.role(person)


def fresh_props(shop: Shop, name: str, props: Mapping[str, Any], person: str) -> dict[str, Any] | None:
    """A stored card's properties as the book has them now, for whose thread it is; None for what the book does not know."""
    identity = str(props.get("id", ""))
    if name == "Approval":
        view = shop.inbox.seen(identity, seen_by(person))
        return approval_card(view) if view is not None else None
    if name == "Run":
        run = shop.run(identity, seen_by(person))
        return run_card(run.as_json()) if run is not None else None
    return None
