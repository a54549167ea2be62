"""The next revision of a deployment on Azure that does not come up: the one before goes on answering, and the book says so."""

import asyncio
import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from sqlalchemy import select

from policies import fault, ledger
from policies.tables import standing_orders
from policies.tool import Call, ToolFailed
from tests.azure.arm_replicas import AppSide
from tests.azure.cloud import Cloud
from tests.azure.deploy_home import CloudHome, signed_in
from tests.azure.faults import Fault
from tests.azure.test_teardown import Cut, cut_at
from tests.tools.fakes_deploy import OWNER
from tests.tools.fakes_runs import wait_until
from tools.serve.deploy import RedeployArgs

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with signed_in(tmp_path_factory.mktemp("azure")) as running:
        yield running


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, cloud: Cloud) -> Iterator[CloudHome]:
    found = CloudHome(tmp_path_factory.mktemp("redeploying"), cloud)
    yield found
    found.close()


@pytest.fixture
def told(home: CloudHome) -> Iterator[Mapping[str, Any]]:
    """A deployment that answers."""
    made = home.deploy()
    yield made
    home.call("stop_deployment", deployment_id=made["deployment_id"])
    settle(home)


def settle(home: CloudHome) -> None:
    """What has ended is settled; some tests perform calls that no gateway knows of."""
    for each in home.toolbox.settlements():
        with contextlib.suppress(ToolFailed):
            asyncio.run(home.gateway.settle_spend(each.call_id, each.micros, each.basis))


def sent(home: CloudHome, told: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The bodies of its app."""
    return [each for each in home.cloud.bodies("PUT", "/containerApps/") if each["tags"]["luthier-deployment"] == told["deployment_id"]]


def side(home: CloudHome, told: Mapping[str, Any]) -> AppSide:
    return home.cloud.app(f"luthier-app-{told['deployment_id']}")


def spoil(home: CloudHome, told: Mapping[str, Any], revision: int = 2) -> None:
    """Its container will never come up."""
    home.cloud.world.broken_revisions.add(f"luthier-app-{told['deployment_id']}--r{revision}")


def shares(home: CloudHome, told: Mapping[str, Any]) -> dict[str, int]:
    """The share of the requests of each active revision."""
    return {each.name.rpartition("--")[2]: side(home, told).weight(each) for each in side(home, told).revisions if each.active}


def redeploy(home: CloudHome, told: Mapping[str, Any], **args: Any) -> Any:
    """An approved call, whatever becomes of it."""
    asked = home.ask("redeploy", deployment_id=told["deployment_id"], max_hours=1, **args)
    assert asked.approval is not None, asked
    return asyncio.run(home.gateway.decide(asked.approval.id, "approve", OWNER)).answer


def shown(home: CloudHome, told: Mapping[str, Any]) -> Mapping[str, Any]:
    found, = [each for each in home.call("list_deployments")["deployments"] if each["deployment_id"] == told["deployment_id"]]
    return found


def answers(home: CloudHome, told: Mapping[str, Any]) -> bool:
    answer: Any = home.ask("ask_model", prompt="Hello", deployment_id=told["deployment_id"], max_tokens=2)
    return answer.status == "done" and bool(answer.result["answers"][0]["text"])


@pytest.mark.parametrize("args", [{}, {"canary_percent": 30}], ids=["whole", "canary"])
@pytest.mark.parametrize("azure_says", ["succeeded", "failed"])
def test_a_revision_that_does_not_come_up_leaves_the_one_before_answering(
        home: CloudHome, told: Mapping[str, Any], azure_says: str, args: dict[str, Any]) -> None:
    spoil(home, told)
    if azure_says == "failed":
        home.cloud.faults.at("PUT", "/containerApps/", Fault.RESOURCE_FAILED)
    answer = redeploy(home, told, **args)
    assert answer.status == "failed" and "revision 1 goes on answering" in answer.reason and answer.remedy
    found = shown(home, told)
    assert (found["state"], found["revision"], found["url"]) == ("running", 1, told["url"])
    assert "Revision 2 did not come up" in found["reason"] and found["answers"]["revision"] == 1
    assert found["expires_at"] == told["expires_at"], "under the approval that it had"
    wait_until(lambda: home.toolbox.reconcile() is not None and shares(home, told) == {"r1": 100}, "the failed one is taken away")
    assert answers(home, told)


def test_its_money_is_settled_and_that_of_the_one_before_stays_reserved(home: CloudHome, told: Mapping[str, Any]) -> None:
    spoil(home, told)
    call = redeploy(home, told).call_id
    cloud = home.toolbox.deploying.azure.cloud
    wait_until(lambda: home.toolbox.reconcile() is not None and call not in {each.call_id for each in cloud.meter.open()}, "its end")
    settle(home)
    assert home.book.read(lambda db: ledger.is_settled(db, call) and not ledger.used(db, call_id=call).reserved)
    assert home.money(str(told["deployment_id"])).reserved > 0


def test_the_stops_of_the_approval_of_before_stand_and_those_of_the_failed_one_are_over(home: CloudHome, told: Mapping[str, Any]) -> None:
    def standing() -> set[tuple[str, str]]:
        wanted = select(standing_orders.c.approval_id, standing_orders.c.kind).where(
            standing_orders.c.ended_at.is_(None), standing_orders.c.target.in_(["", told["deployment_id"]]))
        return {(row.approval_id, row.kind) for row in home.book.read(lambda db: db.execute(wanted).all())}

    before = standing()
    assert {kind for _, kind in before} == {"expiry", "cap"}
    spoil(home, told)
    redeploy(home, told)
    assert standing() == before


def test_the_next_redeploy_has_a_number_of_its_own_and_takes_over(home: CloudHome, told: Mapping[str, Any]) -> None:
    spoil(home, told)
    redeploy(home, told)
    again = redeploy(home, told)
    assert again.status == "done" and again.result["revision"] == 3
    assert shares(home, told) == {"r3": 100} and shown(home, told)["answers"]["revision"] == 3


def test_the_same_call_does_not_try_it_again(home: CloudHome, told: Mapping[str, Any]) -> None:
    spoil(home, told)
    call = redeploy(home, told).call_id
    row = home.toolbox.deploying.store.of_call(call)
    assert row is not None and row.id == told["deployment_id"] and row.revision == 1
    before = len(sent(home, told))
    with pytest.raises(ToolFailed, match="goes on answering"):
        home.toolbox.tools["redeploy"].perform(RedeployArgs(deployment_id=row.id, max_hours=1), Call(call, OWNER.person))
    assert len(sent(home, told)) == before


def test_while_it_comes_up_every_request_goes_to_the_one_before(home: CloudHome, told: Mapping[str, Any]) -> None:
    redeploy(home, told)
    first, trial, switched = sent(home, told)
    ingress = trial["properties"]["configuration"]["ingress"]
    assert ingress["traffic"] == [{"revisionName": f"luthier-app-{told['deployment_id']}--r1", "weight": 100}]
    for body in (first, trial, switched):
        assert body["properties"]["configuration"]["ingress"]["ipSecurityRestrictions"]
    assert switched["properties"]["template"] == trial["properties"]["template"], "a change of the requests makes no revision"
    assert shares(home, told) == {"r2": 100}


@pytest.mark.parametrize("broken", [False, True], ids=["good", "broken"])
@pytest.mark.parametrize("at", ["send", "sent:1", "sent:2", "switch", "deactivate"])
def test_cut_off_anywhere_the_next_server_ends_with_one_that_answers(
        home: CloudHome, told: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch, at: str, broken: bool) -> None:
    if broken:
        spoil(home, told)
    ident, tool = str(told["deployment_id"]), home.toolbox.tools["redeploy"]
    with monkeypatch.context() as patch:
        patch.setattr(fault, "point", cut_at(f"cloud.deploy.{at}"))
        try:
            tool.perform(RedeployArgs(deployment_id=ident, max_hours=1), Call(f"again {ident}", OWNER.person))
        except Exception as error:
            assert isinstance(error, Cut) or "goes on answering" in str(error)
    home.reopen()
    wanted = {"r1": 100} if broken else {"r2": 100}
    wait_until(lambda: home.toolbox.reconcile() is not None and home.state(ident) == "running" and shares(home, told) == wanted,
               "one revision answers, the other does not run")
    assert shown(home, told)["revision"] == (1 if broken else 2)


def test_a_stop_in_the_middle_stops_both(home: CloudHome, told: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    ident, tool = str(told["deployment_id"]), home.toolbox.tools["redeploy"]
    with monkeypatch.context() as patch:
        patch.setattr(fault, "point", cut_at("cloud.deploy.switch"))
        with pytest.raises(Cut):
            tool.perform(RedeployArgs(deployment_id=ident, max_hours=1), Call(f"again {ident}", OWNER.person))
    assert home.call("stop_deployment", deployment_id=ident)["state"] == "stopped"
    assert side(home, told).stopped and ident not in home.toolbox.deploying.azure.cloud.due()
