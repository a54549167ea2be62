"""A region of the stand-in that is prepared already, for tests that begin where `prepare_cloud` ends."""

import uuid

from tests.azure.world import DISPLAY, World, new_key
from tools.azure.choice import AzureChoice
from tools.azure.names import group_name, names, tags
from tools.azure.place import READ_ONLY, READ_WRITE, CloudPlace

IMAGE = "docker.io/pytorch/pytorch@sha256:" + "fa4e" * 16
"""By an obviously fake digest."""


def prepare(world: World, choice: AzureChoice, workspace: str, region: str = "westus3") -> CloudPlace:
    """Put the resources of a region there and give their place; nothing is sent."""
    group = group_name(choice, workspace, region)
    named, marked = names(world.subscription, group, workspace), tags(workspace)
    inside = f"/subscriptions/{world.subscription}/resourceGroups/{group}"
    profiles = tuple(each["name"] for each in world.profiles[region] if each["name"].startswith("Consumption"))
    customer = str(uuid.uuid4())

    def put(rid: str, kind: str, /, **more: object) -> None:
        world.resources[rid.lower()] = {"id": rid, "name": rid.rpartition("/")[2], "type": kind,
                                        "location": DISPLAY[region], "tags": marked, **more}

    put(inside, "Microsoft.Resources/resourceGroups", properties={"provisioningState": "Succeeded"})
    world.resources[inside.lower()]["location"] = region
    account = f"{inside}/providers/Microsoft.Storage/storageAccounts/{named.storage}"
    put(account, "Microsoft.Storage/storageAccounts", sku={"name": "Standard_LRS", "tier": "Standard"}, kind="StorageV2", properties={
        "provisioningState": "Succeeded", "primaryEndpoints": {"file": world.addresses["files"] + "/"}, "supportsHttpsTrafficOnly": True,
        "minimumTlsVersion": "TLS1_2", "allowBlobPublicAccess": False, "allowSharedKeyAccess": True, "largeFileSharesState": "Enabled"})
    world.hidden[account.lower()] = [new_key(), new_key()]
    put(f"{account}/fileServices/default/shares/{named.share}", "Microsoft.Storage/storageAccounts/fileServices/shares",
        properties={"shareQuota": 1024})
    logs = f"{inside}/providers/Microsoft.OperationalInsights/workspaces/{named.log_workspace}"
    put(logs, "Microsoft.OperationalInsights/workspaces", properties={"provisioningState": "Succeeded", "customerId": customer})
    world.hidden[logs.lower()] = [new_key(), new_key()]
    environment = f"{inside}/providers/Microsoft.App/managedEnvironments/{named.environment}"
    domain = f"example-00000000.{region}.azurecontainerapps.io"
    put(environment, "Microsoft.App/managedEnvironments", properties={
        "provisioningState": "Succeeded", "defaultDomain": domain, "zoneRedundant": False,
        "appLogsConfiguration": {"destination": "log-analytics", "logAnalyticsConfiguration": {"customerId": customer, "sharedKey": None}},
        "workloadProfiles": [{"name": each, "workloadProfileType": each} for each in profiles]})
    for name, access in ((READ_WRITE, "ReadWrite"), (READ_ONLY, "ReadOnly")):
        rid = f"{environment}/storages/{name}"
        world.resources[rid.lower()] = {"id": rid, "name": name, "type": "Microsoft.App/managedenvironments/storages", "properties": {
            "azureFile": {"accountName": named.storage, "shareName": named.share, "accessMode": access}}}
    return CloudPlace(
        subscription=world.subscription, tenant=world.tenant, group=group, region=region, environment=named.environment,
        environment_id=environment, domain=domain, account=named.storage, files=world.addresses["files"] + "/", share=named.share,
        log_workspace=named.log_workspace, log_customer=customer, image=IMAGE, image_named="docker.io/pytorch/pytorch:latest",
        profiles=profiles, group_is_ours=not choice.group)
