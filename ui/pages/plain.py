"""The few pages that are no chat: a sign-in that did not work, and the state of this installation."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader


class Pages:
    """Renders our own pages; everything in them is escaped."""

    def __init__(self) -> None:
        self._made = Environment(loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True)

    def message(self, title: str, text: str, command: str = "") -> str:
        """A page that says what happened and what to do."""
        return self._made.get_template("message.html").render(title=title, text=text, command=command)

    def status(self, badge: str, facts: Mapping[str, Any]) -> str:
        """What `doctor` finds, as a table."""
        return self._made.get_template("status.html").render(badge=badge, facts=list(flat(facts)))


def flat(facts: Mapping[str, Any], above: str = "") -> list[tuple[str, str]]:
    """Nested facts as rows of a table."""
    rows: list[tuple[str, str]] = []
    for name, value in facts.items():
        label = f"{above} {name}".strip().replace("_", " ")
        if isinstance(value, Mapping):
            rows += flat(value, label)
        elif isinstance(value, list | tuple):
            rows.append((label, ", ".join(str(each) for each in value) or "–"))
        else:
            rows.append((label, "–" if value in (None, "") else str(value)))
    return rows
