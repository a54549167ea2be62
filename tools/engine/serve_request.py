"""Requests as OpenAI's clients send them, closed: what cannot be honoured is refused by name, never dropped."""

import json
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from tools.engine.serve_error import RequestRefused

NEUTRAL: dict[str, tuple[JsonValue, ...]] = {
    "n": (1,), "best_of": (1,), "echo": (False,), "logprobs": (False,), "top_logprobs": (0,), "frequency_penalty": (0,),
    "presence_penalty": (0,), "logit_bias": ({},), "suffix": ("",), "tools": ([],), "functions": ([],), "tool_choice": ("none", "auto"),
    "function_call": ("none", "auto"), "response_format": ({"type": "text"},), "modalities": (["text"],),
    "parallel_tool_calls": (True, False), "store": (False,), "service_tier": ("auto", "default"), "verbosity": ("medium",),
}
"""Settings that this server has no other value for than these; null is always one of them."""
UNUSED = frozenset({"user", "metadata", "safety_identifier", "prompt_cache_key"})
"""Marks for a provider's own bookkeeping; they change no answer."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")

    type: Literal["text"]
    text: str


class ChatMessage(BaseModel):
    """One message; its content is text or a list of text parts."""

    model_config = ConfigDict(extra="forbid")

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[_Part]
    name: str | None = None

    def as_template(self) -> dict[str, str]:
        """As the model's chat template takes it."""
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return {"role": "system" if self.role == "developer" else self.role, "content": text}


class _StreamOptions(BaseModel):
    model_config = ConfigDict(extra="forbid")

    include_usage: bool = False
    include_obfuscation: bool = False


Stop = Annotated[str, Field(min_length=1, max_length=200)]
Stops = Annotated[list[Stop], Field(max_length=4)]


class Asked(BaseModel):
    """What both kinds of request share."""

    model_config = ConfigDict(extra="forbid")

    model: str = Field(min_length=1, max_length=200)
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: Stop | Stops | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop texts."""
        return () if self.stop is None else (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)

    @property
    def wants_usage(self) -> bool:
        """Whether a stream ends with a chunk that counts tokens."""
        return self.stream_options is not None and self.stream_options.include_usage


class ChatAsked(Asked):
    """A request for `/v1/chat/completions`."""

    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=1_000)]
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None


class CompletionAsked(Asked):
    """A request for `/v1/completions`: the prompt goes to the model as it is, without a chat template."""

    prompt: str | Annotated[list[str], Field(min_length=1, max_length=1)]

    @property
    def text(self) -> str:
        """The one prompt."""
        return self.prompt if isinstance(self.prompt, str) else self.prompt[0]


A = TypeVar("A", bound=Asked)


def read_request(kind: type[A], body: bytes) -> A:
    """The request in a body. Raises RequestRefused (400) with the setting that is wrong and what it may be."""
    try:
        told: Any = json.loads(body)
    except ValueError as error:
        raise RequestRefused(400, "The body is no JSON. Send one JSON object.") from error
    if not isinstance(told, dict):
        raise RequestRefused(400, "The body is no JSON object. Send one JSON object.")
    kept = {}
    for name, value in told.items():
        if name in NEUTRAL:
            if value is not None and value not in NEUTRAL[name]:
                can = " or ".join(json.dumps(each) for each in NEUTRAL[name])
                raise RequestRefused(400, f"This server can't honour {name} = {json.dumps(value)[:80]}. Leave it out, or send {can}.",
                                     param=name, code="unsupported_value")
        elif name not in UNUSED:
            kept[name] = value
    try:
        return kind.model_validate(kept)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = [str(part) for part in first["loc"]]
        unknown = first["type"] == "extra_forbidden"
        said = "This server does not know it; leave it out." if unknown else f"{first['msg']}."
        raise RequestRefused(400, f"{'.'.join(where)[:80] or 'The request'}: {said}", param=where[0][:80] if where else None,
                             code="unknown_parameter" if unknown else "invalid_value") from error
