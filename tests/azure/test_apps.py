"""Inference apps in the stand-in: what is sent is never open to the world, sleeps, and is only ever ours."""

import json
from dataclasses import replace
from typing import Any

import pytest

from tests.azure.arm_prepared import prepare
from tests.azure.cloud import Cloud
from tests.azure.faults import Fault
from tools.azure.app_body import AppSpec, body, networks, revision_name
from tools.azure.apps import Apps
from tools.azure.client import Azure
from tools.azure.credential import Hidden
from tools.azure.place import CloudPlace, Shape
from tools.azure.trouble import AzureTrouble

KEY = "lk-a-key-of-forty-characters-or-so-0123456789"
IDENT = "4k2j8m9qxz"


def spec_of(place: CloudPlace, **changes: Any) -> AppSpec:
    """An app's first revision."""
    spec = AppSpec(
        deployment_id=IDENT, revision=1, image=place.image, shape=Shape("Consumption", 4, 8), spec_folder=f"deployments/{IDENT}/1",
        engine_folder="engine/e", tuned_folder="served/t", base_folder="served/b", command=("python3", "-c", "pass", "8080"),
        allow=("203.0.113.7/32",), expires="2026-12-01T00:00:00Z")
    return replace(spec, **changes)


@pytest.fixture
def place(cloud: Cloud, azure: Azure) -> CloudPlace:
    """A prepared region."""
    return prepare(cloud.world, azure.choice, azure.workspace)


@pytest.fixture
def apps(azure: Azure, place: CloudPlace) -> Apps:
    return Apps(azure, place)


@pytest.mark.parametrize("changes", [{}, {"canary_percent": 10, "canary_of": 1, "revision": 2}, {"base_folder": ""}],
                         ids=["whole", "canary", "alone"])
def test_no_body_is_open_to_the_world_and_every_app_sleeps(azure: Azure, place: CloudPlace, changes: dict[str, Any]) -> None:
    sent = body(place, azure.names(place.subscription, place.group), azure.workspace, spec_of(place, **changes), Hidden(KEY))
    told = sent["properties"]
    ingress = told["configuration"]["ingress"]
    assert ingress["allowInsecure"] is False and [each["action"] for each in ingress["ipSecurityRestrictions"]] == ["Allow"]
    assert told["template"]["scale"] == {"minReplicas": 0, "maxReplicas": 1, "cooldownPeriod": 300}
    assert sum(each["weight"] for each in ingress["traffic"]) == 100
    assert sent["tags"]["luthier-expires"] == "2026-12-01T00:00:00Z" and sent["tags"]["luthier-deployment"] == IDENT


def test_the_key_stands_in_the_secret_and_nowhere_else(azure: Azure, place: CloudPlace) -> None:
    sent = body(place, azure.names(place.subscription, place.group), azure.workspace, spec_of(place), Hidden(KEY))
    assert sent["properties"]["configuration"].pop("secrets") == [{"name": "api-key", "value": KEY}]
    assert KEY not in json.dumps(sent)


def test_the_share_can_only_be_read_by_an_app(azure: Azure, place: CloudPlace) -> None:
    sent = body(place, azure.names(place.subscription, place.group), azure.workspace, spec_of(place), Hidden(KEY))
    assert {each.get("storageName") for each in sent["properties"]["template"]["volumes"]} == {"luthier-ro", None}


@pytest.mark.parametrize(("given", "words"), [
    ([], "not known which addresses"), (["0.0.0.0/0"], "open to the world"), (["1.2.3.4/4"], "open to the world"),
    (["198.0.0.0/8"], "open to the world"), (["0.0.0.0/1", "128.0.0.0/1"], "open to the world"), (["::/0"], "IPv4 only"),
    (["everybody"], "no IP address"), (["2001:db8::1"], "IPv4 only"), (["::ffff:203.0.113.7"], "IPv4 only"),
    (["203.0.113.7, 198.51.100.9"], "no IP address"), (["203.0.113.7", ""], "no IP address"),
    (["10.1.2.3"], "not an address on the internet"), (["192.168.0.0/16"], "not an address on the internet"),
    (["100.64.0.9"], "not an address on the internet"), (["0.0.0.0"], "not an address on the internet"),
    ([f"198.51.{each}.0/24" for each in range(21)], "the most"),
], ids=["none", "all", "wide", "eight", "halves", "six-all", "word", "six", "mapped", "two-in-one", "blank", "ten", "home", "carrier",
        "zero", "many"])
def test_what_would_let_in_anybody_is_refused(given: list[str], words: str) -> None:
    with pytest.raises(AzureTrouble, match=words):
        networks(given)


def test_networks_are_written_once_each_as_rules() -> None:
    assert networks(["203.0.113.7", " 203.0.113.7/32", "198.51.100.9/24"]) == ("203.0.113.7/32", "198.51.100.0/24")


def test_an_image_without_a_digest_is_refused(apps: Apps, place: CloudPlace) -> None:
    with pytest.raises(AzureTrouble, match="never resolved to a digest"):
        apps.put(spec_of(place, image="docker.io/pytorch/pytorch:latest"), Hidden(KEY))


def test_an_app_is_sent_once_however_often_it_is_put(cloud: Cloud, apps: Apps, place: CloudPlace) -> None:
    first = apps.put(spec_of(place), Hidden(KEY))
    again = apps.put(spec_of(place), Hidden(KEY))
    assert first == again and first.provisioning == "succeeded" and first.replicas == 0
    revision = first.revision(revision_name(first.name, 1))
    assert revision is not None and revision.up and revision.weight == 100
    assert len(cloud.bodies("PUT", "/containerApps/")) == 1


def test_its_address_is_azures_own_word_and_its_host_is_checked(apps: Apps, place: CloudPlace) -> None:
    seen = apps.put(spec_of(place), Hidden(KEY))
    assert apps.address(seen) == f"https://{seen.fqdn}/v1"
    with pytest.raises(AzureTrouble, match="is not used"):
        apps.address(replace(seen, fqdn="evil.example"))


def test_a_stop_holds_is_harmless_twice_and_a_later_put_starts_it_again(apps: Apps, place: CloudPlace) -> None:
    apps.put(spec_of(place), Hidden(KEY))
    apps.stop(IDENT)
    apps.stop(IDENT)
    assert apps.wanted(IDENT).stopped
    assert apps.put(spec_of(place, revision=2), Hidden(KEY)).running == "running"


def test_what_is_not_there_is_stopped_and_deleted_already(apps: Apps) -> None:
    apps.stop(IDENT)
    apps.delete(IDENT)
    assert apps.seen(IDENT) is None


def test_a_deleted_app_is_gone(apps: Apps, place: CloudPlace) -> None:
    apps.put(spec_of(place), Hidden(KEY))
    apps.delete(IDENT)
    assert apps.seen(IDENT) is None and apps.managed() == ()


def test_a_canary_shares_the_requests_with_the_older_revision(apps: Apps, place: CloudPlace) -> None:
    apps.put(spec_of(place), Hidden(KEY))
    seen = apps.put(spec_of(place, revision=2, canary_percent=25, canary_of=1), Hidden(KEY))
    assert {each.name.rpartition("--")[2]: each.weight for each in seen.revisions} == {"r1": 75, "r2": 25}
    whole = apps.put(spec_of(place, revision=3), Hidden(KEY))
    assert {each.name.rpartition("--")[2]: each.weight for each in whole.revisions} == {"r1": 0, "r2": 0, "r3": 100}


@pytest.mark.parametrize("act", [
    lambda apps, place: apps.put(spec_of(place), Hidden(KEY)), lambda apps, place: apps.stop(IDENT), lambda apps, place: apps.delete(IDENT),
    lambda apps, place: apps.restart(IDENT, 1),
], ids=["put", "stop", "delete", "restart"])
def test_an_app_of_that_name_with_other_tags_is_left_alone(cloud: Cloud, apps: Apps, place: CloudPlace, act: Any) -> None:
    seen = apps.put(spec_of(place), Hidden(KEY))
    theirs = next(each for each in cloud.world.of_type("Microsoft.App/containerApps") if each["name"] == seen.name)
    theirs["tags"] = {"owner": "somebody"}
    before = len(cloud.requests)
    with pytest.raises(AzureTrouble, match="does not carry the tags"):
        act(apps, place)
    assert {method for method, _ in cloud.requests[before:]} == {"GET"}


@pytest.mark.parametrize(("fault", "options"), [
    (Fault.OPERATION_FAILED, {"code": "ContainerAppOperationError", "message": "no room"}), (Fault.RESOURCE_FAILED, {}),
], ids=["operation", "resource"])
def test_an_app_that_was_not_made_is_an_error_and_the_next_put_mends_it(
        cloud: Cloud, apps: Apps, place: CloudPlace, fault: Fault, options: dict[str, Any]) -> None:
    cloud.faults.at("PUT", "/containerApps/", fault, **options)
    with pytest.raises(AzureTrouble, match="was not made"):
        apps.put(spec_of(place), Hidden(KEY))
    assert apps.put(spec_of(place), Hidden(KEY)).provisioning == "succeeded"


def test_an_accepted_put_whose_answer_was_lost_makes_one_revision(cloud: Cloud, apps: Apps, place: CloudPlace) -> None:
    cloud.faults.at("PUT", "/containerApps/", Fault.ACCEPTED_503)
    seen = apps.put(spec_of(place), Hidden(KEY))
    assert len(seen.revisions) == 1 and seen.provisioning == "succeeded"
