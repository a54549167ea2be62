"""`python -m bench.stages [--quick]`: from "go" to the first step, and to tuned, scored and exported, against the same stages run bare."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.figure import ROOT, Figure, show

FIRST_STEP_S, RATIO = 30.0, 1.25
STEPS = 60


async def ours(home: Path, steps: int) -> tuple[float, float, Path, dict[str, Any]]:
    """Approve a run in a workshop of its own; seconds to the first step and to the end, the run's folder, its last view."""
    from agent.compose import build_door, build_workshop
    from agent.settings import Settings
    from policies.people import Caller

    door = build_door(Settings(home=home))
    workshop = build_workshop(door)
    caller = Caller("owner", "cli", "bench", thread="bench")
    await workshop.start()
    try:
        args = {"model": "bundled", "dataset": "samples/helpdesk.jsonl", "max_steps": steps}
        waiting = await workshop.call("start_finetune", args, caller)
        assert waiting.approval is not None, waiting
        started = time.monotonic()
        decision = await workshop.decide(waiting.approval.id, "approve", caller)
        assert decision.answer is not None and decision.answer.status == "done", decision
        run_id = str(decision.answer.result["run_id"])
        first, view = 0.0, dict[str, Any]()
        async for event in workshop.watch(run_id, caller):
            if event["kind"] == "step" and not first:
                first = time.monotonic() - started
            if event["kind"] == "view":
                view = event["view"]
        total = time.monotonic() - started
        assert view["state"] == "finished", view
        return first, total, home / "runs" / run_id, view
    finally:
        await workshop.close()
        door.close()


def bare(folder: Path, out: Path) -> dict[str, float]:
    """Seconds of each bare stage on the run's own spec and data, each a script of its own, one after the other."""
    spec = json.loads((folder / "spec.json").read_text(encoding="utf-8"))
    out.mkdir(parents=True)
    (out / "spec.json").write_text(json.dumps(spec), encoding="utf-8")
    python, bench = str(ROOT / ".engine-cpu" / "bin" / "python"), ROOT / "bench"
    model, base, threads = spec["model_dir"], spec["base_served_dir"], str(spec["threads"])
    rows = str(Path(spec["data_dir"], "test.jsonl"))
    adapter, merged, served = (str(out / name) for name in ("adapter", "merged", "served"))
    script = str(bench / "bare_stages.py")
    builder = ["-m", "onnxruntime_genai.models.builder", "-i", merged, "-o", served, "-p", spec["export"], "-e", "cpu"]
    commands = {
        "train": [str(bench / "engine_bare.py"), str(out), adapter],
        "score": [script, "score", model, adapter, rows, threads],
        "baseline": [script, "score", model, "-", rows, threads],
        "merge": [script, "merge", model, adapter, merged, threads],
        "build": [*builder, "-c", str(out / "builder-cache")],
        "score_export": [script, "answer", served, rows, threads],
        "score_base": [script, "answer", base, rows, threads],
    }
    taken = {}
    for stage, command in commands.items():
        started = time.monotonic()
        done = subprocess.run([python, *command], cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"bare {stage}: {done.stderr[-2000:]}")
        taken[stage] = time.monotonic() - started
    return taken


def measure(steps: int = STEPS) -> list[Figure]:
    """One run of each, one after the other: they take minutes."""
    from ui.stage import set_process_variables

    set_process_variables(os.environ)
    with tempfile.TemporaryDirectory(prefix="luthier-bench-") as scratch:
        first, total, folder, _ = asyncio.run(ours(Path(scratch, "home"), steps))
        alone = bare(folder, Path(scratch, "bare"))
        stages = json.loads((folder / "result.json").read_text(encoding="utf-8")).get("stage_seconds", {})
    mine = ", ".join(f"{name} {seconds:.0f}" for name, seconds in stages.items())
    theirs = ", ".join(f"{name} {seconds:.0f}" for name, seconds in alone.items())
    return [
        Figure("go → first step", first, "s", FIRST_STEP_S),
        Figure(f"go → tuned, scored, exported, {steps} steps", total, "s", note=mine),
        Figure("the same stages run bare", sum(alone.values()), "s", note=theirs),
        Figure("ratio to bare", total / sum(alone.values()), "×", RATIO, note="one run each, wall clock"),
    ]


if __name__ == "__main__":
    show(measure(4 if "--quick" in sys.argv else STEPS))
