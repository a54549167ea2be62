"""The Bicep file and prepare_cloud make the same resources."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.azure.bicep import Bicep, Declared, Expression
from tests.azure.cloud import Cloud
from tools.azure.client import Azure
from tools.azure.existing import Wanted
from tools.azure.infrastructure import PROVIDERS
from tools.azure.place import READ_ONLY, READ_WRITE
from tools.azure.provision import Provisioning

INFRA = Path(__file__).resolve().parents[2] / "infra"
SERVERLESS = ("Consumption", "Consumption-GPU-NC8as-T4", "Consumption-GPU-NC24-A100")


@pytest.fixture
def sent(cloud: Cloud, azure: Azure) -> list[tuple[str, str, dict[str, Any]]]:
    """Type, name and body of each resource that prepare_cloud made in the group, in order."""
    account = azure.account()
    wanted = Wanted(account.subscription, account.tenant, "rg", "westus3", SERVERLESS, "x")
    Provisioning(azure, wanted).ensure(lambda text, fraction: None)
    puts = [(each.path, each.body) for each in cloud.world.sent if each.host == "arm" and each.method == "PUT"]
    found = []
    for path, body in puts:
        _, providers, rest = path.partition("/providers/")
        if providers:
            namespace, *parts = rest.split("/")
            found.append(("/".join((namespace, *parts[0::2])), "/".join(parts[1::2]), body))
    return found


@pytest.fixture
def bicep(azure: Azure) -> Bicep:
    """The file, with the parameters of this home."""
    suffix = azure.names(azure.account().subscription, "rg").h
    return Bicep(INFRA / "main.bicep", {"location": "westus3", "suffix": suffix, "workspace": azure.workspace})


def full_name(bicep: Bicep, declared: Declared) -> str:
    """With the names of what it lies in."""
    parent = declared.body.get("parent")
    before = f"{full_name(bicep, bicep.resources[parent.text])}/" if isinstance(parent, Expression) else ""
    return before + declared.body["name"]


def same(declared: Any, made: Any, where: str = "") -> None:
    """Every value of the file is what was sent, and nothing else was sent; what only Azure knows was sent as some text."""
    if isinstance(declared, Expression):
        assert isinstance(made, str) and made, where
    elif isinstance(declared, dict):
        assert isinstance(made, dict) and set(declared) == set(made), (where, declared, made)
        for key, value in declared.items():
            same(value, made[key], f"{where}.{key}")
    elif isinstance(declared, list):
        assert len(declared) == len(made), where
        for number, value in enumerate(declared):
            same(value, made[number], f"{where}[{number}]")
    else:
        assert declared == made, where


def body_of(declared: Declared) -> dict[str, Any]:
    """As it is sent: without what is in the address."""
    return {key: value for key, value in declared.body.items() if key not in ("name", "parent")}


def test_both_make_the_same_resources(bicep: Bicep, sent: list[tuple[str, str, dict[str, Any]]]) -> None:
    declared = sorted((each.type, full_name(bicep, each)) for each in bicep.resources.values())
    assert declared == sorted((kind, name) for kind, name, _ in sent)


def test_each_has_the_same_properties_in_both(bicep: Bicep, sent: list[tuple[str, str, dict[str, Any]]]) -> None:
    made = {name: body for _, name, body in sent}
    for declared in bicep.resources.values():
        body = dict(made[full_name(bicep, declared)])
        if "tags" in body:
            body["tags"] = {key: value for key, value in body["tags"].items() if key != "luthier-spec"}
        same(body_of(declared), body, declared.symbol)


def test_both_make_a_resource_after_those_it_needs(bicep: Bicep, sent: list[tuple[str, str, dict[str, Any]]]) -> None:
    names = [name for _, name, _ in sent]
    order = {each.symbol: names.index(full_name(bicep, each)) for each in bicep.resources.values()}
    assert all(order[needed] < order[each.symbol] for each in bicep.resources.values() for needed in each.needs)


def test_the_links_need_the_share_and_the_environment(bicep: Bicep) -> None:
    assert bicep.resources["readWrite"].needs == bicep.resources["readOnly"].needs == {"account", "share", "environment"}
    assert (bicep.resources["readWrite"].body["name"], bicep.resources["readOnly"].body["name"]) == (READ_WRITE, READ_ONLY)


def test_no_profile_of_the_file_has_a_count_and_nothing_is_open(bicep: Bicep) -> None:
    for each in bicep.resources["environment"].body["properties"]["workloadProfiles"]:
        assert set(each) == {"name", "workloadProfileType"} and each["name"].startswith("Consumption")
    account = bicep.resources["account"].body["properties"]
    assert (account["allowBlobPublicAccess"], account["supportsHttpsTrafficOnly"], account["minimumTlsVersion"]) == (False, True, "TLS1_2")


def test_the_parameters_file_gives_every_parameter_and_no_other(bicep: Bicep) -> None:
    given = json.loads((INFRA / "main.parameters.json").read_text(encoding="utf-8"))["parameters"]
    assert set(given) == set(bicep.parameters)


def test_parameters_that_only_a_home_knows_have_no_default(bicep: Bicep) -> None:
    assert {name for name, has_default in bicep.parameters.items() if not has_default} == {"suffix", "workspace"}


def test_the_page_registers_the_same_providers() -> None:
    assert all(each in (INFRA / "README.md").read_text(encoding="utf-8") for each in PROVIDERS)


def test_a_resource_that_one_side_changes_is_noticed(bicep: Bicep, sent: list[tuple[str, str, dict[str, Any]]]) -> None:
    made = {name: body for _, name, body in sent}
    declared = bicep.resources["account"]
    declared.body["properties"]["allowBlobPublicAccess"] = True
    with pytest.raises(AssertionError):
        same(body_of(declared)["properties"], made[full_name(bicep, declared)]["properties"])
