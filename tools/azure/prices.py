"""Azure's public price list: read page by page, kept in a file with its age, and trusted only while it is young enough."""

import contextlib
import json
import os
import threading
import time
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import cache
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import httpx

from tools.azure.client import Azure
from tools.azure.place import Shape
from tools.azure.rates import Rate, Row, rate_of, row_of, unpriced
from tools.azure.trouble import AzureTrouble

HOST = "https://prices.azure.com"
PATH = "/api/retail/prices"
VERSION = "2023-01-01-preview"
FRESH = timedelta(hours=24)
"""How old the kept list may be before it is read again."""
PAUSE = timedelta(minutes=5)
"""How long a list that could not be read is left alone while an older one still serves."""
DOWN = timedelta(seconds=30)
"""How long a list that does not answer is not asked again, for whatever region."""
SKEW = timedelta(hours=2)
"""How far in the future, by a clock that was set back, a list may seem to have been read."""
UNANSWERED = "Unanswered"
"""The code of a list that is busy, down or out of reach."""
TRIES = 3
TIMEOUT_S = 20.0
MOST_PAGES, MOST_BYTES = 40, 8 << 20
"""The longest list that is read, in pages, and the largest page, in bytes. A region of Container Apps has one page."""
_SHIPPED = Path(__file__).with_name("prices.toml")


class Prices:
    """The rates of shapes in regions. Thread-safe; reads the list of a region at most once a day."""

    def __init__(self, azure: Azure, cache: Path, days: Callable[[], int] = lambda: 30, *,
                 pause: Callable[[float], None] = time.sleep) -> None:
        """`cache` is a file of ours; `days` is the limit `[places] price_days`: older prices start nothing."""
        self._azure, self._cache, self._days, self._pause = azure, cache, days, pause
        self._lock = threading.Lock()
        self._tried: dict[str, datetime] = {}
        self._down: tuple[datetime, AzureTrouble] | None = None

    def rate(self, shape: Shape, region: str, now: datetime) -> Rate:
        """The price to start by. Raises AzureTrouble `price` where none is known, or only one that is too old."""
        with self._lock:
            fetched_at, rows = self._rows(region, now)
        return rate_of(rows, shape, region, now, fetched_at)

    def shown(self, shape: Shape, region: str, now: datetime) -> Rate | None:
        """The price to look at: the current one, else an old one marked stale, else None. Reads the list like rate; never raises."""
        try:
            return self.rate(shape, region, now)
        except AzureTrouble:
            return self.old(shape, region, now)

    def old(self, shape: Shape, region: str, now: datetime) -> Rate | None:
        """What is kept or shipped of a price, whatever its age, marked stale. Costs no network; never raises."""
        kept = self._kept().get(region) or shipped().get(region)
        if kept is None:
            return None
        try:
            return replace(rate_of(kept[1], shape, region, now, kept[0]), stale=True)
        except AzureTrouble:
            return None

    def read_at(self) -> datetime | None:
        """When a price list was last read, whatever its region; None when there is none. Costs no network."""
        return max((at for at, _ in self._kept().values()), default=None)

    def _rows(self, region: str, now: datetime) -> tuple[datetime, tuple[Row, ...]]:
        """The rows of a region and when they were read; raises where they are too old and cannot be read again."""
        lists = self._kept()
        kept = lists.get(region)
        age = None if kept is None else now - kept[0]
        if kept is not None and age is not None and -SKEW <= age < FRESH:
            return kept
        usable = kept is not None and age is not None and -SKEW <= age <= timedelta(days=self._days())
        tried = self._tried.get(region)
        if usable and tried is not None and timedelta(0) <= now - tried < PAUSE:
            return cast("tuple[datetime, tuple[Row, ...]]", kept)
        self._tried[region] = now
        try:
            rows = self._asked(region, now)
        except AzureTrouble as trouble:
            if usable and kept is not None:
                return kept
            if kept is None:
                raise
            raise unpriced(region, f"the price list was last read on {kept[0]:%Y-%m-%d}, prices older than {self._days()} days start "
                           f"nothing, and reading it again failed ({trouble.because.rstrip('.')}).") from trouble
        read = (now.astimezone(UTC), rows)
        self._keep({**lists, region: read})
        return read

    def _asked(self, region: str, now: datetime) -> tuple[Row, ...]:
        """As _read; where the list did not answer a moment ago, that trouble at once."""
        if self._down is not None and timedelta(0) <= now - self._down[0] < DOWN:
            raise self._down[1]
        try:
            return self._read(region)
        except AzureTrouble as trouble:
            if trouble.code == UNANSWERED:
                self._down = now, trouble
            raise

    def _read(self, region: str) -> tuple[Row, ...]:
        """Every page of one region's list."""
        base = f"{self._azure.choice.endpoint}/prices{PATH}" if self._azure.choice.endpoint else f"{HOST}{PATH}"
        wanted = (f"serviceName eq 'Azure Container Apps' and armRegionName eq '{region}' and priceType eq 'Consumption'")
        url: str | None = str(httpx.URL(base, params={"api-version": VERSION, "currencyCode": "'USD'", "$filter": wanted}))
        seen: set[str] = set()
        rows: list[Row] = []
        with self._azure.http() as client:
            while url is not None:
                if url in seen or len(seen) >= MOST_PAGES:
                    raise unreadable("its pages do not end.")
                seen.add(url)
                page = self._page(client, self._azure.check_host(url, "prices"))
                items, following = page.get("Items"), page.get("NextPageLink")
                if not isinstance(items, list):
                    raise unreadable("a page has no list of items.")
                rows += [row for row in map(row_of, cast("Iterable[Any]", items)) if row is not None]
                url = self._next(base, following)
        if not rows:
            raise unpriced(region, "Azure's price list has no row of Container Apps for it.")
        return tuple(rows)

    def _next(self, base: str, link: Any) -> str | None:
        """The next page's address: nowhere but on the same path of the same host."""
        if not link:
            return None
        here, there = urlsplit(base), urlsplit(str(link))
        if (there.scheme, there.hostname, there.path) != (here.scheme, here.hostname, here.path) or not parse_qs(there.query):
            raise AzureTrouble("refused_host", "The Azure price list points to another address for its next page",
                               f"it is {there.scheme}://{there.hostname}{there.path}, and only {here.scheme}://{here.hostname}{here.path} "
                               "is read.", "Nothing was read from there. Try again later.")
        return str(link)

    def _page(self, client: httpx.Client, url: str) -> dict[str, Any]:
        because = ""
        for number in range(TRIES):
            if number:
                self._pause(0.5 * 2 ** number)
            try:
                answer = client.get(url, timeout=TIMEOUT_S)
            except httpx.HTTPError as fault:
                because = f"{type(fault).__name__} at {urlsplit(url).hostname}."
                continue
            if answer.status_code == 200:
                return _parsed(answer)
            because = f"it answered with status {answer.status_code}."
            if answer.status_code < 500 and answer.status_code not in {408, 429}:
                raise unreadable(because)
        raise unreadable(because, UNANSWERED)

    def _kept(self) -> dict[str, tuple[datetime, tuple[Row, ...]]]:
        """The lists in the file; what cannot be understood is as good as none."""
        try:
            kept = json.loads(self._cache.read_text(encoding="utf-8"))
            return {str(region): (datetime.fromisoformat(each["at"]), tuple(_row(row) for row in each["rows"]))
                    for region, each in kept["regions"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, InvalidOperation):
            return {}

    def _keep(self, lists: dict[str, tuple[datetime, tuple[Row, ...]]]) -> None:
        """Write the file whole. One that cannot be written costs another reading, nothing else."""
        text = json.dumps({"regions": {region: {"at": at.isoformat(), "rows": [row.as_json() for row in rows]}
                                       for region, (at, rows) in lists.items()}})
        part = self._cache.with_name(f"{self._cache.name}.{os.getpid()}.part")
        with contextlib.suppress(OSError):
            self._cache.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(text, encoding="utf-8")
            part.replace(self._cache)


@cache
def shipped() -> dict[str, tuple[datetime, tuple[Row, ...]]]:
    """The table that ships with Luthier, by region: to look at only."""
    table = tomllib.loads(_SHIPPED.read_text(encoding="utf-8"))
    at = datetime.fromisoformat(table["date"]).replace(tzinfo=UTC)
    since = at.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {region: (at, tuple(Row(meter, "1 Second", Decimal(price), Decimal(0), since) for meter, price in meters.items()))
            for region, meters in table["regions"].items()}


def unreadable(because: str, code: str = "") -> AzureTrouble:
    """The price list could not be read."""
    return AzureTrouble("price", "The Azure price list could not be read", because,
                        "Try again later; it is public and needs no sign-in, only the way to prices.azure.com.", code=code)


def _parsed(answer: httpx.Response) -> dict[str, Any]:
    if len(answer.content) > MOST_BYTES:
        raise unreadable("a page is larger than any that is expected.")
    try:
        page = json.loads(answer.content, parse_float=Decimal, parse_int=Decimal)
    except ValueError:
        raise unreadable("a page is not JSON.") from None
    if not isinstance(page, dict):
        raise unreadable("a page is not an object.")
    return cast("dict[str, Any]", page)


def _row(kept: Any) -> Row:
    meter, unit, price, tier, since, until = kept
    return Row(str(meter), str(unit), Decimal(price), Decimal(tier), str(since), str(until))
