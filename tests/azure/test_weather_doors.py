"""The clumsy and the hostile at the doors of the cloud's tools: a sentence, a remedy, and nothing that is sent."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.azure.cloud import Cloud
from tests.azure.deploy_home import CloudHome
from tests.azure.run_home import OWNER
from tests.azure.weather import ASKS, RUN, calm, told
from tools.azure.names import tags

BIDI = "west\u202eus3"
DEPLOY, START = ASKS["deploy_inference"], ASKS["start_finetune"]


@pytest.fixture
def whole(tmp_path: Path, cloud: Cloud) -> Iterator[CloudHome]:
    """Every tool."""
    (tmp_path / "home").mkdir()
    made = CloudHome(tmp_path / "home", cloud)
    yield made
    made.close()


BAD: tuple[tuple[str, dict[str, Any], tuple[Any, ...]], ...] = (
    ("start_finetune", START, tuple({"budget_usd": each} for each in (0, -1, 1e12, float("nan"), float("inf"), 1e-300, "abc", []))),
    ("start_finetune", START, tuple({"max_time": each} for each in (0, -1, 1e12, "-5m", "1000h", True))),
    ("start_finetune", START, tuple({"region": each} for each in ("mars", BIDI, "westus3\n", "../x", "a" * 65, None, 5, "northeurope"))),
    ("start_finetune", START, tuple({"gpu": each} for each in ("0", "H100", "T4\u202e", "D4", 5, "gpu-nc", "1"))),
    ("estimate_cost", RUN, tuple({"region": each} for each in ("mars", BIDI, "northeurope"))),
    ("estimate_cost", RUN, tuple({"epochs": each} for each in (0, -1, 1e12, float("nan")))),
    ("prepare_cloud", {}, tuple({"region": each} for each in ("mars", BIDI, "westus3\n", "../x", "northeurope", 5))),
    ("prepare_cloud", {}, tuple({"resource_group": each} for each in ("gr\u202eoup", "group\n", "a" * 91, "..", "x/y", "other"))),
    ("deploy_inference", DEPLOY, tuple({"max_hours": each} for each in (0, -1, 1e12, float("nan"), 1.5))),
    ("deploy_inference", DEPLOY, tuple({"region": each} for each in ("mars", BIDI))),
    ("deploy_inference", DEPLOY, tuple({"allow_ips": each} for each in (["0.0.0.0/0"], ["::/0"], ["1.2.3.4/33"], ["x"], [5], "127.0.0.1"))),
    ("teardown_cloud", {}, tuple({"resource_group": each, "confirm": each} for each in ("mars", "gr\u202eoup", 5))),
    ("teardown_cloud", {}, tuple({"only": each} for each in ("all", "expired", "orphans", None))),
    ("stop_orphan", {}, tuple({"name": each} for each in ("luthier-run-abc", "../x", "luthier-run-\n", None))),
)


@pytest.mark.parametrize(("tool", "args", "several"), [
    pytest.param(tool, args, several, id=f"{tool} {'+'.join(several[0])}") for tool, args, several in BAD])
def test_what_makes_no_sense_is_refused_with_a_remedy_and_nothing_is_sent(
    whole: CloudHome, cloud: Cloud, tool: str, args: dict[str, Any], several: tuple[dict[str, Any], ...],
) -> None:
    for one in several:
        answer = whole.ask(tool, **{**args, **one})
        assert answer.status in ("failed", "refused") and answer.reason and answer.remedy, (one, answer)
        assert answer.for_brain["error_kind"] != "internal" and "\u202e" not in answer.reason + answer.remedy, (one, answer)
    assert {method for method, _ in cloud.requests} <= {"GET"}
    calm(whole, cloud)


@pytest.mark.parametrize("one", [
    {"gpu": "consumption-gpu-nc8as-t4"}, {"gpu": "NVIDIA T4 16GB"}, {"gpu": " t4"}, {"region": "West US 3"}, {"region": "WESTUS3"},
], ids=str)
def test_what_a_person_would_write_is_understood(whole: CloudHome, one: dict[str, str]) -> None:
    answer = whole.ask("start_finetune", **{**START, **one})
    assert answer.approval is not None and "westus3, Consumption-GPU-NC8as-T4" in dict(answer.approval.lines)["Where"], answer


async def test_a_region_that_is_prepared_is_not_prepared_again_in_another_group(whole: CloudHome, cloud: Cloud) -> None:
    place = whole.toolbox.cloud.prepared.all()[0]
    answer = await whole.gateway.call("prepare_cloud", {"region": "westus3", "resource_group": "another"}, OWNER)
    told(answer, "westus3 cannot be prepared in another", f"it is prepared in {place.group} already", "teardown_cloud")
    calm(whole, cloud)


async def test_a_yes_for_a_deployment_is_void_when_somebody_else_signs_in(whole: CloudHome, cloud: Cloud) -> None:
    answer = await whole.gateway.call("deploy_inference", DEPLOY, OWNER)
    cloud.world.user = "bob@example.com"
    whole.toolbox.cloud.azure._made.pop("credential")
    whole.toolbox.cloud.azure._looked = -1e9
    assert answer.approval is not None
    decision = await whole.gateway.decide(answer.approval.id, "approve", OWNER)
    assert not decision.ok and "the account digest" in decision.message and cloud.bodies("PUT", "/containerApps/") == []
    calm(whole, cloud)


async def test_a_teardown_whose_list_has_changed_since_it_was_shown_deletes_nothing(whole: CloudHome, cloud: Cloud) -> None:
    place = whole.toolbox.cloud.prepared.all()[0]
    answer = await whole.gateway.call("teardown_cloud", {"confirm": place.group}, OWNER)
    rid = f"/subscriptions/{cloud.world.subscription}/resourceGroups/{place.group}/providers/Microsoft.App/jobs/luthier-run-0123456789"
    marked = tags(whole.book.home_id(), run="0123456789")
    cloud.world.resources[rid.lower()] = {"id": rid, "name": rid.rpartition("/")[2], "type": "Microsoft.App/jobs", "tags": marked,
                                          "location": "West US 3", "properties": {}}
    before = set(cloud.world.resources)
    assert answer.approval is not None
    decision = await whole.gateway.decide(answer.approval.id, "approve", OWNER)
    assert not decision.ok and "the resources digest" in decision.message and set(cloud.world.resources) == before
    calm(whole, cloud)


async def test_a_group_of_somebody_else_is_neither_changed_nor_torn_down(whole: CloudHome, cloud: Cloud) -> None:
    rid = f"/subscriptions/{cloud.world.subscription}/resourceGroups/theirs"
    theirs = {"id": rid, "name": "theirs", "type": "Microsoft.Resources/resourceGroups", "location": "eastus", "tags": {"owner": "bob"},
              "properties": {"provisioningState": "Succeeded"}, "planted": True}
    cloud.world.resources[rid.lower()] = dict(theirs)
    answer = await whole.gateway.call("prepare_cloud", {"region": "eastus", "resource_group": "theirs"}, OWNER)
    assert answer.approval is not None and "theirs (exists)" in dict(answer.approval.lines)["Resource group"]
    told(await whole.gateway.call("teardown_cloud", {"resource_group": "theirs", "confirm": "theirs"}, OWNER),
         "Tear down the cloud", "No such group is prepared", "Name one with resource_group")
    assert cloud.world.resources[rid.lower()] == theirs
    calm(whole, cloud)
