"""Our own addresses beside the chat: signing in, a run's stream and log, a screen element's bytes, our pages."""

import asyncio
import secrets
from importlib.resources import files
from pathlib import Path

from chainlit.auth import create_jwt
from chainlit.auth.cookie import set_auth_cookie
from chainlit.user import User
from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import FileResponse, HTMLResponse, PlainTextResponse, RedirectResponse, StreamingResponse

from policies.people import Caller
from ui.data import ScreenStore
from ui.pages.addresses import build_pages
from ui.pages.plain import Pages
from ui.pages.runs import build_run_pages
from ui.shop import RunFacts, Shop
from ui.signin import person_of, token_of, web_caller
from ui.storage import LocalStorage, OutsideStorage
from ui.stream import run_frames

NO_STORE = {"cache-control": "no-store", "x-accel-buffering": "no"}
PLOTLY = files("plotly") / "package_data" / "plotly.min.js"
"""The chart's program, out of the package that the lock names: no page asks another host for it."""
NEW_LINK = "python -m ui link"


def build_routes(shop: Shop, store: ScreenStore, storage: LocalStorage, pages: Pages, stopping: asyncio.Event) -> APIRouter:
    """The routes of one server."""
    routes = APIRouter()

    def caller(request: Request) -> Caller:
        token = token_of(request.cookies)
        person = person_of(token)
        if person is None or not shop.household.role(person):
            raise HTTPException(401, f"Sign in first: run `{NEW_LINK}` and open the address it prints.")
        return web_caller(person, token)

    def own_run(run_id: str, who: Caller) -> RunFacts:
        view = shop.run(run_id, who)
        if view is None:
            raise HTTPException(404, "There is no such run.")
        return view

    @routes.get("/")
    async def home() -> Response:
        return RedirectResponse("/chat/", 307)

    @routes.get("/healthz")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @routes.get("/enter")
    async def enter(request: Request, t: str = "") -> Response:
        person = shop.use_link(t)
        if person is None or not shop.household.role(person):
            return HTMLResponse(pages.message(
                "This sign-in link does not work any more",
                "A link works once, within ten minutes. Run this command where Luthier is installed, and open the address it prints:",
                NEW_LINK,
            ), 401)
        # two tokens made in one second would be equal, and signing one out would sign out the other
        user = User(identifier=person, display_name=person, metadata={"session": secrets.token_hex(8)})
        await store.create_user(User(identifier=person, metadata={}))
        answer = RedirectResponse("/chat/", 303, headers=NO_STORE)
        set_auth_cookie(request, answer, create_jwt(user))
        return answer

    @routes.get("/runs/{run_id}/events")
    async def run_events(request: Request, run_id: str) -> Response:
        who = caller(request)
        own_run(run_id, who)
        frames = run_frames(shop.watch(run_id, who, None), lambda mark: shop.follow_log(run_id, who, mark), stopping)
        return StreamingResponse(frames, media_type="text/event-stream", headers=NO_STORE)

    @routes.get("/runs/{run_id}/log")
    async def run_log(request: Request, run_id: str, lines: int = 2000) -> Response:
        who = caller(request)
        own_run(run_id, who)
        page = await shop.log(run_id, who, lines=max(1, min(lines, 10_000)))
        return PlainTextResponse("\n".join(page.lines) + "\n", headers=NO_STORE)

    @routes.get("/assets/plotly.js")
    async def plotly() -> Response:
        return FileResponse(str(PLOTLY), media_type="text/javascript", headers={"cache-control": "public, max-age=86400"})

    @routes.get("/elements/{key:path}")
    async def element(request: Request, key: str) -> Response:
        user = await store.get_user(caller(request).person)
        try:
            path: Path | None = storage.path(key)
        except OutsideStorage:
            path = None
        if user is None or path is None or key.split("/", 1)[0] != user.id or not path.is_file():
            raise HTTPException(404, "There is no such element.")
        # whatever a person uploaded must not run as a page of ours
        return FileResponse(path, media_type="application/octet-stream", headers={**NO_STORE, "content-disposition": "attachment"})

    routes.include_router(build_pages(shop, pages, caller))
    routes.include_router(build_run_pages(shop, pages, caller))
    return routes
