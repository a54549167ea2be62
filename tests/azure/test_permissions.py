"""What the signed-in account may do, as Azure's roles say it, and which role to ask for."""

import pytest

from tests.azure.cloud import Cloud
from tests.azure.faults import Fault
from tests.azure.told import trouble_of
from tools.azure.client import Azure
from tools.azure.permissions import PREPARE, RUN, SERVE, Grant, check_permissions, missing
from tools.azure.remedy import role_for


@pytest.mark.parametrize(("grant", "action", "may"), [
    pytest.param(Grant(("*",)), "Microsoft.App/jobs/write", True, id="owner"),
    pytest.param(Grant(("*",), ("Microsoft.App/*",)), "Microsoft.App/jobs/write", False, id="all but one provider"),
    pytest.param(Grant(("Microsoft.App/jobs/*",)), "microsoft.app/JOBS/start/action", True, id="whatever the case"),
    pytest.param(Grant(("Microsoft.App/containerApps/*/write",)), "Microsoft.App/containerApps/write", True, id="as built-in roles say it"),
    pytest.param(Grant(("Microsoft.App/*/read",)), "Microsoft.App/jobs/write", False, id="reading is not writing"),
    pytest.param(Grant(("Microsoft.App/jobs",)), "Microsoft.App/jobs/write", False, id="half a name"),
    pytest.param(Grant(()), "Microsoft.App/jobs/write", False, id="nothing"),
])
def test_a_role_allows_what_it_names(grant: Grant, action: str, may: bool) -> None:
    assert grant.allows(action) is may


def test_one_role_may_bring_what_another_lacks() -> None:
    held = (Grant(("Microsoft.App/jobs/write",)), Grant(("*",), ("Microsoft.App/jobs/write", "Microsoft.App/jobs/start/action")))
    assert missing(held, RUN) == ("Microsoft.App/jobs/start/action",)


@pytest.mark.parametrize(("action", "role"), [
    ("Microsoft.App/register/action", "Contributor"), ("Microsoft.App/jobs/start/action", "Container Apps Jobs Operator"),
    ("Microsoft.App/jobs/write", "Container Apps Jobs Contributor"), ("Microsoft.App/containerApps/write", "Container Apps Contributor"),
    ("Microsoft.App/managedEnvironments/join/action", "Container Apps ManagedEnvironments Contributor"),
    ("Microsoft.App/locations/usages/read", "Reader"), ("Microsoft.CostManagement/query/action", "Cost Management Reader"),
    ("Microsoft.Storage/storageAccounts/listKeys/action", "Contributor"),
])
def test_the_least_role_for_an_action_is_named(action: str, role: str) -> None:
    assert role_for(action)[0] == role


@pytest.mark.parametrize(("wanted", "roles"), [
    pytest.param(PREPARE, "the role Contributor on the resource group.", id="prepare"),
    pytest.param(RUN, "the role Contributor on the resource group.", id="run"),
    pytest.param(SERVE, "the role Container Apps Contributor on the resource group and Container Apps ManagedEnvironments Contributor on",
                 id="serve"),
])
def test_what_is_lacking_is_asked_for_by_one_role_that_brings_it(azure: Azure, cloud: Cloud, wanted: tuple[str, ...], roles: str) -> None:
    cloud.world.permissions = ["*/read"]
    cloud.prepared()
    (group,) = [each["name"] for each in cloud.world.of_type("Microsoft.Resources/resourceGroups")]
    trouble = trouble_of(lambda: check_permissions(azure, group, wanted, "It cannot be done"))
    assert trouble.trouble == "denied" and roles in trouble.try_next and "ada@example.com lacks the permission" in trouble.because


@pytest.mark.parametrize("fault", [Fault.DENIED, None], ids=["may not ask", "no such group"])
def test_where_it_cannot_be_known_nothing_is_refused(azure: Azure, cloud: Cloud, fault: Fault | None) -> None:
    if fault is not None:
        cloud.faults.at("GET", "/permissions", fault, times=9)
    check_permissions(azure, "no-such-group", RUN, "It cannot be done")
