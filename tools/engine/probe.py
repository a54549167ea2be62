"""`python -m tools.engine probe`: two steps on the longest batch say what a run will take before it is started."""

import json
import shutil
import tempfile
from pathlib import Path

from tools.engine import environment
from tools.engine.spec import TrainSpec, expanded

STEPS = 2


def probe(folder: Path) -> dict[str, float]:
    """Train two steps on the longest rows of the folder's spec; `folder`/probe.json and stdout get peak_memory_bytes and s_per_step.

    The second step is the one that is timed: the first also allocates.
    """
    folder = folder.resolve()
    spec = expanded(TrainSpec.model_validate_json((folder / "spec.json").read_text(encoding="utf-8")), environment.mounts())
    work = Path(tempfile.mkdtemp(prefix="probe-", dir=folder))
    try:
        environment.settle(spec.threads, work / "cache")
        from tools.engine.binding import files_sha256
        from tools.engine.callback import Reporter
        from tools.engine.checkpoints import Checkpoints
        from tools.engine.data import Renderer, encode_file
        from tools.engine.events import Events
        from tools.engine.folders import write_json
        from tools.engine.olive_run import Material, tune
        from tools.engine.stop import Stop

        data = Path(spec.data_dir)
        rows = encode_file(Renderer(Path(spec.model_dir)), data / "train.jsonl", spec.max_length).rows
        batch = spec.batch_size * spec.grad_accumulation
        longest = sorted(rows, key=lambda row: len(row.ids), reverse=True)[:batch]
        events = Events(work)
        cut = {"max_steps": STEPS, "epochs": float(STEPS), "save_steps": 1000, "warmup_ratio": 0.0, "report_to": []}
        short = spec.model_copy(update=cut)
        reporter = Reporter(events, Stop(lambda: None), environment.memory_bytes, Checkpoints(work / "checkpoints"))
        dtype = environment.choose_dtype(spec.dtype, spec.device, environment.cpu_flags())
        tune(short, Material(longest * STEPS, (), files_sha256(data)), STEPS, dtype, work, work / "cache", reporter, None)
        events.close()
        steps = [json.loads(line) for line in (work / "events.jsonl").read_text(encoding="utf-8").splitlines()]
        seconds = [float(step["seconds"]) for step in steps if step["kind"] == "step"]
        peak = environment.peak_memory_bytes()
        if spec.device == "cuda":
            import torch

            peak = torch.cuda.max_memory_allocated()
        found = {"peak_memory_bytes": peak, "s_per_step": seconds[-1], "rows": len(longest), "longest_tokens": len(longest[0].ids)}
        write_json(folder / "probe.json", found)
        print(json.dumps(found), flush=True)
        return found
    finally:
        shutil.rmtree(work, ignore_errors=True)
