"""What models answered to held-out rows: scores, and row by row whether each was right."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from tools.prove.statistics import Gain, paired_gain, unpaired_gain
from tools.runs.watch import read_json

WHICH = ("baseline", "tuned", "base_served", "exported")
_NUMBERS = ("rows", "exact_match", "loss", "tokens_per_s")


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Scores by model, and its rows' matches where they were kept."""

    scores: Mapping[str, Mapping[str, JsonValue]] = field(default_factory=dict)
    matches: Mapping[str, tuple[bool, ...]] = field(default_factory=dict)

    def gain(self, before: str, after: str) -> Gain | None:
        """The gain in exact match from one to the other; None when one was not scored."""
        if before not in self.scores or after not in self.scores:
            return None
        first, second = self.matches.get(before, ()), self.matches.get(after, ())
        if first and len(first) == len(second):
            return paired_gain(first, second)
        (right_before, rows_before), (right_after, rows_after) = _counts(self.scores[before]), _counts(self.scores[after])
        if not rows_before or not rows_after:
            return None
        return unpaired_gain(right_before, rows_before, right_after, rows_after)


def _counts(score: Mapping[str, JsonValue]) -> tuple[int, int]:
    rows, share = score.get("rows"), score.get("exact_match")
    if not isinstance(rows, int) or not isinstance(share, int | float):
        return 0, 0
    return round(share * rows), rows


def of_run(folder: Path) -> Outcomes:
    """What the run itself measured on its own held-out rows."""
    result = read_json(folder / "result.json") or {}
    scores = {w: _score(result[w]) for w in WHICH if isinstance(result.get(w), Mapping)}
    return Outcomes(scores, {w: m for w in scores if (m := read_matches(folder / "scores" / f"{w}.jsonl"))})


def of_scoring(base: Path, tuned: Path, served: str) -> Outcomes:
    """What two `score` children wrote: the untuned model and the tuned one, each with its served files under the label `served`."""
    scores: dict[str, Mapping[str, JsonValue]] = {}
    matches: dict[str, tuple[bool, ...]] = {}
    for folder, checkpoint, exported in ((base, "baseline", "base_served"), (tuned, "tuned", "exported")):
        try:
            found = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        for label, which, score in zip(("checkpoint", served), (checkpoint, exported), found, strict=False):
            scores[which] = _score(score)
            matches[which] = read_matches(folder / f"{label}.jsonl")
    return Outcomes(scores, {w: m for w, m in matches.items() if m})


def read_matches(path: Path) -> tuple[bool, ...]:
    """The `match` of each row of an answers file, in order; empty when it cannot be read whole."""
    try:
        with path.open(encoding="utf-8") as file:
            return tuple(bool(json.loads(line)["match"]) for line in file if line.strip())
    except (OSError, ValueError, KeyError, TypeError):
        return ()


def _score(found: Mapping[str, Any]) -> dict[str, JsonValue]:
    numbers: dict[str, JsonValue] = {k: v for k in _NUMBERS if isinstance(v := found.get(k), int | float) or v is None}
    adapter = found.get("adapter")
    return {"model": str(found.get("model", "")), "adapter": None if adapter is None else Path(str(adapter)).name,
            "precision": str(found.get("precision", "")), **numbers}
