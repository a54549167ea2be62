"""Deployments on this machine, through the gateway, with the real serving program on the bundled model."""

import asyncio
import json
import os
import shlex
import signal
import stat
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import openai
import pytest

from policies.book import now_text
from policies.people import Caller
from policies.tables import standing_orders
from policies.tool import Call, Recall
from tests.tools.fakes_deploy import OWNER, Home
from tests.tools.fakes_runs import wait_until
from tests.tools.fakes_serve import listening, loopback, until_free
from tools.serve.deploy_state import DeployState
from tools.serve.deploy_store import Planned

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    home = Home(tmp_path_factory.mktemp("deploying"))
    yield home
    home.close()


@pytest.fixture(scope="module")
def first(home: Home) -> Mapping[str, Any]:
    """One deployment that most tests look at."""
    return home.call("deploy_inference", model="bundled", max_hours=5)


def client_of(told: Mapping[str, Any]) -> openai.OpenAI:
    """OpenAI's client with the key from the file that the result names."""
    key = Path(str(told["key_file"])).read_text()
    return openai.OpenAI(base_url=str(told["url"]), api_key=key, max_retries=0, http_client=openai.DefaultHttpxClient(trust_env=False))


def test_the_plan_says_what_it_serves_where_and_for_how_long_and_nothing_begins_before_the_yes(home: Home) -> None:
    answer = home.ask("deploy_inference", model="bundled", max_hours=26)
    assert answer.status == "waiting" and answer.approval is not None
    assert home.ask("deploy_inference").status == "failed", "there is no run yet, and no other model is taken for it"
    lines = dict(answer.approval.lines)
    assert (lines["Serves"], lines["Precision"], lines["Time to live"]) == ("bundled, untuned", "int8", "1 day 2 hours")
    assert "127.0.0.1 only" in lines["Port"] and "iB, and" in lines["Memory"]
    assert any("1 day 2 hours after its start" in rule for rule in answer.approval.stop_rules)
    assert not (home.places.home / "deployments").exists() and not home.call("list_deployments")["deployments"]
    asyncio.run(home.gateway.decide(answer.approval.id, "deny", OWNER))


def test_a_deployment_answers_openais_client_and_says_who_it_is(home: Home, first: Mapping[str, Any]) -> None:
    assert first["state"] == "running" and first["models"] == ["bundled"] and first["revision"] == 1
    with client_of(first) as client:
        answer = client.chat.completions.create(model="bundled", messages=[{"role": "user", "content": "Hello"}], max_tokens=4)
    assert answer.choices[0].message.content and answer.model == "bundled"


def test_its_key_is_a_private_file_and_stands_nowhere_else(home: Home, first: Mapping[str, Any]) -> None:
    path = Path(str(first["key_file"]))
    key = path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and first["api_key_hint"] == f"…{key[-4:]}"
    assert key not in json.dumps(dict(first))
    elsewhere = [each for each in home.places.home.rglob("*") if each.is_file() and each != path]
    assert elsewhere and not [each for each in elsewhere if key.encode() in each.read_bytes()]
    assert key.encode() not in Path(f"/proc/{home.serving(str(first['deployment_id']))['pid']}/cmdline").read_bytes()


def test_the_curl_line_works_as_it_stands(first: Mapping[str, Any]) -> None:
    words = shlex.split(str(first["curl"]))
    assert words[0] == "curl" and "$(cat" in str(first["curl"])
    line = str(first["curl"]).replace('"max_tokens": 64', '"max_tokens": 4')
    done = subprocess.run(["sh", "-c", f"exec {line}"], capture_output=True, timeout=60, check=True, env={"PATH": os.environ["PATH"]})
    assert json.loads(done.stdout)["model"] == "bundled"


def test_it_is_reached_from_this_machine_alone(home: Home, first: Mapping[str, Any]) -> None:
    told = home.serving(str(first["deployment_id"]))
    assert listening(told["pid"]) == {loopback(told["port"])}


def test_ask_model_is_answered_through_it(home: Home, first: Mapping[str, Any]) -> None:
    told = home.call("ask_model", prompt="Hello", deployment_id=first["deployment_id"], max_tokens=6)
    said = [(each["model"], each["adapter"], each["precision"], each["tokens"]) for each in told["answers"]]
    assert said == [("bundled", None, "int8", 6)]
    assert told["answers"][0]["text"] and home.toolbox.answerer.pid is None


def test_comparing_without_an_untuned_model_beside_it_is_refused(home: Home, first: Mapping[str, Any]) -> None:
    answer = home.ask("ask_model", prompt="Hello", deployment_id=first["deployment_id"], compare=True)
    assert answer.status == "failed" and "with_base" in answer.remedy


def test_the_same_call_starts_nothing_twice_and_is_recalled(home: Home, first: Mapping[str, Any]) -> None:
    tool, store = home.toolbox.tools["deploy_inference"], home.toolbox.deploying.store
    row = store.wanted(str(first["deployment_id"]))
    args = tool.Args.model_validate({"model": "bundled", "max_hours": 5})
    again = tool.perform(args, Call(row.call_id, "owner", plan=row.plan))
    recalled = tool.recall(row.call_id)
    assert not isinstance(recalled, Recall) and again.result == recalled.result == dict(first)
    assert len(home.toolbox.deploying.local.living()) == 1 and tool.recall("another call") is Recall.NOT_STARTED


def test_a_second_one_has_a_port_and_a_key_of_its_own_and_a_kill_is_noticed(home: Home, first: Mapping[str, Any]) -> None:
    second = home.call("deploy_inference", model="bundled")
    assert second["url"] != first["url"] and Path(str(second["key_file"])).read_text() != Path(str(first["key_file"])).read_text()
    ident = str(second["deployment_id"])
    assert {each["deployment_id"] for each in home.call("list_deployments")["deployments"]} == {ident, first["deployment_id"]}
    home.toolbox.reconcile()
    os.kill(home.serving(ident)["pid"], signal.SIGKILL)
    wait_until(lambda: home.toolbox.deploying.local.traces(ident, 1).lock == "free", "the end of the process")
    [news] = home.toolbox.reconcile()
    assert (news.to_state, news.final, news.for_brain["kind"]) == ("failed", True, "killed") and "ended from outside" in news.text
    assert home.ask("ask_model", prompt="Hello", deployment_id=ident).status == "failed"
    assert home.state(str(first["deployment_id"])) == "running"
    assert home.call("stop_deployment", deployment_id=ident, delete=True)["state"] == "deleted"
    assert not Path(str(second["key_file"])).exists()


def test_it_outlives_the_server_and_is_adopted_by_the_next_one(home: Home, first: Mapping[str, Any]) -> None:
    pid = home.serving(str(first["deployment_id"]))["pid"]
    home.reopen()
    assert home.state(str(first["deployment_id"])) == "running" and home.serving(str(first["deployment_id"]))["pid"] == pid
    with client_of(first) as client:
        assert [model.id for model in client.models.list()] == ["bundled"]


def test_a_process_that_the_book_does_not_know_is_shown_and_left_alone(home: Home, first: Mapping[str, Any], tmp_path: Path) -> None:
    other = Home(tmp_path)
    try:
        (tmp_path / "deployments").symlink_to(home.places.home / "deployments")
        told = other.call("list_deployments")
        assert not told["deployments"] and [each["deployment_id"] for each in told["orphans"]] == [first["deployment_id"]]
        other.toolbox.reconcile()
    finally:
        other.toolbox.close()
        other.book.close()
    assert home.state(str(first["deployment_id"])) == "running"


def test_redeploying_keeps_address_and_key_and_counts_the_revision(home: Home, first: Mapping[str, Any]) -> None:
    ident = str(first["deployment_id"])
    pid = home.serving(ident)["pid"]
    again = home.call("redeploy", max_hours=3)
    assert (again["url"], again["key_file"], again["revision"], again["state"]) == (first["url"], first["key_file"], 2, "running")
    assert home.serving(ident, 2)["pid"] != pid and [each[1] for each in home.toolbox.deploying.local.living()] == [2]
    with client_of(again) as client:
        assert [model.id for model in client.models.list()] == ["bundled"]


def test_the_system_stops_it_when_its_time_is_over_and_not_before(home: Home, first: Mapping[str, Any]) -> None:
    system = Caller("system", "system")
    args = {"deployment_id": first["deployment_id"]}
    early = asyncio.run(home.gateway.call("stop_deployment", args, system))
    assert early.status == "refused" and home.state(str(first["deployment_id"])) == "running"
    home.book.write(lambda db: db.execute(standing_orders.update().values(due_at=now_text())) and None)
    late = asyncio.run(home.gateway.call("stop_deployment", args, system))
    assert (late.status, late.result["state"], late.result["reason"]) == ("done", "stopped", "Its time was over.")
    [news] = [each for each in home.toolbox.reconcile() if each.final]
    assert news.thread == "thread-1" and "Its time was over" in news.text
    assert home.call("redeploy", **args)["revision"] == 3


def test_a_stop_never_asks_is_harmless_twice_and_leaves_nobody_listening(home: Home, first: Mapping[str, Any]) -> None:
    ident, port = str(first["deployment_id"]), home.serving(str(first["deployment_id"]), 3)["port"]
    answers = [home.ask("stop_deployment"), home.ask("stop_deployment", deployment_id=ident)]
    assert [(each.status, each.result["state"]) for each in answers] == [("done", "stopped")] * 2
    assert answers[0].result["reason"] == "Stopped by owner."
    until_free(port)
    assert home.toolbox.deploying.local.living() == [] and not [each for each in home.toolbox.reconcile() if each.final]


def test_a_stopped_one_is_started_again_and_a_deleted_one_is_not(home: Home, first: Mapping[str, Any]) -> None:
    ident = str(first["deployment_id"])
    assert home.call("redeploy", deployment_id=ident)["url"] == first["url"]
    asked = home.ask("stop_deployment", deployment_id=ident, delete=True)
    assert asked.status == "waiting" and asked.approval is not None and asked.approval.effects == ("DESTROY",)
    assert home.call("stop_deployment", deployment_id=ident, delete=True)["state"] == "deleted"
    assert home.ask("redeploy", deployment_id=ident).status == "failed" and not (home.places.home / "deployments" / ident).exists()


def test_an_older_revision_left_by_a_killed_server_is_shown_and_goes_with_the_stop(home: Home) -> None:
    told = home.call("deploy_inference", model="bundled")
    ident, deploying = str(told["deployment_id"]), home.toolbox.deploying
    row = deploying.store.wanted(ident)
    planned = Planned(None, "bundled", row.plan, 3600)
    after = deploying.store.next_revision(ident, 2, "a call that was killed here", planned)
    assert home.toolbox.tools["redeploy"].recall("a call that was killed here") is Recall.NOT_STARTED
    assert after.state is DeployState.STARTING
    assert [(each["deployment_id"], each["revision"]) for each in home.call("list_deployments")["orphans"]] == [(ident, 1)]
    assert home.call("stop_deployment", deployment_id=ident)["state"] == "stopped"
    assert not [each for each in deploying.local.living() if each[0] == ident]


def test_a_tuned_model_is_served_beside_its_untuned_one_and_gives_way_to_another_run(home: Home) -> None:
    one, two = home.tuned("run one", "Be brief."), home.tuned("run two")
    told = home.call("deploy_inference", max_hours=1)  # the latest finished run is meant
    assert told["models"] == [f"bundled-{two}", "bundled"] and told["tuned_by"] == two
    told = home.call("redeploy", deployment_id=told["deployment_id"], run_id=one)
    assert told["models"] == [f"bundled-{one}", "bundled"] and told["revision"] == 2 and "Be brief." in str(told["curl"])
    both = home.call("ask_model", prompt="Hello", deployment_id=told["deployment_id"], compare=True, max_tokens=3)
    assert [each["adapter"] for each in both["answers"]] == [None, one] and both["system"] == "Be brief."
    home.call("stop_deployment", deployment_id=told["deployment_id"])


@pytest.mark.parametrize(
    ("tool", "args", "words"),
    [("deploy_inference", {"model": "unheard-of"}, "No such model"),
     ("deploy_inference", {"run_id": "0123456789"}, "no such run"), ("deploy_inference", {"model": "bundled", "max_hours": 169}, "168"),
     ("deploy_inference", {"model": "bundled", "provider": "azure"}, "not prepared"),
     ("deploy_inference", {"model": "bundled", "run_id": "0123456789"}, "Both"),
     ("stop_deployment", {"deployment_id": "0123456789"}, "no such deployment"), ("redeploy", {"deployment_id": "0123456789"}, "no such"),
     ("ask_model", {"prompt": "q", "deployment_id": "0123456789"}, "no such deployment")],
    ids=["unknown model", "unknown run", "too long", "elsewhere", "both", "stop of nothing", "redeploy of nothing",
         "question to nothing"],
)
def test_what_cannot_be_done_is_said_with_the_next_step(home: Home, tool: str, args: dict[str, Any], words: str) -> None:
    answer = home.ask(tool, **args)
    assert answer.status == "failed" and words in answer.reason and answer.remedy


def test_without_the_files_it_fails_with_its_reason_and_is_not_left_starting(home: Home, tmp_path: Path) -> None:
    bare = Home(tmp_path)
    try:
        broken = tmp_path / "served"
        broken.mkdir()
        plans = bare.toolbox.deploying.plans
        tool = bare.toolbox.tools["deploy_inference"]
        args = tool.Args.model_validate({"model": "bundled"})
        plan = tool.propose(args).plan
        (bare.places.home / "secrets" / "deployments").mkdir(parents=True)
        spec = plans.spec(dict(plan), plans.source("", "bundled"), "0123456789", 1, tmp_path / "no key")
        bare.toolbox.deploying.local.begin(spec)
        wait_until(lambda: bare.toolbox.deploying.local.traces("0123456789", 1).lock == "free", "its end")
        assert (bare.toolbox.deploying.local.traces("0123456789", 1).exit or {}).get("outcome") == "failed"
    finally:
        bare.close()
