"""Questions for a deployment: read word for word, asked of the one that is meant, and never of another."""

from collections.abc import Mapping
from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from agent.brain.blanks import NO_RUN, NONE_SERVED
from agent.brain.embedded import EmbeddedBrain
from agent.brain.moves import Do, Say
from agent.brain.questions import find_prompt, read_question
from tests.agent.measure import TOOLS
from tests.agent.test_embedded import Talk

IDENT, OTHER = "4k2j8m9qxz", "5k2j8m9qxz"
SERVED = {"deployment_id": IDENT, "state": "running", "where": "Azure, CPU in westus3", "tuned": True}
SECOND = {"deployment_id": OTHER, "state": "running", "where": "this machine", "tuned": False, "model": "bundled"}


@pytest.fixture(scope="module")
def brain() -> EmbeddedBrain:
    """One for all: it keeps nothing between answers."""
    return EmbeddedBrain()


@pytest.mark.parametrize(
    ("text", "ident", "prompt"),
    [
        (f"ask the deployment {IDENT}: how do I reset my password?", IDENT, "how do I reset my password?"),
        (f"Ask deployment {IDENT} “Where is my order?”", IDENT, "Where is my order?"),
        ("ask the deployment: hello", "", "hello"),
        ("ask my deployment how do i reset my password", "", "how do i reset my password"),
        ("please ask the endpoint on azure: hello", "", "hello"),
        ("can you ask the azure endpoint: hello", "", "hello"),
        ("ask the deployed model: hello", "", "hello"),
        ("question to the endpoint: hello", "", "hello"),
        ("a question for my deployment: where is it: here or there?", "", "where is it: here or there?"),
        ("send hello to the endpoint", "", "hello"),
        ('query the endpoint with "hello"', "", "hello"),
        ("what does the endpoint say to: hello", "", "hello"),
        ("frag den endpunkt: hallo", "", "hallo"),
        ("frage das deployment: hallo", "", "hallo"),
        ("ask the endpoint: line one\nline two", "", "line one\nline two"),
    ],
)
def test_a_question_for_a_deployment_is_read_word_for_word(text: str, ident: str, prompt: str) -> None:
    found = read_question(text)
    assert found is not None and (found.target, found.deployment, found.prompt) == ("deployment", ident, prompt)


@pytest.mark.parametrize(
    "text",
    ["what does the endpoint cost", "send 10 percent to the new deployment", "is the endpoint up?", "stop the endpoint",
     "asking the endpoint", "send 10% of the requests to the endpoint"])
def test_other_words_about_a_deployment_are_no_question_for_it(text: str) -> None:
    assert read_question(text) is None


def test_a_prompt_for_a_deployment_is_found_in_other_words() -> None:
    found = find_prompt('let me try the endpoint with "hello"')
    assert (found.target, found.prompt) == ("deployment", "hello")


def test_a_named_deployment_is_asked_at_once(brain: EmbeddedBrain) -> None:
    assert Talk(brain).say(f"ask the deployment {IDENT}: hello") == Do("ask_model", {"prompt": "hello", "deployment_id": IDENT})


def test_the_only_deployment_that_runs_is_looked_up_and_asked(brain: EmbeddedBrain) -> None:
    talk = Talk(brain)
    looked = talk.say("ask the deployment: hello")
    assert isinstance(looked, Do) and (looked.tool, looked.args) == ("list_deployments", {})
    asked = talk.result(deployments=[{**SECOND, "state": "stopped"}, SERVED])
    assert asked == Do("ask_model", {"prompt": "hello", "deployment_id": IDENT})


def test_its_untuned_model_can_be_asked_as_well(brain: EmbeddedBrain) -> None:
    talk = Talk(brain)
    talk.say("ask the deployed model and the base model: hello")
    assert talk.result(deployments=[SERVED]) == Do("ask_model", {"prompt": "hello", "compare": True, "deployment_id": IDENT})


def test_of_several_the_person_chooses_and_the_question_is_kept(brain: EmbeddedBrain) -> None:
    talk = Talk(brain)
    talk.say("ask the deployment: where is my order?")
    back = talk.result(deployments=[SERVED, SECOND])
    assert isinstance(back, Say) and back.text == "Which deployment?" and [IDENT in each[0] for each in back.choices] == [True, False]
    assert talk.say("2") == Do("ask_model", {"prompt": "where is my order?", "deployment_id": OTHER})


@pytest.mark.parametrize(
    ("deployments", "said"),
    [([], NONE_SERVED), ([{**SERVED, "state": "stopped"}], NONE_SERVED), ([{**SERVED, "state": "starting"}], "is starting: ask again")],
    ids=["none", "stopped", "not yet up"],
)
def test_where_none_can_answer_that_is_said_and_no_other_model_is_asked(
    brain: EmbeddedBrain, deployments: list[Mapping[str, Any]], said: str
) -> None:
    talk = Talk(brain)
    talk.say("ask the deployment: hello")
    back = talk.result(deployments=deployments)
    assert isinstance(back, Say) and said in back.text


def test_a_question_that_is_missing_is_asked_for(brain: EmbeddedBrain) -> None:
    talk = Talk(brain)
    assert talk.say(f"ask the deployment {IDENT}").text == "What shall I ask?"
    assert talk.say("hello there") == Do("ask_model", {"prompt": "hello there", "deployment_id": IDENT})


# ── what else is looked up before a call ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("text", ["redeploy with the new weights", "redeploy the latest run", "update the endpoint"])
def test_new_weights_are_those_of_the_run_that_finished_last(brain: EmbeddedBrain, text: str) -> None:
    talk = Talk(brain)
    looked = talk.say(text)
    assert isinstance(looked, Do) and (looked.tool, looked.args) == ("list_runs", {"status": "finished"})
    assert talk.result(total=2, runs=[{"run_id": OTHER}, {"run_id": IDENT}]) == Do("redeploy", {"run_id": OTHER})


def test_without_a_finished_run_there_are_no_new_weights(brain: EmbeddedBrain) -> None:
    talk = Talk(brain)
    talk.say("redeploy with the new weights")
    assert talk.result(total=0, runs=[]) == Say(NO_RUN)


def test_a_share_of_the_requests_goes_to_the_newest_run(brain: EmbeddedBrain) -> None:
    talk = Talk(brain)
    talk.say("send 10 percent to the new one")
    assert talk.result(total=1, runs=[{"run_id": OTHER}]) == Do("redeploy", {"canary_percent": 10, "run_id": OTHER})


@pytest.mark.parametrize(
    ("served", "more"), [(SERVED, {"restart": True}), ({**SERVED, "state": "stopped"}, {}), ({**SECOND, "deployment_id": IDENT}, {})],
    ids=["running on Azure", "stopped there", "on this machine"])
def test_a_restart_needs_no_new_yes_where_it_is_paid_for_already(
    brain: EmbeddedBrain, served: Mapping[str, Any], more: Mapping[str, Any]
) -> None:
    talk = Talk(brain)
    talk.say("restart the endpoint")
    assert talk.result(deployments=[served]) == Do("redeploy", {"deployment_id": IDENT, **more})


@pytest.mark.parametrize(
    ("text", "again"), [("stop the deployment", f"stop the deployment {OTHER}"), ("delete the endpoint", f"delete the deployment {OTHER}"),
                        ("redeploy", f"redeploy the deployment {OTHER}")])
def test_where_several_are_deployed_the_person_is_asked_which(brain: EmbeddedBrain, text: str, again: str) -> None:
    talk = Talk(brain)
    first = talk.say(text)
    assert isinstance(first, Do)
    talk.result("refused", error_kind="malformed", reason="The arguments are not right: `deployment_id` is missing.")
    back = talk.result(deployments=[SERVED, SECOND])
    assert isinstance(back, Say) and back.choices[1][1] == again
    assert talk.say("the second") == Do(first.tool, {**first.args, "deployment_id": OTHER})


@pytest.mark.parametrize(
    "text",
    ["ask the deployment: hello", f"ask the deployment {IDENT}: hello", "redeploy with the new weights", "restart the endpoint"])
def test_standing_in_for_another_brain_nothing_is_woken_or_changed(text: str) -> None:
    assert isinstance(EmbeddedBrain(reading_only=True).decide([HumanMessage(text)], TOOLS), Say)
