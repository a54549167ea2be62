"""What a deployment on Azure would serve, where, on what, for whom and for how much: the plan on its card."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Protocol

from pydantic import JsonValue

from policies.limits import dollars
from policies.proposal import Cost, Effect, Order, Proposal
from policies.tool import ToolFailed
from tools.azure.app_body import COOLDOWN_S, PORT, networks
from tools.azure.ceiling import Money, app_ceiling
from tools.azure.client import Azure
from tools.azure.credential import claims
from tools.azure.permissions import SERVE, check_permissions
from tools.azure.place import CloudPlace, PlaceStore, Shape
from tools.azure.prices import Prices
from tools.azure.quota import quota, request_words, shapes
from tools.azure.rates import Rate
from tools.engine.serve_spec import ServedModel, ServeSpec
from tools.outlook import gib
from tools.serve.deploy_plan import DeployPlans, Source, expiry_order, hours_text
from tools.serve.deploy_store import DeploymentRow

USUAL_HOURS = 24
"""How long a deployment on Azure lives when nobody says."""
ROOM = 1.25
"""Memory of a replica over what the models take: the system and the installed packages need some as well."""
GIB = 1 << 30


class Wanted(Protocol):
    """What a deploying call says of the place; both tools' arguments have it."""

    @property
    def gpu(self) -> str:
        """`cpu`, `T4`, `A100`, a profile's own name, or empty."""
        ...

    @property
    def region(self) -> str:
        """A prepared region; empty for the one prepared last."""
        ...

    @property
    def allow_ips(self) -> tuple[str, ...]:
        """Addresses and networks that may reach it; empty for the caller's own."""
        ...

    @property
    def max_hours(self) -> int | None:
        """Time to live."""
        ...

    @property
    def with_base(self) -> bool:
        """Whether the untuned model is served beside the tuned one."""
        ...


@dataclass(frozen=True, slots=True)
class Canary:
    """A share of the requests for the new revision, beside an older one."""

    percent: int
    of: int


class AzureDeployPlans:
    """Makes plans, and what follows from them."""

    def __init__(self, plans: DeployPlans, azure: Azure, places: PlaceStore, prices: Prices,
                 caller_address: Callable[[], str] | None = None, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """`caller_address` gives the public address of whoever asks; without one, the address that the sign-in came from."""
        self.plans, self._azure, self._places, self._prices, self._clock = plans, azure, places, prices, clock
        self._caller_address = caller_address or (lambda: claims(azure.token().reveal()).get("ipaddr", ""))

    def place(self, region: str) -> CloudPlace:
        """The prepared place. ToolFailed before anything is prepared, and without an image by digest."""
        found = self._places.get(region.strip().lower().replace(" ", ""))
        if found is None:
            prepared = ", ".join(each.region for each in self._places.all())
            raise ToolFailed("Deploy on Azure", f"{region or 'Azure'} is not prepared{f'; prepared: {prepared}' if prepared else ''}.",
                             "Prepare it with prepare_cloud first.", kind="not_prepared")
        if "@sha256:" not in found.image:
            raise ToolFailed("Deploy on Azure", f"The image for {found.region} was never resolved to a digest.", "Run prepare_cloud again.",
                             kind="not_prepared")
        return found

    def make(self, source: Source, wanted: Wanted, canary: Canary | None = None, kept: Sequence[str] = ()) -> dict[str, JsonValue]:
        """The plan as data; asks Azure who is signed in and what the region offers. `kept` are the networks of an earlier revision."""
        place = self.place(wanted.region)
        hours = self.hours(wanted.max_hours)
        parts = self.plans.parts(source, wanted.with_base)
        shape = self._shape(place, wanted.gpu, parts.memory_bytes)
        check_permissions(self._azure, place.group, SERVE, f"A deployment in {place.region} cannot be made")
        self._check_quota(place.region, shape)
        named = wanted.allow_ips or kept
        allow = networks(named or [address for address in (self._caller_address(),) if address])
        rate = self._prices.rate(shape, place.region, self._clock())
        replicas = 2 if canary is not None else 1
        money = app_ceiling(rate, hours, replicas, parts.size_bytes / GIB)
        account = self._azure.account()
        return {
            "provider": "azure", "run_id": source.run.id if source.run is not None else None, "model": source.model_id,
            "precision": source.precision, "names": list(parts.names), "memory_bytes": parts.memory_bytes, "size_bytes": parts.size_bytes,
            "hours": hours, "port": PORT, "host": "0.0.0.0", "with_base": parts.base is not None, "threads": max(1, int(shape.vcpu)),
            "region": place.region, "group": place.group, "sku": shape.name, "vcpu": shape.vcpu, "gib": shape.gib, "gpus": shape.gpus,
            "gpu": shape.gpu, "allow": list(allow), "allow_named": bool(named), "image": place.image, "account": account.user,
            "account_digest": account.digest, "subscription": account.subscription, "subscription_name": account.subscription_name,
            "tenant": account.tenant,
            "canary_percent": canary.percent if canary is not None else 0, "canary_of": canary.of if canary is not None else 0,
            **_priced(rate, money),
        }

    def hours(self, wanted: int | None) -> int:
        """Its time to live: a day where nothing is said, and never above the limit."""
        return self.plans.hours(min(USUAL_HOURS, self.plans.longest_hours()) if wanted is None else wanted)

    def _shape(self, place: CloudPlace, named: str, memory: int) -> Shape:
        """The profile that is named, or the smallest allowed one that holds the models."""
        offered = [each for each in shapes(self._azure, place.region) if each.name in place.profiles or not place.profiles]
        word = named.strip().lower()
        if word:
            chosen = [each for each in offered if word in (each.name.lower(), each.gpu.lower() or "cpu")]
        else:
            allowed = self.plans.skus()
            chosen = [each for each in offered if each.name in allowed]
        fitting = [each for each in chosen if each.gib * GIB >= memory * ROOM]
        if fitting:
            return fitting[0]
        known = ", ".join(f"{each.name} ({each.gib:g} GiB)" for each in chosen or offered)
        if word and not chosen:
            raise ToolFailed("Deploy on Azure", f"{place.region} has no such profile prepared.", f"Choose one of: {known}.",
                             kind="no_profile")
        raise ToolFailed("Deploy on Azure", f"It needs about {gib(int(memory * ROOM))} of memory, and no profile has as much: {known}.",
                         "Leave the untuned model out (with_base=false), or deploy it here.", kind="memory")

    def _check_quota(self, region: str, shape: Shape) -> None:
        """ToolFailed when the subscription may have no replica of this kind. One that is in use now may be free when it is asked."""
        found = quota(self._azure, region, shape)
        if found.limit is not None and found.limit <= 0:
            raise ToolFailed("Deploy on Azure", f"The subscription has no quota for {shape.gpu} in {region}: {found.words()}.",
                             request_words(self._azure, region, shape, found), kind="quota")

    def proposal(self, source: Source, plan: dict[str, Any], owner: str | None, supersedes: str, deployment: str = "") -> Proposal:
        """The proposal of a deploying call: money, and something that others could reach."""
        return Proposal(
            effects=frozenset({Effect.EXPOSE, Effect.SPEND}), target=f"deployment:{deployment}" if deployment else source.target,
            owner=owner, where=where_of(plan), cost=cost_of(plan), supersedes=supersedes, card=card(plan), plan=plan, orders=orders(plan),
            region=str(plan["region"]), sku=str(plan["sku"]), max_minutes=int(plan["hours"]) * 60, leaves=leaves(plan),
            stop_rules=(f"sleeps when nobody has asked for {COOLDOWN_S // 60} minutes: nothing is paid then",
                        "refuses every request itself when its time is over, also while Luthier is not running"),
        )


def spec_of(plan: dict[str, Any], source: Source, row: DeploymentRow) -> ServeSpec:
    """What the serving program in the container is told; its paths name the mounts."""
    until = datetime.fromisoformat(row.expires_at.replace("Z", "+00:00")).timestamp()
    run = source.run
    tuned_by = run.id if run is not None else None
    models = [ServedModel(name=source.tuned_name, folder="$LUTHIER_TUNED", run=tuned_by, precision=source.precision)]
    if run is not None and plan["with_base"]:
        models.append(ServedModel(name=source.model_id, folder="$LUTHIER_BASE", precision=source.precision))
    return ServeSpec(deployment_id=row.id, revision=row.revision, host="0.0.0.0", port=int(plan["port"]),
                     key_path="$LUTHIER_SECRETS/api-key", key_mounted=True, threads=int(plan["threads"]), until=until, models=tuple(models))


def shape_of(plan: dict[str, Any]) -> Shape:
    """The profile of a plan."""
    return Shape(str(plan["sku"]), float(plan["vcpu"]), float(plan["gib"]), int(plan["gpus"]), str(plan["gpu"]))


def cost_of(plan: dict[str, Any]) -> Cost:
    """What the card reserves."""
    return Cost(int(plan["likely_micros"]), int(plan["ceiling_micros"]), basis=str(plan["basis"]), price_date=str(plan["price_date"]))


def per_second(plan: dict[str, Any]) -> Decimal:
    """US dollars that a replica costs a second."""
    return Decimal(str(plan["per_second"]))


def where_of(plan: dict[str, Any]) -> str:
    """For people."""
    return f"Azure, {plan['region']}, {plan['sku']}"


def orders(plan: dict[str, Any]) -> tuple[Order, ...]:
    """The stops that come with the approval."""
    cap = f"stopped by Luthier itself when it has cost {dollars(int(plan['ceiling_micros']))} USD"
    return expiry_order(int(plan["hours"])), Order("cap", cap, "stop_deployment", "deployment_id")


def leaves(plan: dict[str, Any]) -> str:
    """What leaves this machine."""
    return (f"the model's files ({gib(int(plan['size_bytes']))}) and its API key, to the resource group {plan['group']} in "
            f"{plan['region']}; questions and answers pass through Azure")


def card(plan: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """The lines of the consent card."""
    run, canary = plan["run_id"], int(plan["canary_percent"])
    origin = "" if plan["allow_named"] else " (the address that your sign-in to Azure came from)"
    shape = f"{plan['sku']}: {plan['vcpu']:g} processor cores, {plan['gib']:g} GiB of memory"
    lines = [
        ("Serves", f"{plan['model']}, tuned by run {run}" if run else f"{plan['model']}, untuned"),
        ("Models", ", ".join(plan["names"])), ("Precision", str(plan["precision"])),
        ("Place", where_of(plan)), ("Replica", shape),
        *([("GPU", f"its {plan['gpu']} is paid for and not used: answers are made on the processors here; gpu=cpu costs less, where the "
            "model fits")] if plan["gpus"] else []),
        ("Account", f"{plan['account']}, subscription {plan['subscription_name'] or plan['subscription']}, tenant {plan['tenant']}"),
        ("Reached by", f"{', '.join(plan['allow'])} only{origin}, by https, with an API key; everybody else is turned away"),
        ("Sleeps", f"when nobody has asked for {COOLDOWN_S // 60} minutes; the first question afterwards waits until it is up again"),
    ]
    if canary:
        lines.append(("Traffic", f"{canary} % to the new revision, {100 - canary} % to revision {plan['canary_of']} beside it"))
    return (
        *lines, ("Time to live", hours_text(int(plan["hours"]))), ("Image", str(plan["image"])),
        ("At most", f"{dollars(int(plan['ceiling_micros']))} USD; likely {dollars(int(plan['likely_micros']))} USD "
                    f"(prices of {plan['price_date']})"),
        *(("Assumed", str(each)) for each in plan["assumptions"]),
    )


def _priced(rate: Rate, money: Money) -> dict[str, JsonValue]:
    return {"per_second": f"{rate.per_second:f}", "per_hour": rate.hourly(), "likely_micros": money.likely_micros,
            "ceiling_micros": money.ceiling_micros, "basis": money.basis, "price_date": money.price_date,
            "assumptions": list(money.assumptions)}
