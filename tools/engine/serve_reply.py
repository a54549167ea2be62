"""Answers in OpenAI's shapes: whole, or as the chunks of a stream."""

import time
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Reply:
    """What every piece of one answer says: its id, and which model made it."""

    chat: bool
    id: str
    model: str
    fingerprint: str
    created: int = field(default_factory=lambda: int(time.time()))

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model, "system_fingerprint": self.fingerprint}

    @property
    def _piece(self) -> str:
        return "chat.completion.chunk" if self.chat else "text_completion"

    def whole(self, text: str, finish: str, prompt: int, completion: int) -> dict[str, Any]:
        """The answer at once, with its tokens."""
        choice: dict[str, Any] = {"message": {"role": "assistant", "content": text, "refusal": None}} if self.chat else {"text": text}
        kind = "chat.completion" if self.chat else "text_completion"
        return self._head(kind) | {
            "choices": [{"index": 0, **choice, "logprobs": None, "finish_reason": finish}], "usage": _usage(prompt, completion),
        }

    def chunk(self, text: str, *, role: str = "", finish: str | None = None, usage: bool = False) -> dict[str, Any]:
        """One piece of a stream; with `usage` it says that the count comes later."""
        delta: dict[str, Any] = {"role": role, "content": text} if role else {"content": text} if finish is None else {}
        choice = {"delta": delta} if self.chat else {"text": text}
        found = self._head(self._piece) | {"choices": [{"index": 0, **choice, "logprobs": None, "finish_reason": finish}]}
        return found | {"usage": None} if usage else found

    def counted(self, prompt: int, completion: int) -> dict[str, Any]:
        """The last piece of a stream that was asked to count its tokens."""
        return self._head(self._piece) | {"choices": [], "usage": _usage(prompt, completion)}


def _usage(prompt: int, completion: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
