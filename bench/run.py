"""`python -m bench.run [GROUP …]`: every group of figures, each in a process of its own, and one table of all.

Groups: server, turn, runs, live, stages, policy, gate, audit, serving, cloud, qlora, lora, answers, seeds, stop, killed.
"""

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from bench.figure import ROOT, Figure, machine, table, versions

OURS = ("server", "turn", "runs", "live", "stages", "policy", "gate", "audit", "serving", "cloud")
"""Modules of `bench` that print their figures as JSON on the last line."""
PAIRS = {"qlora": 1.05, "lora": 1.20}
"""Method → the limit of cpu-seconds a step against a bare script."""
GROUPS = (*OURS, *PAIRS, "answers", "seeds", "stop", "killed")


def last_line(command: Sequence[str]) -> Any:
    """The JSON that a script prints on its last line; what it prints before is shown. Raises RuntimeError when it fails."""
    done = subprocess.run(list(command), cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        raise RuntimeError(f"failed with exit status {done.returncode}")
    return json.loads(lines[-1])


def measure(group: str) -> list[Figure]:
    """Run one group in a process of its own; a group that fails is a figure without a value."""
    engine = str(ROOT / ".engine-cpu" / "bin" / "python")
    try:
        if group in OURS:
            return [Figure(**facts) for facts in last_line([sys.executable, "-m", f"bench.{group}"])]
        if group in PAIRS:
            return training(group, last_line([engine, "bench/engine_pairs.py", "--method", group]))
        if group == "seeds":
            return seeds(last_line([engine, "bench/engine_seeds.py"]))
        if group == "stop":
            return stops(last_line([engine, "bench/engine_stop.py"]))
        if group == "killed":
            return kills(last_line([engine, "bench/engine_killed.py"]))
        return answers(last_line([engine, "-m", "bench.answer_bare"]))
    except RuntimeError as error:
        return [Figure(group, float("nan"), "", 0, note=str(error))]


def training(method: str, facts: Mapping[str, Any]) -> list[Figure]:
    """Cpu-seconds a step against a bare Trainer and PEFT script."""
    same = "the same final loss to three decimals" if facts["same_final_loss"] else "FINAL LOSSES DIFFER"
    note = f"median of {len(facts['ratios'])} interleaved pairs {facts['ratios']}, steps 3-20; {same}"
    return [Figure(f"{method}: cpu-seconds a step, ours / bare", facts["median_ratio"], "×", PAIRS[method], note=note)]


def answers(facts: Mapping[str, Any]) -> list[Figure]:
    """Decoding speed against a bare loop and against transformers."""
    note = ", ".join(f"{name} {speed}" for name, speed in facts["tokens_per_s"].items()) + " tokens/s"
    return [Figure("decoding, ours / bare GenAI loop", facts["of_bare"], "×", 0.9, "higher", note),
            Figure("decoding, ours / transformers", facts["of_transformers"], "×", 4, "higher", note)]


def seeds(facts: Mapping[str, Any]) -> list[Figure]:
    """What 60 steps on the sample are worth, in the worst of the seeds."""
    note = ", ".join(f"seed {one['seed']}: {one['before']} → {one['after']} %" for one in facts["seeds"])
    return [Figure("held-out exact match, 60 QLoRA steps, least lift", facts["least_lift"], "points", 20, "higher", note)]


def stops(facts: Mapping[str, Any]) -> list[Figure]:
    """How long a person waits for a run to be gone."""
    note = f"gone after {facts['stop_s']} s, slowest steps {facts['step_s']} s"
    return [Figure("stop of a training run, worst of five, beyond one step", facts["beyond_one_step_s"], "s", facts["limit_s"], note=note)]


def kills(facts: Mapping[str, Any]) -> list[Figure]:
    """How much of its work a killed run makes again."""
    note = f"killed at {len(facts['repeated'])} random moments: {facts['repeated']} steps made again; checkpoints every "
    note += f"{facts['between_checkpoints']} steps"
    return [Figure("steps repeated after a kill -9, worst", max(facts["repeated"]), "steps", facts["between_checkpoints"], note=note)]


def main(words: list[str]) -> int:
    """Print the table; 0 when every figure keeps its limit."""
    chosen = [word for word in words if not word.startswith("-")] or list(GROUPS)
    started, figures = time.monotonic(), list[Figure]()
    for group in chosen:
        print(f"measuring: {group} …", flush=True)
        figures += measure(group)
    print(f"\nMachine: {machine()}\nVersions: {versions()}\nTook {(time.monotonic() - started) / 60:.0f} min\n")
    print(table(figures))
    return 0 if all(figure.good for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
