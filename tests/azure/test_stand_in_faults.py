"""Each fault that the stand-in can play, met by the plain clients: what they make of it is what the product has to expect."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from azure.core.exceptions import (
    HttpResponseError,
    IncompleteReadError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceResponseError,
    ServiceResponseTimeoutError,
)
from azure.mgmt.resource.resources import ResourceManagementClient

from tests.azure.cloud import Cloud
from tests.azure.executions import fails_at_once, never_starts
from tests.azure.faults import Fault
from tests.azure.test_stand_in import client, job_body, prepared

RG, JOB = "rg", "luthier-run-r1"
ONCE = {"retry_total": 0, "polling": False}


@pytest.fixture
def apps(cloud: Cloud) -> Any:
    """A client and a job that is ready; its executions stay Running."""
    made = prepared(cloud)
    made.jobs.begin_create_or_update(RG, JOB, job_body(["python3"])).result()
    cloud.script(*(never_starts() for _ in range(8)))
    return made


def running(cloud: Cloud) -> int:
    """How many executions were begun."""
    return len(cloud.executions)


def start(apps: Any, **how: Any) -> Any:
    """One start."""
    return apps.jobs.begin_start(RG, JOB, **how).result()


@pytest.mark.parametrize("fault", [Fault.ACCEPTED_503, Fault.ACCEPTED_503_RETRY_AFTER])
def test_a_503_after_it_was_accepted_makes_two_executions_of_one_start_by_the_default_policy(cloud: Cloud, apps: Any, fault: Fault) -> None:
    cloud.faults.at("POST", "/start$", fault)
    start(apps, polling=False)
    assert running(cloud) == 2


OUTCOMES = [
    pytest.param(Fault.ACCEPTED_503, HttpResponseError, id="503"),
    pytest.param(Fault.ACCEPTED_503_RETRY_AFTER, HttpResponseError, id="503 with Retry-After"),
    pytest.param(Fault.TORN_BODY, IncompleteReadError, id="torn body"),
    pytest.param(Fault.TRUNCATED_JSON, json.JSONDecodeError, id="truncated JSON"),
    pytest.param(Fault.EMPTY_200, json.JSONDecodeError, id="200 without a body"),
    pytest.param(Fault.ACCEPTED_202_THEN_204, json.JSONDecodeError, id="202 without a body"),
    pytest.param(Fault.DROP, ServiceResponseError, id="connection cut before the answer"),
]


@pytest.mark.parametrize(("fault", "error"), OUTCOMES)
def test_a_start_that_is_sent_once_begins_one_execution_however_its_answer_is_lost(cloud: Cloud, apps: Any, fault: Fault,
                                                                                 error: type[Exception]) -> None:
    cloud.faults.at("POST", "/start$", fault)
    with pytest.raises(error):
        start(apps, **ONCE)
    assert running(cloud) == 1


def test_a_read_that_times_out_after_it_was_accepted_is_an_error_of_its_own(cloud: Cloud, apps: Any) -> None:
    cloud.faults.at("POST", "/start$", Fault.HANG)
    with pytest.raises(ServiceResponseTimeoutError):
        start(apps, **ONCE, read_timeout=0.3)
    assert running(cloud) == 1


def test_a_202_that_ends_in_204_gives_no_name(cloud: Cloud, apps: Any) -> None:
    cloud.faults.at("POST", "/start$", Fault.ACCEPTED_202_THEN_204)
    assert start(apps, retry_total=0, polling_interval=0) is None
    assert running(cloud) == 1


def test_a_202_that_ends_in_200_gives_the_name(cloud: Cloud, apps: Any) -> None:
    cloud.faults.at("POST", "/start$", Fault.ACCEPTED_202_THEN_200)
    assert start(apps, retry_total=0, polling_interval=0).name == cloud.executions[0].name


def test_a_refused_start_begins_nothing(cloud: Cloud, apps: Any) -> None:
    cloud.faults.at("POST", "/start$", Fault.REFUSED_503)
    with pytest.raises(HttpResponseError):
        start(apps, **ONCE)
    assert running(cloud) == 0


def names(apps: Any) -> list[str]:
    """The executions that the list shows."""
    return [each.name for each in apps.jobs_executions.list(RG, JOB)]


def test_an_execution_may_be_seen_only_later(cloud: Cloud, apps: Any) -> None:
    cloud.faults.at("POST", "/start$", Fault.LATE, seconds=3600)
    name = start(apps, **ONCE).name
    with pytest.raises(ResourceNotFoundError):
        apps.job_execution(RG, JOB, name)
    assert names(apps) == []
    cloud.executions[0].visible_at = 0
    assert names(apps) == [name]


def test_one_start_may_make_two_executions(cloud: Cloud, apps: Any) -> None:
    cloud.faults.at("POST", "/start$", Fault.TWICE)
    assert start(apps, **ONCE).name in names(apps)
    assert len(names(apps)) == 2


def test_an_execution_may_be_gone(cloud: Cloud, apps: Any) -> None:
    cloud.faults.at("POST", "/start$", Fault.GONE)
    start(apps, **ONCE)
    assert names(apps) == []


def test_an_execution_may_fail_at_once_without_a_log(cloud: Cloud, apps: Any) -> None:
    cloud.world.scripts[:] = [fails_at_once()]
    shown = apps.job_execution(RG, JOB, start(apps, **ONCE).name).properties
    assert (shown.status, shown.reason) == ("Failed", "BackoffLimitExceeded")


REFUSALS = [
    pytest.param(Fault.THROTTLED, 429, "TooManyRequests", id="429"),
    pytest.param(Fault.DENIED, 403, "AuthorizationFailed", id="a missing role"),
    pytest.param(Fault.POLICY, 403, "RequestDisallowedByPolicy", id="a policy"),
    pytest.param(Fault.UNAUTHORIZED, 401, "ExpiredAuthenticationToken", id="an expired sign-in"),
]


@pytest.mark.parametrize(("fault", "status", "code"), REFUSALS)
def test_a_refusal_carries_its_status_and_code(cloud: Cloud, apps: Any, fault: Fault, status: int, code: str) -> None:
    cloud.faults.at("GET", f"/jobs/{JOB}$", fault, times=4)
    with pytest.raises(HttpResponseError) as refused:
        apps.jobs.get(RG, JOB, retry_total=0)
    assert (refused.value.status_code, refused.value.error and refused.value.error.code) == (status, code)


def test_an_answer_of_the_test_s_own_is_given_as_it_stands(cloud: Cloud, apps: Any) -> None:
    cloud.faults.at("GET", f"/jobs/{JOB}$", Fault.ANSWER, status=423, code="ScopeLocked", message="locked")
    with pytest.raises(HttpResponseError, match="locked") as refused:
        apps.jobs.get(RG, JOB)
    assert refused.value.status_code == 423


def test_a_429_says_when_to_come_back_and_the_default_policy_does(cloud: Cloud, apps: Any) -> None:
    cloud.faults.at("GET", f"/jobs/{JOB}$", Fault.THROTTLED, seconds=1)
    assert apps.jobs.get(RG, JOB).name == JOB


def test_an_unregistered_provider_is_registered_by_the_clients_own_policy(cloud: Cloud, apps: Any) -> None:
    cloud.world.registered["microsoft.app"] = False
    resources = client(cloud, ResourceManagementClient)
    assert resources.providers.get("Microsoft.App").registration_state == "NotRegistered"
    resources.providers.register("Microsoft.App")
    assert resources.providers.get("Microsoft.App").registration_state == "Registered"


def put(cloud: Cloud, apps: Any) -> Callable[[], Any]:
    """A change of the job, to be waited for."""
    return lambda: apps.jobs.begin_create_or_update(RG, JOB, job_body(["python3", "again"])).result()


def test_an_operation_that_fails_raises_with_status_200_and_its_own_code(cloud: Cloud, apps: Any) -> None:
    cloud.faults.at("PUT", f"/jobs/{JOB}$", Fault.OPERATION_FAILED, code="QuotaExceeded", message="no GPU")
    with pytest.raises(HttpResponseError) as failed:
        put(cloud, apps)()
    assert (failed.value.status_code, failed.value.error and failed.value.error.code) == (200, "QuotaExceeded")


def test_an_operation_that_is_cancelled_raises_without_a_code(cloud: Cloud, apps: Any) -> None:
    cloud.faults.at("PUT", f"/jobs/{JOB}$", Fault.OPERATION_CANCELED)
    with pytest.raises(HttpResponseError) as failed:
        put(cloud, apps)()
    assert failed.value.error is None


def test_an_operation_may_succeed_and_leave_a_failed_resource_without_raising(cloud: Cloud, apps: Any) -> None:
    cloud.faults.at("PUT", f"/jobs/{JOB}$", Fault.RESOURCE_FAILED)
    assert put(cloud, apps)().properties.provisioning_state == "Failed"


def test_a_404_while_polling_is_no_not_found(cloud: Cloud, apps: Any) -> None:
    cloud.faults.at("PUT", f"/jobs/{JOB}$", Fault.POLL_404)
    with pytest.raises(HttpResponseError) as failed:
        put(cloud, apps)()
    assert not isinstance(failed.value, ResourceNotFoundError)


def test_a_stuck_operation_never_ends(cloud: Cloud, apps: Any) -> None:
    cloud.faults.at("PUT", f"/jobs/{JOB}$", Fault.OPERATION_STUCK)
    poller = apps.jobs.begin_create_or_update(RG, JOB, job_body(["python3", "again"]))
    poller.wait(0.2)
    assert not poller.done()
    cloud.world.operations.clear()
    with pytest.raises(HttpResponseError):
        poller.result()


@pytest.mark.parametrize("gone", ["begin_delete", "begin_stop_execution"])
def test_what_is_gone_already_is_not_found(cloud: Cloud, apps: Any, gone: str) -> None:
    with pytest.raises(ResourceNotFoundError):
        apps.jobs.begin_delete(RG, "luthier-run-no") if gone == "begin_delete" else apps.jobs.begin_stop_execution(RG, JOB, "no")


def test_a_test_may_act_in_the_middle_of_a_request(cloud: Cloud, apps: Any) -> None:
    cloud.faults.at("GET", f"/jobs/{JOB}$", Fault.CALL, call=lambda world: world.resources.clear())
    with pytest.raises(ResourceNotFoundError):
        apps.jobs.get(RG, JOB)


def test_a_fault_may_wait_for_a_later_request(cloud: Cloud, apps: Any) -> None:
    cloud.faults.at("GET", f"/jobs/{JOB}$", Fault.DENIED, skip=1)
    apps.jobs.get(RG, JOB)
    with pytest.raises(HttpResponseError):
        apps.jobs.get(RG, JOB)
    assert cloud.faults.happened == [Fault.DENIED]


def test_somebody_without_an_identity_gets_no_token(cloud: Cloud) -> None:
    from azure.core.exceptions import ClientAuthenticationError

    cloud.world.signed_in = False
    with pytest.raises(ClientAuthenticationError):
        list(client(cloud).jobs.list_by_subscription())


def test_another_authority_s_certificate_is_refused(cloud: Cloud, apps: Any) -> None:
    from azure.identity import DefaultAzureCredential
    from azure.mgmt.appcontainers import ContainerAppsAPIClient

    stranger = ContainerAppsAPIClient(DefaultAzureCredential(), cloud.world.subscription, base_url=cloud.endpoint)
    with pytest.raises(ServiceRequestError):
        stranger.jobs.get(RG, JOB, retry_total=0)
