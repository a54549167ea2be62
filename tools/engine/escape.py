"""Control tokens inside a person's text stay text: neither runtime's tokenizer escapes them."""

import json
from collections.abc import Sequence
from pathlib import Path

JOINER = "\u2060"
"""Word joiner: invisible, and enough to keep a control token's text from being read as the token."""


def control_tokens(folder: Path) -> tuple[str, ...]:
    """Texts that this model's tokenizer reads as control tokens wherever they stand, longest first, from `tokenizer.json`.

    Added tokens that are plain text (some models add runs of blanks or newlines) are no control tokens.
    Raises FileNotFoundError when the folder has no tokenizer.json.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise FileNotFoundError(f"The model folder needs a tokenizer.json; {folder.name} has none. Add the model again.")
    added = json.loads(path.read_text(encoding="utf-8")).get("added_tokens", [])
    texts = {str(token["content"]) for token in added if len(token["content"].strip()) > 1}
    special = {str(token["content"]) for token in added if token.get("special")}
    control = {text for text in texts if text in special or (text[0] in "<[" and text[-1] in ">]")}
    return tuple(sorted(control, key=lambda text: (-len(text), text)))


def escape(text: str, tokens: Sequence[str]) -> str:
    """`text` with a word joiner after the first character of every control token in it."""
    if not any(token in text for token in tokens):
        return text
    for token in tokens:
        text = text.replace(token, token[0] + JOINER + token[1:])
    return text


def unescape(text: str, tokens: Sequence[str]) -> str:
    """What a person reads: the joiners that `escape` put in are taken out again, others stay."""
    if JOINER not in text:
        return text
    for token in tokens:
        text = text.replace(token[0] + JOINER + token[1:], token)
    return text
