"""Stands in for the engine in odd cases: behaves as `mode.txt` in the run folder says, honouring the contract of files.

Started as the engine is: `fake_engine.py -m tools.engine train .`, in the run folder.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def event(**facts: object) -> None:
    with open("events.jsonl", "a") as file:
        file.write(json.dumps({"t": time.time(), **facts}) + "\n")


def result(**facts: object) -> None:
    Path("result.part").write_text(json.dumps(facts))
    os.replace("result.part", "result.json")


def wait_for_ever() -> None:
    # Short naps, not signal.pause(): a signal that comes just before the pause would be noticed only with the next one.
    while True:
        time.sleep(0.05)


def stubborn() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    deaf = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: signal.pause()"
    child = subprocess.Popen([sys.executable, "-c", deaf])
    Path("grandchild.pid").write_text(str(child.pid))
    event(kind="stage", stage="train")
    wait_for_ever()


def polite() -> None:
    def stop(signum: int, frame: object) -> None:
        event(kind="end", outcome="cancelled")
        result(outcome="cancelled", step=3, steps=9)
        sys.exit(75)

    signal.signal(signal.SIGTERM, stop)
    event(kind="stage", stage="train")
    for step in range(1, 4):
        event(kind="step", step=step, steps=9, loss=3.0 / step, tokens_per_s=100.0)
    wait_for_ever()


def converse() -> None:
    """The answering and the preview child: what a request's first message or row says is done."""
    for line in sys.stdin:
        asked = json.loads(line)
        said = asked["messages"][-1]["content"] if "messages" in asked else asked["row"]["text"]

        def reply(ident: str = asked["id"], **facts: object) -> None:
            print(json.dumps({"id": ident, **facts}), flush=True)

        match said:
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)
            case "idle out":
                reply(done=True, text="last words", tokens=2)
                sys.exit(0)
            case "hang":
                wait_for_ever()
            case "fail":
                reply(error={"kind": "usage", "message": "too long"})
            case "garbage":
                print("not json", flush=True)
                reply(ident="somebody else's", done=True, text="wrong", tokens=1)
                reply(done=True, text="right", tokens=1)
            case _ if "row" in asked:
                reply(rendered=said, tokens=[{"id": 1, "text": said, "in_loss": True}])
            case _:
                reply(delta="he")
                reply(delta="llo")
                label = asked["label"]
                told = f"{label['model']}/{label['adapter']}/{len(asked['messages'])}/{os.getpid()}\x07"
                reply(done=True, text=told, tokens=3, tokens_per_s=70.123, finish_reason="stop", load_s=0.2)


def work(spec_path: str) -> None:
    """`export` and `score`: writes files that count as done, or fails as the model id says."""
    spec = json.loads(Path(spec_path).read_text())
    out = Path(spec["out"])
    if spec["model_id"] == "broken":
        print("Traceback: secret stuff", flush=True)
        print(json.dumps({"outcome": "failed", "error_kind": "export", "message": "The int8 files do not answer."}), flush=True)
        sys.exit(1)
    if spec["model_id"] == "slow":
        wait_for_ever()
    out.mkdir(parents=True, exist_ok=True)
    if "rows_path" in spec:
        scores = []
        for label in ("checkpoint", *spec["served_dirs"]):
            right = [bool(spec["adapter_dir"])] * 8 + [False] * 2
            (out / f"{label}.jsonl").write_text("".join(json.dumps({"row": n, "match": m}) + "\n" for n, m in enumerate(right)))
            scores.append({"model": spec["model_id"], "adapter": spec["adapter_dir"], "precision": label, "rows": 10,
                           "exact_match": sum(right) / 10, "loss": 1.0, "tokens_per_s": None})
        (out / "result.json").write_text(json.dumps(scores))
    else:
        (out / "genai_config.json").write_text("{}")


def main() -> None:
    verb = sys.argv[3]
    if verb in {"answer", "preview"}:
        return converse()
    if verb in {"export", "score"}:
        return work(sys.argv[4])
    return train()


def train() -> None:
    mode = Path("mode.txt").read_text().strip()
    print("a log line\x1b[31m with colour", flush=True)
    match mode:
        case "finishes":
            event(kind="stage", stage="train")
            result(outcome="finished", step=9, steps=9, peak_memory_bytes=123_000_000)
        case "full disk":
            result(outcome="failed", error_kind="disk", message="The disk is full.")
            sys.exit(1)
        case "no result":
            sys.exit(3)
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "stubborn":
            stubborn()
        case "polite":
            polite()
        case "environment":
            Path("environment.json").write_text(json.dumps(dict(os.environ)))
            result(outcome="finished")
        case other:
            raise ValueError(other)


main()
