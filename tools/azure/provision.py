"""Prepares a region: an ordered list of "get, compare, put if missing", so that one cut off anywhere goes on at the next call."""

import time
from collections.abc import Callable
from typing import Any

from policies import fault
from tools.azure import infrastructure as made
from tools.azure.client import STUCK, Azure
from tools.azure.credential import Hidden
from tools.azure.existing import FAILED, STORAGES, Access, Existing, Wanted, account_difference, check_shared_keys, is_newer, profiles_of
from tools.azure.names import Names
from tools.azure.place import CloudPlace
from tools.azure.remedy import bad_state, state_of
from tools.azure.trouble import AzureTrouble

Report = Callable[[str, float | None], None]
PATIENCE_S = 900.0
"""How long an environment may be in the making before it counts as stuck; Azure takes one to two minutes, with GPUs more."""
REGISTER_S = 600.0


def link_anew(azure: Azure, place: CloudPlace, linked_at: str) -> bool:
    """Give the environment the account's key of now, where that was changed after `linked_at`; whether it was. Raises AzureTrouble."""
    accounts = azure.storage().storage_accounts
    keys = azure.call("The key of the storage account was not read", lambda: accounts.list_keys(place.group, place.account))
    found = keys.keys_property[0]
    if not is_newer(found.creation_time, linked_at):
        return False
    for name, access in STORAGES:
        _link(azure, place.group, azure.names(place.subscription, place.group), name, access, Hidden(str(found.value)))
    return True


def _link(azure: Azure, group: str, names: Names, name: str, access: Access, key: Hidden) -> None:
    body = made.storage(names.storage, key.reveal(), names.share, access)
    fault.point("cloud.link.before")
    azure.call(f"The storage {name} was not linked", lambda: azure.containers().managed_environments_storages.create_or_update(
        group, names.environment, name, body))
    fault.point("cloud.link.after")


class Provisioning:
    """The steps for one place."""

    def __init__(self, azure: Azure, wanted: Wanted, *, patience_s: float = PATIENCE_S) -> None:
        self._azure, self._wanted, self._patience_s = azure, wanted, patience_s
        self._seen = Existing(azure, wanted)
        self._new_account = False
        """Whether the account was made just now, so that links to an earlier one of its name hold a key that is gone."""

    def ensure(self, report: Report) -> CloudPlace:
        """Make what is missing, wait for it, and give the place. Raises AzureTrouble; the next call goes on from where this one ended."""
        steps: tuple[tuple[str, Callable[[], Any]], ...] = (
            ("Checking the resource providers", self._ensure_providers), ("Making the resource group", self._ensure_group),
            ("Making the storage account", self._ensure_account), ("Making the file share", self._ensure_share),
            ("Making the log workspace", self._ensure_logs), ("Making the environment, which takes some minutes", self._ensure_environment),
            ("Linking the share to the environment", self._ensure_links),
        )
        done: dict[str, Any] = {}
        for number, (text, step) in enumerate(steps):
            report(text, number / len(steps))
            done[step.__name__] = step()
        group, account, logs, environment = (done[f"_ensure_{each}"] for each in ("group", "account", "logs", "environment"))
        names, wanted = self._seen.names, self._wanted
        return CloudPlace(
            subscription=wanted.subscription, tenant=wanted.tenant, group=wanted.group, region=wanted.region, environment=names.environment,
            environment_id=environment.id, domain=environment.properties.default_domain or "", account=names.storage,
            files=self._azure.check_host(account.primary_endpoints.file, "files"), share=names.share, log_workspace=names.log_workspace,
            log_customer=logs.properties.customer_id, image=wanted.image,
            image_named=wanted.image_named, profiles=wanted.profiles, group_is_ours=self._seen.is_ours(group),
        )

    def _ensure_providers(self) -> None:
        for name in made.PROVIDERS:
            if self._seen.provider(name):
                continue
            fault.point("cloud.register.before")
            self._azure.call(f"The provider {name} was not registered", lambda name=name: self._azure.resources().providers.register(name))
            fault.point("cloud.register.after")
            self._until(lambda name=name: self._seen.provider(name), REGISTER_S, f"The provider {name} is not registered yet")

    def _ensure_group(self) -> Any:
        found = self._seen.group()
        if found is not None:
            return found
        fault.point("cloud.group.before")
        body = made.group(self._azure.workspace, self._wanted.region)
        found = self._azure.call(f"The resource group {self._wanted.group} was not made",
                                 lambda: self._azure.resources().resource_groups.create_or_update(self._wanted.group, body))
        fault.point("cloud.group.after")
        return found

    def _ensure_account(self) -> Any:
        name, what = self._seen.names.storage, f"The storage account {self._seen.names.storage} was not made"
        found, accounts = self._seen.account(), self._azure.storage().storage_accounts
        if found is not None and not account_difference(found) and state_of(found) in ("", "succeeded"):
            return found
        if found is None:
            kind = {"name": name, "type": "Microsoft.Storage/storageAccounts"}
            answer = self._azure.call(what, lambda: accounts.check_name_availability(kind))
            if answer.name_available is False:
                raise AzureTrouble("conflict", what, "the name is taken by somebody else's account.",
                                   "Use another resource group (LUTHIER_AZURE_GROUP), for which Luthier makes other names.",
                                   code="NameTaken")
        body = made.account(self._azure.workspace, self._wanted.region)
        fault.point("cloud.account.before")
        self._wait(what, lambda: accounts.begin_create(self._wanted.group, name, body))
        self._new_account = found is None
        fault.point("cloud.account.after")
        found = self._settled(self._seen.account, what)
        check_shared_keys(found)
        return found

    def _ensure_share(self) -> None:
        if self._seen.share() is None:
            shares, names = self._azure.storage().file_shares, self._seen.names
            fault.point("cloud.share.before")
            self._azure.call(f"The share {names.share} was not made",
                             lambda: shares.create(self._wanted.group, names.storage, names.share, made.share()))
            fault.point("cloud.share.after")

    def _ensure_logs(self) -> Any:
        found, what = self._seen.logs(), f"The log workspace {self._seen.names.log_workspace} was not made"
        if found is None:
            body = made.log_workspace(self._azure.workspace, self._wanted.region)
            fault.point("cloud.logs.before")
            self._wait(what, lambda: self._azure.log_workspaces().workspaces.begin_create_or_update(
                self._wanted.group, self._seen.names.log_workspace, body))
            fault.point("cloud.logs.after")
        return self._settled(self._seen.logs, what)

    def _ensure_environment(self) -> Any:
        what = f"The environment {self._seen.names.environment} was not made"
        found = self._seen.environment()
        if found is not None and state_of(found) not in ("succeeded", *FAILED):
            found = self._settled(self._seen.environment, what, or_failed=True)
        if found is None or self._seen.environment_difference(found):
            logs = self._seen.logs()
            customer = logs.properties.customer_id
            key = self._seen.log_key()
            kept = [dict(each) for name, each in profiles_of(found).items() if name not in self._wanted.profiles]
            begin = self._azure.containers().managed_environments.begin_create_or_update
            fault.point("cloud.environment.before")
            self._wait(what, lambda: begin(self._wanted.group, self._seen.names.environment, made.environment(
                self._azure.workspace, self._wanted.region, self._wanted.profiles, customer, key.reveal(), kept)))
            fault.point("cloud.environment.after")
            found = self._settled(self._seen.environment, what)
        return found

    def _ensure_links(self) -> None:
        account, key = self._seen.account(), None
        for name, access in STORAGES:
            found = self._seen.link(name)
            if found is not None and not self._new_account and not self._seen.link_difference(found, access, account):
                continue
            key = key or self._seen.account_key()
            _link(self._azure, self._wanted.group, self._seen.names, name, access, key)

    def _wait(self, what: str, begin: Callable[[], Any]) -> None:
        """Until an operation is over; one that Azure lost sight of is judged by its resource, which is looked at next."""
        try:
            self._azure.wait(what, begin, timeout_s=self._patience_s)
        except AzureTrouble as trouble:
            if trouble.trouble != "unknown" or trouble.code == STUCK:
                raise

    def _settled(self, get: Callable[[], Any], what: str, *, or_failed: bool = False) -> Any:
        """The resource once its state is final. Raises AzureTrouble when it failed, has gone, or is stuck."""
        last: list[Any] = [None]

        def final() -> bool:
            last[0] = get()
            return last[0] is None or state_of(last[0]) in ("", "succeeded", *FAILED)

        self._until(final, self._patience_s, what)
        if last[0] is None:
            raise AzureTrouble("conflict", what, "Azure does not show it after making it.", "Ask again, which makes it anew.")
        if state_of(last[0]) not in ("", "succeeded") and not or_failed:
            raise bad_state(what, last[0])
        return last[0]

    def _until(self, is_done: Callable[[], bool], limit_s: float, what: str) -> None:
        until = time.monotonic() + limit_s
        while not is_done():
            if time.monotonic() >= until:
                raise AzureTrouble("unknown", what, f"Azure has not finished it after {limit_s / 60:.0f} minutes.",
                                   "It may still end well: ask again later, and Luthier goes on from where it stands. If it stays stuck, "
                                   "delete it in the Azure portal and ask again.", code=STUCK)
            self._azure.sleep(self._azure.poll_s)
