"""Rows become token ids by the model's own chat template, with the loss on the answers alone. Trainer, scorer and preview use this."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.engine.escape import control_tokens, escape, unescape
from tools.engine.failure import EngineFailed

IGNORED = -100
"""The label that torch's cross-entropy leaves out."""
ROLES = frozenset({"system", "user", "assistant", "tool"})

Message = dict[str, str]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Encoded:
    """A row as the model sees it: token ids, and whether each carries loss."""

    ids: tuple[int, ...]
    in_loss: tuple[bool, ...]

    @property
    def labels(self) -> list[int]:
        """The ids where loss is wanted, `IGNORED` elsewhere; the model shifts them."""
        return [token if wanted else IGNORED for token, wanted in zip(self.ids, self.in_loss, strict=True)]


@dataclass(frozen=True, slots=True)
class Question:
    """A held-out row: what is asked, what the answer should be."""

    prompt_ids: tuple[int, ...]
    answer_ids: tuple[int, ...]
    """The answer and its end-of-turn token."""
    messages: tuple[Message, ...]
    """The conversation up to the answer, as it stands in the row."""
    answer: str
    """The answer's text as it stands in the row."""


def read_rows(path: Path) -> Iterator[Row]:
    """Stream the rows of one JSONL file. Raises EngineFailed("data") naming the row that is none."""
    return (row for _, row in numbered_rows(path))


def numbered_rows(path: Path) -> Iterator[tuple[int, Row]]:
    """The same, each with the number of its line."""
    try:
        file = path.open(encoding="utf-8")
    except OSError as error:
        raise EngineFailed("data", f"The data file {path.name} can't be opened. Validate the dataset and start again.") from error
    with file:
        number = 0
        try:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, check_row(json.loads(line), number, path.name)
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            where = f"row {max(number, 1)} of {path.name}"
            raise EngineFailed("data", f"A row of JSON was wanted, but {where} can't be read. Correct it and start again.") from error


def check_row(row: Any, number: int, name: str) -> Row:
    """The row itself when it has `messages` or `text`. Raises EngineFailed("data") otherwise."""
    messages = row.get("messages") if isinstance(row, dict) else None
    good = isinstance(row, dict) and isinstance(row.get("text"), str) and bool(row["text"])
    if isinstance(messages, list) and messages:
        good = all(isinstance(m, dict) and m.get("role") in ROLES and isinstance(m.get("content"), str) for m in messages)
    if not good:
        raise EngineFailed("data", f"Row {number} of {name} has neither messages with roles and contents nor a text. Correct it.")
    return row


class Renderer:
    """One model's tokenizer and template."""

    def __init__(self, model_dir: Path, tokenizer: Any = None) -> None:
        """Load the tokenizer of `model_dir`, unless one is given."""
        try:
            self.control: tuple[str, ...] = control_tokens(model_dir)
        except FileNotFoundError as error:
            raise EngineFailed("model", str(error)) from error
        if tokenizer is None:
            from transformers import AutoTokenizer

            tokenizer = AutoTokenizer.from_pretrained(str(model_dir))
        self.tokenizer: Any = tokenizer

    def render(self, messages: Sequence[Message], ask: bool = False) -> str:
        """The conversation as text; with `ask`, up to where the next answer begins. Raises EngineFailed on a template that refuses."""
        if not self.tokenizer.chat_template:
            raise EngineFailed("model", "This model has no chat template, so it can't be tuned on messages. Choose an instruct model.")
        safe = [{**m, "content": escape(m["content"], self.control)} for m in messages]
        try:
            return self.tokenizer.apply_chat_template(safe, tokenize=False, add_generation_prompt=ask)
        except Exception as error:
            roles = ", ".join(m["role"] for m in messages)
            raise EngineFailed("data", f"The model's chat template refuses the roles {roles}. Reorder or drop the messages.") from error

    def pieces(self, messages: Sequence[Message]) -> list[tuple[str, bool]]:
        """The rendered conversation in pieces that carry loss (answers with their end-of-turn token) or don't.

        A template that renders an answer otherwise once more messages follow carries loss on the last answer only.
        """
        full = self.render(messages)
        spans: list[tuple[int, int]] = []
        for at, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            before, upto = self.render(messages[:at], ask=True), self.render(messages[: at + 1])
            if upto.startswith(before) and full.startswith(upto.rstrip()):
                spans.append((len(before), len(before) + len(self._turn(upto[len(before) :]))))
        return self._cut(full, spans)

    def _turn(self, rest: str) -> str:
        """What a model should say: the answer up to and with its end-of-turn token, without what the template puts after it."""
        ended = rest.rstrip()
        return ended if any(ended.endswith(token) for token in self.control) else rest

    def _cut(self, full: str, spans: Sequence[tuple[int, int]]) -> list[tuple[str, bool]]:
        """Cut `full` at the spans that carry loss."""
        pieces: list[tuple[str, bool]] = []
        at = 0
        for start, end in spans:
            pieces += [(full[at:start], False), (full[start:end], True)]
            at = end
        pieces.append((full[at:], False))
        return [(text, wanted) for text, wanted in pieces if text]

    def ids(self, text: str) -> list[int]:
        """Token ids of rendered text, nothing added."""
        return self.tokenizer.encode(text, add_special_tokens=False)

    def encode(self, row: Row) -> Encoded:
        """Ids and loss mask of a row; every token of a text row carries loss.

        Each piece is encoded by itself, so a prompt has the very ids it has when the model is served.
        """
        if "messages" not in row:
            text = self.tokenizer.encode(row["text"])
            end = self.tokenizer.eos_token_id
            text = text if end is None or text[-1:] == [end] else [*text, end]
            return Encoded(tuple(text), (True,) * len(text))
        ids: list[int] = []
        mask: list[bool] = []
        for text, wanted in self.pieces(row["messages"]):
            piece = self.ids(text)
            ids += piece
            mask += [wanted] * len(piece)
        if not any(mask):
            raise EngineFailed("data", "A row has no assistant message to learn from. Give each row one, or use text rows.")
        return Encoded(tuple(ids), tuple(mask))

    def question(self, row: Row) -> Question | None:
        """The row's last answer as a question with its prompt; None for a row without one."""
        messages = row.get("messages") or []
        if not messages or messages[-1]["role"] != "assistant":
            return None
        *asked, answer = messages
        before, full = self.render(asked, ask=True), self.render(messages)
        if not full.startswith(before):
            return None
        wanted = self.ids(self._turn(full[len(before) :]))
        return Question(tuple(self.ids(before)), tuple(wanted), tuple(asked), answer["content"])

    def decode(self, ids: Sequence[int]) -> str:
        """Text of generated ids, without control tokens, as a person reads it."""
        return self.unescaped(self.tokenizer.decode(list(ids), skip_special_tokens=True))

    def unescaped(self, text: str) -> str:
        """Generated text as a person reads it."""
        return unescape(text, self.control)


@dataclass(frozen=True, slots=True)
class EncodedRows:
    """A file's rows, encoded; those that are too long are left out and counted, never cut."""

    rows: tuple[Encoded, ...]
    skipped: int

    @property
    def longest(self) -> int:
        """Tokens of the longest row."""
        return max((len(row.ids) for row in self.rows), default=0)


def encode_file(renderer: Renderer, path: Path, max_length: int, limit: int | None = None) -> EncodedRows:
    """Encode the rows of a file, the first `limit` that fit. Raises EngineFailed naming the row that can't be."""
    rows: list[Encoded] = []
    skipped = 0
    for number, row in numbered_rows(path):
        if limit is not None and len(rows) >= limit:
            break
        try:
            encoded = renderer.encode(row)
        except EngineFailed as error:
            raise EngineFailed(error.kind, f"Row {number} of {path.name} can't be used. {error.message}") from error
        if len(encoded.ids) > max_length:
            skipped += 1
        else:
            rows.append(encoded)
    return EncodedRows(tuple(rows), skipped)
