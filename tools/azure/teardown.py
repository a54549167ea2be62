"""Taking things away in Azure: stopped first, only what is ours, in reverse order, and looked at again afterwards."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue

from policies import fault
from tools.azure.apps import Apps
from tools.azure.client import Azure
from tools.azure.jobs import Jobs
from tools.azure.names import DEPLOYMENT, EXPIRES, RUN, is_ours
from tools.azure.place import READ_ONLY, READ_WRITE, CloudPlace
from tools.azure.trouble import AzureTrouble

ORDER = ("app", "job", "environment", "logs", "storage")
"""In which kinds are deleted; an environment's storages go before it, and the group last."""
_TYPES = {
    "microsoft.app/containerapps": "app", "microsoft.app/jobs": "job", "microsoft.app/managedenvironments": "environment",
    "microsoft.operationalinsights/workspaces": "logs", "microsoft.storage/storageaccounts": "storage",
}
_WORDS = {"app": "inference app", "job": "job", "environment": "environment and its storages", "logs": "log workspace, for good",
          "storage": "storage account with the share and everything on it", "other": "resource of a kind that Luthier does not delete"}
STOPPED_S = 600.0
"""How long executions may take to end."""
LISTED_S = 60.0
"""How long Azure's list may go on showing what was deleted."""
Say = Callable[[str, float | None], None]


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource of a group."""

    kind: str
    """One of `ORDER`, or `other`."""
    name: str
    ours: bool
    run_id: str = ""
    deployment_id: str = ""
    expires: str = ""

    def as_json(self) -> dict[str, JsonValue]:
        """For results."""
        return {"kind": self.kind, "name": self.name, "ours": self.ours, "run_id": self.run_id, "deployment_id": self.deployment_id,
                "expires_at": self.expires}

    @property
    def words(self) -> str:
        """What it is, for people."""
        return _WORDS.get(self.kind, _WORDS["other"])


class Teardown:
    """Finds and deletes what is in one resource group. Interrupted anywhere, the next call goes on with what is left."""

    def __init__(self, azure: Azure, place: CloudPlace) -> None:
        azure.check_subscription(place.subscription, f"{place.group} was not looked at")
        self._azure, self._place = azure, place

    def group(self) -> tuple[bool, bool]:
        """Whether the group exists, and whether its own tag says that we made it. Raises AzureTrouble."""
        groups = self._azure.resources().resource_groups
        found = self._found(f"The group {self._place.group} was not read", lambda: groups.get(self._place.group))
        return found is not None, found is not None and is_ours(dict(found.tags or {}), self._azure.workspace)

    def resources(self) -> tuple[Resource, ...]:
        """Everything in the group, ours and others', in the order of deletion. Raises AzureTrouble."""
        listing = self._azure.resources().resources
        found = self._found(f"What is in {self._place.group} was not listed",
                            lambda: list(listing.list_by_resource_group(self._place.group))) or []
        known = [self._resource(each) for each in found]
        return tuple(sorted(known, key=lambda each: ((*ORDER, "other").index(each.kind), each.name)))

    def left(self, deleted: Iterable[Resource], within_s: float = LISTED_S) -> tuple[Resource, ...]:
        """What is there after a teardown. Azure's list may still show what has just gone: it is looked at again for a while."""
        gone, until = {(each.kind, each.name) for each in deleted}, time.monotonic() + within_s
        while True:
            found = self.resources()
            if time.monotonic() >= until or not any((each.kind, each.name) in gone for each in found):
                return found
            self._azure.sleep(self._azure.poll_s)

    def _resource(self, found: Any) -> Resource:
        marked = dict(found.tags or {})
        return Resource(_TYPES.get(str(found.type or "").lower(), "other"), str(found.name), is_ours(marked, self._azure.workspace),
                        marked.get(RUN, ""), marked.get(DEPLOYMENT, ""), marked.get(EXPIRES, ""))

    def stop(self, chosen: Iterable[Resource], say: Say, within_s: float = STOPPED_S) -> None:
        """Stop every execution and app, and wait until nothing of them runs. Raises AzureTrouble `unknown` when something still does."""
        jobs, apps = Jobs(self._azure, self._place), Apps(self._azure, self._place)
        for each in chosen:
            if each.kind == "app":
                say(f"Stopping {each.name}", None)
                fault.point("cloud.teardown.stop")
                apps.stop(each.name.removeprefix("luthier-app-"))
        running = [each for each in chosen if each.kind == "job"]
        until = time.monotonic() + within_s
        asked: set[str] = set()
        while running:
            say(f"Waiting until {len(running)} jobs have ended", None)
            running = [each for each in running if self._ending(jobs, each.name, asked)]
            if running and time.monotonic() > until:
                raise AzureTrouble("unknown", "The teardown stopped before it deleted anything", f"{running[0].name} still runs.",
                                   "Ask again in a few minutes: it goes on with what is left.")
            if running:
                time.sleep(self._azure.poll_s)

    def _ending(self, jobs: Jobs, job: str, asked: set[str]) -> bool:
        try:
            live = [each for each in jobs.executions(job) if each.live]
        except AzureTrouble as trouble:
            if trouble.trouble == "not_found":
                return False
            raise
        for each in live:
            if each.name not in asked:
                asked.add(each.name)
                fault.point("cloud.teardown.stop")
                jobs.stop(job, each.name)
        return bool(live)

    def delete(self, resource: Resource) -> None:
        """Delete one resource that is ours; what is gone is deleted. Raises AzureTrouble, `foreign` for what is not ours."""
        if not resource.ours or resource.kind not in ORDER:
            raise AzureTrouble("foreign", f"{resource.name} is left alone", "it does not carry the tags of this Luthier.",
                               "Delete it in the portal if it is yours.")
        fault.point("cloud.teardown.delete")
        group, name = self._place.group, resource.name
        match resource.kind:
            case "app":
                Apps(self._azure, self._place).delete(name.removeprefix("luthier-app-"))
            case "job":
                Jobs(self._azure, self._place).delete(name)
            case "environment":
                storages = self._azure.containers().managed_environments_storages
                for each in (READ_WRITE, READ_ONLY):
                    fault.point("cloud.teardown.link")
                    self._gone(f"The storage {each} of {name} was not deleted", lambda each=each: storages.delete(group, name, each))
                environments = self._azure.containers().managed_environments
                fault.point("cloud.teardown.environment")
                self._gone(f"The environment {name} was not deleted", lambda: environments.begin_delete(group, name), long=True)
            case "logs":
                workspaces = self._azure.log_workspaces().workspaces
                self._gone(f"The log workspace {name} was not deleted", lambda: workspaces.begin_delete(group, name, force=True), long=True)
            case _:
                accounts = self._azure.storage().storage_accounts
                self._gone(f"The storage account {name} was not deleted", lambda: accounts.delete(group, name))

    def delete_group(self, deleted: Iterable[Resource] = ()) -> bool:
        """Delete the group when it is ours and nothing is in it any more; whether it was. Raises AzureTrouble."""
        there, ours = self.group()
        if not there or not ours or self.left(deleted):
            return False
        groups = self._azure.resources().resource_groups
        fault.point("cloud.teardown.group")
        self._gone(f"The group {self._place.group} was not deleted", lambda: groups.begin_delete(self._place.group), long=True)
        return True

    def _gone(self, what: str, work: Callable[[], Any], *, long: bool = False) -> None:
        self._found(what, work, long=long)

    def _found(self, what: str, work: Callable[[], Any], *, long: bool = False) -> Any:
        try:
            return self._azure.wait(what, work) if long else self._azure.call(what, work)
        except AzureTrouble as trouble:
            if trouble.trouble == "not_found":
                return None
            raise
