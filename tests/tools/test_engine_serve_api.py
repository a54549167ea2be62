"""The serving program as OpenAI's own client meets it, on the bundled model."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from tests.tools.fakes_serve import KEY, Program

pytestmark = pytest.mark.engine
ASKED: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Name three colours."}]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    limits = {"body_bytes": 20_000, "tokens": 300, "at_once": 2, "queue": 1}
    program = Program(tmp_path_factory.mktemp("serving"), limits=limits).start()
    yield program
    program.close()


@pytest.fixture(scope="module")
def client(program: Program) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=program.url, api_key=KEY, max_retries=0, http_client=openai.DefaultHttpxClient(trust_env=False)) as client:
        yield client


def test_the_models_are_listed_with_what_they_are(client: openai.OpenAI) -> None:
    found = [model.model_dump() for model in client.models.list()]
    assert [(one["id"], one["precision"], one["tuned_by"], one["context"]) for one in found] == [("bundled", "int8", None, 8192)]
    assert client.models.retrieve("bundled").id == "bundled"


def test_a_chat_is_answered_by_the_model_that_was_asked_and_its_tokens_are_counted(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="bundled", messages=ASKED, temperature=0, max_tokens=12)
    choice, usage = answer.choices[0], answer.usage
    assert answer.model == "bundled" and (answer.system_fingerprint or "").startswith("fp_")
    assert choice.message.role == "assistant" and choice.message.content and choice.finish_reason == "length"
    assert usage is not None and usage.completion_tokens == 12 and usage.total_tokens == usage.prompt_tokens + 12
    assert usage.prompt_tokens > 25, "the chat template and its system message are part of the prompt"


def test_a_stream_says_the_same_words_then_why_it_ended_then_what_it_cost(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="bundled", messages=ASKED, temperature=0, max_tokens=12)
    chunks = list(client.chat.completions.create(
        model="bundled", messages=ASKED, temperature=0, max_tokens=12, stream=True, stream_options={"include_usage": True}))
    said = [chunk.choices[0] for chunk in chunks if chunk.choices]
    assert "".join(one.delta.content or "" for one in said) == whole.choices[0].message.content
    assert said[0].delta.role == "assistant" and [one.finish_reason for one in said if one.finish_reason] == ["length"]
    assert chunks[-1].usage == whole.usage and {chunk.model for chunk in chunks} == {"bundled"}


def test_a_stream_ends_with_done(program: Program) -> None:
    body = {"model": "bundled", "prompt": "Once", "max_tokens": 3, "stream": True}
    answer = httpx.post(f"{program.url}/completions", json=body, headers={"Authorization": f"Bearer {KEY}"}, trust_env=False)
    assert answer.headers["content-type"].startswith("text/event-stream") and answer.text.endswith("data: [DONE]\n\n")


def test_a_completion_takes_the_prompt_as_it_is(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="bundled", prompt="Once upon a time", temperature=0, max_tokens=8)
    assert answer.choices[0].text and answer.usage is not None and answer.usage.prompt_tokens < 6


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_an_answer_ends_before_a_stop_text_which_is_not_shown(client: openai.OpenAI, stream: bool) -> None:
    def ask(**more: Any) -> tuple[str, str]:
        if stream:
            chunks = list(client.completions.create(model="bundled", prompt="One, two, three,", temperature=0, stream=True, **more))
            return "".join(one.choices[0].text for one in chunks), chunks[-1].choices[0].finish_reason
        answer = client.completions.create(model="bundled", prompt="One, two, three,", temperature=0, **more)
        return answer.choices[0].text, answer.choices[0].finish_reason

    whole, why = ask(max_tokens=30)
    stop = whole[6:12]
    short, because = ask(max_tokens=30, stop=[stop, "never said by anyone"])
    assert why == "length" and because == "stop" and short == whole[:whole.index(stop)]


def test_the_same_seed_says_the_same_and_another_one_does_not(client: openai.OpenAI) -> None:
    def ask(seed: int | None) -> str:
        answer = client.completions.create(model="bundled", prompt="The sea", temperature=1.5, top_p=0.95, max_tokens=16, seed=seed)
        return answer.choices[0].text

    said = [ask(7), ask(7), ask(8), ask(None), ask(None)]
    assert said[0] == said[1] and len(set(said)) == 4


def test_only_the_likeliest_token_is_left_with_top_k_of_one(client: openai.OpenAI) -> None:
    greedy = client.completions.create(model="bundled", prompt="The sea", temperature=0, max_tokens=12)
    forced = client.completions.create(model="bundled", prompt="The sea", temperature=2, max_tokens=12, extra_body={"top_k": 1})
    assert greedy.choices[0].text == forced.choices[0].text


def test_answers_that_take_turns_are_what_they_are_alone(client: openai.OpenAI) -> None:
    def ask(prompt: str) -> str:
        return client.completions.create(model="bundled", prompt=prompt, temperature=0, max_tokens=20).choices[0].text

    prompts = ["The sea", "Once upon a time, " * 40]  # the second is read in several pieces
    alone = [ask(prompt) for prompt in prompts]
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(ask, prompts)) == alone


def test_control_tokens_in_a_message_are_text(client: openai.OpenAI) -> None:
    def prompt_tokens(content: str) -> int:
        messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": content}]
        usage = client.chat.completions.create(model="bundled", messages=messages, max_tokens=1).usage
        assert usage is not None
        return usage.prompt_tokens

    assert prompt_tokens("a<|im_end|>b") > prompt_tokens("ab") + 4


MESSAGES = [{"role": "user", "content": "Hello"}]
REFUSED: dict[str, tuple[dict[str, Any], int, str | None, str | None]] = {
    "an unknown model": ({"model": "gpt-5"}, 404, "model_not_found", "model"),
    "two answers": ({"n": 2}, 400, "unsupported_value", "n"),
    "tools": ({"tools": [{"type": "function", "function": {"name": "f"}}]}, 400, "unsupported_value", "tools"),
    "an unknown setting": ({"min_p": 0.1}, 400, "unknown_parameter", "min_p"),
    "a temperature out of range": ({"temperature": 3}, 400, "invalid_value", "temperature"),
    "no message": ({"messages": []}, 400, "invalid_value", "messages"),
    "a picture": ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, 400, None, "messages"),
    "too many tokens": ({"max_tokens": 301}, 400, "too_many_tokens", "max_tokens"),
    "five stop texts": ({"stop": ["a", "b", "c", "d", "e"]}, 400, None, "stop"),
    "a prompt beyond the context": ({"messages": [{"role": "user", "content": "!? " * 4_500}]}, 400, "context_length_exceeded", "messages"),
    "a body beyond the limit": ({"messages": [{"role": "user", "content": "x" * 30_000}]}, 413, "too_large", None),
}


@pytest.mark.parametrize(("change", "status", "code", "param"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_done_is_refused_in_openais_words(
    program: Program, change: dict[str, Any], status: int, code: str | None, param: str | None
) -> None:
    body = {"model": "bundled", "messages": MESSAGES, **change}
    answer = httpx.post(f"{program.url}/chat/completions", json=body, headers={"Authorization": f"Bearer {KEY}"}, trust_env=False)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (status, param) and (code is None or error["code"] == code), error
    assert error["message"] and error["type"] == "invalid_request_error"


def test_a_body_without_a_length_is_cut_off_at_the_limit(program: Program) -> None:
    def pieces() -> Iterator[bytes]:
        yield b'{"model": "'
        for _ in range(30):
            yield b"x" * 1_000

    answer = httpx.post(f"{program.url}/completions", content=pieces(), headers={"Authorization": f"Bearer {KEY}"}, trust_env=False)
    assert answer.status_code == 413


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {KEY}"}, {"Authorization": KEY}],
                         ids=["none", "wrong", "not a bearer", "the key alone"])
@pytest.mark.parametrize("path", ["/v1/models", "/metrics", "/v1/nothing"])
def test_without_the_key_there_is_nothing(program: Program, path: str, headers: dict[str, str]) -> None:
    answer = httpx.get(f"http://127.0.0.1:{program.port}{path}", headers=headers, trust_env=False)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key") and "bundled" not in answer.text


def test_the_client_understands_a_wrong_key_and_an_unknown_model(client: openai.OpenAI) -> None:
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="wrong").models.list()
    with pytest.raises(openai.NotFoundError, match="There are: bundled"):
        client.chat.completions.create(model="gpt-5", messages=ASKED)


def test_health_needs_no_key_and_tells_nothing(program: Program) -> None:
    answer = httpx.get(f"http://127.0.0.1:{program.port}/healthz", trust_env=False)
    assert answer.json() == {"status": "ok"}


def test_beyond_the_queue_a_client_is_told_when_to_come_again_and_one_that_leaves_makes_room(
    program: Program, client: openai.OpenAI
) -> None:
    dropped = program.metric("luthier_disconnects_total")
    with contextlib.ExitStack() as stack:
        streams = []
        for _ in range(3):  # two places and one to wait
            answer = client.completions.create(model="bundled", prompt="x", max_tokens=300, temperature=2, seed=1, stream=True)
            streams.append(stack.enter_context(answer))
        next(iter(streams[0]))
        with pytest.raises(openai.RateLimitError) as refused:
            client.completions.create(model="bundled", prompt="x")
        assert int(refused.value.response.headers["retry-after"]) > 0 and refused.value.code == "queue_full"
        assert (program.metric("luthier_working"), program.metric("luthier_waiting")) == (2, 1)
    program.wait(lambda: program.metric("luthier_working") + program.metric("luthier_waiting") == 0, "the abandoned answers to end")
    assert program.metric("luthier_disconnects_total") == dropped + 3
    assert client.completions.create(model="bundled", prompt="x", max_tokens=1).choices[0].finish_reason == "length"


def test_a_client_that_leaves_before_a_whole_answer_ends_it(program: Program) -> None:
    dropped = program.metric("luthier_disconnects_total")
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{program.url}/completions", json={"model": "bundled", "prompt": "x", "max_tokens": 300, "seed": 5, "temperature": 2},
                   headers={"Authorization": f"Bearer {KEY}"}, trust_env=False, timeout=0.3)
    program.wait(lambda: program.metric("luthier_disconnects_total") == dropped + 1, "the abandoned answer to end")


def test_nothing_that_was_asked_or_said_is_in_the_log(program: Program) -> None:
    assert "colours" not in (program.folder / "log.txt").read_text() and KEY not in (program.folder / "log.txt").read_text()
