"""Requests are closed: what changes an answer is honoured or refused, never dropped."""

import json
from typing import Any

import pytest

from tools.engine.serve_error import RequestRefused
from tools.engine.serve_request import ChatAsked, CompletionAsked, read_request

CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "q"}]}


def chat(**more: Any) -> ChatAsked:
    return read_request(ChatAsked, json.dumps({**CHAT, **more}).encode())


@pytest.mark.parametrize(
    "more", [{"n": 1}, {"n": None}, {"user": "me", "metadata": {"a": "b"}}, {"presence_penalty": 0, "frequency_penalty": 0.0},
             {"response_format": {"type": "text"}}, {"logprobs": False, "tools": None, "tool_choice": "none"}],
    ids=["one answer", "null", "book-keeping", "no penalty", "text", "nothing of it"],
)
def test_a_setting_at_the_value_it_has_anyway_is_fine(more: dict[str, Any]) -> None:
    assert chat(**more) == chat()


@pytest.mark.parametrize(
    ("more", "param"),
    [({"n": 2}, "n"), ({"logprobs": True}, "logprobs"), ({"presence_penalty": 0.5}, "presence_penalty"),
     ({"response_format": {"type": "json_object"}}, "response_format"), ({"logit_bias": {"1": 5}}, "logit_bias"), ({"top_p": 0}, "top_p"),
     ({"max_tokens": 0}, "max_tokens"), ({"stop": ""}, "stop"), ({"stream": "perhaps"}, "stream"), ({"made_up": 1}, "made_up"),
     ({"seed": 2**64}, "seed"), ({"messages": [{"role": "tool", "content": "x"}]}, "messages")],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_another_value_is_refused_by_name(more: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestRefused) as refused:
        chat(**more)
    assert (refused.value.status, refused.value.param) == (400, param)


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"1"], ids=["empty", "a list", "broken", "no text", "a number"])
def test_what_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(RequestRefused):
        read_request(ChatAsked, body)


def test_text_parts_are_one_text_and_a_developer_is_the_system() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    asked = chat(messages=[{"role": "developer", "content": parts}, {"role": "user", "content": "q"}])
    assert [message.as_template() for message in asked.messages] == [{"role": "system", "content": "ab"}, {"role": "user", "content": "q"}]


@pytest.mark.parametrize(("stop", "stops"), [(None, ()), ("a", ("a",)), (["a", "b"], ("a", "b"))], ids=["none", "one", "two"])
def test_stop_texts_come_alone_or_in_a_list(stop: Any, stops: tuple[str, ...]) -> None:
    assert chat(stop=stop).stops == stops


@pytest.mark.parametrize("prompt", ["p", ["p"]], ids=["text", "a list of one"])
def test_a_completion_has_one_prompt(prompt: Any) -> None:
    assert read_request(CompletionAsked, json.dumps({"model": "m", "prompt": prompt}).encode()).text == "p"


@pytest.mark.parametrize("prompt", [["p", "q"], [], [1, 2], None], ids=["two", "none", "token ids", "null"])
def test_several_prompts_are_refused(prompt: Any) -> None:
    with pytest.raises(RequestRefused):
        read_request(CompletionAsked, json.dumps({"model": "m", "prompt": prompt}).encode())
