"""What a second of a shape costs, worked out from the rows of a price list: pure, in decimals, never below the truth.

Three meters make the price of a replica: its cores, its memory and its GPU. Where a meter has several rows, the dearest tier of
those in force counts, so that a free grant is never subtracted; a row in a unit that is not understood prices nothing.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from typing import Any, cast

from pydantic import JsonValue

from tools.azure.place import Shape
from tools.azure.trouble import AzureTrouble

VCPU, MEMORY = "Standard vCPU Active Usage", "Standard Memory Active Usage"
GPU_METERS = {"T4": "Standard NC T4 v3 GPU Usage", "A100": "Standard NC A100 v4 GPU Usage"}
METERS = frozenset({VCPU, MEMORY, *GPU_METERS.values()})
"""The exact meter names that are read; the name of a meter is case-sensitive, and a similar one is another meter."""
HOUR_S = 3600
_UNIT = re.compile(r"1 (?:(?:GiB|vCPU|GPU) )?(Second|Hour)s?")
_DEAREST = Decimal(1)
"""US dollars a second for one core, GiB or GPU; above it the price list is not believed."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the price list, as far as it matters."""

    meter: str
    unit: str
    price: Decimal
    """US dollars a unit."""
    tier: Decimal
    """From how many units a month on the price holds."""
    since: str
    """ISO 8601 UTC: from when on it holds."""
    until: str = ""
    """Until when it holds; empty: until another replaces it."""

    def as_json(self) -> list[JsonValue]:
        """For the cache."""
        return [self.meter, self.unit, str(self.price), str(self.tier), self.since, self.until]


@dataclass(frozen=True, slots=True)
class Part:
    """One meter's share of a rate."""

    meter: str
    count: Decimal
    """Cores, GiB or GPUs."""
    per_second: Decimal
    """US dollars for one of them."""
    since: str
    """The day since which this price holds."""


@dataclass(frozen=True, slots=True)
class Rate:
    """What one replica of a shape costs in one region."""

    shape: str
    region: str
    per_second: Decimal
    """US dollars."""
    parts: tuple[Part, ...]
    price_date: str
    """The day since which these prices hold; it does not move when the list is read again and nothing has changed."""
    fetched_at: datetime
    """When the list was read."""
    stale: bool = False
    """Too old, or only the table that ships with Luthier: to look at, never to start by."""

    @property
    def per_hour(self) -> Decimal:
        """US dollars."""
        return self.per_second * HOUR_S

    def hourly(self) -> str:
        """`0.433 USD an hour`."""
        return f"{self.hour_text()} USD an hour"

    def hour_text(self) -> str:
        """US dollars an hour as a decimal text, rounded up to a tenth of a cent."""
        return str(self.per_hour.quantize(Decimal("0.001"), rounding=ROUND_CEILING))

    def words(self) -> str:
        """How the rate comes about, in one sentence."""
        parts = " + ".join(f"{_plain(part.count)} × {_plain(part.per_second)}" for part in self.parts)
        return f"{self.shape} in {self.region}: {parts} (cores, GiB, GPUs) = {_plain(self.per_second)} USD a second, {self.hourly()}"

    def as_json(self) -> dict[str, JsonValue]:
        """Everything, with decimals as texts: what a run's plan keeps."""
        return {
            "shape": self.shape, "region": self.region, "per_second": _plain(self.per_second), "price_date": self.price_date,
            "fetched_at": self.fetched_at.isoformat(), "stale": self.stale,
            "parts": [[part.meter, _plain(part.count), _plain(part.per_second), part.since] for part in self.parts],
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> "Rate":
        """What as_json wrote. Raises ValueError or KeyError on anything else."""
        parts = tuple(Part(str(meter), Decimal(count), Decimal(price), str(since)) for meter, count, price, since in kept["parts"])
        return cls(str(kept["shape"]), str(kept["region"]), Decimal(kept["per_second"]), parts, str(kept["price_date"]),
                   datetime.fromisoformat(kept["fetched_at"]), bool(kept["stale"]))


def rate_of(rows: Iterable[Row], shape: Shape, region: str, now: datetime, fetched_at: datetime) -> Rate:
    """Price a shape. Raises AzureTrouble `price` where a meter is missing, costs nothing, or has a unit that is not understood."""
    if shape.vcpu <= 0 or shape.gib <= 0:
        raise unpriced(region, f"Azure does not say how many cores and how much memory {shape.name} has.")
    wanted = [(VCPU, Decimal(str(shape.vcpu))), (MEMORY, Decimal(str(shape.gib)))]
    if shape.gpus:
        meter = GPU_METERS.get(shape.gpu)
        if meter is None:
            raise unpriced(region, f"there is no price meter for the GPU {shape.gpu or 'of ' + shape.name!r}.")
        wanted.append((meter, Decimal(shape.gpus)))
    listed = list(rows)
    parts = tuple(_part(listed, meter, count, region, now) for meter, count in wanted)
    total = sum((part.count * part.per_second for part in parts), Decimal(0))
    return Rate(shape.name, region, total, parts, max(part.since for part in parts), fetched_at)


def row_of(item: Any) -> Row | None:
    """One item of the price list; None for a meter that is not ours. Raises AzureTrouble `price` where one of ours is malformed."""
    if not isinstance(item, Mapping):
        raise _malformed("an item is not an object")
    found = cast("Mapping[str, Any]", item)
    meter = found.get("meterName")
    if meter not in METERS or found.get("type", "Consumption") != "Consumption":
        return None
    if found.get("currencyCode") != "USD":
        raise _malformed(f"{meter} is not in US dollars")
    try:
        price, tier = _number(found["retailPrice"]), _number(found.get("tierMinimumUnits", 0))
        since = _moment(found["effectiveStartDate"])
        until = _moment(found["effectiveEndDate"]) if found.get("effectiveEndDate") else ""
    except (KeyError, ValueError, TypeError, InvalidOperation):
        raise _malformed(f"a row of {meter} has no usable price or date") from None
    return Row(str(meter), str(found.get("unitOfMeasure", "")), price, tier, since, until)


def unpriced(region: str, because: str) -> AzureTrouble:
    """The refusal of a start whose price nobody knows."""
    return AzureTrouble("price", f"There is no price for {region}", because,
                        "Try again when the Azure price list can be read, or choose another region; nothing starts without a price.")


def _part(rows: list[Row], meter: str, count: Decimal, region: str, now: datetime) -> Part:
    at = _text(now)
    valid = [row for row in rows if row.meter == meter and row.since <= at and not (row.until and row.until <= at)]
    newest: dict[Decimal, Row] = {}
    for row in valid:
        known = newest.get(row.tier)
        if known is None or (row.since, row.price) > (known.since, known.price):
            newest[row.tier] = row
    priced = [(_per_second(row, region), row.since[:10]) for row in newest.values()]
    dearest = max(priced, default=None)
    if dearest is None:
        raise unpriced(region, f"its price list has no row of {meter!r} that is in force.")
    if not 0 < dearest[0] <= _DEAREST:
        raise unpriced(region, f"its price of {meter!r} is {_plain(dearest[0])} USD a second, which cannot be.")
    return Part(meter, count, dearest[0], dearest[1])


def _per_second(row: Row, region: str) -> Decimal:
    unit = _UNIT.fullmatch(row.unit)
    if unit is None:
        raise unpriced(region, f"{row.meter!r} is sold by {row.unit!r}, a unit that is not known here.")
    return row.price if unit[1] == "Second" else row.price / HOUR_S


def _number(value: Any) -> Decimal:
    found = Decimal(str(value))
    if isinstance(value, bool) or not found.is_finite() or found < 0:
        raise ValueError("not an amount")
    return found


def _moment(value: str) -> str:
    at = datetime.fromisoformat(value)
    return _text(at if at.tzinfo is not None else at.replace(tzinfo=UTC))


def _text(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _plain(value: Decimal) -> str:
    return format(value.normalize(), "f")


def _malformed(because: str) -> AzureTrouble:
    return AzureTrouble("price", "The Azure price list could not be read", f"{because}.",
                        "Try again later; nothing starts without a price.")
