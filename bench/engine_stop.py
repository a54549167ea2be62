"""From SIGTERM to gone while the bundled model trains, beside the length of a step: a stop may cost one step and ten seconds.

    python bench/engine_stop.py [--times 5] [--threads N]
"""

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from engine_pairs import ROOT, write_run

LIMIT_S = 10.0
"""Seconds beyond one step."""
SEED = 4


def steps_of(folder: Path) -> list[dict[str, Any]]:
    """The step events so far; a line that is being written does not count yet."""
    path = folder / "events.jsonl"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    events = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
    return [event for event in events if event["kind"] == "step"]


def stop_once(folder: Path, pause_s: float) -> tuple[float, float]:
    """Stop a run a moment after its third step; seconds until it was gone, and of its slowest step."""
    command = [sys.executable, "-m", "tools.engine", "train", str(folder)]
    child = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)})
    while len(steps_of(folder)) < 3:
        if child.poll() is not None:
            raise SystemExit((folder / "log.txt").read_text(encoding="utf-8")[-2000:])
        time.sleep(0.02)
    time.sleep(pause_s)
    asked = time.monotonic()
    child.send_signal(signal.SIGTERM)
    code = child.wait(timeout=300)
    took = time.monotonic() - asked
    if code != 75 or not list((folder / "checkpoints").glob("checkpoint-*/complete.json")):
        raise SystemExit(f"the stop ended with status {code}, or without a checkpoint")
    return took, max(float(step["seconds"]) for step in steps_of(folder))


def main() -> None:
    """Stop some runs at random moments; print the seconds as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args()
    chance = random.Random(SEED)
    took, steps = list[float](), list[float]()
    for _ in range(args.times):
        with tempfile.TemporaryDirectory(prefix="luthier-bench-") as scratch:
            fields = {"method": "qlora", "max_steps": 200, "threads": args.threads}
            folder = write_run(Path(scratch), ROOT / ".bundled" / "model", **fields)
            seconds, step = stop_once(folder, chance.uniform(0, 2))
        took.append(round(seconds, 2))
        steps.append(round(step, 2))
    beyond = [round(seconds - step, 2) for seconds, step in zip(took, steps, strict=True)]
    found = {"stop_s": took, "step_s": steps, "median_s": statistics.median(took), "beyond_one_step_s": max(beyond), "limit_s": LIMIT_S}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
