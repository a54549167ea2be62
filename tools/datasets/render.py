"""Counts a row's tokens as the model will see it: the folder's own chat template in a sandbox, then its tokenizer."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import JsonValue
from tokenizers import Tokenizer

from policies.tool import ToolFailed
from tools.datasets.shape import Example

MAX_TEMPLATE_BYTES = 1 << 18
MAX_TOKENIZER_BYTES = 64 << 20
MAX_RENDERED = 1 << 22
"""Characters of one rendered row."""
PLAIN = "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
"""Stands in where a folder has no template: the common ChatML form."""


class TokenCounter:
    """One model folder's tokenizer and template. Counts only; what carries loss is the engine's to say."""

    def __init__(self, folder: Path) -> None:
        """Raises ToolFailed when the folder has no usable tokenizer.json."""
        path = folder / "tokenizer.json"
        try:
            if path.stat().st_size > MAX_TOKENIZER_BYTES:
                raise ValueError("too large")
            self._tokenizer = Tokenizer.from_str(path.read_text("utf-8"))
        except Exception as error:  # tokenizers raises bare Exception for a file it does not understand
            raise ToolFailed(
                "Tokens cannot be counted", "the model's folder has no tokenizer.json that can be read.",
                "Name another model, or leave it out.", kind="model",
            ) from error
        self._special: Mapping[str, JsonValue] = {}
        self.template = PLAIN
        self.approximate = False
        """True where the folder's template is missing or did not run, so that counts may be a few tokens off."""
        self._read_template(folder)
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
        environment.globals |= {"raise_exception": _refuse, "strftime_now": lambda _form: "01 Jan 2026"}
        environment.filters["tojson"] = lambda value, **_: json.dumps(value, ensure_ascii=False)
        self._plain = environment.from_string(PLAIN)
        try:
            self._template = environment.from_string(self.template)
        except TemplateError:
            self._template, self.approximate = self._plain, True

    def render(self, example: Example) -> str:
        """The row's text with the template's control tokens."""
        if not example.messages:
            return example.text
        messages = [{"role": m.role, "content": m.content} for m in example.messages]
        try:
            rendered = self._template.render(messages=messages, add_generation_prompt=False, **self._special)
            if len(rendered) <= MAX_RENDERED:
                return rendered
        except Exception:  # a template is somebody else's program: whatever it does wrong, the count goes on without it
            self.approximate = True
        return self._plain.render(messages=messages)

    def lengths(self, examples: Sequence[Example]) -> list[int]:
        """Tokens of each row."""
        rendered = [self.render(example) for example in examples]
        return [len(encoding.ids) for encoding in self._tokenizer.encode_batch(rendered, add_special_tokens=False)]

    def _read_template(self, folder: Path) -> None:
        found: JsonValue = None
        try:
            config = json.loads(_small(folder / "tokenizer_config.json"))
            self._special = {name: _token(config.get(name)) for name in ("bos_token", "eos_token", "pad_token", "unk_token")}
            found = config.get("chat_template")
        except (OSError, ValueError, AttributeError):
            self.approximate = True
        if isinstance(found, list):
            named = {entry.get("name"): entry.get("template") for entry in found if isinstance(entry, dict)}
            found = named.get("default")
        if not isinstance(found, str):
            try:
                found = _small(folder / "chat_template.jinja")
            except (OSError, ValueError):
                found = None
        if isinstance(found, str):
            self.template = found
        else:
            self.approximate = True


def quantile(lengths: Sequence[int], share: float) -> int:
    """The smallest length that at least `share` (0..1) of the rows do not exceed; 0 for no rows."""
    if not lengths:
        return 0
    ordered = sorted(lengths)
    return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]


def _small(path: Path) -> str:
    if path.stat().st_size > MAX_TEMPLATE_BYTES:
        raise ValueError("too large")
    return path.read_text("utf-8")


def _token(value: JsonValue) -> str:
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else ""


def _refuse(_message: str) -> str:
    raise TemplateError("the template refused the row")
