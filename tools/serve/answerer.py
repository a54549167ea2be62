"""Answers from served files, through the one answering child of the home."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from policies.tool import ToolFailed
from tools.serve.child import JsonChild
from tools.serve.children import EngineChildren, engine_said

IDLE_S = 600
ANSWER_S = 180.0
"""Seconds an answer may take, loading included."""

_REMEDIES = {"model": "Build its files with export_model (format onnx).", "too_long": "Ask with fewer words."}


@dataclass(frozen=True, slots=True)
class Label:
    """Which model answers."""

    model: str
    adapter: str | None
    """The run whose adapter is merged in; None for the untuned model."""
    precision: str

    def as_json(self) -> dict[str, JsonValue]:
        """For the protocol and for results."""
        return {"model": self.model, "adapter": self.adapter, "precision": self.precision}


@dataclass(frozen=True, slots=True)
class Answered:
    """One model's answer."""

    label: Label
    text: str
    tokens: int
    tokens_per_s: float | None
    finish_reason: str
    load_s: float | None


class Answerer:
    """Asks served folders greedily. Thread-safe."""

    def __init__(self, engine: EngineChildren, folder: Path, threads: int, idle_s: int = IDLE_S) -> None:
        self._child = JsonChild(engine, ("answer", "--idle-seconds", str(idle_s), "--threads", str(threads)), folder, threads)

    @property
    def pid(self) -> int | None:
        """The child's pid while it lives."""
        return self._child.pid

    def ask(
        self, served: Path, label: Label, messages: Sequence[Mapping[str, str]], max_tokens: int = 200,
        hear: Callable[[str], None] = lambda _: None, timeout_s: float = ANSWER_S,
    ) -> Answered:
        """One greedy answer from the files in `served`; `hear` gets it piece by piece. ToolFailed with the engine's reason."""
        request = {
            "op": "ask", "served_dir": str(served), "label": label.as_json(), "messages": [dict(m) for m in messages],
            "max_tokens": max_tokens, "temperature": 0, "seed": 0,
        }
        for reply in self._child.ask(request, timeout_s):
            if "delta" in reply:
                hear(str(reply["delta"]))
            elif "error" in reply:
                error = reply["error"] if isinstance(reply["error"], Mapping) else {}
                raise engine_said("Get an answer from the model", error, _REMEDIES.get(str(error.get("kind")), "Ask again."))
            elif reply.get("done"):
                speed, load = reply.get("tokens_per_s"), reply.get("load_s")
                return Answered(
                    label, str(reply.get("text", "")), int(reply.get("tokens") or 0),
                    round(float(speed), 2) if isinstance(speed, int | float) else None, str(reply.get("finish_reason", "")),
                    round(float(load), 3) if isinstance(load, int | float) else None,
                )
        raise ToolFailed("Get an answer from the model", "It ended without one.", "Ask again.", kind="engine")

    def close(self) -> None:
        """End the child."""
        self._child.close()
