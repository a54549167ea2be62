"""What the signed-in account may do in a resource group, asked before anything is made."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from tools.azure.client import Azure
from tools.azure.remedy import role_for
from tools.azure.trouble import AzureTrouble

PREPARE = (
    "Microsoft.Storage/storageAccounts/write", "Microsoft.Storage/storageAccounts/listKeys/action",
    "Microsoft.Storage/storageAccounts/fileServices/shares/write", "Microsoft.OperationalInsights/workspaces/write",
    "Microsoft.OperationalInsights/workspaces/sharedKeys/action", "Microsoft.App/managedEnvironments/write",
    "Microsoft.App/managedEnvironments/storages/write",
)
RUN = (
    "Microsoft.App/jobs/write", "Microsoft.App/jobs/start/action", "Microsoft.App/jobs/stop/action",
    "Microsoft.App/managedEnvironments/join/action", "Microsoft.Storage/storageAccounts/listKeys/action",
)
SERVE = ("Microsoft.App/containerApps/write", "Microsoft.App/managedEnvironments/join/action")


@dataclass(frozen=True, slots=True)
class Grant:
    """One role's actions, with `*` for any part."""

    actions: tuple[str, ...]
    not_actions: tuple[str, ...] = ()

    def allows(self, action: str) -> bool:
        """Whether this role brings the action."""
        # Azure's own roles say `Microsoft.App/containerApps/*/write` and mean `Microsoft.App/containerApps/write`, too.
        wide = [each.replace("/*/", "/") for each in self.actions if "/*/" in each]
        return _any((*self.actions, *wide), action) and not _any(self.not_actions, action)


def grants(azure: Azure, group: str) -> tuple[Grant, ...] | None:
    """The roles that count in a group; None where nobody may ask or there is no such group."""
    try:
        found = azure.call("Your permissions were not read",
                           lambda: list(azure.authorization().permissions.list_for_resource_group(group)))
    except AzureTrouble as trouble:
        if trouble.trouble in ("denied", "not_found"):
            return None
        raise
    return tuple(Grant(tuple(each.actions or ()), tuple(each.not_actions or ())) for each in found)


def missing(held: Iterable[Grant], wanted: Sequence[str]) -> tuple[str, ...]:
    """The actions that no role brings."""
    roles = tuple(held)
    return tuple(each for each in wanted if not any(role.allows(each) for role in roles))


def check_permissions(azure: Azure, group: str, wanted: Sequence[str], what: str) -> None:
    """Raise AzureTrouble `denied` with the role to ask for, when the account may not do all of it. Silent where it cannot be known."""
    held = grants(azure, group)
    lacks = list(missing(held, wanted)) if held is not None else []
    if not lacks:
        return
    asked = {role_for(each) for each in lacks}
    asked = {(role, scope) for role, scope in asked if role == "Contributor" or ("Contributor", scope) not in asked}
    roles = " and ".join(sorted({f"{role} on {scope}" for role, scope in asked}))
    more = f" and {len(lacks) - 1} more" if len(lacks) > 1 else ""
    raise AzureTrouble("denied", what, f"{azure.account().user} lacks the permission {lacks[0]}{more} in the resource group {group}.",
                       f"Ask an Owner or User Access Administrator of the group for the role {roles}.")


def _any(patterns: Iterable[str], action: str) -> bool:
    return any(fnmatchcase(action.lower(), pattern.lower()) for pattern in patterns)
