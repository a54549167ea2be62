"""What the command assistant does next: speaks, or calls one tool and keeps what comes after it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Step = tuple[str, Mapping[str, Any]]
"""A tool and its arguments."""


@dataclass(frozen=True, slots=True)
class Asks:
    """A question the assistant has asked: what is missing in which request."""

    missing: str
    request: str
    """The person's words that lacked it."""


@dataclass(frozen=True, slots=True)
class Say:
    """Speak and wait for the person."""

    text: str
    choices: tuple[tuple[str, str], ...] = ()
    asks: Asks | None = None


@dataclass(frozen=True, slots=True)
class Do:
    """Call a tool, with a short word before it; `then` follows when it went well."""

    tool: str
    args: Mapping[str, Any] = field(default_factory=dict)
    text: str = ""
    then: tuple[Step, ...] = ()


Move = Say | Do
