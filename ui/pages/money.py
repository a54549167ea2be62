"""The money page from a spend report: four amounts, the month against its cap, budgets as bars, tables by run, person and month. Pure."""

from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any

from ui.pages.story import at

TILES = (
    ("reserved", "Reserved", "the most that running work may still cost"),
    ("accruing", "Running up now", "by the clock, part of what is reserved"),
    ("settled", "Spent", "what finished work did cost"), ("billed", "Billed", "what Azure's bill says so far; a day late, not final"),
)
COLUMNS = (("run_id", "Run"), ("deployment_id", "Deployment"), ("name", "Name"), ("tool", "Tool"), ("person", "Asked by"),
           ("state", "State"), ("since", "Since"), ("reserved", "Reserved"), ("accruing", "Running up"), ("settled", "Spent"),
           ("billed", "Billed"), ("difference", "Bill − spent"))
PEOPLE = (("person", "Person"), ("reserved", "Reserved"), ("accruing", "Running up"), ("settled", "Spent"), ("billed", "Billed"))
AMOUNTS = frozenset({"reserved", "accruing", "settled", "billed", "difference"})
OPTIONAL = frozenset({"deployment_id", "accruing", "billed", "difference"})
"""Columns that are left out while no row has anything in them."""
SPANS = (("today", "Today"), ("7d", "7 days"), ("month", "This month"), ("365d", "A year"))
PER_CALL = "one run"
"""The name of the budget that is a cap on each call, and does not fill up."""
PARTS = (("spent", "Spent"), ("rising", "Running up now"), ("held", "Reserved beyond that"), ("left", "Left of the cap"))


def money_page(report: Mapping[str, Any], since: str = "month") -> dict[str, Any]:
    """What the template shows of a `spend_report` result."""
    currency = str(report.get("currency", "USD"))
    budgets, runs, people = (_rows(report.get(name)) for name in ("budgets", "by_run", "by_person"))
    columns, of_people = columns_of(COLUMNS, runs), columns_of(PEOPLE, people)
    return {
        "tiles": [{"name": name, "label": label, "value": f"{report[name]} {currency}", "note": note}
                  for name, label, note in TILES if report.get(name) is not None],
        "bill": bill_words(report, currency), "month": month_of(report.get("month"), currency), "months": months_of(report, currency),
        "budgets": [budget_of(each, currency) for each in budgets if each.get("used") is not None],
        "per_call": next((f"{each.get('cap')} {currency}" for each in budgets if each.get("name") == PER_CALL), ""),
        "closed": report.get("spending") is False, "more": report.get("more") or 0,
        "columns": [{"label": label, "num": name in AMOUNTS} for name, label in columns],
        "runs": [[cell_of(name, each.get(name)) for name, _ in columns] for each in runs],
        "people_columns": [{"label": label, "num": name in AMOUNTS} for name, label in of_people],
        "people": [[cell_of(name, each.get(name)) for name, _ in of_people] for each in people] if len(people) > 1 else [],
        "tokens": tokens_of(report.get("tokens")), "spans": SPANS, "since": since,
        "whose": "Everybody's money." if report.get("whose") == "everybody" else "Your own money.",
    }


def columns_of(columns: Iterable[tuple[str, str]], rows: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """The columns that say something."""
    told = {name for each in rows for name in OPTIONAL if each.get(name) not in (None, "") and (name != "accruing" or amount(each[name]))}
    return [(name, label) for name, label in columns if name not in OPTIONAL or name in told]


def cell_of(name: str, value: Any) -> dict[str, Any]:
    """One cell; a run leads to its records."""
    text = "–" if value in (None, "") else at(str(value)) if name == "since" else str(value)
    if name == "difference" and amount(value) > 0:
        text = f"+{text}"
    link = f"/audit?run={text}" if name == "run_id" and text.isalnum() else ""
    return {"text": text, "num": name in AMOUNTS, "link": link}


def bill_words(report: Mapping[str, Any], currency: str) -> str:
    """How the bill compares; empty where Azure was never asked."""
    if report.get("billed") is None:
        return ""
    said = [f"Azure was last asked for its bill on {at(str(report.get('billed_at') or ''))}."]
    apart = report.get("difference")
    if apart is not None:
        gap = amount(apart)
        said.append(f"For what is settled it is {abs(gap):f} {currency} {'above' if gap > 0 else 'below'} what Luthier counted." if gap
                    else "For what is settled it is just what Luthier counted.")
    if amount(report.get("billed_elsewhere")):
        said.append(f"{report['billed_elsewhere']} {currency} of it belong to no run and no deployment: storage, logs.")
    return " ".join(said)


def month_of(month: Any, currency: str) -> dict[str, Any] | None:
    """Everybody's month as one bar: spent, running up, the rest of what is reserved, and what the cap leaves. None without figures."""
    if not isinstance(month, Mapping):
        return None
    cap, spent, rising, reserved = (amount(month.get(name)) for name in ("cap", "settled", "accruing", "reserved"))
    held = max(Decimal(0), reserved - rising)
    used = spent + rising + held
    whole = max(cap, used)
    amounts = (spent, rising, held, max(Decimal(0), cap - used))
    parts = [{"name": name, "label": label, "value": f"{value:.2f} {currency}", "percent": f"{100 * value / whole if whole else 0:.2f}"}
             for (name, label), value in zip(PARTS, amounts, strict=True)]
    return {
        "title": month_name(str(month.get("month"))), "used": f"{used:.2f}", "cap": f"{cap:.2f} {currency}", "over": used > cap,
        "parts": parts,
        "percent": f"{min(Decimal(100), 100 * used / cap) if cap else Decimal(100 if used else 0):.1f}",
        "mark": f"{100 * cap / whole:.2f}" if used > cap and whole else "",
    }


def months_of(report: Mapping[str, Any], currency: str) -> list[dict[str, Any]]:
    """Each month's money as a bar beside the others, newest first; empty while there is only one."""
    rows = _rows(report.get("by_month"))
    most = max((max(amount(each.get("settled")), amount(each.get("billed"))) for each in rows), default=Decimal(0))
    if len(rows) < 2 or not most:
        return []
    return [{
        "title": month_name(str(each.get("month"))), "settled": f"{each.get('settled')} {currency}",
        "billed": "–" if each.get("billed") is None else f"{each['billed']} {currency}",
        "percent": f"{100 * amount(each.get('settled')) / most:.1f}", "paid": f"{100 * amount(each.get('billed')) / most:.1f}",
    } for each in rows]


def month_name(text: str) -> str:
    """`2026-11` as November 2026; anything else as it is."""
    try:
        return date.fromisoformat(f"{text}-01").strftime("%B %Y")
    except ValueError:
        return text


def budget_of(budget: Mapping[str, Any], currency: str) -> dict[str, Any]:
    """A budget as a bar: what is used out of the cap."""
    cap, used = amount(budget.get("cap")), amount(budget.get("used"))
    percent = min(Decimal(100), 100 * used / cap) if cap else Decimal(100 if used else 0)
    label = str(budget.get("name") or "budget")
    left = f"{amount(budget.get('left')):.2f} {currency} are left"
    return {"label": label[:1].upper() + label[1:], "used": f"{used:.2f}", "cap": f"{cap:.2f} {currency}", "over": used > cap,
            "percent": f"{percent:.1f}", "note": left}


def tokens_of(tokens: Any) -> dict[str, Any] | None:
    """Today's tokens as a bar; None when none were used."""
    if not isinstance(tokens, Mapping) or not isinstance(tokens.get("today"), int) or not tokens["today"]:
        return None
    cap = int(tokens.get("cap") or 0)
    percent = min(100.0, 100 * tokens["today"] / cap) if cap else 100.0
    return {"used": f"{tokens['today']:,}", "cap": f"{cap:,}", "percent": f"{percent:.1f}", "over": tokens["today"] > cap}


def amount(value: Any) -> Decimal:
    """A decimal text; what is none counts as nothing."""
    try:
        found = Decimal(str(value))
    except InvalidOperation:
        return Decimal(0)
    return found if found.is_finite() else Decimal(0)


def _rows(value: Any) -> list[Mapping[str, Any]]:
    return [each for each in value or [] if isinstance(each, Mapping)]
