"""Stands in for the engine: trains in steps, keeps checkpoints, saves when it is asked to stop, and goes on from where it was.

Started as the engine is: `engine.py -m tools.engine train .`, in the run folder. The first line of `mode.txt` says what it is to do.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

STEPS, SAVE, HOLD = 6, 2, 3


def event(**facts: object) -> None:
    """One more event."""
    with open("events.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps({"t": time.time(), **facts}) + "\n")


def result(**facts: object) -> None:
    """How it ended, whole or not at all."""
    Path("result.part").write_text(json.dumps(facts))
    os.replace("result.part", "result.json")


def last() -> int:
    """The step of the newest whole checkpoint; 0 when there is none."""
    found = Path("checkpoints").glob("checkpoint-*/complete.json")
    return max((int(seal.parent.name.removeprefix("checkpoint-")) for seal in found), default=0)


def save(step: int) -> None:
    """Keep a checkpoint; its seal comes last."""
    folder = Path(f"checkpoints/checkpoint-{step}")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "weights").write_text(str(step))
    (folder / "complete.part").write_text(json.dumps({"step": step}))
    os.replace(folder / "complete.part", folder / "complete.json")


def main() -> int:
    """Train; the status is the engine's."""
    mode = Path("mode.txt").read_text().strip()
    attempt = max(int(path.stem.removeprefix("attempt-")) for path in Path().glob("attempt-*.lock"))
    with open("starts.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps({"attempt": attempt, "pid": os.getpid()}) + "\n")
    step = last()

    def stop(signum: int, frame: object) -> None:
        save(step)
        event(kind="end", outcome="cancelled")
        result(outcome="cancelled", step=step, steps=STEPS)
        os._exit(75)

    signal.signal(signal.SIGTERM, signal.SIG_IGN if mode == "deaf" else stop)
    event(kind="stage", stage="train")
    while step < STEPS:
        step += 1
        event(kind="step", step=step, steps=STEPS, loss=3.0 / step)
        if step % SAVE == 0:
            save(step)
        if step == HOLD and mode in {"holds", "deaf"} and attempt == 1:
            while not Path("go").exists():
                time.sleep(0.02)
    if mode == "eaten":
        while not Path("eaten").exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGKILL)
    if mode == "hungry":
        eaten = []
        while True:
            eaten.append(bytearray(1 << 20))
    if mode.startswith("gpu"):
        result(outcome="failed", error_kind=mode, message="The GPU is gone." if mode == "gpu_lost" else "The GPU's memory is full.")
        return 1
    event(kind="end", outcome="finished")
    result(outcome="finished", step=STEPS, steps=STEPS, peak_memory_bytes=1 << 20)
    return 0


if __name__ == "__main__":
    sys.exit(main())
