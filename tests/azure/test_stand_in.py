"""The stand-in for Azure itself, with the plain clients."""

from typing import Any

import pytest
from azure.identity import DefaultAzureCredential
from azure.mgmt.appcontainers import ContainerAppsAPIClient
from azure.mgmt.loganalytics import LogAnalyticsManagementClient
from azure.mgmt.resource.resources import ResourceManagementClient
from azure.mgmt.storage import StorageManagementClient

from tests.azure.arm_prepared import prepare
from tests.azure.cloud import WORKSPACE, Cloud
from tests.azure.executions import ScriptedExecution
from tests.azure.world import SUBSCRIPTION
from tools.azure.names import names

DIGEST = "docker.io/library/fake@sha256:" + "fa4e" * 16


def client(cloud: Cloud, kind: Any = ContainerAppsAPIClient, **more: Any) -> Any:
    """A plain client of the SDK."""
    return kind(DefaultAzureCredential(), cloud.world.subscription, base_url=cloud.endpoint, connection_verify=str(cloud.ca),
                credential_scopes=["https://management.azure.com/.default"], **more)


ENVIRONMENT = (f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg/providers/Microsoft.App/managedEnvironments/"
               + names(SUBSCRIPTION, "rg", WORKSPACE).environment)


def prepared(cloud: Cloud) -> Any:
    """A prepared region in the group `rg`, and the folder of the run; gives the client of jobs and apps."""
    prepare(cloud.world, cloud.choice(group="rg"), WORKSPACE)
    (cloud.share_root / "runs" / "r1").mkdir(parents=True)
    return client(cloud)


def job_body(command: list[str], **changes: Any) -> dict[str, Any]:
    """A job that runs a command on its folder of the share."""
    return {"location": "westus3", "tags": {"luthier-managed": "1"}, "properties": {
        "environmentId": ENVIRONMENT, "workloadProfileName": "Consumption",
        "configuration": {"triggerType": "Manual", "replicaTimeout": 600, "replicaRetryLimit": 0,
                          "manualTriggerConfig": {"replicaCompletionCount": 1, "parallelism": 1},
                          "secrets": [{"name": "run-key", "value": "the key"}], **changes},
        "template": {
            "containers": [{"name": "main", "image": DIGEST, "command": command[:1], "args": command[1:],
                            "env": [{"name": "LUTHIER_RUN_ID", "value": "r1"}, {"name": "LUTHIER_RUN", "value": "/luthier/run"}],
                            "resources": {"cpu": 2.0, "memory": "4.0Gi"},
                            "volumeMounts": [{"volumeName": "run", "mountPath": "/luthier/run", "subPath": "runs/r1"},
                                             {"volumeName": "secrets", "mountPath": "/luthier/secrets"}]}],
            "volumes": [{"name": "run", "storageType": "AzureFile", "storageName": "luthier-rw"},
                        {"name": "secrets", "storageType": "Secret", "secrets": [{"secretRef": "run-key", "path": "run-key"}]}]}}}


SCRIPT = "import os,sys;open('/luthier/run/out','w').write(open('/luthier/secrets/run-key').read()+os.environ['LUTHIER_RUN_ID'])"


def test_a_job_runs_its_command_on_the_share_and_shows_how_it_ended(cloud: Cloud) -> None:
    apps = prepared(cloud)
    job = apps.jobs.begin_create_or_update("rg", "luthier-run-r1", job_body(["python3", "-c", SCRIPT])).result()
    assert job.properties.provisioning_state == "Succeeded"
    name = apps.jobs.begin_start("rg", "luthier-run-r1", retry_total=0, polling=False).result().name
    assert cloud.executions[0].ended.wait(20)
    shown = apps.job_execution("rg", "luthier-run-r1", name)
    assert (shown.properties.status, shown.properties.detailed_status.replicas[0].containers[0].code) == ("Succeeded", 0)
    assert (cloud.share_root / "runs/r1/out").read_text() == "the keyr1"


def test_a_stop_ends_the_child_as_a_container_ends(cloud: Cloud) -> None:
    apps = prepared(cloud)
    program = "import signal,sys;signal.signal(15,lambda *_:sys.exit(75));open('/luthier/run/up','w');signal.pause()"
    apps.jobs.begin_create_or_update("rg", "luthier-run-r1", job_body(["python3", "-c", program])).result()
    name = apps.jobs.begin_start("rg", "luthier-run-r1", retry_total=0, polling=False).result().name
    while not (cloud.share_root / "runs/r1/up").exists():
        cloud.executions[0].ended.wait(0.02)
    apps.jobs.begin_stop_execution("rg", "luthier-run-r1", name).result()
    assert cloud.executions[0].ended.wait(20)
    shown = apps.job_execution("rg", "luthier-run-r1", name).properties
    assert (shown.status, shown.detailed_status.replicas[0].containers[0].code) == ("Stopped", 75)


def test_a_scripted_execution_writes_what_a_test_says(cloud: Cloud) -> None:
    apps = prepared(cloud)
    cloud.script(ScriptedExecution(lambda each: (each.run_folder / "started.json").write_text("{}") and None))
    apps.jobs.begin_create_or_update("rg", "luthier-run-r1", job_body(["python3"])).result()
    apps.jobs.begin_start("rg", "luthier-run-r1", retry_total=0, polling=False)
    assert [each.properties.status for each in apps.jobs_executions.list("rg", "luthier-run-r1")] == ["Running"]
    assert (cloud.share_root / "runs/r1/started.json").read_text() == "{}"


@pytest.mark.parametrize("kind", ["usages", "profiles"])
def test_a_region_says_what_it_offers(cloud: Cloud, kind: str) -> None:
    apps = client(cloud)
    rows = list(apps.usages.list("westus3") if kind == "usages" else apps.available_workload_profiles.get("westus3"))
    assert len(rows) > 3


def test_a_region_can_be_prepared_through_the_clients(cloud: Cloud) -> None:
    resources, storage = client(cloud, ResourceManagementClient), client(cloud, StorageManagementClient)
    resources.resource_groups.create_or_update("rg", {"location": "westus3", "tags": {"luthier-managed": "1"}})
    storage.storage_accounts.begin_create("rg", "luthieraccount", {
        "location": "westus3", "sku": {"name": "Standard_LRS"}, "kind": "StorageV2", "tags": {"luthier-managed": "1"},
        "properties": {"supportsHttpsTrafficOnly": True, "minimumTlsVersion": "TLS1_2", "allowBlobPublicAccess": False}}).result()
    storage.file_shares.create("rg", "luthieraccount", "luthier", {"properties": {"shareQuota": 100}})
    key = storage.storage_accounts.list_keys("rg", "luthieraccount").keys_property[0].value
    logs = client(cloud, LogAnalyticsManagementClient)
    made = logs.workspaces.begin_create_or_update("rg", "luthier-log", {
        "location": "westus3", "properties": {"sku": {"name": "PerGB2018"}, "retentionInDays": 30}}).result()
    shared = logs.shared_keys.get_shared_keys("rg", "luthier-log").primary_shared_key
    apps = client(cloud)
    apps.managed_environments.begin_create_or_update("rg", "luthier-env", {
        "location": "westus3", "properties": {
            "appLogsConfiguration": {"destination": "log-analytics", "logAnalyticsConfiguration": {
                "customerId": made.properties.customer_id, "sharedKey": shared}},
            "workloadProfiles": [{"name": "Consumption", "workloadProfileType": "Consumption"}], "zoneRedundant": False}}).result()
    apps.managed_environments_storages.create_or_update("rg", "luthier-env", "luthier-rw", {"properties": {"azureFile": {
        "accountName": "luthieraccount", "accountKey": key, "shareName": "luthier", "accessMode": "ReadWrite"}}})
    kinds = [each.type for each in resources.resources.list(filter="tagName eq 'luthier-managed' and tagValue eq '1'")]
    assert sorted(kinds) == ["Microsoft.Storage/storageAccounts"]
    assert {each.type for each in resources.resources.list_by_resource_group("rg")} == {
        "Microsoft.Storage/storageAccounts", "Microsoft.OperationalInsights/workspaces", "Microsoft.App/managedEnvironments"}
    assert [each.name for each in apps.managed_environments_storages.list("rg", "luthier-env").value] == ["luthier-rw"]
    resources.resource_groups.begin_delete("rg").result()
    assert not resources.resource_groups.check_existence("rg")
