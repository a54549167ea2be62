"""What is there of a place in Azure, and what it lacks: looks, and changes nothing."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pydantic import JsonValue

from tools.azure import infrastructure as made
from tools.azure.client import Azure
from tools.azure.credential import Hidden
from tools.azure.names import Names, is_ours
from tools.azure.place import READ_ONLY, READ_WRITE, plain
from tools.azure.remedy import state_of
from tools.azure.trouble import AzureTrouble

State = Literal["there", "missing", "different"]
Access = Literal["ReadWrite", "ReadOnly"]
STORAGES: tuple[tuple[str, Access], ...] = ((READ_WRITE, "ReadWrite"), (READ_ONLY, "ReadOnly"))
FAILED = ("failed", "canceled", "upgradefailed")
"""States of a resource of ours that is made anew."""


@dataclass(frozen=True, slots=True)
class Part:
    """One resource of the place."""

    kind: str
    name: str
    state: State
    why: str = ""

    def as_json(self) -> dict[str, JsonValue]:
        """Kind, name, state and what is to be done."""
        return {"kind": self.kind, "name": self.name, "state": self.state, "why": self.why}

    def words(self) -> str:
        """For a card: `luthier-env-… (exists)`."""
        said = {"there": "exists", "missing": "is made", "different": f"is changed: {self.why}"}[self.state]
        return f"{self.name} ({said})"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to prepare."""

    subscription: str
    tenant: str
    group: str
    region: str
    profiles: tuple[str, ...]
    """Serverless ones, `Consumption` first."""
    image: str
    """By digest."""
    image_named: str = ""
    own_group: bool = False
    """Whether the group's name is one of ours, so that a group without our tags is somebody else's."""
    linked_at: str = ""
    """When the share was last linked to the environment, as ISO 8601 UTC: a key of the account made since is not in the links."""


class Existing:
    """The resources of one place, as they are now."""

    def __init__(self, azure: Azure, wanted: Wanted) -> None:
        self._azure, self._wanted = azure, wanted
        self.names: Names = azure.names(wanted.subscription, wanted.group)

    def is_ours(self, found: Any) -> bool:
        """Whether our tags are on it."""
        return is_ours(getattr(found, "tags", None), self._azure.workspace)

    def look(self) -> tuple[Part, ...]:
        """What is there and what is missing. Changes nothing. Raises AzureTrouble `foreign` where a name is somebody else's."""
        providers = [self.provider(each) for each in made.PROVIDERS]
        parts = [Part("provider", name, "there" if done else "missing") for name, done in zip(made.PROVIDERS, providers, strict=True)]
        group = self.group()
        parts.append(Part("resource group", self._wanted.group, "there" if group else "missing"))
        if group is None:
            rest = (("storage account", self.names.storage), ("file share", self.names.share), ("log workspace", self.names.log_workspace),
                    ("environment", self.names.environment), ("storage link", READ_WRITE), ("storage link", READ_ONLY))
            return (*parts, *(Part(kind, name, "missing") for kind, name in rest))
        account = self.account()
        parts.append(_part("storage account", self.names.storage, account, account_difference(account)))
        parts.append(_part("file share", self.names.share, self.share() if account else None))
        parts.append(_part("log workspace", self.names.log_workspace, self.logs()))
        environment = self.environment()
        parts.append(_part("environment", self.names.environment, environment, self.environment_difference(environment)))
        for name, access in STORAGES:
            link = self.link(name) if environment else None
            parts.append(_part("storage link", name, link, self.link_difference(link, access, account)))
        return tuple(parts)

    def provider(self, name: str) -> bool:
        """Whether a namespace is registered in the subscription."""
        found = self._azure.call(f"The provider {name} was not looked up", lambda: self._azure.resources().providers.get(name))
        return str(found.registration_state).lower() == "registered"

    def group(self) -> Any:
        """The resource group, or None. Raises AzureTrouble `foreign` for one with a name of ours that is not ours."""
        get = self._azure.resources().resource_groups.get
        if self._wanted.own_group:
            return self._mine("resource group", self._wanted.group, lambda: get(self._wanted.group))
        return self._found("The resource group", lambda: get(self._wanted.group))

    def account(self) -> Any:
        """The storage account, or None."""
        return self._mine("storage account", self.names.storage,
                          lambda: self._azure.storage().storage_accounts.get_properties(self._wanted.group, self.names.storage))

    def share(self) -> Any:
        """The file share, or None."""
        return self._found("The share", lambda: self._azure.storage().file_shares.get(
            self._wanted.group, self.names.storage, self.names.share))

    def logs(self) -> Any:
        """The log workspace, or None."""
        return self._mine("log workspace", self.names.log_workspace, lambda: self._azure.log_workspaces().workspaces.get(
            self._wanted.group, self.names.log_workspace))

    def environment(self) -> Any:
        """The environment, or None. Raises AzureTrouble `foreign` when it is of another region."""
        found = self._mine("environment", self.names.environment, lambda: self._azure.containers().managed_environments.get(
            self._wanted.group, self.names.environment))
        if found is not None and plain(found.location) != plain(self._wanted.region):
            raise AzureTrouble("foreign", f"The resource group {self._wanted.group} cannot be prepared for {self._wanted.region}",
                               f"it already holds a place in {plain(found.location)}, and a group has room for one.",
                               "Name another group with resource_group, or leave it out for one of Luthier's own.")
        return found

    def link(self, name: str) -> Any:
        """A storage link of the environment, or None."""
        return self._found("The storage link", lambda: self._azure.containers().managed_environments_storages.get(
            self._wanted.group, self.names.environment, name))

    def environment_difference(self, found: Any) -> str:
        """What the environment must be changed in, in words; empty when nothing."""
        if found is None:
            return ""
        if state_of(found) in FAILED:
            return "its last change failed"
        lacks = [each for each in self._wanted.profiles if each not in profiles_of(found)]
        return f"it gets {', '.join(lacks)}" if lacks else ""

    def link_difference(self, found: Any, access: str, account: Any) -> str:
        """What a storage link must be changed in, in words; empty when nothing."""
        if found is None:
            return ""
        link = getattr(found.properties, "azure_file", None)
        same = link is not None and (link.account_name, link.share_name, str(getattr(link.access_mode, "value", link.access_mode))) == (
            self.names.storage, self.names.share, access)
        if not same:
            return "it names another share"
        # The key in a link is never read back.
        made = getattr(getattr(account, "key_creation_time", None), "key1", None)
        return "the account's key was changed since" if is_newer(made, self._wanted.linked_at) else ""

    def log_key(self) -> Hidden:
        """The key by which the environment writes to the log workspace."""
        keys = self._azure.log_workspaces().shared_keys
        found = self._azure.call("The key of the log workspace was not read",
                                 lambda: keys.get_shared_keys(self._wanted.group, self.names.log_workspace))
        return Hidden(str(found.primary_shared_key))

    def account_key(self) -> Hidden:
        """The key by which the environment mounts the share."""
        found = self._azure.call("The key of the storage account was not read", lambda: self._azure.storage().storage_accounts.list_keys(
            self._wanted.group, self.names.storage))
        return Hidden(str(found.keys_property[0].value))

    def _found(self, what: str, get: Callable[[], Any]) -> Any:
        """What is there, or None."""
        try:
            return self._azure.call(f"{what} was not looked up", get)
        except AzureTrouble as trouble:
            if trouble.trouble == "not_found":
                return None
            raise

    def _mine(self, kind: str, name: str, get: Callable[[], Any]) -> Any:
        """What is there under a name that we would give. Raises AzureTrouble `foreign` when its tags are not ours."""
        found = self._found(f"The {kind}", get)
        if found is not None and not self.is_ours(found):
            raise AzureTrouble("foreign", f"The {kind} {name} is left alone",
                               "it bears a name that Luthier would give, and not the tags of this home.",
                               "Use another resource group (resource_group, or LUTHIER_AZURE_GROUP), or delete it yourself.")
        return found


def is_newer(made: datetime | None, linked_at: str) -> bool:
    """Whether a key was made after the links that should hold it; not where one of the two times is unknown."""
    return made is not None and linked_at != "" and made > datetime.fromisoformat(linked_at)


def account_difference(found: Any) -> str:
    """What an account of ours must be changed in, in words; empty when nothing. Raises AzureTrouble `policy` without shared keys."""
    if found is None:
        return ""
    check_shared_keys(found)
    lacks = []
    if found.enable_https_traffic_only is False:
        lacks.append("https only")
    if str(getattr(found.minimum_tls_version, "value", found.minimum_tls_version)) in ("TLS1_0", "TLS1_1"):
        lacks.append("TLS 1.2")
    if found.allow_blob_public_access is True:
        lacks.append("no public blobs")
    return f"it gets {', '.join(lacks)}" if lacks else ""


def check_shared_keys(found: Any) -> None:
    """Raise AzureTrouble `policy` when the account allows no shared keys: then no container can mount its share."""
    if found is not None and found.allow_shared_key_access is False:
        raise AzureTrouble("policy", f"The storage account {found.name} cannot be used",
                           "it allows no shared keys (most often by a policy), without which a container cannot mount a share.",
                           "Ask whoever keeps the policies for an exemption of one resource group, and name it with LUTHIER_AZURE_GROUP.")


def profiles_of(environment: Any) -> dict[str, Any]:
    """The workload profiles of an environment, by name."""
    found = getattr(getattr(environment, "properties", None), "workload_profiles", None) or ()
    return {str(each.name): each for each in found}


def _part(kind: str, name: str, found: Any, difference: str = "") -> Part:
    if found is None:
        return Part(kind, name, "missing")
    return Part(kind, name, "different", difference) if difference else Part(kind, name, "there")
