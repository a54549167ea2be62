"""The price list and the bills of the stand-in: public prices in pages, and Cost Management's query of what was billed."""

import re
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any, Literal
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from tests.azure.arm_calls import Call, Refused, Reply, route
from tests.azure.world import World

VCPU, MEMORY = "Standard vCPU Active Usage", "Standard Memory Active Usage"
T4, A100 = "Standard NC T4 v3 GPU Usage", "Standard NC A100 v4 GPU Usage"
PAGE = 5
"""Rows of a page, so that each region has at least two."""
RATES = {
    "eastus": {VCPU: "0.000024", MEMORY: "0.000003", T4: "0.000073", A100: "0.000529"},
    "westus3": {VCPU: "0.000024", MEMORY: "0.000003", T4: "0.000080", A100: "0.000529"},
    "swedencentral": {VCPU: "0.000030", MEMORY: "0.000004", T4: "0.000085", A100: "0.000560"},
}
Mode = Literal["well", "down", "busy", "moved", "elsewhere", "endless", "page", "empty", "euros", "huge"]
_FILTER = re.compile(r"serviceName eq 'Azure Container Apps' and armRegionName eq '([a-z0-9]+)' and priceType eq 'Consumption'")


@dataclass
class PriceList:
    """What the price list says, and how well it answers."""

    rows: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {region: rows_of(region) for region in RATES})
    mode: Mode = "well"
    asked: list[str] = field(default_factory=list)
    """The region of each page that was asked for."""

    def set_unit(self, meter: str, unit: str) -> None:
        """Sell a meter by another unit, everywhere."""
        for row in self._all(meter):
            row["unitOfMeasure"] = unit

    def set_price(self, meter: str, price: str) -> None:
        """Change what a meter's paid rows cost, everywhere."""
        for row in self._all(meter):
            if row["retailPrice"]:
                row["retailPrice"] = row["unitPrice"] = float(price)

    def drop(self, meter: str) -> None:
        """Sell it no more."""
        for region, rows in self.rows.items():
            self.rows[region] = [row for row in rows if row["meterName"] != meter]

    def _all(self, meter: str) -> list[dict[str, Any]]:
        return [row for rows in self.rows.values() for row in rows if row["meterName"] == meter]


@dataclass
class Bills:
    """What was billed."""

    rows: list[tuple[date, str, str, Decimal]] = field(default_factory=list)
    """Day, run (empty: no such tag) or `deployment:` and a deployment, meter, amount."""
    currency: str = "USD"
    page: int = 100
    queries: list[dict[str, Any]] = field(default_factory=list)

    def add(self, day: date, run_id: str, meter: str, amount: str) -> None:
        """One more row."""
        self.rows.append((day, run_id, meter, Decimal(amount)))


def price_list(world: World) -> PriceList:
    """The price list of a stand-in."""
    return world.parts.setdefault("prices", PriceList())


def bills(world: World) -> Bills:
    """The bills of a stand-in."""
    return world.parts.setdefault("bills", Bills())


def item(region: str, meter: str, price: str, *, unit: str = "1 Second", tier: float = 0.0, since: str = "2025-06-01T00:00:00Z",
         **other: Any) -> dict[str, Any]:
    """A row as the price list has them."""
    return {
        "currencyCode": "USD", "tierMinimumUnits": tier, "retailPrice": float(price), "unitPrice": float(price), "armRegionName": region,
        "location": region, "effectiveStartDate": since, "meterName": meter, "productName": "Azure Container Apps", "skuName": "Standard",
        "serviceName": "Azure Container Apps", "serviceFamily": "Containers", "unitOfMeasure": unit, "type": "Consumption",
        "isPrimaryMeterRegion": True, "armSkuName": "", **other,
    }


def rows_of(region: str) -> list[dict[str, Any]]:
    """The rows of a region: free tiers, an older and a future price, and a meter in a unit that nobody knows."""
    price = RATES[region]
    return [
        item(region, VCPU, "0"), item(region, VCPU, price[VCPU], tier=50.0), item(region, MEMORY, "0", unit="1 GiB Second"),
        item(region, MEMORY, price[MEMORY], unit="1 GiB Second", tier=100.0),
        item(region, VCPU, "0.9", tier=50.0, since="2022-05-01T00:00:00Z"),
        item(region, VCPU, "0.000001", tier=50.0, since="2099-01-01T00:00:00Z"),
        item(region, "Standard vCPU Idle Usage", "0.000003"), item(region, "Standard Requests", "0.4", unit="1M"),
        item(region, T4, price[T4]), item(region, A100, price[A100]), item(region, "Dedicated GPU Usage", "3.6", unit="1 Fortnight"),
    ]


def prices_app(world: World) -> Starlette:
    """The public price list; needs no bearer, and is refused one."""
    state = price_list(world)

    def answer(request: Request) -> Response:
        world.note("prices", "GET", request.url.path, request.url.query)
        found = _FILTER.fullmatch(request.query_params.get("$filter", ""))
        if "authorization" in request.headers:
            return PlainTextResponse("a bearer came to a public address", 400)
        if found is None or request.query_params.get("currencyCode") != "'USD'" or not request.query_params.get("api-version"):
            return PlainTextResponse("the query is not one of the price list", 400)
        region = found[1]
        state.asked.append(region)
        skip = int(request.query_params.get("$skip", 0))
        early = _misbehave(state.mode, skip)
        if early is not None:
            return early
        rows = [] if state.mode == "empty" else state.rows.get(region, [])
        if state.mode == "euros":
            rows = [{**row, "currencyCode": "EUR"} for row in rows]
        base = world.addresses["arm"] if state.mode != "elsewhere" else "https://prices.example.com"
        more = state.mode == "endless" or skip + PAGE < len(rows)
        step = skip if state.mode == "endless" else skip + PAGE
        link = (f"{base}/prices/api/retail/prices?api-version={request.query_params['api-version']}&currencyCode='USD'"
                f"&$filter={quote(found[0])}&$skip={step}") if more else None
        return JSONResponse({"BillingCurrency": "USD", "CustomerEntityId": "Default", "CustomerEntityType": "Retail",
                             "Items": rows[skip:skip + PAGE], "NextPageLink": link, "Count": len(rows[skip:skip + PAGE])})

    return Starlette(routes=[Route("/api/retail/prices", answer)])


def _misbehave(mode: Mode, skip: int) -> Response | None:
    match mode:
        case "down":
            return PlainTextResponse("down", 503)
        case "busy":
            return PlainTextResponse("slower", 429, {"retry-after": "1"})
        case "moved":
            return RedirectResponse("https://prices.example.com/")
        case "page":
            return PlainTextResponse("<html>maintenance</html>")
        case "huge":
            return PlainTextResponse("[" + " " * (9 << 20) + "]")
        case _:
            return PlainTextResponse("torn", 503) if mode == "endless" and skip > 1000 else None


def query_costs(world: World, call: Call) -> Reply:
    """POST …/Microsoft.CostManagement/query, one page at a time."""
    state, body = bills(world), call.body
    state.queries.append({"scope": call.ids["scope"], **body})
    dataset = body["dataset"]
    groups = [(each["type"], each["name"]) for each in dataset["grouping"]]
    period = body["timePeriod"]
    if body["type"] != "ActualCost" or body["timeframe"] != "Custom" or dataset["granularity"] != "Daily" or len(groups) > 2:
        raise Refused(400, "BadRequest", "The query is not one that the stand-in knows.")
    if dataset["aggregation"] != {"totalCost": {"name": "Cost", "function": "Sum"}}:
        raise Refused(400, "BadRequest", "The aggregation is not one that the stand-in knows.")
    tag = next((name for kind, name in groups if kind == "TagKey"), "")

    def tagged(of: str) -> list[str]:
        kind, _, ident = of.rpartition(":")
        return [tag, ident if f"luthier-{kind or 'run'}" == tag else ""] if tag else []

    first, last = date.fromisoformat(period["from"][:10]), date.fromisoformat(period["to"][:10])
    rows = [[float(amount), int(f"{day:%Y%m%d}"), meter, *tagged(run), state.currency]
            for day, run, meter, amount in state.rows if first <= day <= last]
    skip = int(call.query.get("$skiptoken", 0))
    url = f"{call.base}{call.path}?api-version={call.query['api-version']}&$skiptoken={skip + state.page}"
    columns = [("Cost", "Number"), ("UsageDate", "Number"), ("Meter", "String"),
               *([("TagKey", "String"), ("TagValue", "String")] if tag else []), ("Currency", "String")]
    return Reply(body={
        "id": f"{call.path}/1", "name": "1", "type": "Microsoft.CostManagement/query",
        "properties": {"nextLink": url if skip + state.page < len(rows) else None,
                       "columns": [{"name": name, "type": kind} for name, kind in columns], "rows": rows[skip:skip + state.page]},
    })


COST_ROUTES = (route("POST", "/{scope*}/providers/Microsoft.CostManagement/query", query_costs, "cost_query"),)
