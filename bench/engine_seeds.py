"""Whether 60 QLoRA steps on the sample lift the held-out exact match, seed by seed; the last line is JSON.

    python bench/engine_seeds.py [--seeds 0,1,2] [--steps 60] [--threads N] [--model DIR]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from engine_pairs import ROOT, write_run

ROWS = 72
"""All held-out rows of the sample."""


def measure(folder: Path, model: Path, seed: int, steps: int, threads: int) -> dict[str, float]:
    """Exact match of the untuned and the tuned model on the held-out rows, in points of a hundred."""
    run = write_run(folder, model, seed=seed, max_steps=steps, threads=threads, score_rows=ROWS)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-m", "tools.engine", "train", str(run)], env=env, check=False)
    if done.returncode:
        raise SystemExit((run / "log.txt").read_text(encoding="utf-8")[-2000:])
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    before, after = (100 * result[which]["exact_match"] for which in ("baseline", "tuned"))
    return {"seed": seed, "before": round(before, 1), "after": round(after, 1), "lift": round(after - before, 1)}


def main() -> None:
    """Measure and print."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--seeds", default="0,1,2")
    asked.add_argument("--steps", type=int, default=60)
    asked.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    asked.add_argument("--model", type=Path, default=ROOT / ".bundled" / "model")
    told = asked.parse_args()
    found = []
    for seed in (int(word) for word in told.seeds.split(",")):
        with tempfile.TemporaryDirectory(prefix="luthier-bench-") as scratch:
            found.append(measure(Path(scratch, "run"), told.model.resolve(), seed, told.steps, told.threads))
        print(found[-1], flush=True)
    print(json.dumps({"seeds": found, "least_lift": min(one["lift"] for one in found)}))


if __name__ == "__main__":
    main()
