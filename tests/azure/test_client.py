"""The way to Azure: signing in, errors as sentences, tries, and what may be spoken to."""

import json
from pathlib import Path
from typing import Any

import pytest
from azure.core.rest import HttpRequest

from tests.azure.cloud import Cloud
from tests.azure.faults import Fault
from tests.azure.told import trouble_of
from tools.azure import infrastructure
from tools.azure.choice import AzureChoice
from tools.azure.client import Azure
from tools.azure.credential import Hidden, bearer, claims
from tools.azure.hosts import HostKind, check_host, registry_of
from tools.azure.names import group_name, is_ours, names, tags

GROUP, ACCOUNT = infrastructure.group("w", "westus3"), infrastructure.account("w", "westus3")


def put_group(azure: Azure, name: str = "rg") -> Any:
    """A request that may be sent twice."""
    return azure.call("The group was not made", lambda: azure.resources().resource_groups.create_or_update(name, GROUP))


def test_the_account_says_who_is_signed_in_and_where(azure: Azure, cloud: Cloud) -> None:
    found = azure.account()
    assert (found.user, found.tenant, found.subscription, found.subscription_name) == (
        "ada@example.com", cloud.world.tenant, cloud.world.subscription, "Research")


def test_the_account_is_asked_once(azure: Azure, cloud: Cloud) -> None:
    azure.account()
    azure.account()
    assert cloud.requests == [("GET", "/subscriptions")]


def test_without_a_sign_in_the_person_is_told_how_to_sign_in(azure: Azure, cloud: Cloud) -> None:
    cloud.world.signed_in = False
    trouble = trouble_of(azure.account)
    assert trouble.trouble == "signin" and "az login" in trouble.try_next


def test_an_expired_sign_in_is_told_as_one(azure: Azure, cloud: Cloud) -> None:
    azure.account()
    cloud.faults.at("PUT", "rg", Fault.UNAUTHORIZED, 5)
    trouble = trouble_of(lambda: put_group(azure))
    assert (trouble.trouble, trouble.because) == ("signin", "the sign-in has expired.") and "anew" in trouble.try_next


def test_of_several_subscriptions_none_is_guessed(azure: Azure, cloud: Cloud) -> None:
    cloud.world.subscriptions["6f1c1bd0-0000-4000-8000-0000000000ff"] = "Teaching"
    trouble = trouble_of(azure.account)
    assert "Research" in trouble.because and "Teaching" in trouble.because and "LUTHIER_AZURE_SUBSCRIPTION" in trouble.try_next


def test_the_chosen_subscription_is_taken_and_the_others_are_shown(cloud: Cloud) -> None:
    other = "6f1c1bd0-0000-4000-8000-0000000000ff"
    cloud.world.subscriptions[other] = "Teaching"
    found = Azure(cloud.choice(subscription=other.upper()), "w").account()
    assert (found.subscription, found.others) == (other, ((cloud.world.subscription, "Research"),))


def test_a_subscription_that_the_account_cannot_use_is_refused_with_those_it_can(cloud: Cloud) -> None:
    trouble = trouble_of(Azure(cloud.choice(subscription="other"), "w").account)
    assert trouble.trouble == "signin" and "Research" in trouble.because


def test_without_any_subscription_the_person_is_told_whom_to_ask(azure: Azure, cloud: Cloud) -> None:
    cloud.world.subscriptions.clear()
    trouble = trouble_of(azure.account)
    assert trouble.trouble == "denied" and "owner" in trouble.try_next


def test_making_one_imports_no_client_and_asks_nobody(cloud: Cloud) -> None:
    assert Azure(cloud.choice(), "w").calls == 0
    assert cloud.requests == []


@pytest.mark.parametrize(("fault", "options", "kind", "said"), [
    pytest.param(Fault.DENIED, {"action": "Microsoft.App/jobs/write"}, "denied", "Container Apps Jobs Contributor", id="missing role"),
    pytest.param(Fault.DENIED, {"action": "Microsoft.Resources/subscriptions/resourceGroups/write"}, "denied", "LUTHIER_AZURE_GROUP",
                 id="may make no group"),
    pytest.param(Fault.UNREGISTERED, {}, "not_prepared", "az provider register", id="provider unregistered"),
    pytest.param(Fault.POLICY, {}, "policy", "exemption", id="policy"),
    pytest.param(Fault.ANSWER, {"status": 409, "code": "ScopeLocked"}, "denied", "lock", id="group locked"),
    pytest.param(Fault.ANSWER, {"status": 409, "code": "StorageAccountAlreadyTaken"}, "conflict", "LUTHIER_AZURE_GROUP", id="name taken"),
    pytest.param(Fault.ANSWER, {"status": 400, "code": "MaxRegionalQuotaExceeded"}, "quota", "portal.azure.com", id="quota"),
    pytest.param(Fault.ANSWER, {"status": 400, "code": "LocationNotAvailableForResourceType"}, "conflict", "region", id="region"),
    pytest.param(Fault.ANSWER, {"status": 404, "code": "ResourceGroupNotFound"}, "not_found", "prepare_cloud", id="not there"),
    pytest.param(Fault.ANSWER, {"status": 418, "code": "Odd"}, "conflict", "Read what Azure says", id="anything else"),
])
def test_an_error_is_a_sentence_with_its_remedy(
    azure: Azure, cloud: Cloud, fault: Fault, options: dict[str, Any], kind: str, said: str,
) -> None:
    cloud.faults.at("PUT", "rg", fault, 9, **options)
    trouble = trouble_of(lambda: put_group(azure))
    assert trouble.trouble == kind and said in f"{trouble.because} {trouble.try_next}"
    assert cloud.faults.happened == [fault], "it was sent once"


@pytest.mark.parametrize("fault", [
    Fault.REFUSED_503, Fault.ACCEPTED_503, Fault.ACCEPTED_503_RETRY_AFTER, Fault.TORN_BODY, Fault.TRUNCATED_JSON, Fault.DROP,
    Fault.THROTTLED], ids=lambda each: each.name)
def test_what_passes_is_tried_again(azure: Azure, cloud: Cloud, fault: Fault) -> None:
    cloud.faults.at("PUT", "rg", fault, 1, seconds=0)
    assert put_group(azure).name == "rg"


def test_after_five_tries_it_says_so(azure: Azure, cloud: Cloud) -> None:
    azure.account()
    cloud.faults.at("PUT", "rg", Fault.THROTTLED, 99, seconds=0)
    assert trouble_of(lambda: put_group(azure)).trouble == "throttled"
    assert len(cloud.faults.happened) == 5


def test_a_long_wait_that_azure_asks_for_is_told_and_not_slept(azure: Azure, cloud: Cloud) -> None:
    cloud.faults.at("PUT", "rg", Fault.THROTTLED, 1, seconds=3600)
    assert trouble_of(lambda: put_group(azure)).trouble == "throttled"


@pytest.mark.parametrize("fault", [Fault.ACCEPTED_503, Fault.ACCEPTED_503_RETRY_AFTER, Fault.TORN_BODY, Fault.TRUNCATED_JSON, Fault.DROP],
                         ids=lambda each: each.name)
def test_what_is_sent_once_is_never_sent_again_and_its_end_is_unknown(azure: Azure, cloud: Cloud, fault: Fault) -> None:
    azure.account()
    cloud.faults.at("POST", "register", fault, 9)
    trouble = trouble_of(lambda: azure.send_once("It was not done", lambda: azure.resources().providers.register("Microsoft.App")))
    assert trouble.trouble == "unknown"
    assert [method for method, _ in cloud.requests].count("POST") == 1


def test_a_certain_refusal_of_what_is_sent_once_is_no_riddle(azure: Azure, cloud: Cloud) -> None:
    cloud.faults.at("POST", "register", Fault.DENIED)
    assert trouble_of(lambda: azure.send_once("x", lambda: azure.resources().providers.register("Microsoft.App"))).trouble == "denied"


def begin(azure: Azure) -> Any:
    """A long operation."""
    put_group(azure)
    return azure.wait("The account was not made", lambda: azure.storage().storage_accounts.begin_create("rg", "luthierabc", ACCOUNT), 30)


def test_a_long_operation_ends_with_its_resource(azure: Azure) -> None:
    assert begin(azure).name == "luthierabc"


@pytest.mark.parametrize("fault", [Fault.REFUSED_503, Fault.THROTTLED, Fault.DROP, Fault.TORN_BODY], ids=lambda each: each.name)
def test_a_poll_that_fails_once_ends_nothing(azure: Azure, cloud: Cloud, fault: Fault) -> None:
    cloud.faults.at("GET", "OperationResults", fault, 1, seconds=0)
    assert begin(azure).name == "luthierabc"


@pytest.mark.parametrize(("fault", "options", "kind"), [
    pytest.param(Fault.OPERATION_FAILED, {"code": "QuotaExceeded"}, "quota", id="failed with a code"),
    pytest.param(Fault.POLL_404, {}, "unknown", id="lost"),
])
def test_an_operation_that_fails_is_told_by_its_code(azure: Azure, cloud: Cloud, fault: Fault, options: dict[str, Any], kind: str) -> None:
    cloud.faults.at("PUT", "storageAccounts", fault, 1, **options)
    assert trouble_of(lambda: begin(azure)).trouble == kind


def test_an_operation_that_never_ends_is_given_up_after_its_time(azure: Azure, cloud: Cloud) -> None:
    put_group(azure)
    cloud.faults.at("PUT", "storageAccounts", Fault.OPERATION_STUCK, 1)
    trouble = trouble_of(lambda: azure.wait("x", lambda: azure.storage().storage_accounts.begin_create("rg", "luthierabc", ACCOUNT), 0.2))
    assert (trouble.trouble, trouble.code) == ("unknown", "Stuck")


def test_a_provider_is_never_registered_behind_our_back(azure: Azure, cloud: Cloud) -> None:
    cloud.faults.at("PUT", "rg", Fault.UNREGISTERED, 9)
    trouble_of(lambda: put_group(azure))
    assert not [path for method, path in cloud.requests if method == "POST"]


def test_a_bug_of_ours_is_no_trouble_of_azure(azure: Azure) -> None:
    def broken() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        azure.call("x", broken)


def test_requests_are_counted(azure: Azure, cloud: Cloud) -> None:
    put_group(azure)
    assert azure.calls == len(cloud.requests)


def test_redirects_are_not_followed(azure: Azure, cloud: Cloud) -> None:
    cloud.faults.at("GET", "/tenants", Fault.ANSWER, status=302, code="Elsewhere", headers={"location": "https://127.0.0.1:1/"})
    answer = azure.containers().send_request(HttpRequest("GET", f"{cloud.endpoint}/tenants?api-version=2022-12-01"))
    assert answer.status_code == 302


def test_a_token_shows_its_value_to_nobody_that_prints(azure: Azure) -> None:
    hidden = azure.token()
    assert repr(hidden) == str(hidden) == "Hidden(…)" and hidden.reveal().count(".") == 2
    with pytest.raises(TypeError):
        json.dumps(hidden)


def test_a_hidden_value_cannot_be_written_away() -> None:
    import pickle

    with pytest.raises(TypeError):
        pickle.dumps(Hidden("secret"))


@pytest.mark.parametrize("token", ["", "a.b", "a.!!.c", "a.bnVsbA.c"], ids=["empty", "short", "no base64", "null"])
def test_a_token_that_says_nothing_readable_names_nobody(token: str) -> None:
    assert bearer(claims(token)) == "unknown account"


@pytest.mark.parametrize(("url", "kind", "fine"), [
    ("https://management.azure.com/subscriptions", "arm", True),
    ("https://luthierabc.file.core.windows.net/", "files", True),
    ("https://westus3.azurecontainerapps.dev/logs", "logs", True),
    ("https://app.example.westus3.azurecontainerapps.io/v1", "apps", True),
    ("https://prices.azure.com/api", "prices", True),
    ("https://registry-1.docker.io/v2/", "registry", True),
    ("http://management.azure.com/", "arm", False),
    ("https://management.azure.com.evil.example/", "arm", False),
    ("https://evilfile.core.windows.net/", "files", False),
    ("https://user@x.file.core.windows.net/", "files", False),
    ("https://x.azurecontainerapps.dev:8443/", "logs", False),
    ("https://x.azurecontainerapps.dev:99999999/", "logs", False),
    ("https://evil.example\\.azurecontainerapps.dev/", "logs", False),
    ("https://azurecontainerapps.dev/", "logs", False),
    ("https://ghcr.io/v2/", "registry", False),
    ("https://127.0.0.1/", "arm", False),
    ("", "arm", False),
])
def test_only_the_hosts_of_azure_are_spoken_to(url: str, kind: HostKind, fine: bool) -> None:
    choice = AzureChoice()
    if fine:
        assert check_host(choice, url, kind) == url
    else:
        assert trouble_of(lambda: check_host(choice, url, kind)).trouble == "refused_host"


@pytest.mark.parametrize(("url", "fine"), [
    ("https://127.0.0.1:4443/x", True), ("https://[::1]:4443/x", True), ("https://localhost:1/x", True),
    ("http://127.0.0.1:4443/x", False), ("https://management.azure.com/", False), ("https://127.0.0.1.evil.example/", False),
])
def test_with_a_stand_in_only_this_machine_is_spoken_to(url: str, fine: bool) -> None:
    choice = AzureChoice(endpoint="https://127.0.0.1:4443")
    if fine:
        assert check_host(choice, url, "arm") == url
    else:
        assert trouble_of(lambda: check_host(choice, url, "arm")).trouble == "refused_host"


@pytest.mark.parametrize(("image", "registry"), [
    ("pytorch/pytorch:1", "docker.io"), ("ubuntu", "docker.io"), ("ghcr.io/a/b:1", "ghcr.io"), ("localhost:5000/a", "localhost:5000"),
])
def test_the_registry_is_read_from_an_image(image: str, registry: str) -> None:
    assert registry_of(image) == registry


def test_names_follow_from_where_we_work_and_fit() -> None:
    made = names("SUB", "Group", "w")
    assert made == names("sub", "group", "w") != names("sub", "group", "v")
    assert made.storage.isalnum() and len(made.storage) <= 24 and made.storage.islower()
    assert all(len(each) <= 32 for each in (made.environment, made.log_workspace, made.job("4k2j8m9qxz"), made.app("4k2j8m9qxz")))


@pytest.mark.parametrize("run_id", ["a--b", "A", "../x", "x" * 30, "a b", "a-"])
def test_a_name_that_azure_would_not_take_is_refused(run_id: str) -> None:
    assert trouble_of(lambda: names("s", "g", "w").job(run_id)).trouble == "foreign"


@pytest.mark.parametrize(("found", "ours"), [
    (tags("w"), True), (tags("w", run="r1"), True), (tags("v"), False), ({}, False), (None, False), ({"luthier-workspace": "w"}, False),
])
def test_only_what_bears_our_tags_is_ours(found: dict[str, str] | None, ours: bool) -> None:
    assert is_ours(found, "w") is ours


def test_a_group_of_our_own_is_named_after_region_and_workspace() -> None:
    assert group_name(AzureChoice(group="mine"), "w", "westus3") == "mine"
    assert group_name(AzureChoice(), "w", "westus3") != group_name(AzureChoice(), "w", "eastus")


def test_the_toolbox_can_be_imported_without_the_clients(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = ("import sys; sys.modules.update({'azure': None})\nimport tools.toolbox\nfrom tools.azure.client import Azure\n"
            "from tools.azure.choice import AzureChoice\nfrom tools.azure import prepare\n"
            "try:\n Azure(AzureChoice(), 'w').account()\nexcept Exception as error:\n print(error.trouble, error.try_next)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=Path(__file__).parents[2])
    assert done.stdout.startswith("not_installed Run `make azure`"), done.stderr
