"""Run ids: ten characters of lower-case Crockford base32, derived from the call that asked for the run."""

import hashlib
import re

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
PATTERN = r"^[0-9a-hjkmnp-tv-z]{10}$"
_SHAPE = re.compile(PATTERN)


def rid_of(call_id: str) -> str:
    """The id of the run that `call_id` starts: the same call always names the same run, so a repeat starts nothing new."""
    number = int.from_bytes(hashlib.sha256(f"luthier run {call_id}".encode()).digest()[:8], "big") >> 14
    return "".join(ALPHABET[number >> shift & 31] for shift in range(45, -1, -5))


def is_rid(text: str) -> bool:
    """Whether `text` has the shape of a run id; anything else never becomes a path."""
    return _SHAPE.match(text) is not None and "\n" not in text
