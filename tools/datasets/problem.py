"""What is wrong with a dataset: a kind, where, and what to do about it; never the text of a row."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import JsonValue

Severity = Literal["error", "warning", "info"]

SHOWN_PER_KIND = 5
"""Problems of one kind that are listed row by row; the others are counted."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding. `error` stops a run; `warning` says what was left out or looks wrong; `info` is good to know."""

    severity: Severity
    kind: str
    message: str
    remedy: str
    row: int | None = None
    """The line of the file, counted from 1; in a JSON array the element; None where the whole file is meant."""

    def as_json(self) -> dict[str, JsonValue]:
        """The shape of toolbox `problems[]`."""
        shown: dict[str, JsonValue] = {"severity": self.severity, "kind": self.kind, "message": self.message, "remedy": self.remedy}
        return shown if self.row is None else {**shown, "row": self.row}


class Findings:
    """Collects problems in order, lists the first few of each kind and counts them all: memory stays bounded."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.severities: dict[str, Severity] = {}
        self._listed: dict[str, list[Problem]] = {}

    def add(self, problem: Problem) -> None:
        """Take one more finding."""
        self.counts[problem.kind] += 1
        self.severities.setdefault(problem.kind, problem.severity)
        listed = self._listed.setdefault(problem.kind, [])
        if len(listed) < SHOWN_PER_KIND:
            listed.append(problem)

    def extend(self, problems: Iterable[Problem]) -> None:
        """Take several."""
        for problem in problems:
            self.add(problem)

    @property
    def first_error(self) -> Problem | None:
        """The first finding that stops a run."""
        return next((listed[0] for kind, listed in self._listed.items() if self.severities[kind] == "error"), None)

    def listed(self) -> tuple[Problem, ...]:
        """Errors first; after the first few of a kind one line says how many more there are."""
        shown: list[Problem] = []
        for severity in ("error", "warning", "info"):
            for kind, problems in self._listed.items():
                if self.severities[kind] != severity:
                    continue
                shown += problems
                if (more := self.counts[kind] - len(problems)) > 0:
                    shown.append(Problem(severity, kind, f"{more} more rows with the same problem.", problems[0].remedy))
        return tuple(shown)

    def for_brain(self) -> Mapping[str, JsonValue]:
        """Kinds and counts only."""
        return dict(self.counts)
