"""What a region offers and how much of it the subscription may use: known before anything is made."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tools.azure.client import Azure
from tools.azure.place import Shape
from tools.azure.remedy import NOWHERE, QUOTA_PAGE
from tools.azure.trouble import AzureTrouble

SERVERLESS = "Consumption"
GPU_GIB = {"T4": 16.0, "A100": 80.0}
"""Memory of each GPU: the list of profiles does not say it."""
NAMES = {"T4": "SubscriptionConsumptionT4Gpus", "A100": "SubscriptionConsumptionNCA100Gpus"}
"""What Azure calls the quota of each serverless GPU."""
KEEP_S = 600.0
"""How long the profiles of a region are believed."""


@dataclass(frozen=True, slots=True)
class Quota:
    """GPUs of one kind that a subscription uses and may use in a region; None is unknown, which is not zero."""

    used: int | None
    limit: int | None

    @property
    def free(self) -> int | None:
        """How many more may be used."""
        return None if self.used is None or self.limit is None else max(0, self.limit - self.used)

    def words(self) -> str:
        """For people."""
        if self.limit is None:
            return "quota unknown"
        return f"{self.used if self.used is not None else '?'} of {self.limit} in use"


def shapes(azure: Azure, region: str) -> tuple[Shape, ...]:
    """The serverless profiles that a region offers, those without a GPU first; none where Azure has no such region. Raises AzureTrouble."""
    def ask() -> list[Any]:
        what = f"What {region} offers was not read"
        try:
            return azure.call(what, lambda: list(azure.containers().available_workload_profiles.get(region)))
        except AzureTrouble as trouble:
            if trouble.code in NOWHERE:
                return []
            raise

    found = [shape for each in azure.kept(f"profiles {region}", KEEP_S, ask) if (shape := _shape(each)) is not None]
    return tuple(sorted(found, key=lambda each: (each.gpus, each.gpu_gib, each.name)))


def quota(azure: Azure, region: str, shape: Shape) -> Quota:
    """How many replicas of a shape the subscription may have there: from Container Apps, else from the quota service, else unknown."""
    wanted = NAMES.get(shape.gpu, "")
    if not shape.gpus or not wanted:
        return Quota(None, None)
    for source in (_usages, _quota_service):
        try:
            found = source(azure, region).get(wanted.lower())
        except AzureTrouble as trouble:
            if trouble.trouble in ("signin", "not_installed", "throttled"):
                raise
            continue
        if found is not None:
            return found
    return Quota(None, None)


def gpu_regions(azure: Azure, allowed: Iterable[str]) -> tuple[str, ...]:
    """The regions, of those allowed and in their order, that offer a serverless GPU. Raises AzureTrouble when none can be asked."""
    found, heard = [], None
    for region in allowed:
        try:
            if any(each.gpus for each in shapes(azure, region)):
                found.append(region)
        except AzureTrouble as trouble:
            if trouble.trouble in ("signin", "not_installed", "denied"):
                raise
            heard = trouble
    if not found and heard is not None:
        raise heard
    return tuple(found)


def request_words(azure: Azure, region: str, shape: Shape, found: Quota) -> str:
    """What to ask for there, with the numbers that the form wants."""
    name = NAMES.get(shape.gpu, shape.name)
    now = "unknown" if found.limit is None else str(found.limit)
    within = azure.account().subscription
    return (f"Ask for quota at {QUOTA_PAGE}: provider Azure Container Apps, subscription {within}, region {region}, quota "
            f"{name}, limit now {now}, new limit {max(1, (found.limit or 0) + 1)}.")


def _shape(found: Any) -> Shape | None:
    properties = found.properties
    if not str(found.name or "").startswith(SERVERLESS) or properties is None:
        return None
    gpus = int(getattr(properties, "gpus", None) or 0)
    gpu = found.name.rpartition("-")[2] if gpus else ""
    return Shape(found.name, float(properties.cores or 0), float(properties.memory_gi_b or 0), gpus, gpu, GPU_GIB.get(gpu, 0.0) * gpus)


def _usages(azure: Azure, region: str) -> dict[str, Quota]:
    rows = azure.call(f"The quota in {region} was not read", lambda: list(azure.containers().usages.list(region)))
    return {str(each.name.value).lower(): Quota(int(each.current_value), int(each.limit)) for each in rows if each.name and each.name.value}


def _quota_service(azure: Azure, region: str) -> dict[str, Quota]:
    scope = f"subscriptions/{azure.account().subscription}/providers/Microsoft.App/locations/{region}"
    what = f"The quota in {region} was not read"
    limits = azure.call(what, lambda: list(azure.quotas().quota.list(scope)))
    used = azure.call(what, lambda: list(azure.quotas().usages.list(scope)))
    counts = {str(each.name).lower(): getattr(getattr(each.properties, "usages", None), "value", None) for each in used}
    found: dict[str, Quota] = {}
    for each in limits:
        limit = getattr(getattr(each.properties, "limit", None), "value", None)
        count = counts.get(str(each.name).lower())
        found[str(each.name).lower()] = Quota(None if count is None else int(count), None if limit is None else int(limit))
    return found
