"""Real answers of 2024, read by the product's own client, jobs and apps."""

from typing import Any

import pytest

from tests.azure import contract
from tests.azure.replay import SUBSCRIPTION, Remembering, Replayed, Tape
from tools.azure import existing, provision
from tools.azure.apps import _seen
from tools.azure.credential import Hidden
from tools.azure.existing import Wanted, profiles_of
from tools.azure.infrastructure import PROVIDERS
from tools.azure.jobs import RUN_KEY, Jobs, JobSpec
from tools.azure.place import CloudPlace, Shape, plain
from tools.azure.remedy import state_of
from tools.azure.trouble import AzureTrouble

RG = "clitest.rg000001"


def replayed(name: str, *, tagged: bool = False) -> Replayed:
    """A client on a recording; the test skips without the data folder."""
    return Replayed(Tape(contract.need() / "recordings" / f"test_{name}.yaml", tagged=tagged))


def jobs(azure: Replayed) -> Jobs:
    """The product's jobs in the recorded group."""
    place = CloudPlace(SUBSCRIPTION, "t", RG, "northcentralusstage", "e", "/e", "d", "a", "https://a/", "s", "l", "c", "i@sha256:0")
    return Jobs(azure, place)


def made(azure: Replayed, job: str) -> Any:
    """A job as it is created, waited for as the product waits."""
    return azure.wait("The job was not made", lambda: azure.containers().jobs.begin_create_or_update(RG, job, {"location": "x"}))


def test_a_job_is_made_polled_read_listed_changed_and_deleted() -> None:
    azure = replayed("containerapp_manualjob_crudoperations_e2e", tagged=True)
    job = made(azure, "job1000002")
    assert (job.properties.configuration.replica_timeout, state_of(job)) == (200, "succeeded")
    state = jobs(azure).get("job1000002")
    assert state is not None
    assert (state.provisioning, state.ours) == ("Succeeded", True)
    assert [each.name for each in jobs(azure).managed()] == ["job1000002"]
    changed = azure.wait("The job was not changed", lambda: azure.containers().jobs.begin_update(RG, "job1000002", {}))
    assert changed.properties.configuration.replica_timeout == 300
    jobs(azure).delete("job1000002")
    assert [status for method, path, status in azure.tape.played if "OperationResults" in path][-2:] == [202, 204]


def test_a_recorded_job_of_somebody_else_is_neither_ours_nor_deleted() -> None:
    azure = replayed("containerapp_manualjob_crudoperations_e2e")
    made(azure, "job1000002")
    state = jobs(azure).get("job1000002")
    assert state is not None
    assert not state.ours
    with pytest.raises(AzureTrouble) as refused:
        jobs(azure).delete("job1000002")
    assert refused.value.trouble == "foreign"
    assert "DELETE" not in [method for method, _, _ in azure.tape.played]


def test_a_job_without_limits_gets_the_services_own() -> None:
    azure = replayed("containerapp_manualjob_defaults_e2e", tagged=True)
    job = made(azure, "job4000002")
    assert (job.properties.configuration.replica_timeout, job.properties.configuration.replica_retry_limit) == (1800, 0)
    jobs(azure).delete("job4000002")


def test_a_log_workspace_and_its_key_are_read() -> None:
    azure = replayed("containerapp_env_storage")
    logs = azure.wait("The log workspace was not made", lambda: azure.log_workspaces().workspaces.begin_create_or_update(
        RG, "containerapp-env000005", {"location": "eastus"}))
    assert (state_of(logs), bool(logs.properties.customer_id)) == ("succeeded", True)
    keys = azure.call("The key was not read", lambda: azure.log_workspaces().shared_keys.get_shared_keys(RG, "containerapp-env000005"))
    assert keys.primary_shared_key


def environment(azure: Replayed, name: str) -> Any:
    """An environment as it is created."""
    return azure.wait("The environment was not made", lambda: azure.containers().managed_environments.begin_create_or_update(
        RG, name, {"location": "x"}))


def test_an_environment_is_missing_made_and_polled_until_it_is_ready() -> None:
    azure = replayed("containerapp_env_storage")
    with pytest.raises(AzureTrouble) as missing:
        azure.call("It was not read", lambda: azure.containers().managed_environments.get(RG, "containerapp-env000002"))
    assert missing.value.trouble == "not_found"
    found = environment(azure, "containerapp-env000002")
    polls = [status for _, path, status in azure.tape.played if "OperationStatuses" in path]
    assert (state_of(found), set(profiles_of(found)), plain(found.location)) == ("succeeded", {"Consumption"}, "northcentralus(stage)")
    assert len(polls) > 10


def test_an_account_its_share_its_key_and_its_link_are_made_read_and_taken_away() -> None:
    azure = replayed("containerapp_env_storage")
    environment(azure, "containerapp-env000002")
    accounts, links = azure.storage().storage_accounts, azure.containers().managed_environments_storages
    account = azure.wait("The account was not made", lambda: accounts.begin_create(RG, "storage000003", {
        "location": "eastus", "sku": {"name": "Standard_LRS"}, "kind": "StorageV2"}))
    assert state_of(account) == "succeeded"
    azure.call("The share was not made", lambda: azure.storage().file_shares.create(RG, "storage000003", "share000004", {}))
    assert azure.call("No key", lambda: accounts.list_keys(RG, "storage000003")).keys_property[0].value
    where = (RG, "containerapp-env000002", "storage000003")
    with pytest.raises(AzureTrouble) as missing:
        azure.call("It was not read", lambda: links.get(*where))
    assert missing.value.code == "ManagedEnvironmentStorageNotFound"
    azure.call("It was not linked", lambda: links.create_or_update(*where, {}))
    link = azure.call("It was not read", lambda: links.get(*where)).properties.azure_file
    assert (link.account_name, link.account_key) == ("storage000003", None)
    azure.call("It was not taken away", lambda: links.delete(*where))
    assert azure.call("They were not listed", lambda: links.list(RG, "containerapp-env000002")).value == []


def test_an_app_its_revisions_and_its_change_are_read_as_the_product_reads_them() -> None:
    azure = replayed("container_app_mount_azurefile_e2e")
    apps = azure.containers()
    azure.wait("The app was not made", lambda: apps.container_apps.begin_create_or_update(RG, "app1000003", {"location": "x"}))
    app = azure.call("It was not read", lambda: apps.container_apps.get(RG, "app1000003"))
    revisions = azure.call("They were not read", lambda: list(apps.container_apps_revisions.list_revisions(RG, "app1000003")))
    seen = _seen(app, revisions)
    assert (seen.provisioning, seen.running, [each.name for each in seen.revisions]) == ("succeeded", "running", [revisions[0].name])
    assert seen.fqdn.endswith(".azurecontainerapps.io")
    assert azure.check_host(f"https://{seen.fqdn}/", "apps")
    assert app.properties.template.scale.max_replicas == 10
    changed = azure.wait("The app was not changed", lambda: apps.container_apps.begin_update(RG, "app1000003", {}))
    assert changed.properties.template.volumes[0].mount_options == "uid=1000,gid=1000"


class Named:
    """What the recordings call what the product makes."""

    storage, share, log_workspace, environment = "storage000004", "share000005", "containerapp-env000006", "env000002"

    def job(self, run_id: str) -> str:
        """The job of any run."""
        return "job1000002"


def whole(name: str) -> Replayed:
    """A client for work as a whole. No recording looks at its group, nor at a provider other than Microsoft.App."""
    given = {f"/subscriptions/{SUBSCRIPTION}/providers/{each}".lower(): {"namespace": each, "registrationState": "Registered"}
             for each in PROVIDERS}
    given[f"/subscriptions/{SUBSCRIPTION}/resourcegroups/{RG}".lower()] = {"name": RG, "location": "eastus"}
    azure = Replayed(Remembering(contract.need() / "recordings" / f"test_{name}.yaml", given))
    azure.named = Named()
    return azure


def changes(azure: Replayed) -> list[tuple[str, str]]:
    """Method and kind of everything that changed something, in order."""
    kinds = [(method, path.split("/")) for method, path, _ in azure.tape.played if method in ("PUT", "PATCH", "DELETE")]
    return [(method, parts[-2]) for method, parts in kinds]


def test_a_region_is_prepared_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (provision, existing):
        monkeypatch.setattr(module, "STORAGES", ((Named.share, "ReadWrite"),))  # no recording links two storages
    azure = whole("container_app_mount_azurefile_e2e")
    wanted = Wanted(SUBSCRIPTION, "t", RG, "northcentralus(stage)", ("Consumption",), "i@sha256:0")
    place = provision.Provisioning(azure, wanted).ensure(lambda text, share: None)
    assert changes(azure) == [("PUT", each) for each in ("storageAccounts", "shares", "workspaces", "managedEnvironments", "storages")]
    assert place.environment_id.endswith("/managedEnvironments/env000002") and place.domain.endswith(".azurecontainerapps.io")
    assert place.files == "https://storage000004.file.core.windows.net/" and place.log_customer and not place.group_is_ours
    found = {each.kind: (each.state, each.why) for each in existing.Existing(azure, wanted).look()}
    assert found.pop("storage account") == ("different", "it gets TLS 1.2"), "the recorded account was asked for without"
    assert set(found.values()) == {("there", "")}


def test_the_job_of_a_run_is_put_as_a_whole() -> None:
    azure = whole("containerapp_manualjob_crudoperations_e2e")
    jobs(azure).put(JobSpec("0123456789", 1, Shape("Consumption", 4, 8), 600, "e" * 16, "2030-01-01T00:00:00Z"), {RUN_KEY: Hidden("k")})
    state = jobs(azure).get("job1000002")
    assert state is not None and (state.provisioning, state.ours) == ("Succeeded", True)
    assert changes(azure) == [("PUT", "jobs")]
    assert [each.name for each in jobs(azure).managed()] == ["job1000002"]


def test_a_signed_address_of_an_operation_is_polled_as_it_was_given() -> None:
    azure = replayed("containerapp_manualjob_crudoperations_e2e")
    asked: list[str] = []
    send = azure.tape.send
    azure.tape.send = lambda request, **more: asked.append(str(request.url)) or send(request, **more)  # type: ignore[method-assign]
    made(azure, "job1000002")
    polled = [each for each in asked if "OperationStatuses" in each]
    assert polled
    assert all(len(each) > 3000 for each in polled)
