"""`prepare_cloud`: makes what runs and deployments of a region share, and lists first what is there and what would be made."""

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, JsonValue
from sqlalchemy import Connection, select

from policies import fault, ledger
from policies.book import Book, now_text
from policies.proposal import FREE, Effect, Proposal
from policies.tables import approvals, calls
from policies.tool import Call, Recall, Result, ToolArgs
from tools.azure.account import Account
from tools.azure.ceiling import kept_ceiling
from tools.azure.client import Azure
from tools.azure.existing import Existing, Part, Wanted
from tools.azure.image import resolve_image
from tools.azure.infrastructure import CONSUMPTION
from tools.azure.names import group_name
from tools.azure.permissions import PREPARE, check_permissions
from tools.azure.place import CloudPlace, PlaceStore, plain
from tools.azure.provision import Provisioning
from tools.azure.quota import gpu_regions, shapes
from tools.azure.trouble import AzureTrouble
from tools.settlement import Settlement

KEPT_GIB, LOGS_GIB, KEPT_DAYS = 1.0, 0.5, 30
"""The allowance that preparing reserves: an almost empty share and a few logs, for a month."""
LONGEST_MINUTES = 60
"""How long the making may take, waiting included."""
DRY = "listed"
READY = "ready"
BASIS = "preparing costs nothing by itself; the share and the logs are billed by use, see spend_report"
_MADE = {"missing": "made", "different": "changed", "there": "there"}


class PrepareArgs(ToolArgs):
    """Arguments of prepare_cloud."""

    region: Annotated[str, BeforeValidator(lambda text: plain(text) if isinstance(text, str) else text)] = Field(
        default="", max_length=40, pattern=r"^[a-z0-9]*$", description="Azure region, e.g. `westus3`; left out, the first with GPUs.")
    resource_group: str = Field(default="", max_length=90, pattern=r"^$|^[A-Za-z0-9_().-]*[A-Za-z0-9_()-]$",
                                description="A resource group to work in; left out, the one of the settings, else one of Luthier's own.")
    dry_run: bool = Field(default=False, description="True: only list what is there and what would be made.")


class PrepareCloud:
    """The tool."""

    name: ClassVar[str] = "prepare_cloud"
    version: ClassVar[str] = "1"
    text: ClassVar[str] = (
        "Prepare Azure for runs and deployments: resource group, storage, logs and an environment with serverless GPUs in one region. "
        "Needed once before anything runs on Azure; calling it again goes on from where it stands. A person must approve it. With "
        "`dry_run` it only lists what is there and what would be made, and who is signed in."
    )
    Args: ClassVar[type[ToolArgs]] = PrepareArgs

    def __init__(self, azure: Azure, book: Book, places: PlaceStore, regions: Callable[[], tuple[str, ...]],
                 skus: Callable[[], tuple[str, ...]] = lambda: (CONSUMPTION,)) -> None:
        """`regions` and `skus` give the regions and the hardware that the limits in force allow."""
        self._azure, self._book, self._places, self._regions, self._skus = azure, book, places, regions, skus
        self._running: set[str] = set()
        self._lock = threading.Lock()

    def propose(self, args: PrepareArgs, /) -> Proposal:
        """Who would make what, where. Asks Azure, changes nothing."""
        wanted = self._wanted(args)
        if not wanted.own_group:
            check_permissions(self._azure, wanted.group, PREPARE, f"{wanted.region} cannot be prepared")
        parts = Existing(self._azure, wanted).look()
        if wanted.own_group and any(each.kind == "resource group" and each.state == "there" for each in parts):
            check_permissions(self._azure, wanted.group, PREPARE, f"{wanted.region} cannot be prepared")
        money = kept_ceiling(KEPT_GIB, LOGS_GIB, KEPT_DAYS)
        return Proposal(
            effects=frozenset({Effect.READ if args.dry_run else Effect.SPEND}), target=f"cloud:{wanted.region}",
            where=f"Azure, {wanted.region}", cost=FREE if args.dry_run else money.cost,
            supersedes=f"prepare:{wanted.region}", card=self._card(wanted, parts),
            plan={**_as_plan(wanted, self._azure.account()), "resources": [each.as_json() for each in parts]}, region=wanted.region,
            sku="" if args.dry_run else next((each for each in self._skus() if each in wanted.profiles), CONSUMPTION),
            max_minutes=0 if args.dry_run else LONGEST_MINUTES,
        )

    def perform(self, args: PrepareArgs, call: Call, /) -> Result:
        """Make what is missing, or list it. Cut off anywhere, the next call goes on."""
        plan = call.plan if call.plan.get("resources") else self.propose(args).plan
        wanted = _of_plan(plan)
        self._azure.check_subscription(wanted.subscription, "The place was not prepared")
        self._azure.check_account(str(plan["account"]), wanted.tenant, "The place was not prepared")
        listed: Any = plan["resources"]
        if args.dry_run:
            return self._said(wanted, [dict(each) for each in listed], DRY)
        with self._lock:
            self._running.add(call.call_id)
        try:
            place = Provisioning(self._azure, wanted).ensure(call.report)
            fault.point("cloud.place.before")
            self._places.put(place)
            fault.point("cloud.place.after")
        finally:
            with self._lock:
                self._running.discard(call.call_id)
        return self._said(wanted, [{**each, "state": _MADE[str(each["state"])]} for each in listed], READY)

    def recall(self, call_id: str, /) -> Result | Recall:
        """Done when its place was kept after the call began; otherwise nobody knows how far it came, and the next call goes on."""
        with self._lock:
            if call_id in self._running:
                return Recall.RUNNING
        plan, since = self._book.read(lambda db: _begun(db, call_id))
        region = str(plan.get("region", ""))
        at = self._places.kept_at(region) if region else ""
        if not since or not at or at < since:
            return Recall.UNKNOWN
        listed: Any = plan.get("resources", [])
        return self._said(_of_plan(plan), [{**each, "state": _MADE[str(each["state"])]} for each in listed], READY)

    def settlements(self) -> list[Settlement]:
        """Calls that have ended and still hold their allowance: what was made is billed by use, and seen in the bill."""
        return [Settlement(call_id, 0, BASIS) for call_id in self._book.read(_unsettled)]

    def _wanted(self, args: PrepareArgs) -> Wanted:
        account, choice, allowed = self._azure.account(), self._azure.choice, self._regions()
        region = args.region or plain(choice.region)
        if not region:
            region = next(iter(gpu_regions(self._azure, allowed)), "")
        if not region:
            raise AzureTrouble("not_prepared", "No region can be prepared",
                               f"none of the allowed regions offers serverless GPUs: {', '.join(allowed) or 'none is allowed'}.",
                               "Let the owner allow another region in limits.toml, [places].")
        offered = shapes(self._azure, region)
        if not any(each.gpus for each in offered):
            others = ", ".join(gpu_regions(self._azure, [each for each in allowed if each != region])) or "none of the allowed ones"
            raise AzureTrouble("conflict", f"{region} cannot be prepared", "it offers no serverless GPU.", f"Regions that do: {others}.")
        group, own = self._group(args, region)
        image, named = resolve_image(self._azure, choice.image), choice.image
        return Wanted(account.subscription, account.tenant, group, region, tuple(each.name for each in offered), image,
                      named if "@" not in named else "", own_group=own, linked_at=self._places.kept_at(region))

    def _group(self, args: PrepareArgs, region: str) -> tuple[str, bool]:
        """The group, and whether its name is ours. A region that is prepared stays where it is, in view."""
        own, named = group_name(replace(self._azure.choice, group=""), self._azure.workspace, region), args.resource_group
        named = named or self._azure.choice.group
        kept = self._places.get(region)
        if kept is None:
            return named or own, not named
        what = f"{region} cannot be prepared"
        self._azure.check_subscription(kept.subscription, what)
        if named and named.lower() != kept.group.lower():
            raise AzureTrouble("conflict", f"{what} in {named}", f"it is prepared in {kept.group} already, where its runs and files are.",
                               f"Leave the group as it is, or tear {kept.group} down first (teardown_cloud).")
        return kept.group, not named and kept.group == own

    def _card(self, wanted: Wanted, parts: tuple[Part, ...]) -> tuple[tuple[str, str], ...]:
        account, providers = self._azure.account(), [each for each in parts if each.kind == "provider"]
        unregistered = [each.name for each in providers if each.state != "there"]
        rest = [each for each in parts if each.kind not in ("provider", "storage link")]
        links = [each for each in parts if each.kind == "storage link"]
        of_tag = f" (the tag {wanted.image_named} today)" if wanted.image_named else ""
        return (
            ("Account", account.user), ("Tenant", account.tenant),
            ("Subscription", f"{account.subscription_name} ({account.subscription})"),
            ("Resource providers", f"{', '.join(unregistered)} (registered)" if unregistered else "are registered"),
            *((each.kind.capitalize(), each.words()) for each in rest), ("Storage links", ", ".join(each.words() for each in links)),
            ("Profiles", ", ".join(wanted.profiles)), ("Image", f"{wanted.image}{of_tag}"),
            ("Costs", f"nothing while nothing runs, but for what is kept. {kept_ceiling(KEPT_GIB, LOGS_GIB, KEPT_DAYS).assumptions[0]}"),
        )

    def _said(self, wanted: Wanted, listed: list[dict[str, JsonValue]], state: str) -> Result:
        account = self._azure.account()
        result: dict[str, JsonValue] = {
            "state": state, "region": wanted.region, "resource_group": wanted.group, "subscription": wanted.subscription,
            "tenant": wanted.tenant, "account": account.user, "image": wanted.image, "image_named": wanted.image_named,
            "profiles": list(wanted.profiles), "resources": [dict(each) for each in listed], "workspace": self._azure.workspace,
            "suffix": self._azure.names(wanted.subscription, wanted.group).h,
        }
        missing = sum(each["state"] in ("missing", "different") for each in listed)
        return Result(result, {"state": state, "region": wanted.region, "resources": len(listed), "missing": missing})


def _as_plan(wanted: Wanted, account: Account) -> dict[str, JsonValue]:
    return {
        "account": account.user, "account_digest": account.digest,
        "subscription": wanted.subscription, "tenant": wanted.tenant, "group": wanted.group, "region": wanted.region,
        "profiles": list(wanted.profiles), "image": wanted.image, "image_named": wanted.image_named, "own_group": wanted.own_group,
    }


def _of_plan(plan: Mapping[str, Any]) -> Wanted:
    return Wanted(plan["subscription"], plan["tenant"], plan["group"], plan["region"], tuple(plan["profiles"]), plan["image"],
                  plan.get("image_named", ""), bool(plan.get("own_group")))


def _begun(db: Connection, call_id: str) -> tuple[Mapping[str, Any], str]:
    """The approved plan of a call, and when the call was made; empty when the book has none."""
    wanted = select(approvals.c.proposal_json, calls.c.created_at).join(calls, calls.c.call_id == approvals.c.call_id)
    row = db.execute(wanted.where(approvals.c.call_id == call_id)).first()
    return ({}, "") if row is None else (json.loads(row.proposal_json).get("plan", {}), row.created_at)


def _unsettled(db: Connection) -> list[str]:
    held = ledger.held_before(db, now_text())
    ended = select(calls.c.call_id).where(calls.c.tool == PrepareCloud.name, calls.c.status.in_(("done", "failed")))
    return list(db.execute(ended.where(calls.c.call_id.in_(held))).scalars()) if held else []


def prepared(places: PlaceStore, region: str = "") -> CloudPlace:
    """The place of a region, or the one prepared last. Raises AzureTrouble `not_prepared`."""
    found = places.get(region)
    if found is None:
        where = f"in {region}" if region else "in Azure"
        raise AzureTrouble("not_prepared", f"Nothing runs {where} yet", "it has not been prepared.",
                           f"Say: prepare the cloud{f' in {region}' if region else ''} (prepare_cloud).")
    return found
