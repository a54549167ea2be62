"""What is sent to Azure, held to three contracts: our own, the published types, the models of Azure's own clients."""

import copy
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.mgmt.appcontainers import models
from azure.mgmt.loganalytics import models as logs
from azure.mgmt.storage import models as storage

from tests.azure import contract, schema
from tests.azure.cloud import Cloud
from tests.azure.test_apps_stand_in import app_body
from tests.azure.test_stand_in import client, job_body, prepared
from tools.azure import infrastructure

WORKSPACE = "w"
SENT = {
    "account": (infrastructure.account(WORKSPACE, "westus3"), storage.StorageAccountCreateParameters),
    "share": (infrastructure.share(), storage.FileShare),
    "workspace": (infrastructure.log_workspace(WORKSPACE, "westus3"), logs.Workspace),
    "environment": (infrastructure.environment(WORKSPACE, "westus3", ("Consumption", "Consumption-GPU-NC8as-T4"), "c", "k"),
                    models.ManagedEnvironment),
    "storage": (infrastructure.storage("luthierx", "k", "luthier", "ReadOnly"), models.ManagedEnvironmentStorage),
}
"""The bodies of what is prepared, and the client's model of each."""


def bodies() -> dict[str, tuple[dict[str, Any], type]]:
    """Those, and a job and an app of the shape that is sent."""
    return {**SENT, "job": (job_body(["python3", "x"]), models.Job), "app": (app_body(), models.ContainerApp)}


def put(body: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with one value set, or taken away when it is None; a number in the path is a place in a list."""
    made = copy.deepcopy(body)
    *way, last = path.split("/")
    node: Any = made
    for each in way:
        node = node[int(each)] if each.isdigit() else node[each]
    if value is None:
        del node[last]
    else:
        node[last] = value
    return made


@pytest.mark.parametrize("name", [*SENT, "job", "app"])
def test_what_is_sent_keeps_to_our_own_schema_and_to_the_clients_models(name: str) -> None:
    body, model = bodies()[name]
    assert (schema.problem(name, "PUT", body), contract.strange_to(model, body)) == ("", [])


@pytest.mark.parametrize("name", [*SENT, "job", "app"])
def test_what_is_sent_keeps_to_the_published_types(name: str) -> None:
    root = contract.need()
    assert contract.first(contract.published(root, name, "request"), bodies()[name][0]) == ""


BROKEN = [
    pytest.param("job", "properties/configuration/replicaTimeOut", 5, True, id="a misspelt key"),
    pytest.param("job", "properties/configuration/replicaTimeout", None, True, id="a missing required key"),
    pytest.param("job", "properties/provisioningState", "Succeeded", True, id="a read-only key"),
    pytest.param("job", "properties/template/containers/0/resources/ephemeralStorage", "8Gi", True, id="a read-only key deep inside"),
    pytest.param("job", "properties/configuration/replicaTimeout", "600", True, id="a number as text"),
    pytest.param("job", "location", None, True, id="no region"),
    pytest.param("job", "properties/configuration/replicaRetryLimit", 3, False, id="retries of the platform's own"),
    pytest.param("app", "properties/configuration/ingress/ipSecurityRestrictions", [], False, id="an app open to everybody"),
    pytest.param("app", "properties/configuration/ingress/ipSecurityRestrictions/0/ipAddressRange", "0.0.0.0/0", False,
                 id="an app open to everybody by its rule"),
    pytest.param("app", "properties/template/scale", None, False, id="an app whose scale is left to the service"),
    pytest.param("app", "properties/configuration/ingress/fqdn", "x", True, id="an address that only Azure gives"),
    pytest.param("app", "properties/configuration/ingress/allowInsecure", True, False, id="plain http"),
    pytest.param("environment", "properties/workloadProfiles/1/minimumCount", 1, False, id="a profile that is always paid for"),
    pytest.param("environment", "properties/defaultDomain", "x", True, id="a read-only key of an environment"),
    pytest.param("account", "properties/minimumTlsVersion", "TLS1_0", False, id="an old TLS"),
    pytest.param("account", "properties/allowBlobPublicAcces", False, True, id="a misspelt key of an account"),
    pytest.param("storage", "properties/azureFile/accessmode", "ReadOnly", True, id="a key in the wrong case"),
]


@pytest.mark.parametrize(("name", "path", "value", "published"), BROKEN)
def test_a_body_that_breaks_the_contract_is_found(name: str, path: str, value: Any, published: bool) -> None:
    chosen = schema.own(name)
    assert chosen is not None
    assert contract.first(chosen, put(bodies()[name][0], path, value)) != ""


@pytest.mark.parametrize(("name", "path", "value", "published"), [each for each in BROKEN if each.values[3]])
def test_a_body_that_breaks_the_published_types_is_found(name: str, path: str, value: Any, published: bool) -> None:
    root = contract.need()
    assert contract.first(contract.published(root, name, "request"), put(bodies()[name][0], path, value)) != ""


@pytest.mark.parametrize(("path", "value"), [
    pytest.param("properties/configuration/replicaTimeOut", 5, id="unknown"),
    pytest.param("properties/template/containers/0/resources/ephemeralStorage", "8Gi", id="read-only"),
])
def test_a_key_that_the_clients_models_do_not_write_is_found(path: str, value: Any) -> None:
    assert [each.partition(":")[0] for each in contract.strange_to(models.Job, put(job_body(["x"]), path, value))] == [
        path.replace("/0/", "/")]


def test_the_stand_in_refuses_such_a_body_and_the_test_that_sent_it_fails(cloud: Cloud) -> None:
    apps = prepared(cloud)
    with pytest.raises(HttpResponseError) as refused:
        apps.jobs.begin_create_or_update("rg", "luthier-run-r1", put(job_body(["x"]), "properties/provisioningState", "Succeeded"))
    assert refused.value.status_code == 400
    assert len(cloud.violations) == 1
    cloud.violations.clear()


@pytest.mark.parametrize("name", ["job", "app", "environment", "storage"])
def test_the_stand_in_answers_in_the_published_shape(cloud: Cloud, name: str) -> None:
    root = contract.need()
    apps = prepared(cloud)
    if name in ("job", "app"):
        kind = apps.jobs if name == "job" else apps.container_apps
        kind.begin_create_or_update("rg", "luthier-thing", bodies()[name][0]).result()
    kinds = {"job": "Microsoft.App/jobs", "app": "Microsoft.App/containerApps", "environment": "Microsoft.App/managedEnvironments",
             "storage": "Microsoft.App/managedenvironments/storages"}
    answer = cloud.world.of_type(kinds[name])[0]
    assert contract.first(contract.published(root, name, "answer"), {key: answer[key] for key in answer if key != "type"}) == ""


def test_an_execution_is_read_back_in_the_clients_own_words(cloud: Cloud) -> None:
    apps = prepared(cloud)
    apps.jobs.begin_create_or_update("rg", "luthier-run-r1", job_body(["python3", "-c", "raise SystemExit(7)"])).result()
    name = apps.jobs.begin_start("rg", "luthier-run-r1", retry_total=0, polling=False).result().name
    assert cloud.executions[0].ended.wait(20)
    shown = apps.job_execution("rg", "luthier-run-r1", name).properties
    echoed = {each.name: each.value for each in shown.template.containers[0].env}
    assert (shown.status, shown.reason, shown.detailed_status.replicas[0].containers[0].code) == ("Failed", "BackoffLimitExceeded", 7)
    assert (echoed["LUTHIER_RUN_ID"], echoed["CONTAINER_APP_JOB_EXECUTION_NAME"]) == ("r1", name)
    assert shown.template.containers[0].get("volumeMounts") is None


def test_a_read_back_job_shows_no_secret_and_its_service_s_own_spelling(cloud: Cloud) -> None:
    apps = prepared(cloud)
    apps.jobs.begin_create_or_update("rg", "luthier-run-r1", job_body(["python3"])).result()
    job = client(cloud).jobs.get("rg", "luthier-run-r1")
    assert (job.location, job.properties.template.containers[0].resources.memory) == ("West US 3", "4Gi")
    assert [each.value for each in job.properties.configuration.secrets] == [None]
    assert [each.value for each in apps.jobs.list_secrets("rg", "luthier-run-r1").value] == ["the key"]
