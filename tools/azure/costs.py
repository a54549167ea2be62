"""The bill: asked of Azure once a day, by run or deployment, and kept beside what Luthier counted. Late by a day, and never final."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, cast

from policies.book import Book
from policies.limits import MICROS
from tools.azure.bills import OF_DEPLOYMENT, BillStore
from tools.azure.client import Azure
from tools.azure.names import DEPLOYMENT, RUN
from tools.azure.place import PlaceStore
from tools.azure.trouble import AzureTrouble
from tools.runs.rid import is_rid

EVERY = timedelta(hours=24)
"""How often the bill is asked for."""
AGAIN = timedelta(hours=4)
"""How soon after a look that went wrong."""
MOST_PAGES = 50
FIRST_S, CHECK_S = 600.0, 300.0
"""How long after a start the first look is made, and how often it is checked whether one is due, in seconds."""
_WHAT = "The bill was not read"
log = logging.getLogger("luthier.cloud")


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look at the bill came to."""

    lines: int
    troubles: tuple[AzureTrouble, ...] = ()


class CostWatch:
    """Looks at the bill of each prepared resource group."""

    def __init__(self, azure: Azure, book: Book) -> None:
        self._azure, self._bills, self._places = azure, BillStore(book), PlaceStore(book)

    def look(self, now: datetime) -> Looked | None:
        """Ask for the bill if a day has passed since the last time; None when it was not asked for. Never raises."""
        now = now.astimezone(UTC)
        scopes = self._scopes(now)
        if not scopes or not self._due(now):
            return None
        first = (now.date().replace(day=1) - timedelta(days=1)).replace(day=1)
        lines: dict[tuple[date, str, str], int] = {}
        troubles: list[AzureTrouble] = []
        for scope, (used, ours) in scopes.items():
            try:
                for (day, whose, meter), amount in self._asked(scope, first, now.date()).items():
                    # Without a tag of ours, a group that others use too says nothing of what is ours.
                    if whose or ours:
                        lines[day, whose, meter] = lines.get((day, whose, meter), 0) + amount
            except AzureTrouble as trouble:
                if used or trouble.trouble != "not_found":
                    troubles.append(trouble)
            except Exception as surprise:
                troubles.append(AzureTrouble("unknown", _WHAT, f"its answer was not understood ({type(surprise).__name__}).",
                                             "The next look is made in some hours."))
        self._bills.put(lines, {scope: used for scope, (used, _) in scopes.items()}, now, well=not troubles)
        return Looked(len(lines), tuple(troubles))

    def _due(self, now: datetime) -> bool:
        last = self._bills.last_look()
        if last is None:
            return True
        since = now - datetime.fromisoformat(last.at)
        return not timedelta(0) <= since < (EVERY if last.well else AGAIN)

    def _scopes(self, now: datetime) -> dict[str, tuple[bool, bool]]:
        """Each resource group to ask: whether it is prepared now, and whether all in it is ours."""
        found: dict[str, tuple[bool, bool]] = dict.fromkeys(self._bills.scopes(now), (False, False))
        for place in self._places.all():
            found[f"/subscriptions/{place.subscription}/resourceGroups/{place.group}"] = (True, place.group_is_ours)
        return found

    def _asked(self, scope: str, first: date, last: date) -> dict[tuple[date, str, str], int]:
        """Micro-units by day, run or deployment, and meter. Two questions, since Azure groups by two things only: one is the meter."""
        found: dict[tuple[date, str, str], int] = {}
        of_runs, of_deployments = self._ask(scope, query(first, last)), self._ask(scope, query(first, last, DEPLOYMENT))
        for day, run_id, meter, amount in of_runs:
            found[day, run_id, meter] = found.get((day, run_id, meter), 0) + amount
        for day, ident, meter, amount in of_deployments:
            if ident:  # the first question counted it under no run
                found[day, f"{OF_DEPLOYMENT}{ident}", meter] = found.get((day, f"{OF_DEPLOYMENT}{ident}", meter), 0) + amount
                found[day, "", meter] = found.get((day, "", meter), 0) - amount
        return found

    def _ask(self, scope: str, body: dict[str, Any]) -> list[tuple[date, str, str, int]]:
        answer = self._azure.send_once(_WHAT, lambda: self._azure.costs().query.usage(scope.lstrip("/"), body))
        found, seen = list[tuple[date, str, str, int]](), set[str]()
        page = None if answer is None else answer.properties
        while page is not None:
            found += rows_of([str(each.name) for each in page.columns or []], page.rows or [])
            link = page.next_link
            if not link or link in seen or len(seen) >= MOST_PAGES:
                break
            seen.add(link)
            page = self._next(self._azure.check_host(link, "arm"), body)
        return found

    def _next(self, url: str, body: Mapping[str, Any]) -> Any:
        from azure.core.rest import HttpRequest
        from azure.mgmt.costmanagement.models import QueryResult

        def ask() -> Any:
            answer = self._azure.costs().send_request(HttpRequest("POST", url, json=body))
            answer.raise_for_status()
            return QueryResult(answer.json()).properties

        return self._azure.send_once(_WHAT, ask)


class CostLooks:
    """Lets a watch look when it is due, in a thread of its own, so that whoever asks for it never waits for Azure."""

    def __init__(self, watch: CostWatch, *, first_s: float = FIRST_S, check_s: float = CHECK_S,
                 clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._watch, self._check_s, self._clock = watch, check_s, clock
        self._next = time.monotonic() + first_s
        self._thread: threading.Thread | None = None

    def pass_(self) -> None:
        """Begin a look if it is time for one. Quick; never raises."""
        if time.monotonic() < self._next or (self._thread is not None and self._thread.is_alive()):
            return
        self._next = time.monotonic() + self._check_s
        self._thread = threading.Thread(target=self._look, name="azure-bill", daemon=True)
        self._thread.start()

    def close(self, wait_s: float = 2.0) -> None:
        """Begin none any more; one that is under way is not waited for longer than `wait_s`: it only reads."""
        self._next = float("inf")
        if self._thread is not None:
            self._thread.join(wait_s)

    def _look(self) -> None:
        try:
            found = self._watch.look(self._clock())
        except Exception:
            log.exception("looking at the bill failed")
            return
        for trouble in () if found is None else found.troubles:
            log.warning("the bill: %s", trouble)


def query(first: date, last: date, tag: str = RUN) -> dict[str, Any]:
    """The question: the actual cost of each day, by meter and by the value of a tag."""
    return {
        "type": "ActualCost", "timeframe": "Custom",
        "timePeriod": {"from": f"{first.isoformat()}T00:00:00Z", "to": f"{last.isoformat()}T23:59:59Z"},
        "dataset": {
            "granularity": "Daily", "aggregation": {"totalCost": {"name": "Cost", "function": "Sum"}},
            "grouping": [{"type": "Dimension", "name": "Meter"}, {"type": "TagKey", "name": tag}],
        },
    }


def rows_of(columns: list[str], rows: Iterable[Any]) -> list[tuple[date, str, str, int]]:
    """Day, tag's value, meter and micro-units of each row. Raises AzureTrouble where a column is missing or the money is no US dollars."""
    at = {name.lower(): number for number, name in enumerate(columns)}
    cost, day, meter, money = (at.get(name) for name in ("cost", "usagedate", "meter", "currency"))
    tag = at.get("tagvalue", at.get(RUN, at.get(DEPLOYMENT)))
    if cost is None or day is None or meter is None or money is None:
        raise _unusable(f"it has the columns {', '.join(columns) or 'none'}.")
    found = list[tuple[date, str, str, int]]()
    for row in rows:
        values = cast("list[Any]", row)
        try:
            if values[money] != "USD":
                raise _unusable(f"it is in {str(values[money])[:3]}, and money is compared in US dollars only.")
            ident = "" if tag is None else _ident(values[tag])
            found.append((_day(values[day]), ident, str(values[meter] or "")[:100], _micros(values[cost])))
        except (IndexError, TypeError, ValueError, InvalidOperation):
            raise _unusable("a row has no usable day or amount.") from None
    return found


def _ident(value: Any) -> str:
    """The run or deployment of a tag's value, which somebody may have changed; some answers write the tag's name before it."""
    text = str(value or "").rpartition(":")[2].strip('" ')
    return text if is_rid(text) else ""


def _day(value: Any) -> date:
    text = str(int(value)) if isinstance(value, int | float) else str(value)
    return datetime.strptime(text, "%Y%m%d").date() if text.isdigit() else datetime.fromisoformat(text).date()


def _micros(value: Any) -> int:
    amount = Decimal(str(value))
    if not amount.is_finite():
        raise ValueError("not an amount")
    return int((amount * MICROS).to_integral_value())


def _unusable(because: str) -> AzureTrouble:
    return AzureTrouble("unknown", "The bill could not be read", because, "Look at the cost analysis in the Azure portal.")
