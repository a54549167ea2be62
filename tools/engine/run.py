"""One run's work, stage by stage: prepare, train, score, baseline, export, score the served files; finished stages are left out."""

import gc
import hashlib
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tools.engine import environment
from tools.engine.checkpoints import adapter_of, last_complete
from tools.engine.events import Events
from tools.engine.failure import EngineFailed
from tools.engine.folders import digests, whole, write_json
from tools.engine.record import Record
from tools.engine.spec import RunResult, Score, Stage, TrainSpec
from tools.engine.stop import Stop

VALIDATION_ROWS = 32
"""Validation rows that the loop's own evaluation reads: a fixed cost however large the file."""


class Run:
    """The work of one attempt on one run folder."""

    def __init__(self, folder: Path, spec: TrainSpec, record: Record, events: Events, stop: Stop) -> None:
        self.folder, self.spec, self.record, self.events, self.stop = folder, spec, record, events, stop
        self.threads = int(record.recorded("threads", spec.threads))
        self.adapter, self.served = folder / "adapter", folder / "served"
        self.base_served = Path(spec.base_served_dir) if spec.base_served_dir else folder / "base-served"
        self.scores: dict[str, Score] = {name: Score(**facts) for name, facts in record.metrics.get("scores", {}).items()}
        self._since = time.monotonic()
        self._stage: Stage | None = None

    def enter(self, stage: Stage) -> None:
        """End the stage before, begin this one; a stop that was lost in native code is noticed here."""
        self.leave()
        self.stop.check()
        self._stage, self._since = stage, time.monotonic()
        self.events.add("stage", stage=stage)

    def leave(self) -> None:
        """Note the seconds of the stage that ends."""
        if self._stage is not None:
            self.record.spent(self._stage, time.monotonic() - self._since)
            self._stage = None

    def report(self, stage: Stage) -> Callable[[str, float], None]:
        """A reporter of progress for a stage."""
        return lambda text, fraction: self.events.progress(stage, text, round(fraction, 3))

    def go(self) -> None:
        """All stages; those that an earlier attempt finished are left out."""
        self.enter("prepare")
        from tools.engine.data import Renderer

        check_model(Path(self.spec.model_dir))
        renderer = Renderer(Path(self.spec.model_dir))
        if not self.record.metrics.get("trained"):
            self.train(renderer)
        if self.spec.score_rows:
            self.score(renderer)
        if self.spec.export is not None:
            self.export(renderer)
        self.enter("done")
        shutil.rmtree(self.folder / "cache", ignore_errors=True)
        write_json(self.folder / "manifest.json", {"files": kept_files(self.folder)})
        self.leave()

    def train(self, renderer: Any) -> None:
        """Encode the rows and let Olive tune; leaves `adapter/`."""
        from tools.engine.data import encode_file
        from tools.engine.olive_run import Material, count_steps

        spec, data = self.spec, Path(self.spec.data_dir)
        rows = encode_file(renderer, data / "train.jsonl", spec.max_length)
        held = data / "validation.jsonl"
        validation = encode_file(renderer, held, spec.max_length, limit=VALIDATION_ROWS) if held.is_file() else None
        if not rows.rows:
            raise EngineFailed("data", f"No training row has at most {spec.max_length} tokens. Raise max_length or shorten the rows.")
        if rows.skipped:
            self.events.warn(f"{rows.skipped} training rows are longer than {spec.max_length} tokens and are left out.")
        sha256 = files_sha256(data)
        dtype = str(self.record.recorded("dtype", self.choose_dtype()))
        steps = count_steps(spec, len(rows.rows))
        differing = self.record.start(spec, dtype, sha256)
        if differing:
            self.events.warn(f"Resumed with other {', '.join(differing)}: the numbers may differ from an undisturbed run.")
        self.record.note(steps=steps, rows=len(rows.rows), longest_tokens=rows.longest, skipped_rows=rows.skipped)
        resume = last_complete(self.folder / "checkpoints")
        self.enter("train")
        if resume is not None and resume.step >= steps:
            self.keep_adapter(resume.path, step=resume.step)
            return
        from tools.engine.callback import Reporter
        from tools.engine.olive_run import tune

        reporter = Reporter(self.events, self.stop, self.memory)
        material = Material(rows.rows, validation.rows if validation else (), sha256)
        try:
            made = tune(spec, material, steps, dtype, self.folder, reporter, resume)
        finally:
            self.record.note(step=reporter.step or (resume.step if resume else 0), loss=reporter.loss, eval_loss=reporter.eval_loss)
            self.record.note(peak_memory_bytes=max(self.peak(), int(self.record.metrics.get("peak_memory_bytes", 0))))
        self.keep_adapter(made, step=steps)

    def keep_adapter(self, source: Path, step: int) -> None:
        """Take the adapter and nothing else of Olive's folders, which hold a whole copy of the base model."""
        with whole(self.adapter) as part:
            adapter_of(source, part)
        for name in ("olive", "olive-out", "datasets"):
            shutil.rmtree(self.folder / "cache" / name, ignore_errors=True)
        self.record.note(trained=True, step=step, adapter=digests(self.adapter))
        gc.collect()

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
            if self._stage != "export":
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

    def choose_dtype(self) -> str:
        """The training dtype for this machine."""
        bf16 = False
        if self.spec.device == "cuda":
            import torch

            bf16 = torch.cuda.is_bf16_supported()
        return environment.choose_dtype(self.spec.dtype, self.spec.device, environment.cpu_flags(), bf16)

    def memory(self) -> int:
        """Bytes held now, on the device that trains."""
        if self.spec.device == "cuda":
            import torch

            return torch.cuda.memory_allocated()
        return environment.memory_bytes()

    def peak(self) -> int:
        """The most bytes held so far, on the device that trains."""
        if self.spec.device == "cuda":
            import torch

            return torch.cuda.max_memory_allocated()
        return environment.peak_memory_bytes()

    def result(self, outcome: str, kind: str = "", message: str = "", seconds: float = 0.0) -> RunResult:
        """What is known now, as the run's result."""
        known = self.record.metrics
        facts: dict[str, Any] = {name: known[name] for name in ("step", "steps", "loss", "eval_loss", "skipped_rows") if name in known}
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


def files_sha256(folder: Path) -> str:
    """One SHA-256 over the training and validation files: Olive's cache looks at settings, not at data."""
    whole_digest = hashlib.sha256()
    for name in ("train.jsonl", "validation.jsonl"):
        if (folder / name).is_file():
            with (folder / name).open("rb") as file:
                whole_digest.update(hashlib.file_digest(file, "sha256").digest())
    return whole_digest.hexdigest()


def kept_files(folder: Path) -> dict[str, str]:
    """Digests of what a run leaves for others, by path in the run folder."""
    found = {f"{part}/{name}": digest for part in ("adapter", "served", "scores") for name, digest in digests(folder / part).items()}
    return dict(sorted(found.items()))
