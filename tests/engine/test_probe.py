"""A probe says what a run will take, and leaves nothing else behind."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path


def test_two_steps_on_the_longest_batch_are_measured(new_run: Callable[..., Path], start: Callable[..., "subprocess.Popen[str]"]) -> None:
    folder = new_run(method="lora")
    child = start(folder, "probe", ".")
    out, errors = child.communicate(timeout=90)
    assert child.returncode == 0, errors
    found = json.loads(out.strip().splitlines()[-1])
    assert found["peak_memory_bytes"] > 100_000_000 and found["s_per_step"] > 0 and found["rows"] == 4
    assert json.loads((folder / "probe.json").read_text(encoding="utf-8")) == found
    assert sorted(path.name for path in folder.iterdir()) == ["data", "probe.json", "spec.json"]
