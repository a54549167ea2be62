"""Who asks and who decides: persons, their roles, and the face a call came through."""

from dataclasses import dataclass
from typing import Literal

Via = Literal["web", "slack", "teams", "cli", "mcp", "system"]


@dataclass(frozen=True, slots=True)
class Caller:
    """The authenticated author of a call; never taken from words."""

    person: str
    """The linked human identity, e.g. `owner`; `system` for standing orders."""
    via: Via
    auth: str = ""
    """How the person was recognised: `link`, `peer uid`, …"""
    thread: str | None = None
    session: str = ""
    """Hash of the web session, empty elsewhere."""
