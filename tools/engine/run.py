"""One run's work, stage by stage: prepare, train, score, baseline, export, score the served files; finished stages are left out."""

import gc
import shutil
from pathlib import Path
from typing import Any

from tools.engine.attempt import Attempt
from tools.engine.checkpoints import Checkpoints
from tools.engine.events import Events
from tools.engine.failure import EngineFailed, Scene
from tools.engine.folders import digests, whole
from tools.engine.manifest import write_manifest
from tools.engine.record import Record
from tools.engine.reports import prepare_reports
from tools.engine.seal import read_key
from tools.engine.spec import RunResult, Score, TrainSpec
from tools.engine.stop import Stop
from tools.engine.training import check_trained, train

KNOWN = ("step", "steps", "loss", "eval_loss", "best_step", "best_eval_loss", "stopped_early", "skipped_rows")
"""Facts of `metrics.json` that stand in the result under the same name."""


class Run(Attempt):
    """The work of one attempt on one run folder."""

    def __init__(self, folder: Path, spec: TrainSpec, record: Record, events: Events, stop: Stop) -> None:
        super().__init__(folder, spec, record, events, stop)
        self.threads = int(record.recorded("threads", spec.threads))
        self.served = folder / "served"
        self.base_served = Path(spec.base_served_dir) if spec.base_served_dir else folder / "base-served"
        self.scores: dict[str, Score] = {name: Score(**facts) for name, facts in record.metrics.get("scores", {}).items()}

    def go(self) -> None:
        """All stages; those that an earlier attempt finished are left out."""
        self.enter("prepare")
        from tools.engine.data import Renderer

        prepare_reports(self.spec.report_to, self.folder / "reports", self.spec.run_id)
        check_model(Path(self.spec.model_dir))
        renderer = Renderer(Path(self.spec.model_dir))
        if self.record.metrics.get("trained"):
            check_trained(self)
        else:
            train(self, renderer)
        if self.spec.score_rows:
            self.score(renderer)
        if self.spec.export is not None:
            self.export(renderer)
        self.enter("done")
        shutil.rmtree(self.cache, ignore_errors=True)
        write_manifest(self.folder, self.spec.run_id, read_key(self.folder, self.spec.key_path))
        self.leave()

    def score(self, renderer: Any) -> None:
        """Score the tuned checkpoint, then the untuned model: one model is loaded, its adapter is switched off for the second.

        Before it ends, the merged model for the export is written: it is at hand here.
        """
        if "tuned" in self.scores and "baseline" in self.scores:
            return
        self.enter("score")
        from tools.engine import score as scoring

        spec = self.spec
        asked = self.questions(renderer)
        model = scoring.load(Path(spec.model_dir), self.adapter, spec.device)
        label = scoring.empty(spec.model_id, spec.run_id, "fp32")
        self.keep_score("tuned", scoring.score_model(model, renderer, asked, spec.answer_tokens, label, self.report("score")))
        self.enter("baseline")
        label = scoring.empty(spec.model_id, None, "fp32")
        with model.disable_adapter():
            found = scoring.score_model(model, renderer, asked, spec.answer_tokens, label, self.report("baseline"))
        self.keep_score("baseline", found)
        if spec.export is not None and not self.record.metrics.get("exported"):
            self.enter("export")
            self.merge(model, renderer)

    def merge(self, model: Any, renderer: Any) -> None:
        """Write the merged float32 model to `merged/`."""
        from tools.engine.export import merge

        self.events.progress("export", "merging", 0.0)
        with whole(self.folder / "merged") as part:
            merge(model, part, renderer.tokenizer)

    def export(self, renderer: Any) -> None:
        """Build the served files of the tuned model, and of the untuned one where they are missing; score both."""
        from tools.engine.export import build, merge_adapter

        spec = self.spec
        assert spec.export is not None
        if not self.record.metrics.get("exported"):
            if self.stage != "export":
                self.enter("export")
            merged = self.folder / "merged"
            if not merged.is_dir():
                with whole(merged) as part:
                    merge_adapter(Path(spec.model_dir), self.adapter, part)
            gc.collect()
            build(merged, self.served, spec.export, self.threads, self.report("export"))
            self.record.note(exported=True, served=digests(self.served))
            shutil.rmtree(merged, ignore_errors=True)
        if not self.base_served.is_dir():
            self.events.progress("export", "building the untuned model at the same precision", None)
            build(Path(spec.model_dir), self.base_served, spec.export, self.threads, self.report("export"))
        if spec.score_rows and not ("exported" in self.scores and "base_served" in self.scores):
            self.enter("score_export")
            asked = self.questions(renderer)
            self.score_files("exported", self.served, spec.run_id, renderer, asked)
            self.score_files("base_served", self.base_served, None, renderer, asked)

    def score_files(self, which: str, folder: Path, adapter: str | None, renderer: Any, asked: Any) -> None:
        """Score one served folder, unless an earlier attempt did."""
        from tools.engine import score as scoring
        from tools.engine.served import Served

        if which in self.scores:
            return
        label = scoring.empty(self.spec.model_id, adapter, str(self.spec.export))
        served = Served(folder, self.threads)
        limit = self.spec.answer_tokens
        self.keep_score(which, scoring.score_served(served, renderer, asked, limit, label, self.report("score_export")))

    def questions(self, renderer: Any) -> Any:
        """The held-out rows that are scored."""
        from tools.engine import score as scoring

        path = Path(self.spec.data_dir) / "test.jsonl"
        return scoring.questions(renderer, path, self.spec.score_rows, scoring.context_of(Path(self.spec.model_dir)))

    def keep_score(self, which: str, scored: Any) -> None:
        """Remember a score and its answers, and tell it."""
        from tools.engine.score import write_answers

        write_answers(self.folder / "scores" / f"{which}.jsonl", scored.answers)
        self.scores[which] = scored.score
        self.record.note(scores={name: score.model_dump() for name, score in self.scores.items()})
        self.events.add("score", which=which, **scored.score.model_dump())

    def scene(self) -> Scene:
        """What a failure for want of memory is explained with."""
        spec, peak = self.spec, max(self.peak(), int(self.record.metrics.get("peak_memory_bytes", 0)))
        return Scene(spec.batch_size, spec.max_length, spec.gradient_checkpointing, spec.predicted_peak_bytes, peak)

    def early(self) -> str:
        """What a person should know of a run that ended before its last step; empty otherwise."""
        known = self.record.metrics
        if not known.get("stopped_early"):
            return ""
        kept = f"Step {known['best_step']} is kept." if known.get("best_step") else "Its last step is kept."
        waited = f"the validation loss had not improved in {self.spec.patience} evaluations"
        return f"Stopped early after step {known.get('step')} of {known.get('steps')}: {waited}. {kept}"

    def make_room(self) -> None:
        """After a full disk: remove what was half written, and Olive's copies, which can be made again."""
        Checkpoints(self.folder / "checkpoints").remove_partial()
        shutil.rmtree(self.cache, ignore_errors=True)

    def result(self, outcome: str, kind: str = "", message: str = "", seconds: float = 0.0) -> RunResult:
        """What is known now, as the run's result."""
        known = self.record.metrics
        facts: dict[str, Any] = {name: known[name] for name in KNOWN if name in known}
        facts |= {"stage_seconds": known.get("stage_seconds", {}), "peak_memory_bytes": known.get("peak_memory_bytes", 0), **self.scores}
        if known.get("trained"):
            facts["adapter_dir"] = "adapter"
        if known.get("exported"):
            facts["served_dir"] = "served"
        if self.base_served.is_dir():
            facts["base_served_dir"] = str(self.base_served)
        return RunResult.model_validate({"outcome": outcome, "error_kind": kind, "message": message, "seconds": round(seconds, 2), **facts})


def check_model(folder: Path) -> None:
    """Refuse a folder without config.json or safetensors: weights in pickles are code. Raises EngineFailed("model")."""
    if not (folder / "config.json").is_file():
        raise EngineFailed("model", f"A model folder with a config.json was wanted; {folder.name} has none. Add the model again.")
    if not any(folder.glob("*.safetensors")):
        raise EngineFailed("model", f"{folder.name} has no safetensors weights; other formats can hide code. Convert it to safetensors.")
