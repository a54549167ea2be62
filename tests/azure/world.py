"""What exists in the stand-in for Azure: one value that its parts (ARM, Files, logs, prices) share and tests may change."""

import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, Protocol

from tests.azure.faults import Faults

SUBSCRIPTION, TENANT = "6f1c1bd0-0000-4000-8000-00000000000a", "6f1c1bd0-0000-4000-8000-00000000000b"
DISPLAY = {"westus3": "West US 3", "eastus": "East US", "swedencentral": "Sweden Central", "northeurope": "North Europe"}
"""Regions of the stand-in, and the names that ARM answers with."""
Host = Literal["arm", "files", "logs", "prices", "registry", "app"]


@dataclass(frozen=True, slots=True)
class Sent:
    """One request that reached the stand-in."""

    host: Host
    method: str
    path: str
    query: str = ""
    body: Any = None


class Behaviour(Protocol):
    """What an execution does."""

    def start(self, world: "World", execution: "Execution") -> None:
        """Begin, and return at once."""
        ...

    def stop(self, why: str) -> None:
        """End as the platform ends it (`stopped`, `deadline`, `closed`), and return at once."""
        ...


@dataclass(eq=False)
class Execution:
    """One execution of a job. Tests may end it with `end`."""

    name: str
    job: str
    """The job's id, lower case."""
    template: dict[str, Any]
    timeout_s: float
    started_at: datetime
    visible_at: float = 0.0
    """By the world's monotonic clock: before it neither list nor get shows it."""
    status: str = "Running"
    ended_at: datetime | None = None
    code: int | None = None
    reason: str = ""
    message: str = ""
    detail: str = ""
    """`runningStateDetails` of its replica."""
    running_state: str = "Waiting"
    gone: bool = False
    behaviour: Behaviour | None = None
    ended: threading.Event = field(default_factory=threading.Event)
    mounts: dict[str, Path] = field(default_factory=dict)
    """Where each mount path of the container lies here."""

    @property
    def environment(self) -> dict[str, str]:
        """The plain variables of its container."""
        rows = self.template["containers"][0].get("env") or []
        return {each["name"]: each.get("value") or "" for each in rows if "secretRef" not in each}

    @property
    def run_folder(self) -> Path:
        """What the container sees as /luthier/run."""
        return self.mounts["/luthier/run"]

    def end(self, status: str, code: int | None = None, reason: str = "", message: str = "", *, at: datetime | None = None) -> None:
        """It is over, as Azure tells it."""
        self.status, self.code, self.reason, self.message = status, code, reason, message
        self.running_state = "Terminated"
        self.ended_at = at or datetime.now(UTC)
        self.ended.set()


@dataclass(eq=False)
class World:
    """Everything there is. `lock` is held while ARM handles a request."""

    share_root: Path
    """The share `luthier`, as a folder: the Files stand-in serves it, executions mount it."""
    scratch: Path
    engine_python: Path
    faults: Faults
    subscriptions: dict[str, str] = field(default_factory=lambda: {SUBSCRIPTION: "Research"})
    """Id and name."""
    tenant: str = TENANT
    user: str = "ada@example.com"
    signed_in: bool = True
    """False: the identity address refuses."""
    token_s: float = 3600
    """How long a token of the identity address is good for, in seconds."""
    addresses: dict[str, str] = field(default_factory=dict)
    """`arm`, `files`, `identity`: scheme, host and port of each server, once it listens."""
    resources: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Each ARM resource and resource group as it is read back, by its id in lower case."""
    hidden: dict[str, Any] = field(default_factory=dict)
    """What answers never carry, by the same ids: keys, secrets."""
    executions: dict[str, list[Execution]] = field(default_factory=dict)
    """By the job's id in lower case, in order of their start."""
    operations: dict[str, Any] = field(default_factory=dict)
    registered: dict[str, bool] = field(default_factory=lambda: dict.fromkeys(
        ("microsoft.app", "microsoft.operationalinsights", "microsoft.storage"), True))
    """Resource providers; anything not named here is registered."""
    permissions: list[str] = field(default_factory=lambda: ["*"])
    """What the signed-in user may do, as actions of a role."""
    taken_names: set[str] = field(default_factory=set)
    """Storage account names that belong to somebody else."""
    policy_no_shared_keys: bool = False
    """An organisation's policy sets allowSharedKeyAccess to false on each storage account."""
    profiles: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {each: standard_profiles(each) for each in DISPLAY})
    """Workload profiles of each region, as `available_workload_profiles` answers them."""
    usages: dict[str, dict[str, tuple[int, int]]] = field(default_factory=lambda: {each: standard_usages() for each in DISPLAY})
    """Used and limit of each quota name, by region."""
    images: dict[str, str] = field(default_factory=dict)
    """Digest of `NAME:TAG` in the registry; an unnamed one gets an obviously fake digest, an empty one is unknown."""
    polls: dict[str, int] = field(default_factory=lambda: {"environment": 2, "job": 1, "app": 1, "account": 1, "group": 1})
    """How often an operation of each kind answers InProgress."""
    poll_ms: int = 15
    """The wait that operations ask for, in milliseconds; 0: they ask for none, as Container Apps does."""
    grace_s: float = 30.0
    """Between SIGTERM and SIGKILL."""
    skew: timedelta = timedelta()
    """How far the clock of Azure is ahead of ours."""
    sent: list[Sent] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    """Request bodies that broke a schema: a test with one fails."""
    scripts: list[Behaviour] = field(default_factory=list)
    """Behaviours of the next executions, the first one first; without one an execution runs its command."""
    parts: dict[str, Any] = field(default_factory=dict)
    """State of the other stand-ins (`files`, `logs`, `prices`): each keeps its own here."""
    apps: dict[str, Any] = field(default_factory=dict)
    """Running side of each container app, by its id in lower case."""
    apps_start_at_once: bool = False
    """A new revision gets a replica at once in place of at the first request."""
    broken_revisions: set[str] = field(default_factory=set)
    """Names of revisions whose container never comes up."""
    closing: threading.Event = field(default_factory=threading.Event)
    lock: threading.RLock = field(default_factory=threading.RLock)
    open_port: Callable[[Any], int] | None = None
    """Serve an ASGI app on a TLS port of its own; gives the port."""

    @property
    def subscription(self) -> str:
        """The first one."""
        return next(iter(self.subscriptions))

    def now(self) -> datetime:
        """Azure's clock."""
        return datetime.now(UTC) + self.skew

    def note(self, host: Host, method: str, path: str, query: str = "", body: Any = None) -> None:
        """Keep a request."""
        self.sent.append(Sent(host, method, path, query, body))

    def all_executions(self) -> list[Execution]:
        """Of every job, in order of their start."""
        return sorted((each for some in self.executions.values() for each in some), key=lambda each: each.started_at)

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        """Resources of a type such as `Microsoft.App/jobs`."""
        return [each for each in self.resources.values() if str(each.get("type", "")).lower() == kind.lower()]

    def account_keys(self, account: str) -> list[str]:
        """Both keys of a storage account; empty when there is no such account."""
        return next((keys for rid, keys in self.hidden.items() if rid.endswith(f"/storageaccounts/{account.lower()}")), [])

    def has_share(self, account: str, share: str) -> bool:
        """Whether ARM has made it."""
        return any(rid.endswith(f"/storageaccounts/{account}/fileservices/default/shares/{share}".lower()) for rid in self.resources)


def new_key(size: int = 64) -> str:
    """A key in base 64, as storage accounts have them."""
    import base64

    return base64.b64encode(secrets.token_bytes(size)).decode()


def standard_profiles(region: str) -> list[dict[str, Any]]:
    """What a region offers: both serverless GPUs, but none in North Europe."""
    rows = [("Consumption", "Consumption", 4, 8, 0), ("D4", "GeneralPurpose", 4, 16, 0), ("NC24-A100", "GPU-NC-A100", 24, 220, 1),
            ("Consumption-GPU-NC8as-T4", "Consumption-GPU-NC8as-T4", 8, 56, 1),
            ("Consumption-GPU-NC24-A100", "Consumption-GPU-NC24-A100", 24, 220, 1)]
    return [
        {"id": f"/subscriptions/x/providers/Microsoft.App/locations/{region}/availableManagedEnvironmentsWorkloadProfileTypes/{name}",
         "name": name, "type": "Microsoft.App/availableManagedEnvironmentsWorkloadProfileTypes", "location": DISPLAY[region],
         "properties": {"category": category, "applicability": "LocationDefault", "cores": cores, "memoryGiB": gib, "gpus": gpus,
                        "displayName": name}}
        for name, category, cores, gib, gpus in rows if region != "northeurope" or ("GPU" not in name and not gpus)
    ]


def standard_usages() -> dict[str, tuple[int, int]]:
    """Quota of a subscription in a region, used and limit."""
    return {"ManagedEnvironmentCount": (1, 50), "SubscriptionConsumptionT4Gpus": (0, 2), "SubscriptionConsumptionNCA100Gpus": (0, 1),
            "SubscriptionNCA100Gpus": (0, 0)}
