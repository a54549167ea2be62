"""`python -m tools.engine answer`: questions in, words out, JSON lines; at most two models loaded; gone after idle minutes."""

import argparse
import json
import os
import select
import sys
import time
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from tools.engine import environment
from tools.engine.served import Message, Served

KEPT = 2
"""Models loaded at once: a comparison asks two."""
ROLES = frozenset({"system", "user", "assistant"})


class Refused(Exception):
    """A request that can't be answered, with a kind for programs and a sentence for people."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind, self.message = kind, message


class Models:
    """The loaded models, the longest unused one goes first."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._kept: OrderedDict[tuple[str, int], Served] = OrderedDict()

    def get(self, folder: Path) -> tuple[Served, float]:
        """The model of a folder and the seconds that loading took now; a folder built anew is loaded anew."""
        try:
            key = (str(folder.resolve()), (folder / "genai_config.json").stat().st_mtime_ns)
        except OSError as error:
            message = f"Served files were wanted, but {folder.name} has none. Export the run again."
            raise Refused("model", message) from error
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key], 0.0
        while len(self._kept) >= KEPT:
            self._kept.popitem(last=False)
        try:
            served = Served(folder, self.threads)
        except Exception as error:
            raise Refused("model", f"The served files in {folder.name} can't be loaded. Export the run again.") from error
        self._kept[key] = served
        return served, served.load_s

    def folders(self) -> list[str]:
        """What is loaded, the longest unused first."""
        return [folder for folder, _ in self._kept]

    def clear(self) -> None:
        """Let all of them go."""
        self._kept.clear()


def _messages(request: dict[str, Any]) -> list[Message]:
    found = request.get("messages")
    if not isinstance(found, list) or not found:
        raise Refused("usage", "A question needs at least one message.")
    for message in found:
        if not isinstance(message, dict) or message.get("role") not in ROLES or not isinstance(message.get("content"), str):
            raise Refused("usage", "Each message needs a role (system, user or assistant) and a content of text.")
    return [{"role": message["role"], "content": message["content"]} for message in found]


def ask(models: Models, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The replies to one question: deltas, then the whole. Raises Refused."""
    messages = _messages(request)
    served, load_s = models.get(Path(str(request.get("served_dir", ""))))
    try:
        ids = served.prompt(messages)
    except Exception as error:
        raise Refused("usage", "The model's chat template refuses these messages. Ask with a user message last.") from error
    if len(ids) >= served.context:
        raise Refused("too_long", f"The question has {len(ids)} tokens and the model reads {served.context}. Shorten it.")
    wanted, temperature, seed = int(request.get("max_tokens", 200)), float(request.get("temperature", 0)), int(request.get("seed", 0))
    said: list[str] = []
    times: list[float] = []
    reason = "length"
    for token, piece in served.stream(ids, max(1, wanted), temperature, seed):
        times.append(time.perf_counter())
        if token in served.ends:
            reason = "stop"
        elif piece:
            said.append(piece)
            yield {"delta": piece}
    span = times[-1] - times[0] if len(times) > 1 else 0.0
    yield {
        "done": True,
        "text": "".join(said),
        "tokens": len(times),
        "tokens_per_s": round((len(times) - 1) / span, 2) if span > 0 else None,
        "finish_reason": reason,
        "load_s": round(load_s, 3),
        "prompt_tokens": len(ids),
        "label": request.get("label"),
    }


def handle(models: Models, line: str) -> Iterator[dict[str, Any]]:
    """The replies to one request line, each with the request's id."""
    name: Any = None
    try:
        request = json.loads(line)
        if not isinstance(request, dict):
            raise Refused("usage", "A request is one JSON object a line.")
        name = request.get("id")
        match request.get("op"):
            case "ask":
                for reply in ask(models, request):
                    yield {"id": name, **reply}
            case "unload":
                models.clear()
                yield {"id": name, "done": True}
            case "ping":
                yield {"id": name, "done": True, "loaded": models.folders()}
            case other:
                raise Refused("usage", f"The operations are ask, unload and ping, not {str(other)[:40]!r}.")
    except Refused as error:
        yield {"id": name, "error": {"kind": error.kind, "message": error.message}}
    except (ValueError, TypeError) as error:
        yield {"id": name, "error": {"kind": "usage", "message": f"The request can't be read ({type(error).__name__})."}}
    except Exception as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        yield {"id": name, "error": {"kind": "bug", "message": f"Answering stopped on {type(error).__name__}. Ask again; then report it."}}


def lines(fd: int, idle_s: float) -> Iterator[str]:
    """Lines from a file descriptor, until it ends or is silent for `idle_s` seconds."""
    waiting = b""
    while True:
        head, found, rest = waiting.partition(b"\n")
        if found:
            waiting = rest
            if head.strip():
                yield head.decode("utf-8", errors="replace")
            continue
        if not select.select([fd], [], [], idle_s)[0]:
            return
        more = os.read(fd, 65536)
        if not more:
            return
        waiting += more


def own_stdout() -> TextIO:
    """The real stdout for replies; whatever native code prints goes to stderr from now on."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return replies


def main(options: list[str]) -> int:
    """Answer on stdin and stdout until the input ends or nobody has asked for `--idle-seconds`."""
    parser = argparse.ArgumentParser(prog="python -m tools.engine answer")
    parser.add_argument("--idle-seconds", type=float, default=600.0)
    parser.add_argument("--threads", type=int, default=environment.cores())
    chosen = parser.parse_args(options)
    environment.settle(chosen.threads)
    replies = own_stdout()
    models = Models(chosen.threads)
    for line in lines(sys.stdin.fileno(), chosen.idle_seconds):
        for reply in handle(models, line):
            replies.write(json.dumps(reply, ensure_ascii=False) + "\n")
            replies.flush()
    return 0
