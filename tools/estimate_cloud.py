"""The estimate of a run in the cloud: the same outlook for each priced place, with likely money and a ceiling."""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from policies.limits import dollars
from tools.azure.ceiling import ATTEMPTS, Money, ceiling, time_limit
from tools.azure.offers import MOST, RISKS, Offer, Survey
from tools.azure.seat import machine_of, seat_of
from tools.engine.spec import Method
from tools.fit import Fits, Lengths
from tools.hardware import GIB
from tools.models import ModelShape
from tools.outlook import Outlook, Seat, gib, look_ahead
from tools.runs.plan import disk_needed


@dataclass(frozen=True, slots=True)
class PlaceOutlook:
    """What a run would be like at one place."""

    offer: Offer
    seat: Seat
    ahead: Outlook
    money: Money
    timeout_s: int

    @property
    def fits(self) -> bool:
        """Whether it can hold the run."""
        return isinstance(self.ahead.fit, Fits)

    def as_json(self) -> dict[str, JsonValue]:
        """One of `places[]`."""
        return {
            **self.offer.as_json(), "likely": dollars(self.money.likely_micros), "ceiling": dollars(self.money.ceiling_micros),
            "currency": "USD", "likely_s": round(self.ahead.time.likely_s), "max_minutes": -(-self.timeout_s // 60), "attempts": ATTEMPTS,
        }


def look_at(offer: Offer, shape: ModelShape, model_bytes: int, lengths: Lengths, method: Method, *, epochs: float | None,
            max_steps: int | None, max_hours: int) -> PlaceOutlook:
    """Settings, memory, time and money at one place. Pure. The money is that of the plan that a start would propose."""
    seat = seat_of(offer.shape, offer.region)
    ahead = look_ahead(shape, lengths, machine_of(offer.shape), seat, method, epochs=epochs, max_steps=max_steps)
    limit = time_limit(ahead.time.high_s, max_hours)
    written = disk_needed(shape.parameters, shape.lora_width * ahead.settings.lora_r) + model_bytes
    money = ceiling(offer.rate, limit, ATTEMPTS, round(written / GIB + 1, 1), likely_s=ahead.time.likely_s)
    return PlaceOutlook(offer, seat, ahead, money, limit)


def places_of(survey: Survey, shape: ModelShape, model_bytes: int, lengths: Lengths, method: Method, *, epochs: float | None = None,
              max_steps: int | None = None, max_hours: int) -> tuple[PlaceOutlook, ...]:
    """At most three places that can hold the run, cheapest first, those without quota last; or, where none can, the roomiest alone.

    Raises AzureTrouble when there is no place at all.
    """
    found = [look_at(each, shape, model_bytes, lengths, method, epochs=epochs, max_steps=max_steps, max_hours=max_hours)
             for each in (*survey.usable, *survey.without_quota)]
    holding = [each for each in found if each.fits]
    if not found:
        survey.to_start()
    return tuple(holding[:MOST]) if holding else (max(found, key=lambda each: each.seat.room_bytes),)


def cloud_figures(places: tuple[PlaceOutlook, ...], survey: Survey, model: str) -> Mapping[str, JsonValue]:
    """The fields of a result that say where in the cloud, at what price and what is in the way."""
    best = places[0]
    offer, money = best.offer, best.money
    blocked = all(each.offer.risk == "none" for each in places)
    if not best.fits:
        reason = (f"{model} needs about {gib(best.ahead.memory.likely_bytes)}, and the largest place, {best.seat.name}, has "
                  f"{gib(best.seat.room_bytes)}")
    elif blocked:
        reason = f"it fits, but there is no quota: {best.seat.name} may run {offer.quota.limit} GPUs"
    else:
        reason = f"{gib(best.ahead.memory.likely_bytes)} of {gib(best.seat.room_bytes)} ({best.seat.name}); {RISKS[offer.risk]}"
    remedies = list(survey.asks[:MOST])
    if not best.fits:
        remedies = ["choose a smaller model (recommend_model)", "use qlora"]
    elif not blocked and not offer.prepared:
        remedies.insert(0, f"prepare {offer.region} first: prepare_cloud region={offer.region}")
    return {
        "fits": best.fits, "reason": reason, "remedies": [*remedies],
        "can_start": best.fits and not blocked and not offer.rate.stale,
        "cost": {"likely": dollars(money.likely_micros), "ceiling": dollars(money.ceiling_micros), "currency": "USD",
                 "price_date": money.price_date, "basis": money.basis},
        "places": [each.as_json() for each in places] if best.fits else [],
    }


def cloud_assumptions(places: tuple[PlaceOutlook, ...], survey: Survey) -> list[str]:
    """What the money rests on, and which regions could not be asked."""
    said = [*places[0].money.assumptions]
    if places[0].offer.rate.stale:
        said.append(f"The price is an old one, of {places[0].offer.rate.price_date}: nothing starts by it.")
    said += [f"Left out: {trouble.what}: {trouble.because}" for trouble in survey.troubles[:MOST]]
    return said
