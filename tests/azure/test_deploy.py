"""Deployments on Azure, through the gateway and over the stand-in, with the real serving program on the bundled model as the replica."""

import asyncio
import json
import stat
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from sqlalchemy import select

from policies import ledger
from policies.book import now_text
from policies.proposal import Effect
from policies.tables import standing_orders
from tests.azure.cloud import Cloud
from tests.azure.deploy_home import HERE, CloudHome, signed_in
from tests.azure.faults import Fault
from tests.tools.fakes_deploy import OWNER
from tests.tools.fakes_runs import wait_until
from tools.serve.deploy_state import DeployState

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with signed_in(tmp_path_factory.mktemp("azure")) as running:
        yield running


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, cloud: Cloud) -> Iterator[CloudHome]:
    home = CloudHome(tmp_path_factory.mktemp("deploying"), cloud)
    yield home
    home.close()


@pytest.fixture(scope="module")
def first(home: CloudHome) -> Mapping[str, Any]:
    """One deployment that most tests look at."""
    return home.deploy()


def client_of(cloud: Cloud, told: Mapping[str, Any]) -> openai.OpenAI:
    """OpenAI's client with the key from the file that the result names."""
    import ssl

    trusted = ssl.create_default_context(cafile=str(cloud.ca))
    return openai.OpenAI(base_url=str(told["url"]), api_key=Path(str(told["key_file"])).read_text(), max_retries=0,
                         http_client=openai.DefaultHttpxClient(trust_env=False, verify=trusted))


def test_the_card_says_place_money_who_may_reach_it_and_when_it_ends(home: CloudHome) -> None:
    answer = home.ask("deploy_inference", model="bundled", provider="azure", allow_ips=["203.0.113.7"], max_hours=26)
    assert answer.status == "waiting" and answer.approval is not None
    lines = dict(answer.approval.lines)
    assert lines["Place"] == "Azure, westus3, Consumption" and lines["Time to live"] == "1 day 2 hours"
    assert lines["Reached by"].startswith("203.0.113.7/32 only, by https, with an API key")
    assert "ada@example.com" in lines["Account"] and "USD; likely" in lines["At most"] and "@sha256:" in lines["Image"]
    assert any("1 day 2 hours after its start" in rule for rule in answer.approval.stop_rules)
    assert any("when it has cost" in rule for rule in answer.approval.stop_rules)
    assert not home.cloud.bodies("PUT", "/containerApps/"), "nothing begins before the yes"
    asyncio.run(home.gateway.decide(answer.approval.id, "deny", OWNER))


def test_it_opens_something_and_spends_and_says_what_leaves(home: CloudHome) -> None:
    tool = home.toolbox.tools["deploy_inference"]
    args = tool.Args(model="bundled", provider="azure", allow_ips=("203.0.113.7",), max_hours=26)  # type: ignore[call-arg]
    proposal = tool.propose(args)
    assert proposal.effects == {Effect.EXPOSE, Effect.SPEND} and (proposal.region, proposal.sku) == ("westus3", "Consumption")
    assert proposal.max_minutes == 26 * 60 and "API key" in proposal.leaves
    assert proposal == tool.propose(args), "a card that changed would void its approval"


def test_a_deployment_is_made_asleep_and_answers_openais_client(home: CloudHome, cloud: Cloud, first: Mapping[str, Any]) -> None:
    assert first["state"] == "running" and first["asleep"] and first["where"] == "Azure, westus3, Consumption"
    with client_of(cloud, first) as client:
        answer = client.chat.completions.create(model="bundled", messages=[{"role": "user", "content": "Hello"}], max_tokens=4)
    assert answer.choices[0].message.content and answer.model == "bundled"


def test_no_body_that_was_ever_sent_is_open_to_the_world(cloud: Cloud, first: Mapping[str, Any]) -> None:
    sent = [*cloud.bodies("PUT", "/containerApps/"), *cloud.bodies("PATCH", "/containerApps/")]
    assert sent
    for body in sent:
        ingress = body["properties"]["configuration"]["ingress"]
        assert ingress["allowInsecure"] is False
        assert [each["ipAddressRange"] for each in ingress["ipSecurityRestrictions"]] == ["127.0.0.1/32"]
        assert body["properties"]["template"]["scale"] == {"minReplicas": 0, "maxReplicas": 1, "cooldownPeriod": 300}


def test_without_the_key_nothing_but_its_health_is_told(cloud: Cloud, first: Mapping[str, Any]) -> None:
    import ssl

    with httpx.Client(verify=ssl.create_default_context(cafile=str(cloud.ca)), trust_env=False, timeout=60) as client:
        assert client.get(str(first["url"]).removesuffix("/v1") + "/healthz").status_code == 200
        assert client.get(f"{first['url']}/models").status_code == 401


def test_the_key_is_a_private_file_and_stands_in_no_book_share_tag_or_environment(
        home: CloudHome, cloud: Cloud, first: Mapping[str, Any]) -> None:
    path = Path(str(first["key_file"]))
    key = path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and first["api_key_hint"] == f"…{key[-4:]}"
    for folder in (home.places.home, cloud.share_root):
        assert not [each for each in folder.rglob("*") if each.is_file() and each != path and key.encode() in each.read_bytes()]
    for body in cloud.bodies("PUT", "/containerApps/"):
        told = json.loads(json.dumps(body))
        assert told["properties"]["configuration"].pop("secrets")
        assert key not in json.dumps(told)


def test_a_question_is_answered_without_a_yes_inside_the_ceiling(home: CloudHome, first: Mapping[str, Any]) -> None:
    home.cloud.app(f"luthier-app-{first['deployment_id']}").scale_to_zero()
    answer: Any = home.ask("ask_model", prompt="Hello", deployment_id=first["deployment_id"], max_tokens=4)
    assert answer.status == "done" and answer.result["answers"][0]["text"]


def test_past_its_time_the_container_itself_refuses_even_a_right_key(home: CloudHome, cloud: Cloud, first: Mapping[str, Any]) -> None:
    ident = str(first["deployment_id"])
    spec = cloud.share_root / "deployments" / ident / "1" / "serve.json"
    kept = spec.read_text()
    row = home.toolbox.deploying.store.wanted(ident)
    assert abs(json.loads(kept)["until"] - datetime.fromisoformat(row.expires_at).timestamp()) < 1
    try:
        spec.write_text(json.dumps({**json.loads(kept), "until": 1}))
        cloud.app(f"luthier-app-{ident}").scale_to_zero()
        with client_of(cloud, first) as client, pytest.raises(openai.APIStatusError) as refused:
            client.chat.completions.create(model="bundled", messages=[{"role": "user", "content": "Hello"}], max_tokens=4)
        assert refused.value.status_code == 410 and "time is over" in str(refused.value)
    finally:
        spec.write_text(kept)
        cloud.app(f"luthier-app-{ident}").scale_to_zero()


def test_it_is_listed_with_what_it_cost_and_who_may_reach_it(home: CloudHome, first: Mapping[str, Any]) -> None:
    shown, = [each for each in home.call("list_deployments")["deployments"] if each["deployment_id"] == first["deployment_id"]]
    assert shown["state"] == "running" and shown["allow_ips"] == ["127.0.0.1/32"] and shown["spent"]["currency"] == "USD"


def test_the_same_call_makes_nothing_twice_and_is_recalled(home: CloudHome, cloud: Cloud, first: Mapping[str, Any]) -> None:
    row = home.toolbox.deploying.store.wanted(str(first["deployment_id"]))
    before = len(cloud.bodies("PUT", "/containerApps/"))
    said: Any = home.toolbox.tools["deploy_inference"].recall(row.call_id)
    assert said.result["deployment_id"] == row.id and said.result["state"] == "running"
    assert len(cloud.bodies("PUT", "/containerApps/")) == before


def test_a_restart_spends_nothing_new_and_does_not_ask(home: CloudHome, first: Mapping[str, Any]) -> None:
    assert home.ask("redeploy", deployment_id=first["deployment_id"], restart=True).status == "done"


def test_a_redeploy_is_a_new_revision_at_the_same_address_with_the_same_key(home: CloudHome, first: Mapping[str, Any]) -> None:
    again = home.call("redeploy", deployment_id=first["deployment_id"])
    assert (again["revision"], again["url"], again["api_key_hint"]) == (2, first["url"], first["api_key_hint"])
    assert [each.weight for each in seen(home, again).revisions] == [0, 100]
    home.settle()
    earlier = home.toolbox.deploying.store.wanted(str(first["deployment_id"])).call_id
    assert home.book.read(lambda db: ledger.is_settled(db, earlier)), "what the first approval reserved is free again"


def test_a_canary_gets_its_share_and_a_whole_redeploy_all(home: CloudHome, first: Mapping[str, Any]) -> None:
    ident = first["deployment_id"]
    canary = home.call("redeploy", deployment_id=ident, canary_percent=20)
    assert canary["canary_percent"] == 20 and [each.weight for each in seen(home, canary).revisions] == [0, 80, 20]
    whole = home.call("redeploy", deployment_id=ident)
    assert [each.weight for each in seen(home, whole).revisions if each.active] == [100]


def seen(home: CloudHome, told: Mapping[str, Any]) -> Any:
    """The app as it is in Azure."""
    return home.toolbox.deploying.azure.cloud.apps("westus3").wanted(str(told["deployment_id"]))


def test_a_stop_never_asks_holds_and_settles_what_it_cost(home: CloudHome, first: Mapping[str, Any]) -> None:
    ident = str(first["deployment_id"])
    assert home.ask("stop_deployment", deployment_id=ident).result["state"] == "stopped"
    assert seen(home, first).stopped and home.ask("stop_deployment", deployment_id=ident).status == "done"
    assert home.money(ident).reserved > 0
    home.settle()
    assert home.money(ident).reserved == 0
    answer = home.ask("ask_model", prompt="Hello", deployment_id=ident)
    assert answer.status == "failed" and "stopped" in answer.reason


def test_a_stopped_one_is_started_again_and_a_deleted_one_is_gone(home: CloudHome, first: Mapping[str, Any]) -> None:
    ident = first["deployment_id"]
    assert home.call("redeploy", deployment_id=ident)["state"] == "running"
    assert home.call("stop_deployment", deployment_id=ident, delete=True)["state"] == "deleted"
    assert not home.cloud.world.of_type("Microsoft.App/containerApps") and not Path(str(first["key_file"])).exists()
    assert not (home.cloud.share_root / "deployments" / str(ident)).exists()


def test_past_its_expiry_the_system_stops_it(home: CloudHome) -> None:
    told = home.deploy()
    order = standing_orders.c.target == told["deployment_id"]
    past = now_text(datetime.now(UTC) - timedelta(seconds=1))
    expiry = standing_orders.update().where(order, standing_orders.c.kind == "expiry").values(due_at=past)
    home.book.write(lambda db: db.execute(expiry) and None)
    stopped = asyncio.run(home.gateway.stop_due())
    assert [each.result.get("state") for each in stopped] == ["stopped"] and seen(home, told).stopped
    assert asyncio.run(home.gateway.stop_due()) == []
    assert home.book.read(lambda db: db.execute(select(standing_orders).where(order, standing_orders.c.ended_at.is_(None))).all()) == []


def test_a_tuned_model_is_served_beside_its_untuned_one(home: CloudHome) -> None:
    run = home.tuned("a run that was tuned", system="You are helpful.")
    told = home.call("deploy_inference", run_id=run, provider="azure", allow_ips=HERE, max_hours=2)
    assert told["models"] == [f"bundled-{run}", "bundled"] and told["tuned_by"] == run
    answers = home.call("ask_model", prompt="Hello", deployment_id=told["deployment_id"], compare=True, max_tokens=4)["answers"]
    assert [each["adapter"] for each in answers] == [None, run]
    home.call("stop_deployment", deployment_id=told["deployment_id"])


@pytest.mark.parametrize(("args", "words"), [
    ({"allow_ips": ["0.0.0.0/0"]}, "open to the world"), ({"region": "eastus"}, "not prepared"), ({"gpu": "H100"}, "no such profile"),
    ({"max_hours": 999}, "limit is 168"), ({"allow_ips": []}, "never open to everybody"),
], ids=["world", "region", "profile", "hours", "nobody"])
def test_what_cannot_be_deployed_is_said_before_anything_is_sent(home: CloudHome, args: dict[str, Any], words: str) -> None:
    before = len(home.cloud.bodies("PUT", ""))
    answer = home.ask("deploy_inference", **{"model": "bundled", "provider": "azure", "allow_ips": HERE, **args})
    assert answer.status == "failed" and words in answer.reason and answer.remedy and len(home.cloud.bodies("PUT", "")) == before


def test_without_quota_nothing_is_made(home: CloudHome) -> None:
    home.cloud.world.usages["westus3"]["SubscriptionConsumptionT4Gpus"] = (0, 0)
    asked = home.ask("deploy_inference", model="bundled", provider="azure", allow_ips=HERE, gpu="T4", max_hours=2)
    assert asked.status == "failed" and "no quota for T4" in asked.reason and "myQuotas" in asked.remedy
    home.cloud.world.usages["westus3"]["SubscriptionConsumptionT4Gpus"] = (2, 2)
    asked = home.ask("deploy_inference", model="bundled", provider="azure", allow_ips=HERE, gpu="T4", max_hours=2)
    assert asked.approval is not None and "is paid for and not used" in dict(asked.approval.lines)["GPU"]


def test_one_that_azure_cannot_make_has_failed_with_a_reason_and_costs_nothing_more(home: CloudHome) -> None:
    home.cloud.faults.at("PUT", "/containerApps/", Fault.POLICY, times=9)
    answer = refused(home)
    home.cloud.faults.clear()
    assert answer.status in ("failed", "done") and answer.for_brain.get("state", "failed") == "failed"
    cloud = home.toolbox.deploying.azure.cloud
    wait_until(lambda: home.toolbox.reconcile() is not None and not cloud.due(), "nothing of it may cost money any more")


def refused(home: CloudHome) -> Any:
    """A deploying call that is approved and then fails."""
    asked = home.ask("deploy_inference", model="bundled", provider="azure", allow_ips=HERE, max_hours=2)
    assert asked.approval is not None
    decision = asyncio.run(home.gateway.decide(asked.approval.id, "approve", OWNER))
    assert decision.answer is not None
    return decision.answer


def test_one_that_was_deleted_in_azure_is_lost_and_settled(home: CloudHome) -> None:
    told = home.deploy()
    home.toolbox.deploying.azure.cloud.apps("westus3").delete(str(told["deployment_id"]))
    wait_until(lambda: home.state(str(told["deployment_id"])) == DeployState.LOST.value, "the loss is noticed")
    home.settle()
    assert home.money(str(told["deployment_id"])).reserved == 0
