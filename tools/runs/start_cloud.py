"""A run on Azure as a plan: where, on what, for how long and for how much at most; and the rows and folder that it begins as."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import JsonValue

from policies.limits import Limits, dollars, micros
from policies.proposal import Effect, Proposal
from policies.tool import Call, Recall, ToolFailed
from tools.azure.account import Account
from tools.azure.ceiling import ATTEMPTS, Money, ceiling, time_limit, timeout_within
from tools.azure.client import Azure
from tools.azure.jobs import MARGIN_S
from tools.azure.permissions import RUN, check_permissions
from tools.azure.place import CloudPlace, PlaceStore, Shape
from tools.azure.prices import Prices
from tools.azure.quota import quota, request_words, shapes
from tools.azure.rates import Rate
from tools.azure.seat import machine_of, where_of
from tools.azure.trouble import AzureTrouble
from tools.engine.spec import TrainSpec
from tools.hardware import GIB
from tools.models import ModelFolder
from tools.outlook import DatasetFacts
from tools.runs.cloud_orders import EXPIRY_H, cloud_orders
from tools.runs.cloud_reconcile import CloudReconciler
from tools.runs.cloud_row import CloudPlan, CloudRow, Phase
from tools.runs.local import LocalRuns
from tools.runs.plan import Plan, Wish, likely_bytes, make_plan, minutes
from tools.runs.rid import rid_of
from tools.runs.state import RunState
from tools.runs.store import NewRun, RunRow, RunStore

SHARE_BYTES = 200 * GIB
"""What a run may write: its folder lies on the share, not on the small disk of its container."""
LEAST_S = 600
"""What a budget must at least pay for, in seconds."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A plan with the place where it is carried out and its money."""

    plan: Plan
    place: CloudPlace
    shape: Shape
    rate: Rate
    money: Money
    account: Account
    timeout_s: int
    gib: float
    unsure: str = ""
    """What is not known of the quota."""

    @property
    def where(self) -> str:
        """For people."""
        return where_of(self.shape, self.place.region)


class CloudStart:
    """What `start_finetune` and `resume_run` do where the run goes to Azure. Thread-safe."""

    def __init__(self, azure: Azure, prepared: PlaceStore, prices: Prices, runs: RunStore, local: LocalRuns, cloud: CloudReconciler,
                 package: Callable[[], str], limits: Callable[[], Limits],
                 secret: Callable[[str], str | None] = lambda name: None) -> None:
        """`package` gives the digest of the engine package; `secret` is asked only whether a hub token is stored."""
        self.azure, self.prepared, self.prices, self.runs, self.local, self.cloud = azure, prepared, prices, runs, local, cloud
        self._package, self.limits, self._secret = package, limits, secret

    # ── deciding ─────────────────────────────────────────────────────────────────────────────────────────────────

    def place(self, region: str = "") -> tuple[Account, CloudPlace]:
        """Who is signed in, and the prepared place. Raises AzureTrouble `not_prepared` with the words that prepare one."""
        account = self.azure.account()
        wanted = region or self.azure.choice.region
        found = self.prepared.get(wanted)
        if found is None:
            which = f" {wanted}" if wanted else ""
            there = ", ".join(each.region for each in self.prepared.all())
            raise AzureTrouble("not_prepared", "Run on Azure", f"nothing is prepared{' in' + which if which else ''} yet"
                               f"{f' (prepared: {there})' if there else ''}.",
                               f"Say: prepare the cloud{' in' + which if which else ''}. It lists what it would make, and asks first.")
        if found.subscription.lower() != account.subscription.lower():
            raise AzureTrouble("not_prepared", f"Run in {found.region}",
                               f"it was prepared in the subscription {found.subscription}, and {account.subscription} is in use.",
                               "Set LUTHIER_AZURE_SUBSCRIPTION to the one it was prepared in, or prepare the cloud again.")
        return account, found

    def offered(self, place: CloudPlace, gpu: str) -> list[Shape]:
        """The shapes that a wish allows: those with a GPU, or what `gpu` names (`cpu`, `T4`, `A100`, or a profile's own name)."""
        allowed = set(self.limits().places.skus)
        found = [each for each in shapes(self.azure, place.region) if each.name in place.profiles and each.name in allowed]
        fit = [each for each in found if each.is_called(gpu)]
        if not fit:
            there = ", ".join(f"{each.gpu or 'CPU'} ({each.name})" for each in found) or "none that the limits allow"
            raise ToolFailed(f"Run on {gpu or 'a GPU'} in {place.region}", f"It is not offered there; there are: {there}.",
                             "Name one of these, another region, or ask for prices with estimate_cost.", kind="gpu_missing")
        return fit

    def check_allowed(self, place: CloudPlace, shape: Shape) -> str:
        """What is not known of the quota. Raises AzureTrouble, `denied` with the missing role, `quota` with the link and the numbers."""
        check_permissions(self.azure, place.group, RUN, f"Nothing can run in {place.region}")
        found = quota(self.azure, place.region, shape)
        if found.free == 0:
            because = ("the subscription has no quota for it (0)." if not found.limit
                       else f"all of its quota is in use ({found.words()}).")
            wait = "Wait until a GPU there is free, or ask for more. " if found.limit else ""
            raise AzureTrouble("quota", f"Run on {shape.gpu} in {place.region}", because,
                               wait + request_words(self.azure, place.region, shape, found))
        return "Azure does not say what it is: the run may wait for a GPU" if shape.gpus and found.limit is None else ""

    def choose(self, wish: Wish, model: ModelFolder, data: DatasetFacts, region: str, gpu: str, budget_micros: int | None) -> Chosen:
        """The cheapest fitting shape of the prepared place. Raises ToolFailed and AzureTrouble with what to do."""
        account, place = self.place(region)
        hours = self.limits().places.max_hours
        if wish.max_time is not None and wish.max_time > 3600 * hours:
            raise ToolFailed(f"Run for {minutes(wish.max_time)}", f"A paid run may last {hours} hours at most.",
                             "Choose a shorter time, or ask the owner to raise [places] max_hours in limits.toml.", kind="limit")
        now = datetime.now(UTC)
        rated = sorted(((self.prices.rate(each, place.region, now), each) for each in self.offered(place, gpu)),
                       key=lambda one: (one[0].per_second, one[1].name))
        refused: ToolFailed | None = None
        for rate, shape in rated:
            try:
                machine = replace(machine_of(shape), disk_free_bytes=SHARE_BYTES)
                plan = make_plan(wish, model, data, machine, "cuda" if shape.gpus else "cpu", hours)
            except ToolFailed as failed:
                if failed.kind not in {"memory", "disk"}:
                    raise
                refused = ToolFailed(f"Fine-tune {wish.model} on {shape.gpu or 'a CPU'} in {place.region}", failed.because,
                                     "Choose a larger GPU, a smaller model, or shorter rows.", kind=failed.kind)
                continue
            unsure = self.check_allowed(place, shape)
            return replace(self._priced(wish, plan, account, place, shape, rate, budget_micros, 3600 * hours), unsure=unsure)
        assert refused is not None
        raise refused

    def _priced(self, wish: Wish, plan: Plan, account: Account, place: CloudPlace, shape: Shape, rate: Rate, budget_micros: int | None,
                longest_s: int) -> Chosen:
        gib = round((plan.disk_bytes + plan.model.bytes) / GIB + 1, 1)
        wanted = wish.max_time + MARGIN_S if wish.max_time else time_limit(plan.time.high_s, longest_s / 3600)
        timeout = self.limit_s(rate, wanted, longest_s, budget_micros, gib)
        money = ceiling(rate, timeout, ATTEMPTS, gib, likely_s=plan.time.likely_s)
        return Chosen(plan, place, shape, rate, money, account, timeout, gib)

    def limit_s(self, rate: Rate, wanted_s: int, longest_s: int, budget_micros: int | None, gib: float) -> int:
        """The platform's time limit: what is wanted, as far as limits and budget allow. ToolFailed when the budget pays for too little."""
        wanted = min(wanted_s, longest_s)
        if budget_micros is None:
            return wanted
        found = timeout_within(rate, wanted, budget_micros, ATTEMPTS, gib)
        if found < LEAST_S:
            least = ceiling(rate, LEAST_S, ATTEMPTS, gib).ceiling_micros
            raise ToolFailed(f"Run within {dollars(budget_micros)} USD", f"Ten minutes on {rate.shape} with its start may cost up to "
                             f"{dollars(least)} USD.", "Give more, or choose a cheaper GPU.", kind="budget")
        return found

    # ── the proposal ─────────────────────────────────────────────────────────────────────────────────────────────

    def proposal(self, chosen: Chosen, dataset: str, model: str, name: str) -> Proposal:
        """The consent card of a new run. Nothing in it moves by itself."""
        card, plan = self._card(chosen), self._plan(chosen)
        return Proposal(
            effects=frozenset({Effect.SPEND}), target=f"model:{model}", where=chosen.where, cost=chosen.money.cost,
            traits=frozenset(), supersedes=name or f"start:{dataset}+{model}", card=card, plan=plan,
            orders=cloud_orders(chosen.timeout_s), region=chosen.place.region, sku=chosen.shape.name,
            max_minutes=math.ceil(chosen.timeout_s / 60), leaves=self.leaves(chosen.place, f"the rows of {dataset} and the model {model}"),
        )

    def leaves(self, place: CloudPlace, what: str) -> str:
        """What data leaves this machine, in words."""
        token = ", and the stored Hugging Face token as a secret of the job" if self._secret("HF_TOKEN") else ""
        return f"{what}, to the storage account {place.account} in {place.region}{token}"

    def lines(self, account: Account, place: CloudPlace, rate: Rate, money: Money, timeout_s: int) -> tuple[tuple[str, str], ...]:
        """The lines about money and place that the cards of a start and of a resume share."""
        return (
            ("Most it can cost", f"{dollars(money.ceiling_micros)} USD, reserved now; what is not used is free again at the end"),
            ("Likely", f"{dollars(money.likely_micros)} USD"),
            ("Price", f"{rate.hourly()} (list price since {rate.price_date})"),
            ("Time limit", f"{minutes(timeout_s)} for each of at most {ATTEMPTS} attempts; Azure itself ends it then"),
            ("Counted", " ".join(money.assumptions)),
            ("Signed in as", f"{account.user}, tenant {account.tenant}"),
            ("Subscription", f"{account.subscription_name} ({account.subscription}), group {place.group}"),
            ("Image", place.image),
        )

    def _card(self, chosen: Chosen) -> tuple[tuple[str, str], ...]:
        kept = tuple((label, value) for label, value in chosen.plan.card() if label not in {"Cost", "Writes", "Memory"})
        memory = chosen.plan.memory
        return (
            ("Where", chosen.where), *self.lines(chosen.account, chosen.place, chosen.rate, chosen.money, chosen.timeout_s), *kept,
            ("Memory", f"likely {memory.likely_bytes / GIB:.1f} GiB of {chosen.plan.free_memory_bytes / GIB:.1f}"),
            ("Writes", f"runs/<new run id>/ on the share and in Luthier's home, about {chosen.gib:.1f} GiB at most"),
            *self.others(chosen), *((("Quota", chosen.unsure),) if chosen.unsure else ()),
        )

    def others(self, chosen: Chosen) -> tuple[tuple[str, str], ...]:
        """What the same would cost an hour on the other shapes of the place."""
        now = datetime.now(UTC)
        found = []
        for shape in self.offered(chosen.place, ""):
            rate = None if shape.name == chosen.shape.name else self.prices.shown(shape, chosen.place.region, now)
            if rate is not None:
                found.append(("Instead", f"{where_of(shape, chosen.place.region)}: {rate.hourly()}"))
        return tuple(found[:2])

    def _plan(self, chosen: Chosen) -> dict[str, JsonValue]:
        money, plan = chosen.money, chosen.plan.as_json()
        memory = plan["memory"]
        assert isinstance(memory, dict)
        return {
            **plan, "where": chosen.where, "limit_s": chosen.timeout_s - MARGIN_S,
            "cost": {"likely": dollars(money.likely_micros), "ceiling": dollars(money.ceiling_micros), "currency": "USD",
                     "price_date": money.price_date, "per_hour": chosen.rate.hourly(), "basis": money.basis},
            "writes": ["runs/<new run id>/ on the share", "runs/<new run id>/"],
            "assumptions": [*(plan["assumptions"] if isinstance(plan["assumptions"], list) else []), *money.assumptions],
            "cloud": self.kept(chosen.place, chosen.shape, chosen.rate, money, chosen.timeout_s),
        }

    def kept(self, place: CloudPlace, shape: Shape, rate: Rate, money: Money, timeout_s: int) -> dict[str, JsonValue]:
        """What the run's row in the book is made from: exactly what was approved."""
        account = self.azure.account()
        made = CloudPlan(shape, f"{rate.per_second:f}", timeout_s, ATTEMPTS, money.ceiling_micros, 1, self._package(), place.image,
                         where_of(shape, place.region), account.user, account.tenant)
        return {**made.as_json(), "region": place.region, "account_digest": account.digest}

    # ── beginning ────────────────────────────────────────────────────────────────────────────────────────────────

    def begin(self, new: NewRun, call: Call, fill: Callable[[Path, Path], TrainSpec]) -> RunRow:
        """Write the rows and make the folder; everything in the cloud is the reconciler's. The same call finds what it began."""
        kept = new.plan.get("cloud")
        assert isinstance(kept, dict)
        self.runs.create(new)
        plan = CloudPlan.read(kept)
        row = self.cloud.store.create(CloudRow(new.id, 1, call.call_id, str(kept["region"]), plan, self.expiry()))
        if row.phase is not Phase.APPROVED:
            return self.runs.wanted(new.id)
        try:
            call.report("Preparing the data", None)
            spec = self.local.make(new.id, fill)
            self.runs.set_spec(new.id, spec.model_dump(mode="json"))
        except ToolFailed as error:
            self.forsake(new.id, f"{error.because} {error.try_next}", error.kind)
            raise
        self.cloud.ready(new.id)
        call.report("Sent off: it is uploaded next", None)
        return self.runs.wanted(new.id)

    def expiry(self) -> datetime:
        """When a run that begins now has had its time."""
        return self.cloud.now() + timedelta(hours=EXPIRY_H)

    def forsake(self, run_id: str, reason: str, kind: str) -> None:
        """End a run of which nothing reached the cloud."""
        self.cloud.give_up(run_id, reason)
        self.runs.set_state(run_id, RunState.FAILED, reason, outcome={"kind": kind})

    def recall(self, row: RunRow) -> Recall | None:
        """NOT_STARTED when a crash cut a start off before its folder was whole; None when it goes on."""
        found = self.cloud.store.get(row.id)
        if found is None or found.phase is Phase.APPROVED:
            self.forsake(row.id, "Luthier was stopped before anything was sent. Start it again.", "start")
            return Recall.NOT_STARTED
        return None


def new_run(call: Call, name: str, model: str, dataset: str, method: str, plan: dict[str, JsonValue]) -> NewRun:
    """The row of a run that goes to the cloud."""
    return NewRun(rid_of(call.call_id), call.person, call.thread, call.call_id, name, model, dataset, method, plan, likely_bytes(plan),
                  str(plan["where"]))


def budget(amount: float | None) -> int | None:
    """Dollars as micro-units."""
    return None if amount is None else micros(f"{amount:.6f}")
