"""Luthier's training against a bare Trainer and PEFT script: interleaved pairs, cpu-seconds a step, and the same losses.

    python bench/engine_pairs.py [--method qlora|lora] [--pairs 3] [--steps 20] [--threads N] [--model DIR]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from tools.engine.environment import choose_dtype, cpu_flags  # noqa: E402

LIMITS = {"qlora": 1.05, "lora": 1.20}
FIRST, LAST = 3, 20


def write_run(folder: Path, model: Path, **fields: Any) -> Path:
    """A run folder on the sample data: train and test as the sample says, no validation unless asked."""
    rows = [json.loads(line) for line in (ROOT / "samples" / "helpdesk.jsonl").read_text(encoding="utf-8").splitlines()]
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    for name in ("train", "test"):
        kept = [json.dumps({"messages": row["messages"]}) + "\n" for row in rows if row.get("split") == name]
        (data / f"{name}.jsonl").write_text("".join(kept), encoding="utf-8")
    spec = {
        "run_id": "0000000000", "model_id": "bundled", "model_dir": str(model), "model_digest": "bench", "data_dir": str(data),
        "data_digest": "bench", "epochs": 100, "learning_rate": 1e-3, "batch_size": 4, "score_rows": 0, "export": None,
        "save_steps": 1000, "eval_steps": 1000, "dtype": choose_dtype("auto", "cpu", cpu_flags()),
    }  # fmt: skip
    (folder / "spec.json").write_text(json.dumps({**spec, **fields}), encoding="utf-8")
    return folder


def run_luthier(folder: Path) -> dict[str, Any]:
    """Train by the engine; cpu-seconds a step from its events."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-m", "tools.engine", "train", str(folder)], env=env, check=False)
    if done.returncode:
        raise SystemExit((folder / "log.txt").read_text(encoding="utf-8")[-2000:])
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    steps = [event for event in events if event["kind"] == "step"]
    last = min(LAST, len(steps))
    per_step = (steps[last - 1]["cpu_s"] - steps[FIRST - 2]["cpu_s"]) / (last - FIRST + 1)
    return {"cpu_s_per_step": per_step, "losses": [step["loss"] for step in steps], "final_loss": steps[-1]["loss"]}


def run_bare(folder: Path) -> dict[str, Any]:
    """Train by the bare script."""
    command = [sys.executable, str(ROOT / "bench" / "engine_bare.py"), str(folder)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> None:
    """Run the pairs, print a line each and the medians as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--method", choices=sorted(LIMITS), default="qlora")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--model", type=Path, default=ROOT / ".bundled" / "model")
    args = parser.parse_args()
    ratios: list[float] = []
    finals: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory(prefix="luthier-bench-") as scratch:
        for pair in range(args.pairs):
            found: dict[str, dict[str, Any]] = {}
            order = ("bare", "luthier") if pair % 2 else ("luthier", "bare")
            for who in order:
                folder = Path(scratch) / f"{pair}-{who}"
                write_run(folder, args.model, method=args.method, max_steps=args.steps, threads=args.threads)
                found[who] = run_bare(folder) if who == "bare" else run_luthier(folder)
            ratios.append(found["luthier"]["cpu_s_per_step"] / found["bare"]["cpu_s_per_step"])
            finals.append((found["luthier"]["final_loss"], found["bare"]["final_loss"]))
            ours, theirs = (round(found[who]["cpu_s_per_step"], 3) for who in ("luthier", "bare"))
            print(f"pair {pair + 1}: luthier {ours} bare {theirs} cpu-s a step, ratio {ratios[-1]:.3f}, losses {finals[-1]}", flush=True)
    ratio = statistics.median(ratios)
    same = all(round(ours, 3) == round(theirs, 3) for ours, theirs in finals)
    verdict = {"method": args.method, "median_ratio": round(ratio, 3), "limit": LIMITS[args.method], "same_final_loss": same}
    print(json.dumps({**verdict, "pass": ratio <= LIMITS[args.method] and same, "ratios": [round(each, 3) for each in ratios]}))


if __name__ == "__main__":
    main()
