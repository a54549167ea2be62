"""One measured figure, its limit, and the table that `make bench` prints."""

import json
import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Figure:
    """A name, a value in its unit, and what it must not pass."""

    name: str
    value: float
    unit: str
    limit: float | None = None
    better: str = "lower"
    """Which side of the limit is good: lower or higher."""
    note: str = ""

    @property
    def good(self) -> bool:
        """Whether the value keeps its limit."""
        if self.limit is None:
            return True
        return self.value <= self.limit if self.better == "lower" else self.value >= self.limit

    def row(self) -> list[str]:
        """The table's cells."""
        sign = "≤" if self.better == "lower" else "≥"
        limit = "" if self.limit is None else f"{sign} {self.limit:g} {self.unit}"
        verdict = "" if self.limit is None else ("ok" if self.good else "MISSED")
        value = f"{self.value:.3g}" if abs(self.value) < 1000 else f"{self.value:.0f}"
        return [self.name, f"{value} {self.unit}", limit, verdict, self.note]


def median(values: Sequence[float]) -> float:
    """The middle value."""
    return float(statistics.median(values))


def machine() -> str:
    """Processor, cores, memory, system and Python in one line."""
    name = ""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    except OSError:
        pass
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = os.getloadavg()[0]
    return (f"{name or platform.processor() or platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} "
            f"{platform.release()}, Python {platform.python_version()}, load {load:.1f}")


def versions() -> str:
    """The versions that decide the figures, read from both environments' records."""
    wanted = ("torch", "transformers", "peft", "olive_ai", "onnxruntime", "onnxruntime_genai", "chainlit", "langgraph")
    found = {}
    for folder in ROOT.glob(".*/lib/python3*/site-packages/*.dist-info"):
        name, _, version = folder.name.removesuffix(".dist-info").partition("-")
        if name.lower() in wanted:
            found[name.lower()] = version
    return ", ".join(f"{name.replace('_', '-')} {found[name]}" for name in wanted if name in found)


def table(figures: Iterable[Figure]) -> str:
    """The figures as a Markdown table."""
    rows = [["figure", "measured", "limit", "", "note"], *(figure.row() for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def show(figures: Sequence[Figure]) -> None:
    """Print a table, and the same as JSON on the last line."""
    print(table(figures))
    print(json.dumps([asdict(figure) for figure in figures]), flush=True)
