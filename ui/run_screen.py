"""A run as it goes, for a terminal: a panel that is drawn anew in place, and plain lines where there is no terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ui import figures

BARS = "▁▂▃▄▅▆▇█"
LOSSES_SHOWN = 60
LOSSES_KEPT = 2000
LOG_LINES = 6
PARTS = 20
"""Without a terminal a line is written for each twentieth of the steps."""
TONES = {"good": "green", "bad": "red", "wait": "yellow"}


class RunScreen:
    """Fed by the lines of `watch`; holds what a screen needs, however long the run."""

    def __init__(self) -> None:
        self.view: Mapping[str, Any] = {}
        self.train: list[float] = []
        self.held_out: list[float] = []
        self.log: Sequence[str] = ()
        self._told: dict[str, Any] = {}

    def add(self, line: Mapping[str, Any]) -> bool:
        """Take in one line, `{"watch": item}` or `{"log": lines}`; True when something new can be shown."""
        if "log" in line:
            self.log = [str(each) for each in line["log"]][-LOG_LINES:]
            return True
        item = line.get("watch") or {}
        match item.get("kind"):
            case "view":
                self.view = item["view"]
            case "curves":
                self.train = [point[1] for point in item["train"]]
                self.held_out = [point[1] for point in item["eval"]]
            case "step":
                self.train = kept(self.train, item.get("loss"))
            case "eval":
                self.held_out = kept(self.held_out, item.get("eval_loss"))
            case _:
                return False
        return True

    def render(self) -> RenderableType:
        """The run as it is now."""
        view = self.view
        if not view:
            return Text("…")
        bar = Table.grid(expand=True)  # a bar alone ends without a new line
        bar.add_row(ProgressBar(total=1.0, completed=figures.part_done(view)))
        grid = Table.grid(padding=(0, 2))
        grid.add_row(Text("State", style="dim"), Text(figures.state_words(view), style=TONES.get(figures.tone(view), "")))
        for each in figures.figures(view):
            grid.add_row(Text(each["label"], style="dim"), Text(each["value"]), Text(each["note"], style="dim"))
        parts: list[RenderableType] = [bar, grid]
        for label, losses, style in (("training loss", self.train, "yellow"), ("held-out loss", self.held_out, "green")):
            if course := spark(losses):
                parts.append(Text.assemble((course, style), (f"  {label}", "dim")))
        parts += [Text(each) for each in (*score_lines(view), str(view.get("progress") or ""), str(view.get("reason") or "")) if each]
        parts += [Text(f"! {each}", style="yellow") for each in view.get("warnings") or ()]
        parts += [Text(each, style="dim", overflow="ellipsis", no_wrap=True) for each in self.log]
        return Panel(Group(*parts), title=Text(f"{view.get('name') or view['run_id']} · {view['run_id']}"), title_align="left")

    def news(self) -> list[str]:
        """What has come since the last call that is worth a line: a new state, an evaluation, a part of the steps, a warning, an end."""
        view = self.view
        if not view:
            return []
        now = {
            "state": (view.get("attempt"), figures.state_words(view), view.get("place")), "part": int(figures.part_done(view) * PARTS),
            "eval": figures.figure(view.get("eval_loss"), 3),
        }
        warnings = [str(each) for each in view.get("warnings") or ()]
        said = [f"Warning: {each}" for each in warnings[int(self._told.get("warnings", 0)):]]
        if any(self._told.get(name) != value for name, value in now.items()):
            said.append(self.line())
        if not figures.going(view) and now["state"] != self._told.get("state"):
            said += [*score_lines(view), *([str(view["reason"])] if view.get("reason") else [])]
        self._told = {**now, "warnings": len(warnings)}
        return said

    def line(self) -> str:
        """The run in one line."""
        view, shown = self.view, {each["name"]: each for each in figures.figures(self.view)}
        parts = [figures.state_words(view), f"step {shown['step']['value']}", f"loss {shown['loss']['value']}"]
        if view.get("eval_loss") is not None:
            parts.append(shown["loss"]["note"])
        if figures.going(view):
            parts += [f"{shown['left']['value']} left"] if shown["left"]["value"] != figures.DASH else []
            parts += [figures.queue_words(view)] if figures.queue_words(view) else []
        return " · ".join(parts)


def score_lines(view: Mapping[str, Any]) -> list[str]:
    """Before and after, of the checkpoint and of the served file."""
    rows = figures.score_rows(view)
    return [f"{row['label']}: {row['exact']} of {row['rows']} held-out answers exact ({row['precision']})" for row in rows]


def kept(losses: list[float], loss: Any) -> list[float]:
    """The losses with one more; every second is dropped when they become many."""
    found = figures.number(loss)
    if found is None:
        return losses
    return [*losses[::2], found] if len(losses) >= LOSSES_KEPT else [*losses, found]


def spark(values: Sequence[float]) -> str:
    """The curve's course in one line."""
    if len(values) < 2:
        return ""
    every = max(1, len(values) // LOSSES_SHOWN)
    shown = values[::every][-LOSSES_SHOWN:]
    low, high = min(shown), max(shown)
    return "".join(BARS[round((value - low) / (high - low) * (len(BARS) - 1))] if high > low else BARS[0] for value in shown)
