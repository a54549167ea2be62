"""What people say to a workshop in the cloud, in their own spelling: which call each sentence comes to, and which ones only speak."""

from collections.abc import Mapping
from typing import Any

import pytest

from agent.brain.cloud import BY_ITSELF, PUT_THERE, QUOTA, STOP_ALL, WHICH_REGION
from agent.brain.deployments import NOT_OPEN
from agent.brain.embedded import EmbeddedBrain
from agent.brain.moves import Do, Say
from tests.agent.test_embedded import Talk

DATA, RUN, NAME = "samples/helpdesk.jsonl", "4k2j8m9qxz", "luthier-run-4k2j8m9qxz"
DRY: Mapping[str, Any] = {"dry_run": True}
AZURE: Mapping[str, Any] = {"provider": "azure"}
HERE: Mapping[str, Any] = {"provider": "local"}
LOOKED = (("list_deployments", {}),)

CALLS: list[tuple[str, str, Mapping[str, Any]]] = [
    # the account and what would be made
    ("which account am I using", "prepare_cloud", DRY), ("which subscription do you use", "prepare_cloud", DRY),
    ("am i logged in to azure?", "prepare_cloud", DRY),
    ("prepare azure in westus3, dry run", "prepare_cloud", {"region": "westus3", **DRY}),
    ("prepare azure, but only show me", "prepare_cloud", DRY), ("show me what you would do in azure", "prepare_cloud", DRY),
    ("dry run", "prepare_cloud", DRY),
    ("what do i have in azure", "prepare_cloud", DRY), ("is anything left in azure", "prepare_cloud", DRY),
    ("what would be deleted", "prepare_cloud", DRY), ("prepare azuer", "prepare_cloud", {}), ("prepara azure", "prepare_cloud", {}),
    ("prepare the cloud in sweden", "prepare_cloud", {"region": "swedencentral"}), ("create the azure resources", "prepare_cloud", {}),
    ("use my existing resource group rg-ml", "prepare_cloud", {"resource_group": "rg-ml"}),
    # how it stands
    ("how is the cloud run", "run_status", {}), ("is it still running in azure?", "run_status", {}),
    ("why is it waiting", "run_status", {}),
    ("why does it not start", "run_status", {}), ("is my job queued?", "run_status", {}), ("is the image pulled", "run_status", {}),
    ("where does it run", "run_status", {}), ("why was it stopped", "run_status", {}), ("show me the logs from azure", "tail_logs", {}),
    ("show me the last 20 lines of the azure log", "tail_logs", {"lines": 20}), ("list my azure runs", "list_runs", {}),
    # the end, the results, the way on
    ("stop the cloud run", "cancel_run", {}), ("cancel the azure run", "cancel_run", {}), ("kill the job in azure", "cancel_run", {}),
    ("STOP THE CLOUD RUN", "cancel_run", {}), ("stop it on azure", "cancel_run", {}), ("pause the cloud run", "cancel_run", {}),
    (f"stop the run {RUN} on azure", "cancel_run", {"run_id": RUN}), ("download the results", "fetch_results", {}),
    ("bring the checkpoints home", "fetch_results", {}), ("copy the results to this machine", "fetch_results", {}),
    (f"fetch the adapter of {RUN}", "fetch_results", {"run_id": RUN}), ("resume on azure", "resume_run", AZURE),
    ("pick it up on azure", "resume_run", AZURE), ("transfer the run to azure", "resume_run", AZURE),
    ("verschiebe den lauf nach azure", "resume_run", AZURE), ("continue it here", "resume_run", HERE),
    ("take the run from azure to my laptop", "resume_run", HERE), ("bring the run back to my machine", "resume_run", HERE),
    # what nobody knows, and what is taken away
    ("what is running on Azure that nobody knows", "list_orphans", {}), ("stop the orphan", "list_orphans", {}),
    ("is there something in azure that you don't know", "list_orphans", {}), (f"stop the orphan {NAME}", "stop_orphan", {"name": NAME}),
    (f"delete the orphan {NAME}", "teardown_cloud", {"only": "orphans", "name": NAME}), ("delete all orphans", "teardown_cloud",
                                                                                          {"only": "orphans"}),
    ("clean up finished jobs", "teardown_cloud", {"only": "expired"}), ("remove luthier from azure", "teardown_cloud", {}),
    ("Tear Down The Cloud", "teardown_cloud", {}), ("lösche alles in azure", "teardown_cloud", {}),
    # the money
    ("what did I spend this month on azure", "spend_report", {}), ("how much have i spent on azure this week", "spend_report",
                                                                  {"since": "7d"}),
    # the endpoint
    ("deploy it on azrue", "deploy_inference", AZURE), ("make an endpoint in azure", "deploy_inference", AZURE),
    ("what does the endpoint cost", "list_deployments", {}), ("who is allowed to call the endpoint", "list_deployments", {}),
    ("delete the endpoint", "stop_deployment", {"delete": True}), ("extend the endpoint by 8 hours", "redeploy", {"max_hours": 8}),
]
SAID: list[tuple[str, str]] = [
    ("stop everything in azure", STOP_ALL), ("i don't want to pay anything more", STOP_ALL), ("delete everything", STOP_ALL),
    ("make it public", NOT_OPEN), ("deploy on azure and let everyone call it", NOT_OPEN), ("put it on azure", PUT_THERE),
    (f"train {DATA} in europe", WHICH_REGION), ("is my quota enough", QUOTA), ("do i have quota for an A100", QUOTA),
]
RUNS: list[tuple[str, Mapping[str, Any]]] = [
    (f"train {DATA} on an A100 in Sweden", {"gpu": "A100", "region": "swedencentral"}),
    (f"train in canada with {DATA}", {"region": "canadacentral"}),
    (f"train on {DATA} on azur", {}),
    (f"trian {DATA} on azrue", {}), (f"entrena {DATA} en azure", {}), (f"{DATA} on azure", {}),
    (f"qlora on {DATA} in azure", {"method": "qlora"}),
    (f"train {DATA} in the cloud, cheapest please", {}), (f"RUN {DATA} ON AZURE", {}),
]


@pytest.fixture(scope="module")
def brain() -> EmbeddedBrain:
    """One for all: it keeps nothing between answers."""
    return EmbeddedBrain()


@pytest.mark.parametrize(("text", "tool", "args"), CALLS, ids=[each[0] for each in CALLS])
def test_a_sentence_comes_to_one_call(brain: EmbeddedBrain, text: str, tool: str, args: Mapping[str, Any]) -> None:
    assert Talk(brain).say(text) == Do(tool, args)


@pytest.mark.parametrize(("text", "said"), SAID, ids=[each[0] for each in SAID])
def test_a_sentence_is_answered_in_words(brain: EmbeddedBrain, text: str, said: str) -> None:
    move = Talk(brain).say(text)
    assert isinstance(move, Say) and move.text == said


@pytest.mark.parametrize(("text", "more"), RUNS, ids=[each[0] for each in RUNS])
def test_a_sentence_plans_a_run_there(brain: EmbeddedBrain, text: str, more: Mapping[str, Any]) -> None:
    move = Talk(brain).say(text)
    assert isinstance(move, Do) and move.then[-1] == ("start_finetune", {"model": "bundled", "dataset": DATA, **AZURE, **more})


@pytest.mark.parametrize("text", [f"train a model on {DATA} about cities in france", f"tune on {DATA}, questions from germany",
                                  f"train a model on {DATA} about history in europe"])
def test_a_country_that_data_is_about_moves_no_run(brain: EmbeddedBrain, text: str) -> None:
    move = Talk(brain).say(text)
    assert isinstance(move, Do) and "provider" not in move.then[-1][1]


def test_what_runs_there_is_looked_up_among_runs_and_deployments(brain: EmbeddedBrain) -> None:
    assert Talk(brain).say("what is running in azure") == Do("list_runs", {"status": "running"}, then=LOOKED)


def test_a_run_that_moves_takes_the_place_that_its_card_shows(brain: EmbeddedBrain) -> None:
    assert Talk(brain).say("move the training to a T4") == Do("resume_run", AZURE, BY_ITSELF)


def test_an_address_that_is_let_in_comes_to_those_that_are(brain: EmbeddedBrain) -> None:
    talk = Talk(brain)
    talk.say("allow 203.0.113.9 on the endpoint")
    served = {"deployment_id": RUN, "state": "running", "where": "Azure", "allow_ips": ["198.51.100.4/32"]}
    assert talk.result(deployments=[served]) == Do("redeploy", {"deployment_id": RUN, "allow_ips": ["198.51.100.4/32", "203.0.113.9"]})


@pytest.mark.parametrize("data", [f"what would it cost on azure on {DATA}?"])
def test_with_data_known_a_question_about_quota_is_an_estimate(brain: EmbeddedBrain, data: str) -> None:
    talk = Talk(brain)
    talk.say(data)
    talk.result(fits=True)
    assert talk.say("is my quota enough for an A100?") == Do("estimate_cost", {"model": "bundled", "dataset": DATA, **AZURE, "gpu": "A100"})


def test_without_quota_no_plan_is_made_and_what_to_ask_for_is_said(brain: EmbeddedBrain) -> None:
    talk = Talk(brain)
    talk.say(f"run {DATA} on azure")
    talk.result(ok=True)
    said = talk.result(fits=True, can_start=False, reason="there is no quota", remedies=["Ask for quota in the portal."])
    assert isinstance(said, Say) and "Ask for quota in the portal." in said.text
