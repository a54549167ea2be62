"""`compare_runs`: runs side by side: what differs in their settings, their scores with how sure the difference is, their curves."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, JsonValue

from policies.proposal import Effect, Proposal
from policies.tool import Call, Recall, Result, ToolArgs, ToolFailed
from tools.engine.spec import TrainSpec
from tools.prove.outcomes import Outcomes, of_run
from tools.prove.statistics import Gain, paired_gain, unpaired_gain
from tools.runs.curve import Point, curves
from tools.runs.local import LocalRuns
from tools.runs.rid import PATTERN
from tools.runs.state import RunView
from tools.runs.store import RunRow, RunStore
from tools.runs.views import Views

MOST = 20
_ASIDE = frozenset({
    "version", "run_id", "model_id", "model_dir", "model_digest", "data_dir", "data_digest", "base_served_dir", "key_path", "report_to",
    "predicted_peak_bytes", "threads", "eval_steps", "save_steps", "score_rows", "answer_tokens",
})
"""Fields of a spec that say where, how often or with what name, not how it is trained."""
SETTINGS = tuple(name for name in TrainSpec.model_fields if name not in _ASIDE)
COLUMNS = (
    "run_id", "name", "state", "differs", "steps", "loss", "eval_loss", "baseline", "tuned", "exported", "verdict", "tokens_per_s",
    "peak_memory_bytes", "seconds",
)


def _listed(value: object) -> object:
    """`a,b c` as a list of ids."""
    return [part for part in value.replace(",", " ").split() if part] if isinstance(value, str) else value


class CompareArgs(ToolArgs):
    """Arguments of compare_runs."""

    run_ids: Annotated[list[Annotated[str, Field(pattern=PATTERN)]], BeforeValidator(_listed)] = Field(
        default_factory=list, max_length=MOST,
        description="Run ids, or the id of a sweep, which stands for all its runs; left out, the latest sweep or the latest two runs.")


@dataclass(frozen=True, slots=True)
class Compared:
    """One run with all that is compared of it."""

    row: RunRow
    view: RunView
    outcomes: Outcomes
    curves: Mapping[str, list[Point]]


class CompareRuns:
    """The tool."""

    name: ClassVar[str] = "compare_runs"
    version: ClassVar[str] = "1"
    text: ClassVar[str] = (
        "Put runs side by side: settings that differ, loss, held-out scores with how sure the difference is, speed, memory, curves. "
        "Give `run_ids`: two or more, or the id of a sweep; left out, the latest sweep or the latest two runs."
    )
    Args: ClassVar[type[ToolArgs]] = CompareArgs

    def __init__(self, store: RunStore, local: LocalRuns, views: Views) -> None:
        self._store, self._local, self._views = store, local, views

    def propose(self, args: CompareArgs, /) -> Proposal:
        """A look at runs. Runs of several owners are nobody's own: only who may see everybody's may look at them."""
        if not args.run_ids:
            return Proposal(effects=frozenset({Effect.READ}), target="runs")
        rows = self._rows(args.run_ids, None)
        owners = {row.owner for row in rows}
        return Proposal(effects=frozenset({Effect.READ}), target="runs", owner=owners.pop() if len(owners) == 1 else "")

    def _rows(self, ids: Sequence[str], person: str | None) -> list[RunRow]:
        rows: dict[str, RunRow] = {}
        for each in ids:
            swept = self._store.of_sweep(each) if self._store.get(each) is None else []
            for row in [self._store.wanted(row.id, person) for row in swept] or [self._store.wanted(each, person)]:
                rows[row.id] = row
        if len(rows) > MOST:
            raise ToolFailed("Compare runs", f"These are {len(rows)}; {MOST} at most can be compared.", "Name fewer.", kind="usage")
        if len(rows) == 1:
            (row,) = rows.values()
            rows |= {other.id: self._store.wanted(other.id, person) for other in (self._store.of_sweep(row.sweep) if row.sweep else [])}
        if len(rows) < 2:
            raise ToolFailed("Compare runs", "One run alone compares with nothing.",
                             "Name two or more run ids, or a sweep's id (list_runs).", kind="usage")
        return list(rows.values())

    def perform(self, args: CompareArgs, call: Call, /) -> Result:
        """Read each run's folder once; nothing is scored anew."""
        found = []
        for row in self._rows(args.run_ids or [row.id for row in self._latest(call.person)], call.person):
            drawn = curves(self._events(row.id))
            found.append(Compared(row, self._views.of(row), of_run(self._local.folder(row.id)), drawn))
        return side_by_side(found)

    def _latest(self, person: str) -> list[RunRow]:
        """The person's latest sweep when the latest run was one of it, else their latest two runs."""
        mine = self._store.rows(person)
        if not mine:
            raise ToolFailed("Compare your runs", "You have no run yet.", "Start one with start_finetune.", kind="no_run")
        return mine[:1] if mine[0].sweep else mine[:2]

    def _events(self, run_id: str) -> Iterator[dict[str, Any]]:
        offset = 0
        while True:
            events, offset = self._views.events(run_id, offset)
            if not events:
                return
            yield from events

    def recall(self, call_id: str, /) -> Result | Recall:
        """A look leaves nothing behind."""
        return Recall.NOT_STARTED


def side_by_side(runs: Sequence[Compared]) -> Result:
    """The comparison. Pure. The brain gets ids, numbers and setting names only."""
    differs = differing(runs)
    facts: list[dict[str, JsonValue]] = [_facts(each, runs[0], differs) for each in runs]
    best = _best(runs)
    shared: dict[str, JsonValue] = {
        "sweep": runs[0].row.sweep if len({each.row.sweep for each in runs}) == 1 else "",
        "differs": [*dict.fromkeys(name for each in differs.values() for name in each)],
        "same_data": len({str(each.row.spec.get("data_digest", each.row.id)) for each in runs}) == 1,
        "same_model": len({str(each.row.spec.get("model_digest", each.row.id)) for each in runs}) == 1,
        "best": best,
    }
    table: dict[str, JsonValue] = {"columns": list(COLUMNS), "rows": [[each[name] for name in COLUMNS] for each in facts]}
    drawn: dict[str, JsonValue] = {
        each.row.id: {name: [list(point) for point in points] for name, points in each.curves.items()} for each in runs
    }
    views: list[JsonValue] = [{**one, "vs_first": gain_json(gain_between(runs[0], each))} for one, each in zip(facts, runs, strict=True)]
    brain = [{k: v for k, v in one.items() if k not in {"name", "settings"}} for one in facts]
    return Result({**shared, "runs": views, "table": table, "curves": drawn}, {**shared, "runs": [dict(each) for each in brain]})


def differing(runs: Sequence[Compared]) -> dict[str, dict[str, JsonValue]]:
    """For each run its value of every setting that is not the same in all."""
    def value(each: Compared, name: str) -> JsonValue:
        return each.row.model_id if name == "model" else each.row.spec.get(name)

    names = [name for name in ("model", *SETTINGS) if len({repr(value(each, name)) for each in runs}) > 1]
    return {each.row.id: {name: value(each, name) for name in names} for each in runs}


def _facts(each: Compared, first: Compared, differs: Mapping[str, dict[str, JsonValue]]) -> dict[str, JsonValue]:
    matches = {which: score.get("exact_match") for which, score in each.outcomes.scores.items()}
    result = each.row.outcome.get("result")
    seconds = result.get("seconds") if isinstance(result, Mapping) else None
    gain = gain_between(first, each)
    return {
        "run_id": each.row.id, "name": each.row.name, "state": each.row.state.value, "differs": differs[each.row.id],
        "steps": each.view.step, "loss": each.view.loss, "eval_loss": each.view.eval_loss, "baseline": _share(matches.get("baseline")),
        "tuned": _share(matches.get("tuned")), "exported": _share(matches.get("exported")),
        "verdict": "first" if each is first else gain.word if gain else "not_measured", "tokens_per_s": each.view.tokens_per_s,
        "peak_memory_bytes": each.view.peak_memory_bytes, "seconds": seconds if isinstance(seconds, int | float) else None,
    }


def gain_between(first: Compared, other: Compared) -> Gain | None:
    """The gain in held-out exact match from one run's tuned model to another's; None when it was not measured on the same rows."""
    if first is other or first.row.spec.get("data_digest") != other.row.spec.get("data_digest"):
        return None
    before, after = (each.outcomes.matches.get("tuned", ()) for each in (first, other))
    if before and len(before) == len(after):
        return paired_gain(before, after)
    (right_before, rows_before), (right_after, rows_after) = (_counts(each.outcomes.scores.get("tuned", {})) for each in (first, other))
    return unpaired_gain(right_before, rows_before, right_after, rows_after) if rows_before and rows_after else None


def gain_json(gain: Gain | None) -> JsonValue:
    """A gain as JSON, rounded."""
    if gain is None:
        return None
    return {"value": round(gain.value, 4), "ci_low": round(gain.ci_low, 4), "ci_high": round(gain.ci_high, 4), "p": round(gain.p, 6),
            "rows": gain.rows, "method": gain.method}


def _best(runs: Sequence[Compared]) -> str:
    """The run with the most exact matches, then the lower validation loss; empty when none has a score."""
    scored = [each for each in runs if _share(each.outcomes.scores.get("tuned", {}).get("exact_match")) is not None]
    if not scored:
        return ""

    def key(each: Compared) -> tuple[float, float]:
        share, loss = _share(each.outcomes.scores["tuned"].get("exact_match")), each.view.eval_loss
        return (-(share or 0.0), loss if loss is not None else float("inf"))

    return min(scored, key=key).row.id


def _counts(score: Mapping[str, JsonValue]) -> tuple[int, int]:
    rows, share = score.get("rows"), _share(score.get("exact_match"))
    return (round(share * rows), rows) if isinstance(rows, int) and share is not None else (0, 0)


def _share(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
