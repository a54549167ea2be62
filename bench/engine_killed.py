"""Steps that a training run repeats after a kill -9 at a random moment: no more than lie between two checkpoints.

    python bench/engine_killed.py [--times 3] [--threads N]
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from engine_pairs import ROOT, write_run
from engine_stop import steps_of

SAVE, SEED = 4, 9


def kill_once(folder: Path, steps: int, pause_s: float) -> int:
    """Train for so many steps, kill it a moment later; the steps that the next one has to repeat."""
    before = len(steps_of(folder))
    child = subprocess.Popen([sys.executable, "-m", "tools.engine", "train", str(folder)], env={**os.environ, "PYTHONPATH": str(ROOT)})
    while len(steps_of(folder)) < before + steps:
        if child.poll() is not None:
            raise SystemExit((folder / "log.txt").read_text(encoding="utf-8")[-2000:])
        time.sleep(0.02)
    time.sleep(pause_s)
    child.send_signal(signal.SIGKILL)
    child.wait(timeout=60)
    seals = (folder / "checkpoints").glob("checkpoint-*/complete.json")
    return int(steps_of(folder)[-1]["step"]) - max(int(seal.parent.name.removeprefix("checkpoint-")) for seal in seals)


def main() -> None:
    """Kill one run several times; print the steps as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args()
    chance = random.Random(SEED)
    with tempfile.TemporaryDirectory(prefix="luthier-bench-") as scratch:
        fields = {"method": "qlora", "max_steps": 200, "threads": args.threads, "save_steps": SAVE}
        folder = write_run(Path(scratch), ROOT / ".bundled" / "model", **fields)
        repeated = [kill_once(folder, SAVE + chance.randrange(SAVE), chance.uniform(0, 3)) for _ in range(args.times)]
    print(json.dumps({"repeated": repeated, "between_checkpoints": SAVE}))


if __name__ == "__main__":
    main()
