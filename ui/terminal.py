"""What the terminal shows: a turn's events, an approval, answers side by side."""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any, assert_never

import click
from rich.box import SIMPLE
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from agent.events import (
    ApprovalChanged,
    ApprovalWanted,
    Choices,
    Event,
    Notice,
    Problem,
    RunShown,
    TextDelta,
    TextDone,
    ToolEnded,
    ToolProgress,
    ToolStarted,
    TurnEnded,
)
from policies.verdict import ApprovalView
from ui.cards import TITLES, consent_lines, moment, progress
from ui.comparison import Compared, comparison


class TurnPrinter:
    """Prints one turn as it comes, and remembers what the caller must know at its end."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.text = ""
        self.waiting: list[ApprovalView] = []
        self.runs: list[str] = []
        self.problem: Problem | None = None
        self._streamed = False

    def show(self, event: Event) -> None:
        """Print one event."""
        match event:
            case TextDelta():
                self._streamed = True
                self.console.print(Text(event.text), end="")
            case TextDone():
                self.console.print("" if self._streamed else Text(event.text))
                self._streamed = False
                self.text = f"{self.text}\n{event.text}".strip()
            case ToolStarted():
                self.console.print(Text(f"· {event.tool} {short(event.args)}".rstrip(), style="dim"))
            case ToolProgress():
                share = "" if event.fraction is None else f" {event.fraction:.0%}"
                self.console.print(Text(f"  {event.text}{share}", style="dim"))
            case ToolEnded():
                self._ended(event)
            case ApprovalWanted():
                self.waiting.append(event.approval)
            case ApprovalChanged():
                self.waiting = [view for view in self.waiting if view.id != event.approval.id]
            case RunShown():
                self.runs.append(event.run_id)
            case Choices():
                self.console.print(Text("You could say:", style="dim"))
                for _, sentence in event.options:
                    self.console.print(Text(f"  {sentence}"))
            case Notice():
                self.console.print(Text(event.text, style="italic"))
            case Problem():
                self.problem = event
                self.console.print(Text(f"{event.text} {event.remedy}".strip(), style="red"))
            case TurnEnded():
                pass
            case _:
                assert_never(event)

    def _ended(self, event: ToolEnded) -> None:
        if event.status in ("refused", "failed"):
            self.console.print(Text(f"  {event.tool}: {event.status}. {event.reason} {event.remedy}".rstrip(), style="red"))
        elif answers := event.result.get("answers"):
            self.console.print(answers_table(answers))
        elif compared := comparison(event.result):
            self.console.print(comparison_table(compared))
        elif isinstance(lines := event.result.get("lines"), list):
            for line in lines:
                self.console.print(Text(str(line), style="dim"))


def short(args: Mapping[str, Any]) -> str:
    """Arguments on one line."""
    return " ".join(f"{name}={value}" for name, value in args.items() if value is not None)[:160]


def answers_table(answers: Any) -> RenderableType:
    """Answers side by side, each labelled."""
    table = Table(expand=True, show_lines=False)
    shown = [each for each in answers if isinstance(each, Mapping)]
    for each in shown:
        speed = f", {each['tokens_per_s']:.1f} tokens/s" if isinstance(each.get("tokens_per_s"), int | float) else ""
        adapter = f" + {each['adapter']}" if each.get("adapter") else ", no adapter"
        table.add_column(Text(f"{each.get('model')}{adapter} ({each.get('precision')}{speed})"), ratio=1, overflow="fold")
    table.add_row(*(Text(str(each.get("error") or each.get("text", ""))) for each in shown))
    return table


def comparison_table(compared: Compared) -> RenderableType:
    """Runs side by side, the best in bold."""
    table = Table(expand=False, box=SIMPLE, padding=(0, 1, 0, 0))
    for heading in compared["headings"]:
        table.add_column(Text(heading), overflow="fold", no_wrap=heading in ("Run", "State", "Steps", "Time", "Memory"))
    for row in compared["rows"]:
        first, *rest = row["cells"]
        table.add_row(Text(f"★ {first}" if row["best"] else first), *(Text(cell) for cell in rest), style="bold" if row["best"] else None)
    return Group(table, Text(compared["note"], style="dim"))


def approval_panel(view: ApprovalView) -> Panel:
    """An approval as the book has it; plain text only."""
    grid = Table.grid(padding=(0, 2))
    said = [("Said yes", progress(view))] if progress(view) else []
    for label, value in [*consent_lines(view), *said, ("Digest", view.digest), ("Expires", moment(view.expires_at))]:
        grid.add_row(Text(label, style="dim"), Text(value))
    parts: list[RenderableType] = [Text(view.reason)] if view.reason else []
    parts += [grid, *(Text(f"· {rule}", style="dim") for rule in view.stop_rules)]
    return Panel(Group(*parts), title=Text(f"{view.tool} {view.target} · {view.id} · {TITLES[view.status]}"), title_align="left")


def how_to_decide(view: ApprovalView) -> str:
    """The commands that decide an approval."""
    return f"Waiting for a decision: python -m ui approve {view.id}   or   python -m ui deny {view.id}"


def print_json(value: Any) -> None:
    """One JSON object on standard output."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")


def line_of(value: Any) -> str:
    """A fact on one line, whatever it is made of."""
    match value:
        case None | "":
            return "–"
        case Mapping():
            return " · ".join(f"{str(name).replace('_', ' ')} {line_of(part)}" for name, part in value.items()) or "–"
        case list() | tuple():
            return ", ".join(line_of(part) for part in value) or "–"
        case _:
            return str(value)


def pairs(arguments: Sequence[str]) -> dict[str, Any]:
    """`key=value` words as arguments; a value that looks like a JSON list, object, truth value or null is read as one."""
    found: dict[str, Any] = {}
    for word in arguments:
        name, equals, value = word.partition("=")
        if not equals or not name.isidentifier() or name in found:
            raise click.UsageError(f"{word!r} is not of the form key=value, or its key stands twice.")
        found[name] = value
        if value[:1] in ("[", "{") or value in ("true", "false", "null"):
            try:
                found[name] = json.loads(value)
            except ValueError:
                raise click.UsageError(f"The value of {name} is no JSON.") from None
    return found
