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
from fastapi import FastAPI

from agent.refusal import refuse_words
from agent.settings import Settings
from policies.people import Caller
from ui.cards import approval_card, run_card
from ui.control import ControlServer
from ui.data import ScreenStore, prepare_screen
from ui.desk import Desk
from ui.pages.plain import Pages
from ui.routes import build_routes
from ui.screens import Screens
from ui.security import Guard, own_origins
from ui.shop import Shop
from ui.storage import LocalStorage

OWNER = Caller(person="owner", via="web", auth="link")


def build_app(shop: Shop, settings: Settings, port: int, stopping: asyncio.Event) -> FastAPI:
    """The application over `shop`.

    Its lifespan starts and closes the workshop, the control socket and the screen's store: Chainlit's own never runs below a mount.
    """
    home = settings.home
    prepare_screen(home / "screen.sqlite")
    storage = LocalStorage(home / "elements")
    store = ScreenStore(
        home / "screen.sqlite", storage, fresh=lambda name, props: fresh_props(shop, name, props),
        forget=lambda thread: shop.forget(thread, OWNER), scrub=scrub,
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
    app.include_router(build_routes(shop, store, storage, Pages(), stopping))
    quiet_chainlit()
    target = str(Path(__file__).parent / "chat.py")
    mount_chainlit(app, target=target, path="/chat")
    sys.modules[target].attach(screens, store, lambda: refresh_badge(shop))
    app.add_middleware(
        Guard, origins=own_origins(settings.host, port, settings.public_url), https=settings.public_url.startswith("https://"),
        is_revoked=shop.is_revoked, revoke=shop.revoke,
    )
    return app


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
    config.ui.header_links = [
        HeaderLink(name=badge.note or words, display_name=words, icon_url="/chat/public/icons/badge.svg", url="/status", target="_blank"),
    ]


def fresh_props(shop: Shop, name: str, props: Mapping[str, Any]) -> dict[str, Any] | None:
    """A stored card's properties as the book has them now; None for what the book does not know."""
    identity = str(props.get("id", ""))
    if name == "Approval":
        view = shop.approval(identity)
        return approval_card(view) if view is not None else None
    if name == "Run":
        run = shop.run(identity, OWNER)
        return run_card(run.as_json()) if run is not None else None
    return None
