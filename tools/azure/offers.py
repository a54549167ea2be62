"""The priced places for a run: what allowed regions offer, what of it fits, what it costs, and whether there is quota to run it."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from pydantic import JsonValue

from policies.limits import Limits
from tools.azure.client import Azure
from tools.azure.place import PlaceStore, Shape, plain
from tools.azure.prices import Prices
from tools.azure.quota import Quota, quota, request_words, shapes
from tools.azure.rates import Rate
from tools.azure.seat import room_bytes, where_of
from tools.azure.trouble import AzureTrouble
from tools.hardware import GIB

MOST = 3
"""How many places are offered."""
Risk = Literal["low", "waits", "unknown", "none"]
RISKS: dict[Risk, str] = {
    "low": "should start within minutes", "waits": "all of the quota is in use: it waits until a GPU is free",
    "unknown": "the quota could not be read: it may wait or not start", "none": "no quota: it cannot start",
}
_FATAL = frozenset({"signin", "not_installed"})


@dataclass(frozen=True, slots=True)
class Offer:
    """One place with its price."""

    region: str
    shape: Shape
    rate: Rate
    quota: Quota
    risk: Risk
    prepared: bool
    """Whether prepare_cloud has made what a run there needs."""

    @property
    def where(self) -> str:
        """In words, as runs show it."""
        return where_of(self.shape, self.region)

    def words(self) -> str:
        """One line for a card; says nothing of the quota's use, which moves by itself."""
        ready = "prepared" if self.prepared else "not prepared yet"
        return f"{self.shape.gpu or 'CPU'} in {self.region}: {self.rate.hourly()}, {ready}"

    def as_json(self) -> dict[str, JsonValue]:
        """For results."""
        return {
            "region": self.region, "sku": self.shape.name, "gpu": self.shape.gpu or None, "vcpu": self.shape.vcpu, "gib": self.shape.gib,
            "per_hour": self.rate.hour_text(), "price_date": self.rate.price_date, "price_stale": self.rate.stale,
            "quota": {"used": self.quota.used, "limit": self.quota.limit}, "risk": self.risk, "risk_words": RISKS[self.risk],
            "prepared": self.prepared, "where": self.where,
        }


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found: places to run at, places without quota, and why others are missing."""

    usable: tuple[Offer, ...]
    """Cheapest first; not cut off, and none without quota."""
    without_quota: tuple[Offer, ...]
    asks: tuple[str, ...]
    """For each place without quota: what to ask for, where, with the numbers."""
    too_small: tuple[Shape, ...]
    troubles: tuple[AzureTrouble, ...]

    def to_start(self) -> tuple[Offer, ...]:
        """At most three places whose price may start a run. Raises AzureTrouble when there is none, with what to do."""
        found = tuple(each for each in self.usable if not each.rate.stale)[:MOST]
        if found:
            return found
        priced = next((each for each in self.troubles if each.trouble == "price"), None)
        if self.usable and priced is not None:
            raise priced
        if self.without_quota:
            first = self.without_quota[0]
            raise AzureTrouble("quota", f"There is no quota for a {first.shape.gpu} in {first.region}",
                               f"the subscription may use {first.quota.limit} there; nothing was created.",
                               " ".join([*self.asks[:MOST], "Then try again, or run on this machine."]))
        if self.troubles:
            raise self.troubles[0]
        if self.too_small:
            largest = max(self.too_small, key=room_bytes)
            raise AzureTrouble("not_found", "No place in the cloud can hold it",
                               f"the largest allowed, {largest.name}, has {room_bytes(largest) / GIB:.1f} GiB free for a run.",
                               "Choose a smaller model, or method qlora.")
        raise AzureTrouble("not_found", "There is no place in the cloud to run at", "no allowed region offers what was asked for.",
                           "See [places] regions and skus in limits.toml, or leave the GPU and the region out.")


class CloudOffers:
    """The priced places of one home, as its limits allow them."""

    def __init__(self, azure: Azure, prices: Prices, prepared: PlaceStore, limits: Callable[[], Limits],
                 clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._azure, self._prices, self._prepared, self._limits, self._clock = azure, prices, prepared, limits, clock

    def max_hours(self) -> int:
        """The longest that one paid run may last."""
        return self._limits().places.max_hours

    def survey(self, need_bytes: int, *, gpu: str = "", region: str = "") -> Survey:
        """Look at one region, or at all that are allowed. Raises AzureTrouble when nobody is signed in or a name is not allowed."""
        allowed, ready, region = self._limits().places, [each.region for each in self._prepared.all()], plain(region)
        if region and region not in allowed.regions:
            raise AzureTrouble("policy", f"The region {region!r} is not allowed",
                               f"the limits allow {', '.join(allowed.regions) or 'none'}.",
                               "Name one of these; the owner of this home may change [places] regions in limits.toml.")
        wanted = self._azure.choice.region
        first: list[str] = [*ready, wanted] if wanted else ready
        regions: list[str] = [region] if region else list(dict.fromkeys([*first, *allowed.regions]))
        return survey(self._azure, self._prices, [each for each in regions if each in allowed.regions], allowed.skus, need_bytes, ready,
                      now=self._clock(), gpu=gpu)


def offers(azure: Azure, prices: Prices, regions: Iterable[str], allowed_skus: Collection[str], need_bytes: int, prepared: Collection[str],
           *, now: datetime | None = None, gpu: str = "") -> tuple[Offer, ...]:
    """At most three places to start at, cheapest first. Raises AzureTrouble with a remedy when there is none."""
    return survey(azure, prices, regions, allowed_skus, need_bytes, prepared, now=now, gpu=gpu).to_start()


def survey(azure: Azure, prices: Prices, regions: Iterable[str], allowed_skus: Collection[str], need_bytes: int,
           prepared: Collection[str], *, now: datetime | None = None, gpu: str = "") -> Survey:
    """Look at each region for shapes of the wanted kind: any GPU, a named one (`T4`, or Azure's own name), or `cpu`.

    Creates nothing. A region that cannot be asked is left out and its trouble kept; without a sign-in nothing can be asked at all.
    """
    at, usable, without, asks = now or datetime.now(UTC), list[Offer](), list[Offer](), list[str]()
    small: dict[str, Shape] = {}
    troubles: list[AzureTrouble] = []
    seen: set[str] = set()
    for region in regions:
        try:
            listed = [each for each in shapes(azure, region) if each.name in allowed_skus]
            seen.update(each.gpu or each.name for each in listed)
            for shape in listed:
                if not shape.is_called(gpu):
                    continue
                if room_bytes(shape) < need_bytes:
                    small[shape.name] = shape
                    continue
                offer = _offer(azure, prices, region, shape, at, region in prepared, troubles)
                if offer is not None and offer.risk == "none":
                    without.append(offer)
                elif offer is not None:
                    usable.append(offer)
        except AzureTrouble as trouble:
            if trouble.trouble in _FATAL:
                raise
            troubles.append(trouble)
    if gpu and not (usable or without or small or troubles):
        raise AzureTrouble("not_found", f"No allowed region offers the GPU {gpu!r}", f"they offer: {', '.join(sorted(seen)) or 'nothing'}.",
                           "Name one of these, or leave the GPU out.")
    without.sort(key=_order)
    asks += [request_words(azure, each.region, each.shape, each.quota) for each in without[:MOST]]
    return Survey(tuple(sorted(usable, key=_order)), tuple(without), tuple(asks), tuple(small.values()), tuple(troubles))


def _offer(azure: Azure, prices: Prices, region: str, shape: Shape, now: datetime, prepared: bool,
           troubles: list[AzureTrouble]) -> Offer | None:
    try:
        rate: Rate | None = prices.rate(shape, region, now)
    except AzureTrouble as trouble:
        troubles.append(trouble)
        rate = prices.old(shape, region, now)
    if rate is None:
        return None
    found = quota(azure, region, shape)
    return Offer(region, shape, rate, found, risk_of(shape, found), prepared)


def risk_of(shape: Shape, found: Quota) -> Risk:
    """How likely it is to wait. Without a GPU the quota of GPUs does not matter."""
    if not shape.gpus:
        return "low"
    if found.limit is None:
        return "unknown"
    if found.limit <= 0:
        return "none"
    return "waits" if found.free == 0 else "low"


def _order(offer: Offer) -> tuple[object, ...]:
    """Nothing that moves by itself: a proposal that is made again must be the same."""
    return offer.rate.per_second, not offer.prepared, offer.region, offer.shape.name
