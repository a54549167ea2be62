"""Azure in words: what is asked for, what is left alone, what is asked back, and what is said of the results."""

from collections.abc import Mapping
from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from agent.brain.cloud import ELSEWHERE, ONE_GPU, SIGN_IN, WHICH_EXECUTION
from agent.brain.cloud_words import choices_after
from agent.brain.embedded import EmbeddedBrain
from agent.brain.moves import Do, Say
from agent.brain.phrases import CLOUD
from agent.brain.words import say_result
from tests.agent.measure import TOOLS
from tests.agent.test_embedded import WAITING, Talk

DATA = "samples/helpdesk.jsonl"
TUNE = {"model": "bundled", "dataset": DATA}
EXECUTION = "luthier-run-4k2j8m9qxz-ab12c3d"
STRAY = {"name": "luthier-run-4k2j8m9qxz", "kind": "job", "region": "westus3", "running": True, "execution": EXECUTION, "spent": "1.24"}


@pytest.fixture(scope="module")
def brain() -> EmbeddedBrain:
    """One for all: it keeps nothing between answers."""
    return EmbeddedBrain()


LOOKS: list[tuple[str, str, Mapping[str, Any]]] = [
    ("what would you create?", "prepare_cloud", {"dry_run": True}),
    ("what would you create in azure?", "prepare_cloud", {"dry_run": True}),
    ("what would preparing azure create", "prepare_cloud", {"dry_run": True}),
    ("do a dry run for swedencentral", "prepare_cloud", {"region": "swedencentral", "dry_run": True}),
    ("was würdest du in azure anlegen?", "prepare_cloud", {"dry_run": True}),
    ("show the cloud resources", "prepare_cloud", {"dry_run": True}),
    ("zeig mir die ressourcen in azure", "prepare_cloud", {"dry_run": True}),
    ("what is in the cloud?", "prepare_cloud", {"dry_run": True}),
    ("is the cloud prepared?", "prepare_cloud", {"dry_run": True}),
    ("which azure account am i signed in with?", "prepare_cloud", {"dry_run": True}),
    ("show the orphans", "list_orphans", {}),
    ("find orphaned cloud jobs", "list_orphans", {}),
    ("what has azure cost?", "spend_report", {}),
    ("was hat azure gekostet?", "spend_report", {}),
    ("how much have i spent on azure", "spend_report", {}),
    (f"what would it cost on azure on {DATA}?", "estimate_cost", {**TUNE, "provider": "azure"}),
    (f"how much is an A100 in eastus for {DATA}", "estimate_cost", {**TUNE, "provider": "azure", "gpu": "A100", "region": "eastus"}),
    (f"was würde {DATA} auf azure kosten", "estimate_cost", {**TUNE, "provider": "azure"}),
]
ACTS: list[tuple[str, str, Mapping[str, Any]]] = [
    ("prepare the cloud", "prepare_cloud", {}),
    ("please set up azure", "prepare_cloud", {}),
    ("prepare the cloud in West Europe", "prepare_cloud", {"region": "westeurope"}),
    ("prepare azure in the resource group rg-tuning", "prepare_cloud", {"resource_group": "rg-tuning"}),
    ("get azure ready", "prepare_cloud", {}),
    ("bereite die cloud vor", "prepare_cloud", {}),
    ("richte azure in sweden central ein", "prepare_cloud", {"region": "swedencentral"}),
    ("fetch the results", "fetch_results", {}),
    ("fetch the results of 4k2j8m9qxz", "fetch_results", {"run_id": "4k2j8m9qxz"}),
    ("download the results from azure", "fetch_results", {}),
    ("get the adapter from the cloud", "fetch_results", {}),
    ("hole die ergebnisse", "fetch_results", {}),
    (f"adopt the run {EXECUTION}", "adopt_run", {"execution": EXECUTION}),
    ("tear down the cloud, group luthier-a1b2", "teardown_cloud", {"resource_group": "luthier-a1b2", "confirm": "luthier-a1b2"}),
    ("delete everything in azure in the group rg-tuning", "teardown_cloud", {"resource_group": "rg-tuning", "confirm": "rg-tuning"}),
    ("stop the orphan luthier-run-4k2j8m9qxz", "stop_orphan", {"name": "luthier-run-4k2j8m9qxz"}),
    ("delete the orphans", "teardown_cloud", {"only": "orphans"}), ("delete the expired jobs", "teardown_cloud", {"only": "expired"}),
    ("continue it on azure", "resume_run", {"provider": "azure"}),
    ("move the run to azure", "resume_run", {"provider": "azure"}),
    ("continue 4k2j8m9qxz here", "resume_run", {"run_id": "4k2j8m9qxz", "provider": "local"}),
    ("mach mit dem lauf auf azure weiter", "resume_run", {"provider": "azure"}),
    ("setze den lauf hier fort", "resume_run", {"provider": "local"}),
    ("deploy it on azure", "deploy_inference", {"provider": "azure"}),
    ("deploy the model to the cloud on a T4 for 8 hours", "deploy_inference", {"provider": "azure", "gpu": "T4", "max_hours": 8}),
    ("deploy it on azure in westus3 for 203.0.113.7", "deploy_inference",
     {"provider": "azure", "region": "westus3", "allow_ips": ["203.0.113.7"]}),
    ("stell das modell auf azure bereit", "deploy_inference", {"provider": "azure"}),
    ("stop the deployment on azure", "stop_deployment", {}),
    ("delete the azure endpoint", "stop_deployment", {"delete": True}),
]


@pytest.mark.parametrize(("text", "tool", "args"), LOOKS + ACTS, ids=[each[0] for each in LOOKS + ACTS])
def test_words_ask_for_one_call(brain: EmbeddedBrain, text: str, tool: str, args: Mapping[str, Any]) -> None:
    assert Talk(brain).say(text) == Do(tool, args)


@pytest.mark.parametrize(
    ("text", "more"),
    [
        (f"Fine-tune the bundled model on {DATA} on Azure", {}),
        (f"train it on an A100 in eastus with {DATA}", {"gpu": "A100", "region": "eastus"}),
        (f"use a cloud gpu for {DATA}", {}),
        (f"train on {DATA} in the cloud on a cpu", {"gpu": "cpu"}),
        (f"run {DATA} on azure for at most 5 dollars", {"budget_usd": 5.0}),
        (f"train with {DATA} on azure, 2 epochs", {"epochs": 2}),
        (f"trainiere mit {DATA} in der cloud", {}),
        (f"trainiere {DATA} auf azure mit einer T4", {"gpu": "T4"}),
    ],
)
def test_a_run_in_azure_is_checked_priced_and_planned(brain: EmbeddedBrain, text: str, more: Mapping[str, Any]) -> None:
    move = Talk(brain).say(text)
    assert isinstance(move, Do) and [move.tool, *(tool for tool, _ in move.then)] == ["validate_dataset", "estimate_cost", "start_finetune"]
    assert move.then[-1][1] == {**TUNE, "provider": "azure", **more}
    assert move.then[0][1].get("provider") == "azure" and "budget_usd" not in move.then[0][1]


def test_run_it_on_azure_takes_the_data_and_settings_of_what_was_planned_before(brain: EmbeddedBrain) -> None:
    talk = Talk(brain)
    talk.say(f"what would it cost on azure on {DATA} with 2 epochs?")
    talk.result(fits=True)
    move = talk.say("Run it on Azure")
    assert isinstance(move, Do) and move.then[-1] == ("start_finetune", {**TUNE, "epochs": 2, "provider": "azure"})


@pytest.mark.parametrize("text", ["Run it on Azure", "what would it cost on azure?"])
def test_data_that_nobody_named_is_asked_for(brain: EmbeddedBrain, text: str) -> None:
    talk = Talk(brain)
    asked = talk.say(text)
    assert isinstance(asked, Say) and asked.text.startswith("Which dataset?")
    move = talk.say("tickets.jsonl")
    last = (move.then[-1] if move.then else (move.tool, move.args)) if isinstance(move, Do) else ("", {})
    assert (last[1].get("dataset"), last[1].get("provider")) == ("tickets.jsonl", "azure")


@pytest.mark.parametrize(
    ("text", "more"),
    [("make it an A100", {"gpu": "A100"}), ("in westus3 instead", {"region": "westus3"}), ("make it at most 3 USD", {"budget_usd": 3.0})],
)
def test_a_waiting_plan_can_be_moved_within_azure(brain: EmbeddedBrain, text: str, more: Mapping[str, Any]) -> None:
    talk = planned(brain, f"train with {DATA} on azure")
    assert talk.say(text) == Do("start_finetune", {**TUNE, "provider": "azure", **more}, "I make a new plan with that.")


def test_a_waiting_plan_can_be_moved_to_azure_and_back(brain: EmbeddedBrain) -> None:
    talk = planned(brain, f"Fine-tune the bundled model on {DATA}")
    assert talk.say("better on azure") == Do("start_finetune", {**TUNE, "provider": "azure"}, "I make a new plan with that.")
    talk = planned(brain, f"train with {DATA} on azure on a T4")
    assert talk.say("do it here instead") == Do("start_finetune", TUNE, "I make a new plan with that.")


def planned(brain: EmbeddedBrain, text: str) -> Talk:
    """A conversation in which a plan waits."""
    talk = Talk(brain, WAITING)
    talk.say(text)
    for _ in range(3):
        talk.result(ok=True, fits=True)
    if talk.messages[-1].tool_calls:  # type: ignore[attr-defined]
        talk.result("waiting", approval_id="3f2a91c0")
    return talk


@pytest.mark.parametrize("text", ["tear down the cloud", "delete everything in azure", "clean up azure", "räum azure auf", "baue azure ab"])
def test_a_teardown_needs_the_name_of_its_group_typed(brain: EmbeddedBrain, text: str) -> None:
    talk = Talk(brain)
    assert talk.say(text) == Do("teardown_cloud")
    asked = talk.result(
        "failed", error_kind="confirm", reason="9 resources would be deleted for good.", remedy="Type the group's name to go on.")
    assert isinstance(asked, Say) and "9 resources" in asked.text and "Type the group's name here" in asked.text
    assert talk.say("luthier-a1b2c3d4") == Do("teardown_cloud", {"resource_group": "luthier-a1b2c3d4", "confirm": "luthier-a1b2c3d4"})


@pytest.mark.parametrize("answer", ["yes", "ok", "no", "list my runs", "stop"])
def test_no_other_word_is_taken_for_the_name_of_a_group(brain: EmbeddedBrain, answer: str) -> None:
    talk = Talk(brain)
    talk.say("tear down the cloud")
    talk.result("failed", error_kind="confirm", reason="9 resources would be deleted for good.", remedy="Type the group's name.")
    move = talk.say(answer)
    assert not (isinstance(move, Do) and move.tool == "teardown_cloud")


def test_an_adoption_needs_the_name_of_its_execution(brain: EmbeddedBrain) -> None:
    talk = Talk(brain)
    asked = talk.say("adopt the orphan")
    assert isinstance(asked, Say) and asked.text == WHICH_EXECUTION
    assert talk.say(EXECUTION) == Do("adopt_run", {"execution": EXECUTION})


@pytest.mark.parametrize(
    "text",
    [
        "how do i prepare the cloud", "don't prepare the cloud", "don't tear down the cloud", "what happens if i tear down azure",
        "should i train on azure", f"don't run {DATA} on azure", "can i fetch the results from azure", "how would i deploy it on azure",
        "never delete anything in azure", "would i be allowed to prepare the cloud", "is it safe to train in the cloud",
        "why did azure fail", "do i have a T4", "how do i continue it on azure",
    ],
)
def test_questions_and_negations_touch_nothing_in_the_cloud(brain: EmbeddedBrain, text: str) -> None:
    move = Talk(brain).say(text)
    tools = [move.tool, *(tool for tool, _ in move.then)] if isinstance(move, Do) else []
    reads = {"inspect_hardware", "explain_policy", "run_status", "tail_logs", "list_models", "list_runs", "estimate_cost"}
    assert set(tools) <= reads, move


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("log in to azure", SIGN_IN), ("train on kubernetes", ELSEWHERE.format(place="kubernetes")),
        ("deploy it on AWS", ELSEWHERE.format(place="AWS")), ("launch 8 a100 for the night", ONE_GPU),
        ("rent two T4 gpus in the cloud", ONE_GPU),
    ],
)
def test_what_luthier_does_not_do_is_said(brain: EmbeddedBrain, text: str, said: str) -> None:
    move = Talk(brain).say(text)
    assert isinstance(move, Say) and move.text == said


@pytest.mark.parametrize("text", ["put the model online", "serve it to my team"])
def test_a_vague_wish_is_answered_with_what_there_is(brain: EmbeddedBrain, text: str) -> None:
    move = Talk(brain).say(text)
    assert isinstance(move, Say) and move.text == CLOUD and move.choices


@pytest.mark.parametrize(("text", "tool", "args"), ACTS, ids=[each[0] for each in ACTS])
def test_standing_in_for_another_brain_the_cloud_is_only_looked_at(text: str, tool: str, args: Mapping[str, Any]) -> None:
    assert isinstance(EmbeddedBrain(reading_only=True).decide([HumanMessage(text)], TOOLS), Say), (tool, args)


PLACES = [
    {"region": "eastus", "gpu": "T4", "per_hour": "1.560", "likely": "0.42", "ceiling": "3.10", "risk": "low", "prepared": False},
    {"region": "westus3", "gpu": "A100", "per_hour": "6.350", "risk": "none", "prepared": True},
]


@pytest.mark.parametrize(
    ("tool", "facts", "words"),
    [
        ("estimate_cost", {"fits": True, "places": PLACES},
         ["(1) T4 in eastus: 1.560 USD an hour, likely 0.42, at most 3.10", "(2) A100 in westus3", "no quota",
          "prepare the cloud in eastus"]),
        ("estimate_cost", {"fits": True, "can_start": False, "places": PLACES[1:], "reason": "it fits, but there is no quota",
                           "remedies": ["Ask for quota at https://portal.azure.com."]},
         ["no quota", "Nothing can start there yet: it fits, but there is no quota. Ask for quota at https://portal.azure.com."]),
        ("prepare_cloud", {"state": "listed", "region": "eastus", "resources": 12, "missing": 9},
         ["make or change 9 of 12", "Nothing was made"]),
        ("prepare_cloud", {"state": "listed", "region": "eastus", "resources": 12, "missing": 0}, ["all 12 resources are there"]),
        ("prepare_cloud", {"state": "ready", "region": "eastus"}, ["eastus is prepared", "run it on azure"]),
        ("start_finetune", {"run_id": "4k2j8m9qxz", "cloud": True}, ["on its way to Azure", "stop rules"]),
        ("run_status", {"run_id": "r", "state": "running", "spent": "0.42"}, ["0.42 USD so far"]),
        ("run_status", {"run_id": "r", "state": "queued", "cloud": True, "phase": "uploading"}, ["is queued (its files are uploaded)"]),
        ("run_status", {"run_id": "r", "state": "queued", "cloud": True, "phase": "starting", "waiting": "waiting for a GPU"},
         ["Run r is queued (waiting for a GPU)"]),
        ("run_status", {"run_id": "r", "state": "finished", "cloud": True, "past_expiry": True}, ["“delete the expired jobs”"]),
        ("list_runs", {"total": 3, "by_state": {"finished": 3}, "past_expiry": 2}, ["past their expiry: 2. Say “delete the expired jobs”"]),
        ("fetch_results", {"run_id": "r", "count": 12, "verified": True}, ["12 files of run r", "each verified"]),
        ("fetch_results", {"run_id": "r", "count": 12, "verified": False}, ["not all could be verified"]),
        ("adopt_run", {"run_id": "r"}, ["is now run r"]),
        ("teardown_cloud", {"state": "gone", "deleted": 9, "left_of_ours": 0, "group_deleted": True},
         ["9 resources are gone", "nothing of ours", "group is deleted"]),
        ("teardown_cloud", {"state": "incomplete", "deleted": 7, "left_of_ours": 2}, ["7 resources are gone", "2 of ours remain"]),
        ("teardown_cloud", {"state": "incomplete", "deleted": 7, "failed": 1}, ["1 could not be deleted", "again"]),
        ("teardown_cloud", {"state": "cleared", "deleted": 1}, ["1 resource is deleted."]),
        ("stop_orphan", {"name": "luthier-run-4k2j8m9qxz", "state": "stopping"},
         ["luthier-run-4k2j8m9qxz is stopping", "delete the orphan luthier-run-4k2j8m9qxz"]),
        ("list_orphans", {"orphans": [], "total": 0, "expired": 0}, ["stands in its book"]),
        ("list_orphans", {"orphans": [], "total": 0, "expired": 2}, ["2 jobs or apps", "say “delete the expired jobs”"]),
        ("list_orphans", {"orphans": [STRAY, {**STRAY, "name": "luthier-app-5k2j8m9qxz", "kind": "app", "execution": "", "spent": None}],
                          "total": 3, "expired": 0},
         ["3 in Azure bear", "none is touched by itself", "the job luthier-run-4k2j8m9qxz in westus3 runs, 1.24 USD so far",
          f"“adopt {EXECUTION}” or “stop the orphan luthier-run-4k2j8m9qxz” or “delete the orphan luthier-run-4k2j8m9qxz”",
          "an unknown amount so far: say “stop the orphan luthier-app-5k2j8m9qxz”", "1 more"]),
        ("deploy_inference", {"deployment_id": "d", "state": "starting", "where": "Azure, T4 in eastus"},
         ["on its way to Azure, T4 in eastus"]),
        ("deploy_inference", {"deployment_id": "d", "state": "running", "where": "Azure, T4 in eastus", "url": "https://x", "tuned": True},
         ["The tuned model answers at https://x", "addresses on its card", "sleeps"]),
        ("spend_report", {"settled": "0.00", "reserved": "0.00", "accruing": "0.31"}, ["Running up now: 0.31 USD"]),
        ("spend_report", {"settled": "1.00", "reserved": "0.00", "billed": "0.97"}, ["Billed by Azure so far: 0.97 USD"]),
    ],
)
def test_results_are_said_in_words(tool: str, facts: Mapping[str, Any], words: list[str]) -> None:
    said = say_result(tool, {"status": "done", **facts})
    assert all(word in said for word in words), said


@pytest.mark.parametrize(
    ("kind", "label"),
    [("not_prepared", "Prepare the cloud"), ("signin", "How to sign in"), ("not_installed", "How to install it"),
     ("quota", "Other places")],
)
def test_a_failure_of_the_cloud_offers_what_helps(brain: EmbeddedBrain, kind: str, label: str) -> None:
    talk = Talk(brain)
    talk.say(f"train with {DATA} on azure")
    move = talk.result("failed", error_kind=kind, reason="It has not been prepared.", remedy="Say: prepare the cloud.")
    assert isinstance(move, Say) and label in [each[0] for each in move.choices] and "prepare the cloud" in move.text


@pytest.mark.parametrize("kind", ["not_prepared", "signin", "not_installed", "quota", "price"])
def test_every_button_after_a_failure_is_understood(brain: EmbeddedBrain, kind: str) -> None:
    for label, sentence in choices_after({"status": "failed", "error_kind": kind}):
        move = Talk(brain).say(f"{sentence}")
        assert isinstance(move, Do) or "I am not sure" not in move.text, label


def test_other_failures_offer_nothing() -> None:
    assert choices_after({"status": "failed", "error_kind": "oom"}) == () == choices_after({"status": "done", "error_kind": "quota"})
