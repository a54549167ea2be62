"""What a card shows, as plain data: approvals, runs, answers. Pure: the book's view goes in, a card's properties come out."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, TypedDict

from agent.events import Choices
from policies.verdict import ApprovalView

CardName = Literal["Approval", "Run", "Answers", "Choices", "Comparison"]

TITLES: Mapping[str, str] = {
    "pending": "Waiting for your decision", "approved": "Approved", "consumed": "Approved", "denied": "Denied",
    "withdrawn": "Withdrawn", "expired": "Expired", "revoked": "Revoked", "superseded": "Replaced by a newer proposal",
}
OPEN = frozenset({"pending"})
AGAIN = frozenset({"expired", "revoked"})
"""What may be asked again by a press: a new proposal with the same arguments."""
EXACT = "Exact arguments"
RUNNING = frozenset({"queued", "running"})
RESUMABLE = frozenset({"failed", "cancelled", "interrupted", "lost"})


class Fact(TypedDict):
    """One line of a card."""

    label: str
    value: str


class Tile(Fact):
    """One of the figures in front; `note` is the likely value of a range."""

    note: str


def approval_card(view: ApprovalView) -> dict[str, Any]:
    """The properties of an Approval card, with tiles where it shows a plan.

    Everything is text from the book; the browser's copy decides nothing. Lines that a tile
    sums up, and the exact arguments, stand below a fold: on the card, and out of the way.
    """
    tiles = plan_tiles(view.plan, view.ceiling, view.currency)
    summed = {tile["label"] for tile in tiles} | {EXACT}
    facts = [Fact(label=label, value=value) for label, value in consent_lines(view)]
    return {
        "id": view.id, "status": view.status, "title": TITLES[view.status], "open": view.status in OPEN,
        "tool": view.tool, "target": view.target, "where": view.where, "requester": view.requester, "reason": view.reason,
        "effects": list(view.effects), "tiles": tiles, "lines": [fact for fact in facts if fact["label"] not in summed],
        "details": [fact for fact in facts if fact["label"] in summed], "stop_rules": list(view.stop_rules),
        "money": money(view.ceiling, view.currency), "paid": is_paid(view.ceiling), "digest": view.digest, "expires_at": view.expires_at,
        "decided_by": list(view.decided_by), "why": view.why, "outcome": view.outcome, "progress": progress(view),
        "again": view.status in AGAIN or (view.status == "approved" and view.outcome.startswith("not started")),
    }


def progress(view: ApprovalView) -> str:
    """How far the needed yeses have come, where more than one is needed: 1 of 2 said yes."""
    return f"{view.yes} of {view.quorum} said yes" if view.quorum > 1 else ""


def consent_lines(view: ApprovalView) -> list[tuple[str, str]]:
    """The tool's own lines, and those that every consent needs where the tool left them out."""
    needed = (("Where", view.where), ("Cost", money(view.ceiling, view.currency)), ("Asked by", view.requester))
    given = {label for label, _ in view.lines}
    return [*view.lines, *((label, value) for label, value in needed if label not in given)]


def money(amount: str, currency: str) -> str:
    """The ceiling in words: free, unknown, or an amount."""
    if amount == "unpriced":
        return "unknown cost"
    return "free" if float(amount) == 0 else f"at most {amount} {currency}"


def plan_tiles(plan: Mapping[str, Any], ceiling: str, currency: str) -> list[Tile]:
    """The figures a person looks for first, as far as the plan has them: steps, time, memory, money; money first where it is paid."""
    tiles: list[Tile] = []
    if steps := plan.get("max_steps") or plan.get("steps"):
        tiles.append(Tile(label="Steps", value=f"{steps:,}", note=""))
    for label, name, unit in (("Time", "time", "s"), ("Memory", "memory", "bytes")):
        if (found := _span(plan.get(name), unit))[0]:
            tiles.append(Tile(label=label, value=found[0], note=found[1]))
    if not plan:
        return tiles
    cost = Tile(label="Cost", value=money(ceiling, currency), note=likely_money(plan, currency))
    if not is_paid(ceiling):
        return [*tiles, cost]
    return [cost, *rate_tiles(plan), *tiles]


def is_paid(ceiling: str) -> bool:
    """Whether money would be reserved, or nobody knows how much."""
    return ceiling == "unpriced" or float(ceiling) > 0


def likely_money(plan: Mapping[str, Any], currency: str) -> str:
    """The likely cost beside the ceiling; empty where the plan names none or it is free."""
    cost, micros = plan.get("cost"), plan.get("likely_micros")
    named = cost.get("likely") if isinstance(cost, Mapping) else None
    whole = f"{micros / 1_000_000:.2f}" if isinstance(micros, int) and not isinstance(micros, bool) else ""
    amount = named if isinstance(named, str) else whole
    return f"likely {amount} {currency}" if amount.strip("0.") else ""


def rate_tiles(plan: Mapping[str, Any]) -> list[Tile]:
    """The price by the hour with its date, and the time limit that the ceiling rests on, as far as a paid plan has them."""
    cost = plan.get("cost")
    priced: Mapping[str, Any] = cost if isinstance(cost, Mapping) else plan
    rate, date = priced.get("per_hour"), priced.get("price_date")
    limit, hours = plan.get("limit_s"), plan.get("hours")
    seconds = limit if isinstance(limit, int | float) else 3600 * hours if isinstance(hours, int | float) else None
    tiles: list[Tile] = []
    if isinstance(rate, str):
        tiles.append(Tile(label="Rate", value=rate.replace(" an hour", "/h"), note=f"list price, {date}" if date else ""))
    return [*tiles, Tile(label="Ends after", value=duration(seconds), note="at the latest")] if seconds else tiles


def _span(found: Any, unit: str) -> tuple[str, str]:
    """A range and its likely value, in words."""
    if not isinstance(found, Mapping):
        return "", ""
    say = duration if unit == "s" else size
    low, likely, high = (found.get(f"{name}_{unit}") for name in ("low", "likely", "high"))
    middle = say(likely) if isinstance(likely, int | float) else ""
    if isinstance(low, int | float) and isinstance(high, int | float) and high > low:
        return span(say(low), say(high)), f"likely {middle}" if middle else ""
    return middle, ""


def span(low: str, high: str) -> str:
    """A range that names a common unit once: 4 – 8 min."""
    if low == high:
        return low
    number, _, unit = low.partition(" ")
    return f"{number} – {high}" if high.endswith(f" {unit}") and " " not in unit else f"{low} – {high}"


def duration(seconds: float) -> str:
    """Seconds for people: 45 s, 6 min, 2 h 10 min."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min" if minutes % 60 else f"{minutes // 60} h"


def moment(utc: str) -> str:
    """A stored UTC time as a person reads it, to the minute and in the machine's own zone: `2026-12-01 10:00 CET`."""
    return datetime.fromisoformat(utc).astimezone().strftime("%Y-%m-%d %H:%M %Z")


def size(count: float) -> str:
    """Bytes for people: 512 MiB, 1.4 GiB."""
    if count >= 1024**3:
        return f"{count / 1024**3:.1f} GiB"
    return f"{count / 1024**2:.0f} MiB" if count >= 1024**2 else f"{count / 1024:.0f} KiB"


def run_card(view: Mapping[str, Any]) -> dict[str, Any]:
    """The properties of a Run card: the view as JSON, its stream's address, and which buttons make sense."""
    run_id, state = view["run_id"], view["state"]
    return {
        "card": "Run", "id": run_id, "view": dict(view), "events": f"/runs/{run_id}/events", "log": f"/runs/{run_id}/log",
        "page": f"/runs/{run_id}",
        "can_stop": state in RUNNING, "can_resume": state in RESUMABLE,
    }


def evaluation_words(result: Mapping[str, Any]) -> str:
    """What an evaluation found, in one or two sentences; empty when the result is none."""
    gain = result.get("gain_served") or result.get("gain")
    verdict = str(result.get("verdict_text") or "")
    if not isinstance(gain, Mapping) or not isinstance(gain.get("value"), int | float):
        return verdict
    points = [f"{100 * float(gain[name]):+.0f}" for name in ("value", "ci_low", "ci_high")]
    return f"{verdict} Exact answers: {points[0]} points (95 % interval {points[1]} to {points[2]}, p = {float(gain['p']):.2g}, " \
           f"{gain.get('rows', 0)} held-out rows)."


def answers_card(result: Mapping[str, Any]) -> dict[str, Any] | None:
    """The properties of the Answers card, or None when the result holds no answers."""
    answers = result.get("answers")
    if not isinstance(answers, Sequence) or isinstance(answers, str) or not answers:
        return None
    shown = [
        {
            "model": str(each.get("model", "")), "adapter": str(each.get("adapter") or ""), "precision": str(each.get("precision", "")),
            "text": str(each.get("text", "")), "tokens_per_s": each.get("tokens_per_s"), "error": str(each.get("error") or ""),
        }
        for each in answers if isinstance(each, Mapping)
    ]
    return {"card": "Answers", "prompt": str(result.get("prompt", "")), "answers": shown}


def choices_card(event: Choices) -> dict[str, Any]:
    """The properties of the Choices card: buttons that send a sentence."""
    return {"card": "Choices", "options": [{"label": label, "sentence": sentence} for label, sentence in event.options]}
