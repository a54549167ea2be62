"""From "go" to tuned, scored and exported: Luthier's run against the same stages run bare, one script after the other.

    python bench/engine_stages.py [--steps 60] [--threads N]
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from engine_pairs import ROOT, run_luthier, write_run

LIMIT = 1.25


def cpu_s() -> float:
    """Processor seconds of all ended children."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Run both, print seconds and ratios as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args()
    model, base = ROOT / ".bundled" / "model", ROOT / ".bundled" / "onnx-int8"
    fields = {"method": "qlora", "max_steps": args.steps, "threads": args.threads, "base_served_dir": str(base), "save_steps": 20}
    with tempfile.TemporaryDirectory(prefix="luthier-bench-") as scratch:
        work, threads = Path(scratch), str(args.threads)
        write_run(work / "luthier", model, **fields, export="int8", score_rows=40)
        write_run(work / "bare", model, **fields)
        rows, adapter, merged, served = (str(work / "bare" / name) for name in ("data/test.jsonl", "adapter", "merged", "served"))
        stages = str(ROOT / "bench" / "bare_stages.py")
        builder = [sys.executable, "-m", "onnxruntime_genai.models.builder", "-i", merged, "-o", served, "-p", "int8", "-e", "cpu"]
        commands = [
            [sys.executable, str(ROOT / "bench" / "engine_bare.py"), str(work / "bare"), adapter],
            [sys.executable, stages, "score", str(model), adapter, rows, threads],
            [sys.executable, stages, "score", str(model), "-", rows, threads],
            [sys.executable, stages, "merge", str(model), adapter, merged, threads],
            [*builder, "-c", str(work / "builder-cache")],
            [sys.executable, stages, "answer", served, rows, threads],
            [sys.executable, stages, "answer", str(base), rows, threads],
        ]
        before, began = cpu_s(), time.monotonic()
        run_luthier(work / "luthier")
        ours = {"wall_s": time.monotonic() - began, "cpu_s": cpu_s() - before}
        events = [json.loads(line) for line in (work / "luthier" / "events.jsonl").read_text(encoding="utf-8").splitlines()]
        first = next(event["t"] for event in events if event["kind"] == "step") - events[0]["t"]
        before, began = cpu_s(), time.monotonic()
        for command in commands:
            done = subprocess.run(command, check=False, capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(done.stderr[-2000:])
        bare = {"wall_s": time.monotonic() - began, "cpu_s": cpu_s() - before}
    ratios = {name: round(ours[name] / bare[name], 3) for name in ours}
    print(json.dumps({"luthier": ours, "bare": bare, "ratios": ratios, "limit": LIMIT, "first_step_s": round(first, 1)}))


if __name__ == "__main__":
    main()
