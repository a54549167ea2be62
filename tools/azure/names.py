"""What things are called in Azure: names that follow from subscription, group and workspace, and the tags on all that is ours."""

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from tools.azure.choice import AzureChoice
from tools.azure.trouble import AzureTrouble

MANAGED, WORKSPACE, RUN, EXPIRES, SPEC, DEPLOYMENT = (
    "luthier-managed", "luthier-workspace", "luthier-run", "luthier-expires", "luthier-spec", "luthier-deployment")
"""The tags' names."""
SHARE = "luthier"
LONGEST = 32
"""Characters of a name of Container Apps (a rule of Azure's own command line; the schema knows none)."""
_NAME = re.compile(r"[a-z](?:[a-z0-9]|-(?!-))*[a-z0-9]")


@dataclass(frozen=True, slots=True)
class Names:
    """The names of one workspace in one group, in the one region that its group's place has."""

    h: str
    """8 characters of lower-case base32."""

    @property
    def storage(self) -> str:
        """Storage account: unique in all of Azure, lower-case letters and digits."""
        return f"luthier{self.h}"

    @property
    def environment(self) -> str:
        """Container Apps environment."""
        return f"luthier-env-{self.h}"

    @property
    def log_workspace(self) -> str:
        """Log Analytics workspace."""
        return f"luthier-log-{self.h}"

    @property
    def share(self) -> str:
        """File share in the storage account."""
        return SHARE

    def job(self, run_id: str) -> str:
        """The job of a run. Raises AzureTrouble `foreign` when the id makes no name that Azure takes."""
        return _checked(f"luthier-run-{run_id}")

    def app(self, deployment_id: str) -> str:
        """The app of a deployment. Raises AzureTrouble `foreign` when the id makes no name that Azure takes."""
        return _checked(f"luthier-app-{deployment_id.lower()}")


def names(subscription: str, group: str, workspace: str) -> Names:
    """The names that follow from where we work and for whom; the same at every call."""
    seed = "|".join((subscription.lower(), group.lower(), workspace)).encode()
    return Names(base64.b32encode(hashlib.sha256(seed).digest()).decode().lower()[:8])


def tags(workspace: str, *, run: str = "", expires: str = "", spec: str = "", deployment: str = "") -> dict[str, str]:
    """The tags of something that we make; only those that have a value. `expires` is ISO 8601 UTC, `spec` the digest of the body."""
    given = {WORKSPACE: workspace, RUN: run, EXPIRES: expires, SPEC: spec, DEPLOYMENT: deployment}
    return {MANAGED: "1", **{name: value for name, value in given.items() if value}}


def is_ours(found: Mapping[str, str] | None, workspace: str) -> bool:
    """Whether the tags of a resource say that this workspace made it; nothing else may be changed or deleted."""
    return found is not None and found.get(MANAGED) == "1" and found.get(WORKSPACE) == workspace


def group_name(choice: AzureChoice, workspace: str, region: str) -> str:
    """The resource group to work in: the chosen one, or one of our own for this workspace and region."""
    return choice.group or f"luthier-{region}-{names('', region, workspace).h}"


def _checked(name: str) -> str:
    if len(name) > LONGEST or not _NAME.fullmatch(name):
        raise AzureTrouble("foreign", f"The name {name!r} cannot be used in Azure",
                           f"it must have at most {LONGEST} lower-case letters, digits and single hyphens, starting with a letter.",
                           "Use the id of a run or deployment of Luthier.")
    return name
