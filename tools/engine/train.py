"""`python -m tools.engine train`: one attempt on a run folder, from its spec to its result, however it ends."""

import os
import shutil
import sys
import time
import traceback
from pathlib import Path

from pydantic import ValidationError

from tools.engine import environment
from tools.engine.events import Events
from tools.engine.failure import Cancelled, EngineFailed, explain
from tools.engine.record import Record
from tools.engine.run import Run
from tools.engine.spec import RunResult, TrainSpec, expanded
from tools.engine.stop import Stop

FINISHED, FAILED, CANCELLED = 0, 1, 75
UNWRITTEN = 74
"""The disk was so full that not even the result could be written: EX_IOERR."""


def log_to(path: Path) -> None:
    """Send stdout and stderr to the run's log, unless the runner already did."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    if not os.path.samestat(os.fstat(fd), os.fstat(2)):
        sys.stdout.flush()
        os.dup2(fd, 1)
        os.dup2(fd, 2)
    os.close(fd)


def train(folder: Path) -> int:
    """`python -m tools.engine train`: run or resume the folder's spec; exit status 0, 75, 1 or 74, `result.json` last."""
    folder = folder.resolve()
    began = time.monotonic()
    log_to(folder / "log.txt")
    (folder / "result.json").unlink(missing_ok=True)
    record, events = Record(folder), Events(folder)
    try:
        spec = expanded(TrainSpec.model_validate_json((folder / "spec.json").read_text(encoding="utf-8")), environment.mounts())
    except (OSError, ValidationError, ValueError):
        traceback.print_exc()
        message = "The run's spec.json is missing or not what this engine reads. Start the run again."
        record.finish(RunResult(outcome="failed", error_kind="bug", message=message))
        events.add("end", outcome="failed", error_kind="bug", message=message)
        return FAILED

    def give_up() -> None:
        end("cancelled", message="Stopped. The run can be resumed.")
        os._exit(CANCELLED)

    stop = Stop(give_up)
    stop.listen()
    run = Run(folder, spec, record, events, stop)

    def end(outcome: str, kind: str = "", message: str = "") -> None:
        stop.rest()
        run.leave()
        if run.cache.parent != folder:
            shutil.rmtree(run.cache, ignore_errors=True)  # the next attempt has another container
        events.add("end", outcome=outcome, error_kind=kind, message=message)
        events.close()
        record.finish(run.result(outcome, kind, message, time.monotonic() - began))

    try:
        environment.settle(run.threads, run.cache)
        environment.quiet()
        if spec.method == "full":
            raise EngineFailed("model", "Full fine-tuning isn't offered yet. Choose qlora or lora.")
        run.go()
        status, last = FINISHED, ("finished", "", run.early())
    except Cancelled:
        step = int(record.metrics.get("step", 0))
        status, last = CANCELLED, ("cancelled", "", f"Stopped{f' after step {step}' if step else ''}. The run can be resumed.")
    except Exception as error:
        traceback.print_exc()
        kind, message = explain(error, run.scene())
        if kind == "disk":
            run.make_room()
        status, last = FAILED, ("failed", kind, message)
    try:
        end(*last)
    except OSError:
        traceback.print_exc()
        return UNWRITTEN
    return status
