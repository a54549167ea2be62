"""Renders our own pages; everything in them is escaped."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

from ui.cards import duration, size
from ui.pages.story import at

NAV = (("/runs", "Runs"), ("/approvals", "Approvals"), ("/money", "Money"), ("/audit", "Record"), ("/me", "You"), ("/status", "Status"))


class Pages:
    """The pages that are no chat. Those with a bar of links say who is signed in."""

    def __init__(self) -> None:
        self._made = Environment(loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True)

    def message(self, title: str, text: str, command: str = "") -> str:
        """A page that says what happened and what to do."""
        return self._made.get_template("message.html").render(title=title, text=text, command=command)

    def status(self, badge: str, facts: Mapping[str, Any], alarms: Sequence[str] = (), person: str = "", role: str = "") -> str:
        """What `doctor` finds, as a table; what is wrong stands above it."""
        return self.page("status", "/status", person, role, badge=badge, panels=panels(facts), alarms=alarms)

    def page(self, name: str, here: str, person: str, role: str, **shown: Any) -> str:
        """The page `name` with the bar of links; `here` is its address."""
        return self._made.get_template(f"{name}.html").render(nav=NAV, here=here, person=person, role=role, **shown)

    def part(self, name: str, **shown: Any) -> str:
        """A part of a page, as its script fetches it anew."""
        return self._made.get_template(f"{name}.html").render(**shown)


def panels(facts: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Facts as tables: the single ones first, then one table for each group, under its name."""
    single = {name: value for name, value in facts.items() if not isinstance(value, Mapping)}
    groups = [(name.replace("_", " ").capitalize(), flat(value)) for name, value in facts.items() if isinstance(value, Mapping)]
    return [("", flat(single)), *groups]


def flat(facts: Mapping[str, Any], above: str = "") -> list[tuple[str, str]]:
    """Nested facts as rows of a table."""
    rows: list[tuple[str, str]] = []
    for name, value in facts.items():
        label = f"{above} {name}".strip().replace("_", " ")
        if isinstance(value, Mapping):
            rows += flat(value, label)
        elif isinstance(value, list | tuple):
            rows.append((label, ", ".join(_short(each) for each in value) or "–"))
        else:
            rows.append(_said(label, value))
    return rows


def _said(label: str, value: Any) -> tuple[str, str]:
    """A fact in words; the ending of its name says what it measures."""
    if value is None or value == "":
        return label, "–"
    if isinstance(value, bool):
        return label, "yes" if value else "no"
    try:
        if label.endswith(" bytes") and isinstance(value, int):
            return label.removesuffix(" bytes"), size(value)
        if label.endswith(" s") and isinstance(value, int):
            return label.removesuffix(" s"), duration(value)
        return label, at(value) if label.endswith(" at") and isinstance(value, str) else str(value)
    except (ValueError, OverflowError):  # a name that promises a time or a size, over something else
        return label, "not readable"


def _short(value: Any) -> str:
    return " ".join(str(part) for part in value.values()) if isinstance(value, Mapping) else str(value)
