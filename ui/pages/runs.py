"""The addresses of the runs: the list of one's own, and a page for each that can be linked, with its buttons."""

import asyncio
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from policies.people import Caller
from policies.verdict import Answer
from ui.figures import state_words
from ui.pages.plain import Pages
from ui.pages.sheet import ANSWERED, list_row, live, sheet
from ui.shop import RunFacts, Shop

PATIENCE_S = 20.0
"""A press that takes longer is answered before it is done; what it does goes on."""


def build_run_pages(shop: Shop, pages: Pages, caller: Callable[[Request], Caller]) -> APIRouter:
    """The routes. `caller` gives the signed-in person, or answers 401."""
    routes = APIRouter(default_response_class=HTMLResponse)
    working: set[asyncio.Task[Answer]] = set()

    async def found(run_id: str, who: Caller) -> RunFacts:
        view = await asyncio.to_thread(shop.run, run_id, who)
        if view is None:
            raise HTTPException(404, "There is no such run.")
        return view

    @routes.get("/runs")
    async def runs(request: Request) -> Response:
        who = caller(request)
        answer = await shop.call("list_runs", {}, who)
        if answer.status != "done":
            raise HTTPException(403 if answer.status == "refused" else 503, f"{answer.reason} {answer.remedy}".strip())
        listed: Any = answer.result.get("runs") or []
        more = max(0, int(str(answer.result.get("total") or 0)) - len(listed))
        return HTMLResponse(pages.page(
            "runs", "/runs", who.person, shop.household.role(who.person), rows=[list_row(view) for view in listed], more=more,
        ))

    @routes.get("/runs/{run_id}")
    async def run(request: Request, run_id: str, part: str = "") -> Response:
        who = caller(request)
        if part == "live":
            view = (await found(run_id, who)).as_json()
            return HTMLResponse(pages.part("run_live", id=run_id, live=live(view, view.get("owner") == who.person)))
        return await whole(run_id, who)

    @routes.post("/runs/{run_id}")
    async def press(request: Request, run_id: str) -> Response:
        who, form = caller(request), await request.form(max_fields=4, max_files=0)
        await found(run_id, who)
        what = str(form.get("what", ""))
        if what == "again":
            report = await shop.report(run_id, who)
            wanted: dict[str, Any] = (report or {}).get("again") or {}
            if not wanted:
                return await whole(run_id, who, "Nothing was started: the book does not hold what this run was made with.")
            tool, args = str(wanted["tool"]), dict(wanted["args"])
        elif what in ANSWERED:
            tool, args = ANSWERED[what], {"run_id": run_id}
        else:
            return await whole(run_id, who, "Nothing was done: press one of the buttons.")
        return await answered(run_id, who, tool, await patiently(shop.call(tool, args, who)))

    async def patiently(call: Any) -> Answer | None:
        task: asyncio.Task[Answer] = asyncio.ensure_future(call)
        working.add(task)
        task.add_done_callback(working.discard)
        await asyncio.wait({task}, timeout=PATIENCE_S)
        return task.result() if task.done() else None

    async def answered(run_id: str, who: Caller, tool: str, answer: Answer | None) -> Response:
        if answer is None:
            return await whole(run_id, who, f"{tool} is at work. What comes of it shows here when the page is loaded again.")
        if answer.status == "waiting":
            return RedirectResponse(f"/approvals#{answer.approval.id if answer.approval else ''}", 303)
        if answer.status == "done":
            then = answer.result.get("run_id")
            return RedirectResponse(f"/runs/{then if isinstance(then, str) else run_id}", 303)
        return await whole(run_id, who, f"{tool} was {answer.status}. {answer.reason} {answer.remedy}".strip())

    async def whole(run_id: str, who: Caller, told: str = "") -> Response:
        report = await shop.report(run_id, who)
        if report is None:
            raise HTTPException(404, "There is no such run.")
        view = report["view"]
        return HTMLResponse(pages.page(
            "run", "/runs", who.person, shop.household.role(who.person), id=run_id, told=told, sheet=sheet(report),
            live=live(view, view.get("owner") == who.person), title=f"{view.get('name') or run_id}, {state_words(view).lower()}",
        ))

    return routes
