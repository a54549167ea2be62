"""The models of one server, loaded: which name means which files and adapter, and one answer in the making."""

import hashlib
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.engine.folders import digests, file_digest
from tools.engine.serve_error import RequestRefused
from tools.engine.serve_spec import ServedModel
from tools.engine.served import Served

CHUNK = 128
"""Tokens of a prompt that are read in one turn, so that a long one holds up nobody for long."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are chosen; temperature 0 is greedy."""

    max_tokens: int
    temperature: float = 1.0
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None

    def options(self) -> dict[str, Any]:
        """GenAI's search options. Without a seed one is drawn, since GenAI's own default is always the same."""
        if self.temperature == 0:
            return {"do_sample": False}
        found: dict[str, Any] = {"do_sample": True, "temperature": self.temperature, "top_p": 1.0 if self.top_p is None else self.top_p}
        seed = secrets.randbelow(2**31) if self.seed is None else self.seed % 2**31
        return found | {"random_seed": seed, "top_k": 0 if self.top_k is None else self.top_k}


class Loaded:
    """One name: its files, its adapter, and the fingerprint of both."""

    def __init__(self, model: ServedModel, served: Served, adapters: Any, fingerprint: str) -> None:
        self.model, self.served, self._adapters, self.fingerprint = model, served, adapters, fingerprint

    @property
    def name(self) -> str:
        """What clients call it."""
        return self.model.name

    def begin(self, ids: Sequence[int], sampling: Sampling) -> "Answering":
        """Begin an answer to a prompt of token ids."""
        return Answering(self.served, list(ids), sampling, self._adapters, self.name if self.model.adapter else None)

    def check(self, ids: Sequence[int]) -> None:
        """RequestRefused (400) when the prompt is empty or leaves no room for a token."""
        if not ids:
            raise RequestRefused(400, "The prompt is empty. Send some text.", param="prompt")
        if len(ids) >= self.served.context:
            raise RequestRefused(400, f"The prompt has {len(ids)} tokens and {self.name} reads {self.served.context}. Shorten it.",
                                 param="messages", code="context_length_exceeded")


class Answering:
    """One answer in the making. `step` does one turn's work: a piece of the prompt, or one token."""

    def __init__(self, served: Served, ids: list[int], sampling: Sampling, adapters: Any, adapter: str | None) -> None:
        import onnxruntime_genai

        og: Any = onnxruntime_genai
        params: Any = og.GeneratorParams(served.model)
        params.set_search_options(max_length=min(served.context, len(ids) + sampling.max_tokens), **sampling.options())
        self._generator: Any = og.Generator(served.model, params)
        if adapter is not None:
            self._generator.set_active_adapter(adapters, adapter)
        self._pieces: Any = served.tokenizer.create_stream()
        self._served, self._left = served, ids
        self.tokens = 0
        """Tokens generated, the end token included."""
        self.finish = ""
        """Why it ended: stop or length; empty while it goes on."""

    def step(self) -> str:
        """Do one turn's work; the text that came of it, often none."""
        if self._left:
            now, self._left = self._left[:CHUNK], self._left[CHUNK:]
            self._generator.append_tokens(now)
            return ""
        self._generator.generate_next_token()
        token = int(self._generator.get_next_tokens()[0])
        self.tokens += 1
        if token in self._served.ends:
            self.finish = "stop"
            return ""
        if self._generator.is_done():
            self.finish = "length"
        return str(self._pieces.decode(token))


def load(models: Sequence[ServedModel], threads: int) -> dict[str, Loaded]:
    """Load every folder once and name what is in it. Raises what GenAI raises on files that do not fit together."""
    import onnxruntime_genai

    og: Any = onnxruntime_genai
    folders: dict[str, tuple[Served, Any, dict[str, str]]] = {}
    found = {}
    for model in models:
        if model.folder not in folders:
            served = Served(Path(model.folder), threads)
            folders[model.folder] = (served, og.Adapters(served.model), _files(Path(model.folder)))
        served, adapters, files = folders[model.folder]
        marks = dict(files)
        if model.adapter is not None:
            adapters.load(model.adapter, model.name)
            marks["adapter"] = file_digest(Path(model.adapter))
        text = json.dumps([marks, str(getattr(og, "__version__", ""))], sort_keys=True)
        found[model.name] = Loaded(model, served, adapters, "fp_" + hashlib.sha256(text.encode()).hexdigest()[:12])
    return found


def _files(folder: Path) -> dict[str, str]:
    """SHA-256 of the served files by name: as the export wrote them down, else counted now."""
    try:
        told = json.loads((folder / "result.json").read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return digests(folder)
    return {str(name): str(digest) for name, digest in told.items()} if isinstance(told, dict) else digests(folder)
