"""The money page from a spend report: tiles, budgets as bars, calls and tokens as tables. Pure."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from ui.pages.story import at

TILES = (
    ("settled", "Spent", "what finished work did cost"), ("reserved", "Reserved", "the most that running work may still cost"),
    ("billed", "Billed", "what the provider's bill says so far"),
)
COLUMNS = (("run_id", "Run"), ("name", "Name"), ("tool", "Tool"), ("person", "Asked by"), ("state", "State"), ("since", "Since"),
           ("reserved", "Reserved"), ("settled", "Spent"))
AMOUNTS = frozenset({"reserved", "settled"})
SPANS = (("today", "Today"), ("7d", "7 days"), ("month", "This month"), ("365d", "A year"))
PER_CALL = "one run"
"""The name of the budget that is a cap on each call, and does not fill up."""


def money_page(report: Mapping[str, Any], since: str = "month") -> dict[str, Any]:
    """What the template shows of a `spend_report` result."""
    currency = str(report.get("currency", "USD"))
    budgets = [each for each in report.get("budgets") or [] if isinstance(each, Mapping)]
    runs = [each for each in report.get("by_run") or [] if isinstance(each, Mapping)]
    return {
        "tiles": [{"name": name, "label": label, "value": f"{report[name]} {currency}", "note": note}
                  for name, label, note in TILES if report.get(name) is not None],
        "budgets": [budget_of(each, currency) for each in budgets if each.get("used") is not None],
        "per_call": next((f"{each.get('cap')} {currency}" for each in budgets if each.get("name") == PER_CALL), ""),
        "closed": report.get("spending") is False, "more": report.get("more") or 0,
        "columns": [{"label": label, "num": name in AMOUNTS} for name, label in COLUMNS],
        "runs": [[cell_of(name, each.get(name)) for name, _ in COLUMNS] for each in runs],
        "tokens": tokens_of(report.get("tokens")), "spans": SPANS, "since": since,
        "whose": "Everybody's money." if report.get("whose") == "everybody" else "Your own money.",
    }


def cell_of(name: str, value: Any) -> dict[str, Any]:
    """One cell; a run leads to its records."""
    text = "–" if value in (None, "") else at(str(value)) if name == "since" else str(value)
    link = f"/audit?run={text}" if name == "run_id" and text.isalnum() else ""
    return {"text": text, "num": name in AMOUNTS, "link": link}


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
