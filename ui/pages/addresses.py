"""The addresses of our own pages: the record, money, approvals, you, the state of this installation."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse

from policies.people import Caller
from policies.tool import ToolFailed
from ui.cards import approval_card, moment
from ui.pages.money import money_page
from ui.pages.plain import Pages
from ui.pages.story import at, identity_of, kept, row_of, story_of, what_of, who_of
from ui.shop import Shop, Verified

NAMES = ("run", "person", "tool", "decision", "kind")
KINDS = ("intent", "outcome", "decision", "approval", "policy", "auth", "admin")
VERDICTS: Mapping[int, tuple[str, str]] = {
    0: ("intact", "good"), 1: ("tampered", "bad"), 2: ("records are missing", "bad"), 3: ("cannot be read", "bad"),
}
PAGE = 50
MOST_AT_ONCE = 20


def build_pages(shop: Shop, pages: Pages, caller: Callable[[Request], Caller]) -> APIRouter:
    """The routes of the pages. `caller` gives the signed-in person, or answers 401."""
    routes = APIRouter(default_response_class=HTMLResponse)

    def page(name: str, here: str, who: Caller, **shown: Any) -> HTMLResponse:
        return HTMLResponse(pages.page(name, here, who.person, shop.household.role(who.person), **shown))

    async def audit_page(who: Caller, asked: Mapping[str, str], before: int | None, verified: Mapping[str, str] | None = None) -> Response:
        found = await asyncio.to_thread(shop.records.search, who, asked, before, PAGE + 1)
        everything, state = shop.records.sees_all(who), shop.records.state()
        used = {name: text for name, text in asked.items() if text}
        older = f"/audit?{urlencode({**used, 'before': found[PAGE - 1]['seq']})}" if len(found) > PAGE else ""
        return page(
            "audit", "/audit", who, rows=[row_of(record) for record in found[:PAGE]], asked={name: asked.get(name, "") for name in NAMES},
            everything=everything, people=[each["id"] for each in shop.household.list()] if everything else [],
            tools=sorted({row["tool"]["name"] for row in found if row["tool"]["name"]}), kinds=KINDS, filtered=bool(used), older=older,
            newer=f"/audit?{urlencode(used)}" if before is not None else "", verified=verified or {}, signed=signed_words(state),
            whose="Everything that was proposed, judged, decided, done and paid." if everything else "Your own records.",
        )

    @routes.get("/audit")
    async def audit(request: Request, before: int | None = None) -> Response:
        return await audit_page(caller(request), {name: request.query_params.get(name, "") for name in NAMES}, before)

    @routes.post("/audit/verify")
    async def verify(request: Request) -> Response:
        who = caller(request)
        said = verdict(await shop.records.verify(who))
        if "application/json" in request.headers.get("accept", ""):
            return JSONResponse(said)
        return await audit_page(who, {}, None, said)

    @routes.get("/audit/{seq}")
    async def story(request: Request, seq: int) -> Response:
        who = caller(request)
        record = await asyncio.to_thread(shop.records.record, seq, who)
        if record is None:
            raise HTTPException(404, "There is no such record.")
        identity = identity_of(record)
        records = (await asyncio.to_thread(shop.records.story, identity, who) if identity else []) or [record]
        proof, no_proof = None, ""
        try:
            proof = await asyncio.to_thread(shop.records.prove, seq, who)
        except ToolFailed as failed:
            no_proof = f"{failed.because[:1].upper()}{failed.because[1:]} {failed.try_next}"
        return page(
            "story", "/audit", who, seq=seq, parts=story_of(records), proof=proof, no_proof=no_proof,
            heading=record["tool"]["name"] or what_of(record),
            under=f"Record {seq}, {what_of(record)}: {who_of(record)}, {at(record['ts'])}",
            records=[{"seq": each["seq"], "what": what_of(each), "when": at(each["ts"]), "text": kept(each)} for each in records],
        )

    @routes.get("/money")
    async def money(request: Request, since: str = "month") -> Response:
        who = caller(request)
        answer = await shop.call("spend_report", {"since": since[:40]}, who)
        if answer.status != "done":
            raise HTTPException(403 if answer.status == "refused" else 503, f"{answer.reason} {answer.remedy}".strip())
        return page("money", "/money", who, **money_page(answer.result, since))

    @routes.get("/approvals")
    async def approvals(request: Request) -> Response:
        return inbox(caller(request))

    @routes.post("/approvals")
    async def decide(request: Request) -> Response:
        who, form = caller(request), await request.form(max_fields=MOST_AT_ONCE + 10, max_files=0)
        ids = [str(each) for each in form.getlist("id")][:MOST_AT_ONCE]
        if not ids or form.get("answer") not in ("approve", "deny"):
            return inbox(who, ["Nothing was decided: tick what you mean, then press Approve or Deny."])
        if unknown := [each for each in ids if shop.inbox.seen(each, who) is None]:
            raise HTTPException(404, f"There is no approval {unknown[0][:20]}.")
        answer, why = "approve" if form["answer"] == "approve" else "deny", str(form.get("why", ""))[:500]
        decisions = await shop.inbox.decide_many(ids, answer, who, why)
        return inbox(who, [f"{each.approval.tool} {each.message}" for each in decisions])

    def inbox(who: Caller, told: Sequence[str] = ()) -> HTMLResponse:
        cards = []
        for view in shop.inbox.waiting(who):
            refusal = shop.inbox.may_not(view.id, who)
            cards.append({**approval_card(view), "expires": moment(view.expires_at), "may": not refusal, "may_not": refusal})
        under = "What waits for a yes. Tick one or several, compare the digests, and decide." if cards else ""
        return page("approvals", "/approvals", who, cards=cards, told=told, under=under, any_may=any(card["may"] for card in cards))

    def me_page(who: Caller, code: str = "") -> HTMLResponse:
        everybody = shop.household.list()
        mine = next((each for each in everybody if each["id"] == who.person), {"name": who.person, "identities": []})
        role, solo = shop.household.role(who.person), shop.badge().solo
        alone = " One person lives here: you may approve your own proposals, below the two-person threshold." if solo else ""
        return page(
            "me", "/me", who, code=code, household=everybody if role == "owner" else [], under=f"{mine['name']}, {role}.{alone}",
            linked=[{**each, "when": moment(each["linked_at"])} for each in mine["identities"]],
        )

    @routes.get("/me")
    async def me(request: Request) -> Response:
        return me_page(caller(request))

    @routes.post("/me/code")
    async def code(request: Request) -> Response:
        who = caller(request)
        return me_page(who, shop.household.make_code(who))

    @routes.get("/status")
    async def status(request: Request) -> Response:
        who = caller(request)
        facts, badge = await shop.doctor(), shop.badge()
        alarms = [f"{each['what']} {each['remedy']}" for each in facts.get("problems", ())]
        shown = {name: value for name, value in facts.items() if name != "problems"}
        return HTMLResponse(pages.status(badge.note, shown, alarms, who.person, shop.household.role(who.person)))

    return routes


def verdict(done: Verified) -> dict[str, str]:
    """The verifier's outcome for the page: a word, its tone, its exit status, its own text."""
    word, tone = VERDICTS.get(done.status, ("not verified", "bad"))
    return {"word": word, "tone": tone, "how": f"policies/audit/verify.py, exit status {done.status}", "text": done.text}


def signed_words(state: Mapping[str, Any]) -> str:
    """How far the log is signed, in one sentence."""
    if not state.get("signed"):
        return f"{state.get('records', 0)} records; no checkpoint has been signed yet."
    outside = [each for each in state.get("witnesses", ()) if each["size"]]
    held = max((each["size"] for each in outside), default=0)
    seen = f"An outside witness holds the first {held}." if held else "No outside witness holds a copy."
    return f"{state['records']} records, the first {state['signed']} under a signed checkpoint of {at(state['checkpoint_at'])}. {seen}"
