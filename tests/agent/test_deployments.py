"""Deployments in words: what is asked for, what is left to others, and what is said of it."""

from collections.abc import Mapping
from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from agent.brain.deployments import DEPLOYMENT_WORDS, read_deploying, say_deployment_notice
from agent.brain.embedded import EmbeddedBrain
from agent.brain.moves import Do, Say
from agent.brain.slots import read_slots
from agent.events import Notice, TurnEnded
from tests.agent.home import Home, News, only
from tests.agent.test_workshop import until


def reads(text: str) -> Do | None:
    return read_deploying(text, read_slots(text))


@pytest.mark.parametrize(
    ("text", "tool", "args"),
    [
        ("deploy it", "deploy_inference", {}), ("Please deploy the model.", "deploy_inference", {}),
        ("serve the tuned model", "deploy_inference", {}), ("serve the model over http", "deploy_inference", {}),
        ("deploy run 4k2j8m9qxz", "deploy_inference", {"run_id": "4k2j8m9qxz"}), ("host the tuned model locally", "deploy_inference", {}),
        ("deploy the base model", "deploy_inference", {"model": "bundled"}), ("deploy my tuned bundled model", "deploy_inference", {}),
        ("what is deployed?", "list_deployments", {}), ("List my deployments", "list_deployments", {}),
        ("which deployments are running", "list_deployments", {}), ("deployments", "list_deployments", {}),
        ("stop the deployment", "stop_deployment", {}), ("shut down the endpoint", "stop_deployment", {}),
        ("deploy it to azure", "deploy_inference", {"provider": "azure"}),
        ("stop serving", "stop_deployment", {}), ("undeploy it", "stop_deployment", {}),
        ("stop deployment 4k2j8m9qxz", "stop_deployment", {"deployment_id": "4k2j8m9qxz"}),
        ("delete the deployment", "stop_deployment", {"delete": True}), ("redeploy", "redeploy", {}),
        ("redeploy with run 4k2j8m9qxz", "redeploy", {"run_id": "4k2j8m9qxz"}), ("start the endpoint again", "redeploy", {}),
        ("redeploy 4k2j8m9qxz with run 5k2j8m9qxz", "redeploy", {"deployment_id": "4k2j8m9qxz", "run_id": "5k2j8m9qxz"}),
        ("redeploy the deployment 4k2j8m9qxz for 8 hours", "redeploy", {"deployment_id": "4k2j8m9qxz", "max_hours": 8}),
        ("what does the endpoint cost?", "list_deployments", {}), ("who may call my endpoint", "list_deployments", {}),
        ("is the endpoint up?", "list_deployments", {}), ("when does the endpoint end", "list_deployments", {}),
        ("stoppe das deployment", "stop_deployment", {}), ("lösche den endpunkt", "stop_deployment", {"delete": True}),
        ("open an endpoint on azure", "deploy_inference", {"provider": "azure"}),
    ],
)
def test_words_ask_for_one_call(text: str, tool: str, args: Mapping[str, Any]) -> None:
    found = reads(text)
    assert found is not None and (found.tool, dict(found.args)) == (tool, dict(args))


@pytest.mark.parametrize(
    "text",
    [
        "deploy on kubernetes", "serve it to my team", "make it public on the internet", "how do i deploy a model?",
        "don't deploy it", "would i be allowed to deploy the model", "what would it cost to deploy it", "stop the run", "list my runs",
        "fine-tune the bundled model on samples/helpdesk.jsonl", "export the model as onnx", "show the log", "what is lora?",
        "why is the deployment slow", "restart the run", "delete the run", "evaluate the tuned model", "show me the served files",
    ],
)
def test_other_places_doubts_and_other_requests_are_not_taken(text: str) -> None:
    assert reads(text) is None


TOOLS = [{"function": {"name": name}} for name in
         ("deploy_inference", "redeploy", "list_deployments", "stop_deployment", "cancel_run", "export_model")]


@pytest.mark.parametrize(
    ("text", "tool"), [("deploy it", "deploy_inference"), ("serve the tuned model", "deploy_inference"),
                       ("stop the deployment", "stop_deployment"), ("what is deployed?", "list_deployments"), ("redeploy", "redeploy")])
def test_the_assistant_calls_the_tool_and_while_standing_in_only_looks(text: str, tool: str) -> None:
    assert EmbeddedBrain().decide([HumanMessage(text)], TOOLS) == Do(tool)
    standing_in = EmbeddedBrain(reading_only=True).decide([HumanMessage(text)], TOOLS)
    assert standing_in == Do(tool) if tool == "list_deployments" else isinstance(standing_in, Say)


async def test_the_end_of_a_deployment_is_told_in_its_thread_once(home: Home) -> None:
    facts: dict[str, Any] = {"deployment_id": "4k2j8m9qxz", "state": "failed", "kind": "killed"}
    home.hands.news = [News("", to_state="failed", text="Deployment 4k2j8m9qxz has failed. It was killed.", for_brain=facts)]
    async with home.workshop() as shop:
        heard = await until(shop.listen("t1"), TurnEnded)
    assert [each.text for each in only(heard, Notice)] == ["Deployment 4k2j8m9qxz has failed. It was killed."]
    assert "Deployment 4k2j8m9qxz no longer answers (killed)" in str(heard)


RUNNING = {"deployment_id": "4k2j8m9qxz", "state": "running", "url": "http://127.0.0.1:4/v1", "api_key_hint": "…abcd", "tuned": True,
           "precision": "int8", "expires_at": "2026-12-01T00:00:00Z", "model": "bundled"}
PAID = {"spent": "0.42", "ceiling": "5.00", "per_hour": "0.560 USD an hour", "allow_ips": ["203.0.113.7/32"]}


@pytest.mark.parametrize(
    ("tool", "facts", "words"),
    [
        ("deploy_inference", RUNNING, ["The tuned model answers at http://127.0.0.1:4/v1", "on this machine only", "…abcd"]),
        ("redeploy", RUNNING | {"tuned": False}, ["The model bundled answers"]),
        ("deploy_inference", RUNNING | {"state": "starting"}, ["is starting"]),
        ("list_deployments", {"deployments": []}, ["Nothing is deployed"]),
        ("list_deployments", {"deployments": [RUNNING], "orphans": 2},
         ["1 deployment: 4k2j8m9qxz is running at", "2 that nobody knows of are there", "show the orphans"]),
        ("list_deployments", {"deployments": [RUNNING | PAID]},
         ["0.42 USD so far of at most 5.00", "0.560 USD an hour while it is awake", "for 203.0.113.7/32", "until 2026-12-01 00:00 UTC"]),
        ("stop_deployment", {"deployment_id": "4k2j8m9qxz", "state": "stopped"}, ["4k2j8m9qxz is stopped"]),
    ],
    ids=["deployed", "untuned", "starting", "none", "one and strays", "one that is paid for", "stopped"],
)
def test_results_are_said_in_words(tool: str, facts: Mapping[str, Any], words: list[str]) -> None:
    said = DEPLOYMENT_WORDS[tool](facts)
    assert all(word in said for word in words), said


@pytest.mark.parametrize(
    ("state", "words"), [("failed", "no longer answers (killed)"), ("lost", "no longer answers"), ("stopped", "is stopped")])
def test_an_end_that_nobody_asked_for_is_said_with_the_way_back(state: str, words: str) -> None:
    said = say_deployment_notice({"deployment_id": "4k2j8m9qxz", "state": state, "kind": "killed", "run_id": ""})
    assert words in said and "redeploy" in said
