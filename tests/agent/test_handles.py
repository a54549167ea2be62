"""What a model is told of the tools and of their answers."""

import json

from langchain_core.utils.function_calling import convert_to_openai_tool

from agent.handles import WITHDRAW, as_message, build_handles, for_model
from policies.verdict import Answer
from tests.agent.home import CANARY, Home
from tests.agent.test_notices import APPROVAL


def test_every_tool_is_described_with_its_arguments(home: Home) -> None:
    handles = build_handles(home.door().gateway, home.hands.tools, grounding=False)
    told = {each["function"]["name"]: each["function"] for each in map(convert_to_openai_tool, handles)}
    assert set(told) == {*home.hands.tools, WITHDRAW}
    assert told["start_finetune"]["parameters"]["required"] == ["model", "dataset"]
    assert told["look"]["description"] == "Does what a test wants."
    assert not {"runtime", "context"} & set(told["look"]["parameters"]["properties"])


def test_a_model_reads_its_own_side_of_an_answer() -> None:
    message = as_message(Answer("done", "look", "c", result={"text": CANARY}, for_brain={"seen": 1}), "call_1")
    assert json.loads(str(message.text)) == {"status": "done", "seen": 1}
    assert message.status == "success" and CANARY not in str(message)


def test_a_waiting_answer_says_not_to_call_again() -> None:
    told = for_model(Answer("waiting", "start_finetune", "c", approval=APPROVAL))
    assert told["approval_id"] == APPROVAL.id and "Do not call this again" in told["note"]


def test_a_refusal_is_an_error_with_its_remedy() -> None:
    message = as_message(Answer("refused", "look", "c", reason="No.", remedy="Ask."), "call_1")
    assert message.status == "error" and json.loads(str(message.text)) == {"status": "refused", "reason": "No.", "remedy": "Ask."}
