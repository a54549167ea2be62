"""Inference apps in one prepared place: sent, looked at, stopped, started again, deleted; only those that are ours."""

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from policies import fault
from tools.azure.app_body import WIDEST, AppSpec, body, revision_name, revision_number
from tools.azure.client import Azure
from tools.azure.credential import Hidden
from tools.azure.names import DEPLOYMENT, EXPIRES, SPEC, is_ours
from tools.azure.place import CloudPlace
from tools.azure.trouble import AzureTrouble


@dataclass(frozen=True, slots=True)
class Revision:
    """One revision as Azure tells it; words are Azure's own, in lower case."""

    name: str
    active: bool
    replicas: int
    weight: int
    provisioning: str
    running: str
    health: str
    error: str = ""
    """Untrusted text."""

    @property
    def failed(self) -> bool:
        """Whether it will not come up by itself."""
        return self.provisioning == "failed" or self.running == "failed"

    @property
    def number(self) -> int:
        """Its number; 0 where somebody else made it."""
        return revision_number(self.name)

    @property
    def up(self) -> bool:
        """Whether it answers, or would after waking up."""
        return self.active and self.provisioning == "provisioned" and not self.failed and self.health != "unhealthy" and self.running in (
            "running", "runningatmaxscale", "scaledtozero", "stopped", "")


@dataclass(frozen=True, slots=True)
class AppSeen:
    """An app as it is in Azure."""

    name: str
    provisioning: str
    running: str
    """`running`, `progressing`, `stopped`, … in lower case."""
    fqdn: str
    spec: str
    """The digest in its tag."""
    revisions: tuple[Revision, ...] = ()
    open: bool = False
    """Whether it may be reached from the whole world, or without encryption: somebody took away what we sent."""

    @property
    def replicas(self) -> int:
        """How many are paid for now."""
        return sum(each.replicas for each in self.revisions)

    @property
    def stopped(self) -> bool:
        """Whether it was stopped and nothing runs any more."""
        return self.running in ("stopped", "suspended") and self.replicas == 0

    def revision(self, name: str) -> Revision | None:
        """One of its revisions."""
        return next((each for each in self.revisions if each.name == name), None)


@dataclass(frozen=True, slots=True)
class ManagedApp:
    """An app with our tags, whoever knows of it."""

    name: str
    deployment_id: str
    expires: str
    profile: str
    vcpu: float
    gib: float
    running: str
    created: str


class Apps:
    """The apps of one place. Every call is safe to repeat."""

    def __init__(self, azure: Azure, place: CloudPlace) -> None:
        azure.check_subscription(place.subscription, f"The apps in {place.region} were not looked at")
        self._azure, self._place = azure, place
        self._names = azure.names(place.subscription, place.group)

    def put(self, spec: AppSpec, key: Hidden) -> AppSeen:
        """Make the app as the spec says, or bring it there; sends nothing where its tag says that it is so. Raises AzureTrouble."""
        name, wanted = self._names.app(spec.deployment_id), body(self._place, self._names, self._azure.workspace, spec, key)
        found = self.seen(spec.deployment_id)
        if found is None or found.spec != wanted["tags"][SPEC] or found.provisioning in ("failed", "canceled"):
            client = self._azure.containers().container_apps
            self._azure.wait(f"The app {name} was not made", lambda: client.begin_create_or_update(self._place.group, name, wanted))
        elif found.provisioning == "inprogress":
            return found
        if found is not None and found.running in ("stopped", "suspended"):
            fault.point("cloud.app.start")
            self.start(spec.deployment_id)
        return self.wanted(spec.deployment_id)

    def seen(self, deployment_id: str) -> AppSeen | None:
        """The app with its revisions; None when there is none. Raises AzureTrouble `foreign` when its name is somebody else's."""
        name = self._names.app(deployment_id)
        client = self._azure.containers()
        app = self._found(f"The app {name} was not read", lambda: client.container_apps.get(self._place.group, name))
        if app is None:
            return None
        if not is_ours(app.get("tags"), self._azure.workspace):
            raise AzureTrouble("foreign", f"The app {name} is left alone", "it does not carry the tags of this Luthier.",
                               "Rename or delete it in Azure if it is yours, or deploy again.")
        listed = self._found(f"The revisions of {name} were not read", lambda: list(
            client.container_apps_revisions.list_revisions(self._place.group, name)))
        return _seen(app, listed or ())

    def wanted(self, deployment_id: str) -> AppSeen:
        """The app, which must be there."""
        found = self.seen(deployment_id)
        if found is None:
            raise AzureTrouble("not_found", f"The app {self._names.app(deployment_id)} was not read", "it is not there.",
                               "Deploy it again with redeploy.")
        return found

    def stop(self, deployment_id: str) -> None:
        """Stop it; nothing is paid for afterwards. What is gone is stopped."""
        self._act(deployment_id, "stopped", lambda apps, group, name: apps.begin_stop(group, name))

    def start(self, deployment_id: str) -> None:
        """Let a stopped one answer again."""
        self._act(deployment_id, "started", lambda apps, group, name: apps.begin_start(group, name))

    def restart(self, deployment_id: str, revision: int) -> None:
        """Start the replicas of a revision anew."""
        name = self._names.app(deployment_id)
        self.wanted(deployment_id)
        client = self._azure.containers().container_apps_revisions
        self._azure.call(f"The app {name} was not restarted", lambda: client.restart_revision(
            self._place.group, name, revision_name(name, revision)))

    def deactivate(self, revision: Revision) -> None:
        """Let one revision take no requests and have no replica. What is gone is inactive."""
        app, client = revision.name.rpartition("--")[0], self._azure.containers().container_apps_revisions
        self._found(f"The revision {revision.name} was not deactivated", lambda: client.deactivate_revision(
            self._place.group, app, revision.name))

    def delete(self, deployment_id: str) -> None:
        """Delete it and see that it is gone. Raises AzureTrouble when it is not."""
        self._act(deployment_id, "deleted", lambda apps, group, name: apps.begin_delete(group, name))
        if self.seen(deployment_id) is not None:
            raise AzureTrouble("unknown", f"The app {self._names.app(deployment_id)} was not deleted", "Azure still shows it.",
                               "Ask for it again in a few minutes.")

    def managed(self) -> tuple[ManagedApp, ...]:
        """Every app of the group that carries our tags."""
        client = self._azure.containers().container_apps
        listed = self._found("The apps were not listed", lambda: list(client.list_by_resource_group(self._place.group)))
        return tuple(_managed(each) for each in listed or () if is_ours(each.get("tags"), self._azure.workspace))

    def address(self, seen: AppSeen) -> str:
        """`https://HOST/v1` from ARM's own word, checked. Raises AzureTrouble `refused_host`."""
        return self._azure.check_host(f"https://{seen.fqdn}/v1", "apps")

    def _act(self, deployment_id: str, done: str, begin: Callable[[Any, str, str], Any]) -> None:
        if self.seen(deployment_id) is None:
            return
        name, apps = self._names.app(deployment_id), self._azure.containers().container_apps
        try:
            self._azure.wait(f"The app {name} was not {done}", lambda: begin(apps, self._place.group, name))
        except AzureTrouble as trouble:
            if trouble.trouble != "not_found":
                raise

    def _found(self, what: str, work: Callable[[], Any]) -> Any:
        try:
            return self._azure.call(what, work)
        except AzureTrouble as trouble:
            if trouble.trouble == "not_found":
                return None
            raise


def _is_open(ingress: Mapping[str, Any]) -> bool:
    """Whether the rules that were sent do not hold any more: none, one that forbids (all others are let in), or one that is too wide."""
    rules = ingress.get("ipSecurityRestrictions") or []
    if not ingress.get("external"):
        return False
    return bool(ingress.get("allowInsecure")) or not rules or any(
        _word(each.get("action")) != "allow" or _is_wide(str(each.get("ipAddressRange") or "")) for each in rules)


def _is_wide(network: str) -> bool:
    try:
        return ipaddress.ip_network(network, strict=False).prefixlen < WIDEST
    except ValueError:
        return True


def _seen(app: Mapping[str, Any], revisions: Any) -> AppSeen:
    told = app.get("properties") or {}
    ingress = (told.get("configuration") or {}).get("ingress") or {}
    found = tuple(_revision(each.get("name") or "", each.get("properties") or {}) for each in revisions)
    return AppSeen(
        name=str(app.get("name") or ""), provisioning=_word(told.get("provisioningState")), running=_word(told.get("runningStatus")),
        fqdn=str(ingress.get("fqdn") or ""), spec=str((app.get("tags") or {}).get(SPEC) or ""), revisions=found,
        open=_is_open(ingress))


def _revision(name: str, told: Mapping[str, Any]) -> Revision:
    return Revision(name, bool(told.get("active")), int(told.get("replicas") or 0), int(told.get("trafficWeight") or 0),
                    _word(told.get("provisioningState")), _word(told.get("runningState")), _word(told.get("healthState")),
                    str(told.get("provisioningError") or ""))


def _managed(app: Mapping[str, Any]) -> ManagedApp:
    told, marked = app.get("properties") or {}, app.get("tags") or {}
    containers = (told.get("template") or {}).get("containers") or [{}]
    asked = containers[0].get("resources") or {}
    created = (app.get("systemData") or {}).get("createdAt") or ""
    return ManagedApp(str(app.get("name") or ""), str(marked.get(DEPLOYMENT) or ""),
                      str(marked.get(EXPIRES) or ""), str(told.get("workloadProfileName") or ""), float(asked.get("cpu") or 0),
                      float(str(asked.get("memory") or "0Gi").removesuffix("Gi") or 0), _word(told.get("runningStatus")), str(created))


def _word(value: Any) -> str:
    return str(getattr(value, "value", value) or "").lower()
