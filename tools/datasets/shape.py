"""Recognises how the rows of a dataset are meant, and turns each into messages or a text."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import JsonValue

from tools.datasets.problem import Problem

Format = Literal["chat", "sharegpt", "instruction", "prompt", "question", "labelled", "text", "preference", "unknown"]
Role = Literal["system", "user", "assistant"]
Split = Literal["train", "validation", "test"]

SPEAKERS: dict[str, Role] = {
    "system": "system", "developer": "system", "human": "user", "user": "user", "prompter": "user",
    "gpt": "assistant", "assistant": "assistant", "model": "assistant", "bot": "assistant", "chatgpt": "assistant",
}
SPLITS: dict[str, Split] = {
    "train": "train", "training": "train", "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
    "eval": "validation", "test": "test", "testing": "test", "held-out": "test", "heldout": "test", "holdout": "test",
}
ANSWERS = ("completion", "response", "output", "answer", "target", "reply")
LABELS = ("label", "category", "class", "intent", "sentiment", "tag")
INPUTS = ("text", "sentence", "review", "message", "ticket", "input", "query", "utterance", "document", "content")
KNOWN = (
    "Known fields: messages; conversations; instruction, input, output; prompt, completion; question, answer; text, label; or text alone."
)


@dataclass(frozen=True, slots=True)
class Message:
    """One turn."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Example:
    """One row as the engine learns it: a conversation that ends with the answer, or a plain text."""

    messages: tuple[Message, ...] = ()
    text: str = ""
    split: Split | None = None
    group: str = ""

    @property
    def answer(self) -> str:
        """What the model is to say: the last turn; empty for a plain text."""
        return self.messages[-1].content if self.messages else ""

    @property
    def prompt(self) -> str:
        """What comes before the answer, without the system's words, which many rows share; the whole of a plain text."""
        if not self.messages:
            return self.text
        return "\n".join(m.content for m in self.messages[:-1] if m.role != "system")

    def as_row(self) -> dict[str, JsonValue]:
        """The row that the engine reads."""
        if not self.messages:
            return {"text": self.text}
        return {"messages": [{"role": m.role, "content": m.content} for m in self.messages]}


@dataclass(frozen=True, slots=True)
class Shape:
    """How a dataset's rows are meant: its format, and the column names that play the parts."""

    format: Format
    columns: tuple[str, ...]
    asks: str = ""
    answers: str = ""
    extra: str = ""
    """A further input column of the instruction format; may be empty in a row."""

    def turn(self, value: JsonValue, number: int) -> Example | Problem:
        """One row's example, or what is wrong with it. `number` is the row's place in the file."""
        if isinstance(value, str):
            return Example(text=value) if value.strip() else _empty(number, "text")
        if not isinstance(value, Mapping):
            return _other(number)
        made = _TURNS[self.format](self, value, number)
        if isinstance(made, Problem):
            return made
        split, group = value.get("split"), value.get("group")
        return Example(
            made.messages, made.text, SPLITS.get(split.strip().lower()) if isinstance(split, str) else None,
            str(group) if isinstance(group, str | int) and not isinstance(group, bool) and group != "" else "",
        )


def recognise(value: JsonValue) -> Shape:
    """The shape that a good row shows; `unknown` when none fits."""
    if isinstance(value, str):
        return Shape("text", ("text",))
    if not isinstance(value, Mapping):
        return Shape("unknown", ())
    columns = tuple(value)
    named = {name.strip().lower(): name for name in reversed(columns)}

    def first(names: Sequence[str]) -> str:
        return next((named[name] for name in names if name in named), "")

    answer = first(ANSWERS)
    if "chosen" in named and "rejected" in named:
        return Shape("preference", columns)
    if isinstance(value.get(named.get("messages", "")), list):
        return Shape("chat", columns, named["messages"])
    if isinstance(value.get(named.get("conversations", "")), list):
        return Shape("sharegpt", columns, named["conversations"])
    if "completion" in named and isinstance(value.get(named.get("label", "")), bool):
        return Shape("preference", columns)
    if "instruction" in named and answer:
        return Shape("instruction", columns, named["instruction"], answer, first(("input", "context")))
    if "prompt" in named and answer:
        return Shape("prompt", columns, named["prompt"], answer)
    if "question" in named and answer:
        return Shape("question", columns, named["question"], answer, first(("context",)))
    if (asks := first(INPUTS)) and (answers := first((*ANSWERS, *LABELS))):
        return Shape("labelled", columns, asks, answers)
    if "text" in named:
        return Shape("text", columns, named["text"])
    return Shape("unknown", columns)


def _chat(shape: Shape, row: Mapping[str, JsonValue], number: int) -> Example | Problem:
    return _conversation(row.get(shape.asks), "role", "content", number)


def _sharegpt(shape: Shape, row: Mapping[str, JsonValue], number: int) -> Example | Problem:
    turns = row.get(shape.asks)
    system = row.get("system")
    if isinstance(turns, list) and isinstance(system, str) and system.strip():
        turns = [{"from": "system", "value": system}, *turns]
    return _conversation(turns, "from", "value", number)


def _conversation(turns: JsonValue, role: str, content: str, number: int) -> Example | Problem:
    if not isinstance(turns, list) or not turns:
        return _empty(number, "conversation")
    messages: list[Message] = []
    for turn in turns:
        if not isinstance(turn, Mapping):
            return _other(number)
        speaker, words = turn.get(role, turn.get("role")), turn.get(content, turn.get("content"))
        known = SPEAKERS.get(speaker.strip().lower()) if isinstance(speaker, str) else None
        if known is None:
            return Problem(
                "warning", "role", f"Row {number} has a turn of an unknown speaker; it is left out.",
                "Use system, user and assistant; tool calls are not learned here.", number,
            )
        if isinstance(words, list) and all(isinstance(part, Mapping) and part.get("type") == "text" for part in words):
            words = "".join(str(part.get("text", "")) for part in words if isinstance(part, Mapping))
        if not isinstance(words, str):
            return Problem(
                "warning", "content", f"Row {number} has a turn whose content is no text; it is left out.",
                "Give each turn a text; pictures and tool calls are not learned here.", number,
            )
        messages.append(Message(known, words))
    return _ordered(tuple(messages), number)


def _ordered(messages: tuple[Message, ...], number: int) -> Example | Problem:
    spoken = [m.role for m in messages[1:]] if messages[0].role == "system" else [m.role for m in messages]
    if not spoken or len(spoken) % 2 or any(role != ("user", "assistant")[i % 2] for i, role in enumerate(spoken)):
        return Problem(
            "warning", "role_order", f"Row {number} does not go user, assistant, … and end with the assistant; it is left out.",
            "Order the turns: an optional system turn, then user and assistant in turn.", number,
        )
    if any(not m.content.strip() for m in messages if m.role == "user"):
        return _empty(number, "question")
    if not messages[-1].content.strip():
        return _empty(number, "answer")
    return Example(messages)


def _instruction(shape: Shape, row: Mapping[str, JsonValue], number: int) -> Example | Problem:
    asks, extra = _words(row.get(shape.asks)), _words(row.get(shape.extra)) if shape.extra else ""
    parts = (extra, asks) if shape.format == "question" else (asks, extra)
    return _pair("\n\n".join(part for part in parts if part.strip()), _words(row.get(shape.answers)), number)


def _prompt(shape: Shape, row: Mapping[str, JsonValue], number: int) -> Example | Problem:
    asks, answers = row.get(shape.asks), row.get(shape.answers)
    if isinstance(asks, list) and isinstance(answers, list):
        return _conversation([*asks, *answers], "role", "content", number)
    return _pair(_words(asks), _words(answers), number)


def _pair(asks: str, answers: str, number: int) -> Example | Problem:
    if not asks.strip():
        return _empty(number, "question")
    if not answers.strip():
        return _empty(number, "answer")
    return Example((Message("user", asks.strip()), Message("assistant", answers.strip())))


def _text(shape: Shape, row: Mapping[str, JsonValue], number: int) -> Example | Problem:
    text = _words(row.get(shape.asks))
    return Example(text=text) if text.strip() else _empty(number, "text")


def _nothing(shape: Shape, row: Mapping[str, JsonValue], number: int) -> Example | Problem:
    return _other(number)


def _words(value: JsonValue) -> str:
    """A cell as text; numbers and truth values count, everything else is empty."""
    return value if isinstance(value, str) else str(value) if isinstance(value, int | float) else ""


def _empty(number: int, part: str) -> Problem:
    remedy = f"Write the {part}, or remove the row."
    return Problem("warning", f"empty_{part}", f"Row {number} has no {part}; it is left out.", remedy, number)


def _other(number: int) -> Problem:
    message = f"Row {number} is built differently from the first row; it is left out."
    return Problem("warning", "other_shape", message, "Give all rows the same fields.", number)


_TURNS: Mapping[Format, Callable[[Shape, Mapping[str, JsonValue], int], Example | Problem]] = {
    "chat": _chat, "sharegpt": _sharegpt, "instruction": _instruction, "prompt": _prompt, "question": _instruction,
    "labelled": _prompt, "text": _text, "preference": _nothing, "unknown": _nothing,
}
