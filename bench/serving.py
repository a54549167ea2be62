"""`python -m bench.serving`: the serving program over HTTP at 1, 4 and 16 clients against a bare GenAI loop, on the bundled model."""

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from bench.bare_loop import MESSAGES
from bench.figure import ROOT, Figure, median, show

ENGINE = ROOT / ".engine-cpu" / "bin" / "python"
SERVED = ROOT / ".bundled" / "onnx-int8"
TOKENS, ROUNDS = 64, 5
CLIENTS = (1, 4, 16)
OF_BARE = 0.9
READY_S = 120.0
KEY = "lk-only-for-this-measurement"


@dataclass(frozen=True)
class Answer:
    """One streamed answer: seconds to its first token and to its end, and tokens a second after the first."""

    first_s: float
    whole_s: float
    tokens: int
    tokens_per_s: float


@contextmanager
def serving(folder: Path, threads: int) -> Iterator[int]:
    """The program on a folder of its own; its port."""
    key = folder / "key"
    key.write_text(KEY)
    key.chmod(0o600)
    models = [{"name": "bundled", "folder": str(SERVED), "precision": "int8"}]
    spec = {"deployment_id": "0123456789", "key_path": str(key), "threads": threads, "models": models}
    (folder / "serve.json").write_text(json.dumps(spec))
    command = [str(ENGINE), "-m", "tools.engine", "serve", str(folder)]
    with subprocess.Popen(command, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}) as child:
        try:
            yield ready(folder / "serving.json", child)
        finally:
            child.terminate()


def ready(path: Path, child: "subprocess.Popen[bytes]") -> int:
    """The port, once the model is loaded."""
    until = time.monotonic() + READY_S
    while time.monotonic() < until and child.poll() is None:
        if path.exists() and (told := json.loads(path.read_text()))["state"] == "running":
            return int(told["port"])
        time.sleep(0.05)
    raise RuntimeError("the serving program did not begin to answer")


def ask(port: int) -> Answer:
    """One answer as a client reads it."""
    body = json.dumps({"model": "bundled", "messages": MESSAGES, "max_tokens": TOKENS, "temperature": 0, "stream": True})
    connection = HTTPConnection("127.0.0.1", port, timeout=600)
    began = time.perf_counter()
    connection.request("POST", "/v1/chat/completions", body, {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"})
    times: list[float] = []
    with connection.getresponse() as answer:
        for line in answer:
            if line.startswith(b"data: {") and json.loads(line[6:])["choices"][0]["delta"].get("content"):
                times.append(time.perf_counter())
    connection.close()
    return Answer(times[0] - began, times[-1] - began, len(times), (len(times) - 1) / (times[-1] - times[0]))


def crowd(port: int, clients: int) -> tuple[float, list[Answer]]:
    """So many clients at once: tokens a second of all together, and each one's answer."""
    began = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        answers = list(pool.map(ask, [port] * clients))
    return sum(answer.tokens for answer in answers) / (time.perf_counter() - began), answers


def figures() -> list[Figure]:
    """Interleave the bare loop with one client, then let more come."""
    threads = len(os.sched_getaffinity(0))
    command = [str(ENGINE), str(ROOT / "bench" / "bare_loop.py"), str(SERVED), str(threads), str(TOKENS)]
    with (
        tempfile.TemporaryDirectory() as folder, serving(Path(folder), threads) as port,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as loop,
    ):
        assert loop.stdin is not None and loop.stdout is not None
        loop.stdout.readline()

        def bare() -> dict[str, Any]:
            assert loop.stdin is not None and loop.stdout is not None
            loop.stdin.write("\n")
            loop.stdin.flush()
            return json.loads(loop.stdout.readline())

        warm = (bare(), ask(port))  # the first of each is slower
        assert all(warm)
        pairs = [(bare(), ask(port)) for _ in range(ROUNDS)]
        loop.stdin.close()
        crowds = {clients: crowd(port, clients) for clients in CLIENTS}
    speeds = [float(each["tokens_per_s"]) for each, _ in pairs]
    alone = [answer.tokens_per_s for _, answer in pairs]
    note = f"{median(alone):.0f} and {median(speeds):.0f} tokens/s, median of {ROUNDS} interleaved pairs of {TOKENS} tokens"
    found = [Figure("serving: decoding for one client, ours / bare GenAI loop", median([b / a for a, b in zip(speeds, alone, strict=True)]),
                    "×", OF_BARE, "higher", note)]
    firsts = [float(each["first_s"]) for each, _ in pairs]
    late = median([answer.first_s for _, answer in pairs]) - median(firsts)
    found.append(Figure("serving: first token, beyond the bare loop", late * 1000, "ms", note=f"bare loop {median(firsts) * 1000:.0f} ms"))
    for clients, (together, answers) in crowds.items():
        waits = sorted(answer.first_s for answer in answers)
        note = f"first token after {waits[len(waits) // 2]:.2f} s (median), {waits[-1]:.2f} s (worst); {TOKENS} tokens each, four at once"
        found.append(Figure(f"serving: all tokens at {clients} client{'' if clients == 1 else 's'}", together, "tokens/s", note=note))
    return found


if __name__ == "__main__":
    show(figures())
