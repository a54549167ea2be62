"""`evaluate_model`: did it get better? Held-out rows before and after, of the checkpoint and of the served file, with how sure that is."""

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from pydantic import Field, JsonValue

from policies.proposal import Effect, Proposal
from policies.tool import Call, Recall, Result, ToolArgs, ToolFailed
from tools.engine.spec import ScoreSpec, TrainSpec
from tools.prove.outcomes import Outcomes, of_run, of_scoring
from tools.prove.statistics import Gain
from tools.runs.local import LocalRuns
from tools.runs.look import PRECISIONS, RUN_ID, SCORES, as_number, named_run
from tools.runs.plan import SEED
from tools.runs.start import Planning
from tools.runs.state import ALIVE
from tools.runs.store import RunRow, RunStore
from tools.serve.children import EngineChildren
from tools.serve.files import ServedFiles

SCORE_S = 3600.0
_NOT_MEASURED = "Not measured yet: general questions are not asked before and after in this version."
_WORDS = {
    "better": "The tuned model is better on the held-out rows; the interval excludes no gain.",
    "worse": "The tuned model is worse on the held-out rows; the interval excludes no loss.",
    "no_clear_difference": "No clear difference: with so many rows the interval holds zero.",
}


class EvaluateArgs(ToolArgs):
    """Arguments of evaluate_model."""

    run_id: str = RUN_ID
    dataset: str = Field(default="", max_length=300, description="Other data to score on; left out, the run's own held-out rows.")


class EvaluateModel:
    """The tool."""

    name: ClassVar[str] = "evaluate_model"
    version: ClassVar[str] = "1"
    text: ClassVar[str] = (
        "Say whether a run made the model better: exact match and loss on held-out rows for base, tuned and exported, the gain with its "
        "95 % interval and p. Without dataset: the run's own held-out rows."
    )
    Args: ClassVar[type[ToolArgs]] = EvaluateArgs

    def __init__(self, planning: Planning, store: RunStore, local: LocalRuns, engine: EngineChildren, files: ServedFiles) -> None:
        self._planning, self._store, self._local, self._engine, self._files = planning, store, local, engine, files

    def propose(self, args: EvaluateArgs, /) -> Proposal:
        """Scores below the run's own folder."""
        row = named_run(self._store, args.run_id)
        self._adapter(row)
        return Proposal(effects=frozenset({Effect.LOCAL}), target=f"run:{row.id}", where=row.where, owner=row.owner,
                        supersedes=f"{row.id}:{args.dataset}")

    def _adapter(self, row: RunRow) -> Path:
        if row.state in ALIVE:
            raise ToolFailed(f"Evaluate the run {row.id}", f"It is still {row.state.value}.", "Wait until it is finished (run_status).",
                             kind="not_ready")
        adapter = self._local.folder(row.id) / "adapter"
        if not adapter.is_dir():
            raise ToolFailed(f"Evaluate the run {row.id}", f"It is {row.state.value} and has no adapter.",
                             "Resume it with resume_run, or start a new run.", kind="not_ready")
        return adapter

    def perform(self, args: EvaluateArgs, call: Call, /) -> Result:
        """Take the run's own scores where they answer the question; else score now."""
        row = named_run(self._store, args.run_id, call.person)
        self._adapter(row)
        folder, spec = self._local.folder(row.id), self._local.spec(row.id)
        if not args.dataset or args.dataset == row.dataset_ref:
            found = of_run(folder)
            if found.gain("baseline", "tuned") is None:
                found = self._score(row, spec, folder / "data" / "test.jsonl", folder / "evaluations" / "own", call.report)
            return told(row, row.dataset_ref, found)
        digest = self._planning.facts(args.dataset, row.model_id).digest
        out = folder / "evaluations" / digest[:12]
        if not (out / "data" / "test.jsonl").exists():
            (out / "data").mkdir(mode=0o700, parents=True, exist_ok=True)
            self._planning.prepare(args.dataset, out / "data", SEED)
        return told(row, args.dataset, self._score(row, spec, out / "data" / "test.jsonl", out, call.report))

    def _score(self, row: RunRow, spec: TrainSpec, rows: Path, out: Path, report: Callable[[str, float | None], None]) -> Outcomes:
        """Run the engine's `score` for base and tuned; what an earlier call has scored is taken as it is."""
        model = self._planning.model(row.model_id)
        if model.digest != spec.model_digest:
            raise ToolFailed(f"Evaluate the run {row.id}", f"The model {row.model_id} is not the one it was tuned from any more.",
                             "Put the old model back, or start a new run.", kind="changed")
        try:
            run_served = self._files.of_run(row)
        except ToolFailed:
            run_served = None
        label = run_served.precision if run_served else ""
        base_served = self._files.base_dir(model, label) if run_served else None
        sides = {
            "base": (None, base_served if base_served is not None and base_served.is_dir() else None),
            "tuned": (self._adapter(row), run_served.folder if run_served else None),
        }
        for number, (side, (adapter, served)) in enumerate(sides.items()):
            if (out / side / "result.json").exists():
                continue
            report(f"Scoring the {side} model on held-out rows", number / 2)
            self._engine.run(
                "score",
                ScoreSpec(
                    out=str(out / side), model_id=spec.model_id, model_dir=str(model.path), adapter_dir=str(adapter) if adapter else None,
                    served_dirs={label: str(served)} if served else {}, rows_path=str(rows), rows=max(spec.score_rows, 40),
                    answer_tokens=spec.answer_tokens, threads=spec.threads,
                ),
                out / f"{side}.work", spec.threads, SCORE_S, lambda _: None,
            )
        return of_scoring(out / "base", out / "tuned", label)

    def recall(self, call_id: str, /) -> Result | Recall:
        """Scores that are there are found again; scoring is safe to repeat."""
        return Recall.NOT_STARTED


def told(row: RunRow, dataset: str, found: Outcomes) -> Result:
    """The result from outcomes. Pure."""
    gain, served = found.gain("baseline", "tuned"), found.gain("base_served", "exported")
    word = gain.word if gain else "not_measured"
    facts: dict[str, JsonValue] = {
        "run_id": row.id,
        **{key: _opt(found.scores.get(key)) for key in SCORES},
        "gain": _gain(gain), "gain_served": _gain(served),
        "export_change": _gain(found.gain("tuned", "exported")), "verdict": word,
    }
    said = _WORDS.get(word, "Nothing was scored: the dataset has no held-out rows that end in an answer.")
    return Result(
        {**facts, "dataset": dataset, "verdict_text": said, "forgetting": None, "forgetting_reason": _NOT_MEASURED},
        {**facts, **{key: _typed(found.scores.get(key)) for key in SCORES}, "forgetting": None},
    )


def _opt(score: object) -> JsonValue:
    return {str(k): v for k, v in score.items()} if isinstance(score, dict) else None


def _typed(score: object) -> JsonValue:
    """A score for the brain: numbers and a known precision; the words in a run's own files are not passed on."""
    if not isinstance(score, dict):
        return None
    numbers: dict[str, JsonValue] = {k: as_number(score.get(k)) for k in ("rows", "exact_match", "loss", "tokens_per_s")}
    return numbers | {"precision": word if (word := score.get("precision")) in PRECISIONS else None}


def _gain(gain: Gain | None) -> JsonValue:
    if gain is None:
        return None
    return {"value": round(gain.value, 4), "ci_low": round(gain.ci_low, 4), "ci_high": round(gain.ci_high, 4), "p": round(gain.p, 6),
            "rows": gain.rows, "method": gain.method}
