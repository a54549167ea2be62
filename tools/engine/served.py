"""A model as ONNX Runtime GenAI serves it: loaded, prompted by its own template, generated from."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.engine.escape import control_tokens, escape

Message = dict[str, str]


@dataclass(frozen=True, slots=True)
class Generation:
    """What one prompt got: `text` without the end token, tokens generated, and why it ended."""

    text: str
    tokens: int
    seconds: float
    prompt_tokens: int
    finish_reason: str

    @property
    def tokens_per_s(self) -> float:
        """Decoding speed; the first token belongs to the prompt and is not counted."""
        return (self.tokens - 1) / self.seconds if self.tokens > 1 and self.seconds > 0 else 0.0


class Served:
    """One GenAI folder, loaded. Threads are ORT's own: it ignores OMP_NUM_THREADS."""

    def __init__(self, folder: Path, threads: int) -> None:
        """Load `folder`; raises what GenAI raises on files that don't fit together."""
        import onnxruntime_genai

        started = time.perf_counter()
        og: Any = onnxruntime_genai  # its names come from a native module that has no stubs
        self._og = og
        config: Any = og.Config(str(folder))
        session = {"intra_op_num_threads": threads, "inter_op_num_threads": 1}
        config.overlay(json.dumps({"model": {"decoder": {"session_options": session}}}))
        self.model: Any = og.Model(config)
        self.tokenizer: Any = og.Tokenizer(self.model)
        settings = json.loads((folder / "genai_config.json").read_text(encoding="utf-8"))["model"]
        ends = settings["eos_token_id"]
        self.ends: frozenset[int] = frozenset(ends if isinstance(ends, list) else [ends])
        self.context: int = int(settings["context_length"])
        self.control: tuple[str, ...] = control_tokens(folder)
        self.load_s = time.perf_counter() - started

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of a conversation that asks for the next answer; control tokens in its contents are escaped."""
        safe = [{"role": m["role"], "content": escape(m["content"], self.control)} for m in messages]
        rendered = self.tokenizer.apply_chat_template(json.dumps(safe, ensure_ascii=False), add_generation_prompt=True)
        return [int(token) for token in self.tokenizer.encode(rendered)]

    def stream(
        self, ids: Sequence[int], max_tokens: int, temperature: float = 0.0, seed: int = 0, least: int = 0
    ) -> Iterator[tuple[int, str]]:
        """Yield (token id, text piece) until the end token, `max_tokens`, or the model's context is full.

        The end token comes with an empty piece; before `least` tokens it is not chosen.
        """
        limit = min(self.context, len(ids) + max_tokens)
        if len(ids) >= self.context:
            raise ValueError(f"The question has {len(ids)} tokens and the model reads {self.context}. Shorten it.")
        params: Any = self._og.GeneratorParams(self.model)
        if temperature > 0:
            params.set_search_options(max_length=limit, do_sample=True, temperature=temperature, random_seed=seed)
        else:
            params.set_search_options(max_length=limit, do_sample=False)
        if least:
            params.set_search_options(min_length=len(ids) + least)
        generator: Any = self._og.Generator(self.model, params)
        pieces: Any = self.tokenizer.create_stream()
        generator.append_tokens(list(ids))
        while not generator.is_done():
            generator.generate_next_token()
            token = int(generator.get_next_tokens()[0])
            if token in self.ends:
                yield token, ""
                return
            yield token, pieces.decode(token)

    def generate(
        self,
        ids: Sequence[int],
        max_tokens: int,
        temperature: float = 0.0,
        seed: int = 0,
        heard: Callable[[str], None] | None = None,
    ) -> Generation:
        """Generate to the end; `heard` gets each text piece as it comes. Seconds run from the first token to the last."""
        text: list[str] = []
        count, first, last, reason = 0, 0.0, 0.0, "length"
        for token, piece in self.stream(ids, max_tokens, temperature, seed):
            last = time.perf_counter()
            first = first or last
            count += 1
            if token in self.ends:
                reason = "stop"
            elif piece:
                text.append(piece)
                if heard is not None:
                    heard(piece)
        return Generation("".join(text), count, last - first, len(ids), reason)


def prove_served(folder: Path, threads: int) -> int:
    """Load an export and generate two tokens; how many there were. Every builder fault exits 0, and some show only at the second.

    A model may have learned to answer nothing: the end token is not chosen here. Raises RuntimeError when there are fewer than two.
    """
    served = Served(folder, threads)
    served.ends = frozenset()
    found = sum(1 for _ in served.stream(served.prompt([{"role": "user", "content": "Hello"}]), max_tokens=4, least=2))
    if found < 2:
        raise RuntimeError(f"The exported files load but gave {found} tokens; at least 2 were wanted.")
    return found
