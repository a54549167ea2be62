"""The bodies of what is prepared in a region: the same resources as infra/main.bicep makes by hand."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from tools.azure.names import tags

SHARE_GIB = 1024
"""The most that the share may hold. What it holds is what is paid for."""
LOG_DAYS, LOG_GIB_A_DAY = 30, 1
"""How long logs are kept, and the most of them that a day may bring: a run that prints without end costs no more."""
CONSUMPTION = "Consumption"
PROVIDERS = ("Microsoft.App", "Microsoft.OperationalInsights", "Microsoft.Storage")
"""Namespaces that the subscription must have registered."""


def group(workspace: str, region: str) -> dict[str, Any]:
    """Resource group."""
    return {"location": region, "tags": tags(workspace)}


def account(workspace: str, region: str) -> dict[str, Any]:
    """Storage account: https, no public blobs, and shared keys, without which no container mounts a share."""
    properties = {
        "supportsHttpsTrafficOnly": True, "minimumTlsVersion": "TLS1_2", "allowBlobPublicAccess": False, "allowSharedKeyAccess": True,
        "largeFileSharesState": "Enabled",
    }
    return tagged(workspace, {"location": region, "kind": "StorageV2", "sku": {"name": "Standard_LRS"}, "properties": properties})


def share() -> dict[str, Any]:
    """File share."""
    return {"properties": {"shareQuota": SHARE_GIB}}


def log_workspace(workspace: str, region: str) -> dict[str, Any]:
    """Log Analytics workspace, with a cap for each day."""
    properties = {"sku": {"name": "PerGB2018"}, "retentionInDays": LOG_DAYS, "workspaceCapping": {"dailyQuotaGb": LOG_GIB_A_DAY}}
    return tagged(workspace, {"location": region, "properties": properties})


def environment(
    workspace: str, region: str, profiles: Sequence[str], customer: str, key: str, kept: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Container Apps environment. `profiles` are serverless ones: they have no counts, and cost nothing while nothing runs.

    `kept` are profiles that somebody else added to it, as they were read.
    """
    logs = {"customerId": customer, "sharedKey": key}
    properties = {
        "appLogsConfiguration": {"destination": "log-analytics", "logAnalyticsConfiguration": logs},
        "workloadProfiles": [*({"name": each, "workloadProfileType": each} for each in profiles), *kept], "zoneRedundant": False,
    }
    return tagged(workspace, {"location": region, "properties": properties}, without=("sharedKey",))


def storage(name: str, key: str, share_name: str, access: Literal["ReadWrite", "ReadOnly"]) -> dict[str, Any]:
    """The link from an environment to the share of the account `name`."""
    return {"properties": {"azureFile": {"accountName": name, "accountKey": key, "shareName": share_name, "accessMode": access}}}


def tagged(workspace: str, body: Mapping[str, Any], without: Sequence[str] = ()) -> dict[str, Any]:
    """The body with our tags, one of which is its own digest, the keys in `without` left out."""
    return {**body, "tags": tags(workspace, spec=spec_of(body, without))}


def spec_of(body: Mapping[str, Any], without: Sequence[str] = ()) -> str:
    """16 hex digits of the SHA-256 of a body, whatever the order of its keys."""
    def cleaned(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: cleaned(each) for key, each in value.items() if key not in without}
        return [cleaned(each) for each in value] if isinstance(value, list | tuple) else value

    return hashlib.sha256(json.dumps(cleaned(body), sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:16]
