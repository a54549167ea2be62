"""Decoding speed on the same files: a bare GenAI loop, our answering child, and transformers. Prints one JSON object.

    python -m bench.answer_bare [--served DIR] [--model DIR] [--tokens 64] [--threads N] [--rounds 3]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench.bare_loop import MESSAGES, bare

ROOT = Path(__file__).resolve().parents[1]


def ours(folder: Path, tokens: int, threads: int) -> tuple[Any, subprocess.Popen[str]]:
    """A function that asks our answering child once, and the child."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tools.engine", "answer", "--threads", str(threads)]
    child = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def once() -> float:
        assert child.stdin and child.stdout
        request = {"id": "1", "op": "ask", "served_dir": str(folder), "messages": MESSAGES, "max_tokens": tokens, "temperature": 0}
        child.stdin.write(json.dumps(request) + "\n")
        child.stdin.flush()
        times: list[float] = []
        while True:
            reply = json.loads(child.stdout.readline())
            if "done" in reply:
                return reply["tokens_per_s"]
            times.append(time.perf_counter())

    return once, child


def slow(folder: Path, tokens: int, threads: int) -> Any:
    """A function that decodes once by transformers in float32."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(threads)
    model: Any = AutoModelForCausalLM.from_pretrained(str(folder), dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(str(folder))
    inputs: Any = tokenizer.apply_chat_template(MESSAGES, add_generation_prompt=True, return_tensors="pt", return_dict=True)

    def once() -> float:
        with torch.inference_mode():
            began = time.perf_counter()
            model.generate(**inputs, max_new_tokens=1, min_new_tokens=1, do_sample=False)
            prompt = time.perf_counter() - began
            began = time.perf_counter()
            model.generate(**inputs, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False)
            return (tokens - 1) / (time.perf_counter() - began - prompt)

    return once


def main() -> None:
    """Interleave the rounds; print medians and ratios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--served", type=Path, default=ROOT / ".bundled" / "onnx-int8")
    parser.add_argument("--model", type=Path, default=ROOT / ".bundled" / "model")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    ask, child = ours(args.served, args.tokens, args.threads)
    loop, theirs = bare(str(args.served), args.threads, args.tokens), slow(args.model, args.tokens, args.threads)
    ways = {"bare": lambda: loop()[1], "luthier": ask, "transformers": theirs}
    found: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()
    for _ in range(args.rounds):
        for name, way in ways.items():
            found[name].append(way())
    child.communicate(timeout=30)
    speed = {name: round(statistics.median(each), 1) for name, each in found.items()}
    of_bare = statistics.median(a / b for a, b in zip(found["luthier"], found["bare"], strict=True))
    of_slow = statistics.median(a / b for a, b in zip(found["luthier"], found["transformers"], strict=True))
    verdict = {"of_bare": round(of_bare, 3), "of_transformers": round(of_slow, 2), "pass": of_bare >= 0.9 and of_slow >= 4}
    print(json.dumps({"tokens_per_s": speed, **verdict}))


if __name__ == "__main__":
    main()
