"""The stage that trains: rows encoded, a checkpoint gone on from or refused, Olive run, the right adapter kept."""

import gc
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.engine import fault
from tools.engine.attempt import Attempt
from tools.engine.binding import bind, differences, files_sha256, weights_sha256
from tools.engine.checkpoints import Checkpoint, Checkpoints, adapter_of, changed
from tools.engine.failure import EngineFailed
from tools.engine.folders import digests, whole
from tools.engine.seal import read_key
from tools.engine.watchdog import Standing, standing

VALIDATION_ROWS = 32
"""Validation rows that the loop's own evaluation reads: a fixed cost however large the file."""


@dataclass(frozen=True, slots=True)
class Trained:
    """Where training ended, and how far it came on the validation rows."""

    adapter: Path
    step: int
    standing: Standing


def train(run: Attempt, renderer: Any) -> None:
    """Encode the rows and let Olive tune; leaves `adapter/`. Raises EngineFailed("changed" | "foreign") on what it can't go on from."""
    from tools.engine.data import encode_file
    from tools.engine.olive_run import Material, count_steps

    spec, data = run.spec, Path(run.spec.data_dir)
    rows = encode_file(renderer, data / "train.jsonl", spec.max_length)
    held = data / "validation.jsonl"
    validation = encode_file(renderer, held, spec.max_length, limit=VALIDATION_ROWS).rows if held.is_file() else ()
    if not rows.rows:
        raise EngineFailed("data", f"No training row has at most {spec.max_length} tokens. Raise max_length or shorten the rows.")
    if rows.skipped:
        run.events.warn(f"{rows.skipped} training rows are longer than {spec.max_length} tokens and are left out.")
    if spec.patience is not None and not validation:
        run.events.warn("There are no validation rows: the training can't be stopped early, and its last step is kept.")
    sha256 = files_sha256(data)
    binding = bind(spec, sha256, weights_sha256(Path(spec.model_dir)))
    checkpoints = Checkpoints(run.folder / "checkpoints", read_key(run.folder, spec.key_path), binding)
    dtype = str(run.record.recorded("dtype", run.choose_dtype()))
    steps = count_steps(spec, len(rows.rows))
    differing = run.record.start(spec, dtype, binding)
    if differing:
        run.events.warn(f"Resumed with other {', '.join(differing)}: the numbers may differ from an undisturbed run.")
    run.record.note(steps=steps, rows=len(rows.rows), longest_tokens=rows.longest, skipped_rows=rows.skipped)
    resume = checkpoints.last()
    run.enter("train")
    done = over(resume, steps, spec.patience if validation else None)
    if done is None:
        done = tuned(run, Material(rows.rows, validation, sha256), steps, dtype, checkpoints, resume)
    keep_adapter(run, done, steps, checkpoints, keep_best=bool(validation) and spec.keep_best and spec.patience is not None)


def check_trained(run: Attempt) -> None:
    """Refuse to score or export under another binding, or another adapter, than was trained. Raises EngineFailed("changed")."""
    before = run.record.started.get("binding")
    now = bind(run.spec, files_sha256(Path(run.spec.data_dir)), weights_sha256(Path(run.spec.model_dir)))
    differing = differences(before, now) if isinstance(before, dict) else []
    if digests(run.adapter) != run.record.metrics.get("adapter"):
        differing.append("the adapter is not the one that was trained")
    if differing:
        raise changed(differing)
    run.record.begin()


def over(resume: Checkpoint | None, steps: int, patience: int | None) -> Trained | None:
    """What an earlier attempt had trained to its end when it was killed; None when there are steps left."""
    if resume is None:
        return None
    history = json.loads((resume.path / "trainer_state.json").read_text(encoding="utf-8")).get("log_history", [])
    found = standing([(int(log["step"]), float(log["eval_loss"])) for log in history if "eval_loss" in log])
    return Trained(resume.path, resume.step, found) if resume.step >= steps or found.is_over(patience) else None


def tuned(run: Attempt, material: Any, steps: int, dtype: str, checkpoints: Checkpoints, resume: Checkpoint | None) -> Trained:
    """Train the steps that are left. A save that was broken off is removed, whatever broke it."""
    from tools.engine.callback import Reporter
    from tools.engine.olive_run import tune

    spec = run.spec
    patience = spec.patience if material.validation else None
    reporter = Reporter(
        run.events, run.stop, run.memory, checkpoints,
        patience=patience, keep_best=patience is not None and spec.keep_best, explode=spec.explode, gpu_use=run.gpu_use,
    )  # fmt: skip
    try:
        made = tune(spec, material, steps, dtype, run.folder, run.cache, reporter, resume)
    except BaseException:
        checkpoints.remove_partial()
        raise
    finally:
        run.note_peak()
        run.record.note(step=reporter.step or (resume.step if resume else 0), loss=reporter.loss, eval_loss=reporter.eval_loss)
    return Trained(made, reporter.step, reporter.standing)


def keep_adapter(run: Attempt, done: Trained, steps: int, checkpoints: Checkpoints, keep_best: bool) -> None:
    """Take the adapter and nothing else of Olive's folders, which hold a whole copy of the base model."""
    facts: dict[str, Any] = {"step": done.step, "stopped_early": done.step < steps}
    source = done.adapter
    if keep_best and done.standing.best_step is not None:
        best = checkpoints.of_step(done.standing.best_step)
        if best is None:
            run.events.warn(f"The best checkpoint, of step {done.standing.best_step}, is no longer there: the last step is kept.")
        else:
            source = best.path
            facts |= {"best_step": best.step, "best_eval_loss": done.standing.best_loss}
    with whole(run.adapter) as part:
        adapter_of(source, part)
        fault.point("adapter.before_move")
    fault.point("adapter.after_move")
    for name in ("olive", "olive-out", "datasets"):
        shutil.rmtree(run.cache / name, ignore_errors=True)
    run.record.note(trained=True, adapter=digests(run.adapter), **facts)
    gc.collect()
